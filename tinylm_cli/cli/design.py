"""``tinylm design``: from targets to configs, and what varying a field does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinylm_cli.cli.conditions import (
    SeqLenOption,
    Storage,
    StorageOption,
    fitting_length,
    read_amount,
    require_figure,
    too_long,
)
from tinylm_cli.cli.designed import OPTIONS, TOLERANCE, designed_outcome
from tinylm_cli.cli.gathered import Gathered
from tinylm_cli.cli.options import (
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
    complete_config,
    complete_set,
    number,
)
from tinylm_cli.cli.outcome import Format, Outcome
from tinylm_cli.config.amounts import AmountKind
from tinylm_cli.config.source import option_span
from tinylm_cli.errors import Label, UsageError

if TYPE_CHECKING:
    from tinylm_cli.analysis.figures import Conditions


class Family(StrEnum):
    """Templates; their names are those of ``analysis.design.families``."""

    course = "course"
    gpt2 = "gpt2"
    llama = "llama"
    qwen3 = "qwen3"
    gemma2 = "gemma2"
    mixtral = "mixtral"
    qwen3_moe = "qwen3-moe"


def _option(option: str, kind: AmountKind, words: str) -> typer.models.OptionInfo:
    metavar = {"count": "COUNT", "size": "SIZE", "flops": "FLOPS"}[kind]
    found: typer.models.OptionInfo = typer.Option(option, metavar=metavar, help=words, show_default=False)
    return found


def design(
    params: Annotated[str | None, _option("--params", "count", "Parameters to come near, such as 125M.")] = None,
    active_params: Annotated[
        str | None, _option("--active-params", "count", "Parameters that a token uses, to come near.")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            parser=number("--tolerance", least=0, most=1, example="0.02"),
            help="How far from those a model may be.",
        ),
    ] = TOLERANCE,
    max_flops_per_token: Annotated[
        str | None, _option("--max-flops-per-token", "flops", "Most operations of a forward pass for each token.")
    ] = None,
    max_kv_bytes: Annotated[
        str | None, _option("--max-kv-bytes", "size", "Most bytes of keys and values kept of a sequence.")
    ] = None,
    max_weights_bytes: Annotated[str | None, _option("--max-weights-bytes", "size", "Most bytes of weights.")] = None,
    family: Annotated[
        Family, typer.Option(metavar="NAME", help=f"What kind of model: {', '.join(Family)}.")
    ] = Family.course,
    vocab_size: Annotated[
        int | None,
        typer.Option(metavar="V", min=1, max=10**8, help="Tokens; the family's if absent.", show_default=False),
    ] = None,
    max_len: Annotated[
        int | None,
        typer.Option(metavar="T", min=1, max=10**9, help="Longest sequence, likewise.", show_default=False),
    ] = None,
    tie: Annotated[
        bool | None, typer.Option("--tie/--no-tie", help="Share the embedding's table, likewise.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="How many to show.")] = 10,
    front: Annotated[bool, typer.Option("--front", help="Show only those that no other match beats.")] = False,
    pick: Annotated[
        int | None,
        typer.Option(metavar="RANK", min=1, max=10_000, help="Write that one as YAML; 1 with -o.", show_default=False),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="NAME|PATH",
            help="The config that --vary varies.",
            autocompletion=complete_config,
            show_default=False,
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            help="Try values of a field, 4..24:4 or 4,8,12; of two, if given twice.",
            autocompletion=complete_set,
            show_default=False,
        ),
    ] = None,
    figure: Annotated[str, typer.Option(metavar="NAME", help="The figure that --vary draws.")] = "total_params",
    seq_len: SeqLenOption = None,
    dtype: StorageOption = Storage.bfloat16,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> Outcome:
    """Find the models that meet a target, the best first.

    Searches every shape of a stated grid, none left out, for those near a number of parameters and within limits; with
    limits alone, for the largest within them. With -o or --pick, one of them is written as a config instead of the
    table. Exits with 1 where there is none, and says what is in the way. docs/design.md explains grid and ranking.

    With --vary, shows what one field or two of an existing config do to its figures.

    \b
    Examples:
      tinylm design --params 125M
      tinylm design --params 8B --max-kv-bytes 4GiB
      tinylm design --family llama --max-weights-bytes 16GB
      tinylm design --params 125M -o mine.yaml
      tinylm design --config small --vary n_layers=4..24:4
    """
    from tinylm_cli.analysis.design.analyse import Goal, analyse_design
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.space import Space
    from tinylm_cli.analysis.figures import Conditions

    targets = [
        (name, written, share)
        for name, written, share in (
            ("total_params", params, tolerance),
            ("active_params", active_params, tolerance),
            ("forward_flops_per_token", max_flops_per_token, None),
            ("kv_cache_bytes", max_kv_bytes, None),
            ("weights_bytes", max_weights_bytes, None),
        )
        if written is not None
    ]
    given = Conditions(seq_len=seq_len, dtype=dtype.value)
    if vary or config is not None:
        if (
            targets
            or pick is not None
            or front
            or vocab_size
            or max_len
            or tie is not None
            or family is not Family.course
        ):
            raise UsageError("--vary has no targets", help="leave out either --vary or what a design should meet")
        return _vary(config, vary or [], set_ or [], figure, given, format_, output)._replace(table=table)
    if set_:
        raise UsageError("--set changes a --config that is varied", help="write a design with -o, and change that")
    if not targets:
        raise UsageError("there is nothing to aim at", help="for example tinylm design --params 125M")
    template = FAMILIES[family.value]
    length = max_len or template.max_len
    mistakes = Gathered()
    wanted = [mistakes.read(read_amount, OPTIONS[name], written, _kind(name)) for name, written, _ in targets]
    mistakes.read(_require_length, seq_len, family, max_len, length)
    mistakes.settle()
    goals = [
        Goal(name, each, share) for (name, _, share), each in zip(targets, wanted, strict=True) if each is not None
    ]
    tied = template.tie_weights if tie is None else tie
    space = Space(template, vocab_size or template.vocab_size, length, tied, given)
    report = analyse_design(space, goals, top=max(top, pick or 1), tolerance=tolerance, front_only=front)
    return designed_outcome(report, pick, format_, output)._replace(table=table)


def _kind(name: str) -> AmountKind:
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.reports.figures import AMOUNT_KINDS

    return AMOUNT_KINDS[FIGURES[name].unit]


def _require_length(seq_len: int | None, family: Family, max_len: int | None, longest: int) -> None:
    """Refuse a length that no design reads, which is the family's unless ``max_len`` is given."""
    if seq_len is not None and seq_len > longest:
        place = option_span("--max-len", str(max_len))
        labels = (Label(place, f"max_len is {max_len}"),) if max_len is not None else ()
        which = str(longest) if max_len is not None else f"{longest} of the family {family}"
        raise too_long(seq_len, which, longest, f"{'write' if max_len else 'add'} --max-len {seq_len}", labels)


def _vary(
    config: str | None,
    vary: list[str],
    overrides: list[str],
    figure: str,
    given: Conditions,
    format_: Format,
    output: Path | None,
) -> Outcome:
    from tinylm_cli.analysis.design.sweep import sweep
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.cli.vary import parse_vary
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.sweep import sweep_view

    if config is None or not vary:
        raise UsageError(
            "--vary needs a --config to vary" if vary else "a --config is here to be varied",
            help="for example tinylm design --config small --vary n_layers=4..24:4",
        )
    if config == "-":
        raise UsageError("--vary reads its config many times", help="name a file instead of standard input")
    varied = parse_vary(vary)
    mistakes = Gathered()
    loaded = mistakes.read(load_config, config, overrides)
    if loaded is not None and not any(each.field == "max_len" for each in varied):
        mistakes.read(fitting_length, loaded, given.seq_len)
    mistakes.read(require_figure, figure, FIGURES)
    mistakes.settle()
    report = sweep(lambda values: load_config(config, [*overrides, *values]), varied, given)
    return Outcome(report, lambda: sweep_view(report, figure), format_, output)
