"""The workload that commands share: batch size, length, dtype, amounts and the GPU, with their checks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, get_args

from tinylm_cli.cli.options import TRAINING_PANEL, amount_option, as_typed, option, option_span
from tinylm_cli.config.choices import DEFAULT_DTYPE, DType
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic
from tinylm_cli.errors import ConfigError, Label, Span

if TYPE_CHECKING:
    from tinylm_cli.config.amounts import AmountKind
    from tinylm_cli.config.hardware import Accelerator
    from tinylm_cli.config.loader import LoadedConfig

SEQ_LEN = "--seq-len"


def batch_size_option(text: str) -> object:
    """Return ``--batch-size``."""
    return amount_option(text, "--batch-size", "count", maximum=10**9, example="8", metavar="B")


def seq_len_option(text: str) -> object:
    """Return ``--seq-len``."""
    return amount_option(text, SEQ_LEN, "length", example="8k", metavar="T")


BatchSizeOption = Annotated[int, batch_size_option("Micro-batch size: sequences per pass on one GPU.")]
SeqLenOption = Annotated[int | None, seq_len_option("Tokens per sequence, e.g. 8k.  [default: max_len]")]
DTypeOption = Annotated[
    DType | None,
    option(f"Data type of weights and activations.  [default: {DEFAULT_DTYPE}]", "--dtype", panel=TRAINING_PANEL),
]


def sequence_length(loaded: LoadedConfig, seq_len: int | None) -> int:
    """Return the tokens per sequence: the given number, or max_len.

    Raises:
        ConfigError: If it exceeds max_len; points at the option and, if the config states it, at max_len.
    """
    if seq_len is not None:
        require_length([loaded], seq_len, f"add --set max_len={seq_len}")
    return seq_len or loaded.config.max_len


def require_length(
    models: Sequence[LoadedConfig], seq_len: int, remedy: str, option: str = SEQ_LEN, span: Span | None = None
) -> None:
    """Check that a length does not exceed the max_len of any of ``models``.

    Args:
        models: The models.
        seq_len: Tokens per sequence.
        remedy: The alternative to a shorter length.
        option: The option that states the length.
        span: Its position, if it is only a part of the option's value.

    Raises:
        ConfigError: If it does; points at the option and at each max_len that a config states.
    """
    short = [each for each in models if each.config.max_len < seq_len]
    if short:
        which = " and ".join(dict.fromkeys(f"{each.config.max_len} of {each.name}" for each in short))
        labels = dict.fromkeys(label for each in short for label in source_labels(each, "max_len"))
        raise too_long(seq_len, which, min(each.config.max_len for each in short), remedy, labels, option, span)


def source_labels(loaded: LoadedConfig, field: str) -> tuple[Label, ...]:
    """Return a label at the position of a field's value; none if the config does not state it."""
    from tinylm_cli.config.schema import flatten

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
    """Return the error for a length beyond ``max_len``.

    Args:
        seq_len: Tokens per sequence.
        which: The value of ``max_len``, with the model or family that it belongs to.
        longest: The smallest ``max_len``.
        remedy: The alternative to a shorter length.
        labels: The positions of ``max_len``.
        option: As in :func:`require_length`.
        span: As in :func:`require_length`.
    """
    from tinylm_cli.config.base import MAX_LEN

    less, text = f"write {option} {longest} or less", as_typed(seq_len)
    tokens = "" if text == str(seq_len) else f" ({seq_len:,} tokens)"
    span = span or option_span(option, text)
    error = diagnostic(
        "contradiction",
        f"{option} {text}{tokens} is longer than max_len {which}",
        span.source,
        span,
        field="max_len",
        help=f"{less}, or {remedy}" if seq_len <= MAX_LEN else less,
        labels=tuple(labels),
    )
    return config_error([error])


def read_amount(option: str, written: str, kind: AmountKind, example: str = "", *, maximum: int | None = None) -> int:
    """Parse the amount of an option, such as ``15B``.

    Args:
        option: Its name.
        written: The value as typed.
        kind: The kind of amount.
        example: An example for the error; if empty, a typical amount of the kind.
        maximum: The largest value; None for the largest amount of a config.

    Raises:
        ConfigError: If it is not an amount, or out of range.
    """
    from tinylm_cli.config.amounts import EXPECTED, MAX_AMOUNT, parse_amount
    from tinylm_cli.config.assertion import FIELD_OF
    from tinylm_cli.config.fields import fields
    from tinylm_cli.config.suggestions import suggest_value

    try:
        return parse_amount(written, kind, most=MAX_AMOUNT if maximum is None else maximum)
    except ValueError as error:
        field = fields()[FIELD_OF[kind]]
        suggestion = suggest_value(written, field)
        code = "wrong-type" if EXPECTED[kind] in str(error) else "out-of-range"
        message = f"{option} {clip(written)}: {error}"
        remedy = f"did you mean {suggestion}?" if suggestion else f"for example {option} {example or field.example}"
        span = option_span(option, written)
        raise config_error([diagnostic(code, message, span.source, span, help=remedy)]) from error


def require_figure(name: str, known: Collection[str]) -> None:
    """Check that a figure is ``known``.

    Raises:
        ConfigError: If it is not; points at ``--figure``.
    """
    from tinylm_cli.config.assertion import unknown_figure

    if name not in known:
        raise config_error([unknown_figure(name, known, option_span("--figure", name))])


def read_gpu(
    gpu: str | None, hardware: str | None, dtype: str | None, default: str = DEFAULT_DTYPE
) -> tuple[Accelerator | None, tuple[Accelerator, ...]]:
    """Return the named GPU and all known GPUs; None and no GPUs if none is named.

    Args:
        gpu: The value of ``--gpu``.
        hardware: The value of ``--hardware``.
        dtype: The value of ``--dtype``; None for ``default``.
        default: The dtype without the option.

    Raises:
        ConfigError: If no GPU has that name, it does not support matmuls in that dtype, or the file is invalid.
        InputError: If the file cannot be read.
    """
    if gpu is None:
        return None, ()
    from tinylm_cli.config.hardware import find_accelerator, load_accelerators

    table, place = load_accelerators(hardware), option_span("--gpu", gpu)
    accelerator = find_accelerator(table, gpu, place)
    if (dtype or default) in accelerator.peaks:
        return accelerator, tuple(table.values())

    supported = " or ".join(each for each in get_args(DType) if each in accelerator.peaks)
    error = diagnostic(
        "contradiction",
        f"{accelerator.name} does not support {dtype or default} matmuls"
        + ("" if dtype else f", and --dtype defaults to {default}"),
        place.source,
        place,
        help=f"write --dtype {supported}, or name another GPU: tinylm list --hardware shows the dtypes of each",
        labels=() if dtype is None else (Label(option_span("--dtype", dtype), f"--dtype is {dtype}"),),
    )
    raise config_error([error])
