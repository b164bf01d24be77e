"""The options that say under what conditions a model is costed, and what of them is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tinylm_cli.cli.options import TRAINING_PANEL, amount_parser
from tinylm_cli.config.source import option_span

if TYPE_CHECKING:
    from tinylm_cli.config.amounts import AmountKind
    from tinylm_cli.config.hardware import Accelerator
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.errors import ConfigError, Label, Span

SEQ_LEN = "--seq-len"


BatchSizeOption = Annotated[
    int,
    typer.Option(
        metavar="B", parser=amount_parser("--batch-size", "count", most=10**9, example="8"),
        rich_help_panel=TRAINING_PANEL,
        help="Micro-batch: sequences per pass on one GPU.",
    ),
]  # fmt: skip
SeqLenOption = Annotated[
    int | None,
    typer.Option(
        SEQ_LEN, metavar="T", parser=amount_parser(SEQ_LEN, "length", example="8k"), show_default=False,
        help="Tokens per sequence, e.g. 8k; by default max_len.", rich_help_panel=TRAINING_PANEL,
    ),
]  # fmt: skip


class Storage(StrEnum):
    """What weights, activations and caches are stored in, by torch's names."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"
    float64 = "float64"


StorageOption = Annotated[
    Storage, typer.Option("--dtype", help="What numbers are stored in.", rich_help_panel=TRAINING_PANEL)
]


def fitting_length(loaded: LoadedConfig, seq_len: int | None) -> int:
    """Return how many tokens a sequence has.

    Raises:
        ConfigError: If the model reads no such length; points at the option and, where it is written, at max_len.
    """
    if seq_len is not None:
        require_length([loaded], seq_len, f"add --set max_len={seq_len}")
    return seq_len or loaded.config.max_len


def require_length(
    models: Sequence[LoadedConfig], seq_len: int, remedy: str, option: str = SEQ_LEN, span: Span | None = None
) -> None:
    """Refuse a length that is longer than the max_len of one of ``models``.

    Args:
        models: What the sequences are for.
        seq_len: Tokens in each.
        remedy: What to do other than to ask for less.
        option: What asks for it.
        span: Where it stands, if it is not all that the option was given.

    Raises:
        ConfigError: If a model reads no such length; points at the option and, where they are written, at each max_len.
    """
    short = [each for each in models if each.config.max_len < seq_len]
    if short:
        which = " and ".join(dict.fromkeys(f"{each.config.max_len} of {each.name}" for each in short))
        labels = dict.fromkeys(label for each in short for label in written_labels(each, "max_len"))
        raise too_long(seq_len, which, min(each.config.max_len for each in short), remedy, labels, option, span)


def written_labels(loaded: LoadedConfig, field: str) -> tuple[Label, ...]:
    """Return what a field of a model is, at the place where it is written; nothing where it is not."""
    from tinylm_cli.config.schema import flatten
    from tinylm_cli.errors import Label

    span = loaded.origins.get(field)
    return () if span is None else (Label(span, f"{field} is {flatten(loaded.config.model_dump())[field]}"),)


def too_long(
    seq_len: int,
    which: str,
    longest: int,
    remedy: str,
    labels: Iterable[Label] = (),
    option: str = SEQ_LEN,
    span: Span | None = None,
) -> ConfigError:
    """Return the error of a length beyond ``which`` max_len, of which the least is ``longest``.

    ``option`` and ``span`` as in :func:`require_length`.
    """
    from tinylm_cli.config.blocks import MAX_LEN
    from tinylm_cli.config.diagnostic_codes import diagnostic, refusal

    less = f"write {option} {longest} or less"
    mistake = diagnostic(
        "contradiction",
        f"{option} {seq_len} is longer than max_len {which}",
        option,
        span or option_span(option, str(seq_len)),
        field="max_len",
        help=f"{less}, or {remedy}" if seq_len <= MAX_LEN else less,
        labels=tuple(labels),
    )
    return refusal([mistake])


def read_amount(option: str, written: str, kind: AmountKind, example: str = "", *, most: int | None = None) -> int:
    """Return the amount that an option was given, ``15B`` or ``24GiB``.

    Args:
        option: Its name.
        written: What was typed.
        kind: What is counted.
        example: What a person might mean, where nothing is near what was typed; a usual amount of the kind if empty.
        most: The largest that is taken; that of a config when None.

    Raises:
        ConfigError: If it is no amount, or out of range.
    """
    from tinylm_cli.config.amounts import EXPECTED, MAX_AMOUNT, parse_amount
    from tinylm_cli.config.assertion import FIELD_OF
    from tinylm_cli.config.diagnostic_codes import clip, diagnostic, refusal
    from tinylm_cli.config.fields import fields
    from tinylm_cli.config.suggestions import suggest_value

    try:
        return parse_amount(written, kind, most=MAX_AMOUNT if most is None else most)
    except ValueError as error:
        field = fields()[FIELD_OF[kind]]
        meant = suggest_value(written, field)
        code = "wrong-type" if EXPECTED[kind] in str(error) else "out-of-range"
        message = f"{option} {clip(written)}: {error}"
        remedy = f"did you mean {meant}?" if meant else f"for example {option} {example or field.example}"
        raise refusal([diagnostic(code, message, option, option_span(option, written), help=remedy)]) from error


def require_figure(name: str, known: Collection[str]) -> None:
    """Refuse the name of a figure that is not ``known``.

    Raises:
        ConfigError: If it is not; points at ``--figure``.
    """
    from tinylm_cli.config.assertion import unknown_figure
    from tinylm_cli.config.diagnostic_codes import refusal

    if name not in known:
        raise refusal([unknown_figure(name, known, option_span("--figure", name))])


def read_gpu(gpu: str | None, hardware: str | None, dtype: str) -> tuple[Accelerator | None, tuple[Accelerator, ...]]:
    """Return the GPU that is named, which multiplies ``dtype``, and all there are; nothing where none is named.

    Args:
        gpu: What ``--gpu`` was given.
        hardware: What ``--hardware`` was given.
        dtype: What ``--dtype`` says.

    Raises:
        ConfigError: If there is no such GPU, it does not multiply that type, or the file is wrong.
        InputError: If the file cannot be read.
    """
    if gpu is None:
        return None, ()
    from tinylm_cli.config.hardware import find_accelerator, load_accelerators

    table = load_accelerators(hardware)
    found = find_accelerator(table, gpu)
    _require_multiplied(found, dtype, gpu)
    return found, tuple(table.values())


def _require_multiplied(accelerator: Accelerator, dtype: str, gpu: str) -> None:
    """Refuse a type that an accelerator, typed as ``gpu``, does not multiply.

    Raises:
        ConfigError: If it does not; points at both options.
    """
    if dtype in accelerator.peaks:
        return
    from tinylm_cli.config.diagnostic_codes import diagnostic, refusal
    from tinylm_cli.config.hardware import GPU
    from tinylm_cli.errors import Label

    known = " or ".join(each for each in Storage if each in accelerator.peaks)
    mistake = diagnostic(
        "contradiction",
        f"{accelerator.name} does not multiply {dtype}",
        GPU,
        option_span(GPU, gpu),
        help=f"write --dtype {known}, or name another GPU: tinylm list --hardware shows what each multiplies",
        labels=(Label(option_span("--dtype", dtype), f"--dtype is {dtype}"),),
    )
    raise refusal([mistake])
