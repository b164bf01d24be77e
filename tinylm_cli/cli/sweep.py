"""``tinylm sweep``: the figures of a config while one or two of its fields change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Annotated

import typer

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import (
    OUTPUT_PANEL,
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
    complete_config,
    complete_set,
)
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.training_options import OptimizerOption, RecomputeOption
from tinylm_cli.cli.workload_options import (
    BatchSizeOption,
    SeqLenOption,
    Storage,
    StorageOption,
    fitting_length,
    require_figure,
)
from tinylm_cli.errors import ExitCode, UsageError
from tinylm_cli.reports.sweep import SweptField

MAX_POINTS = 1000
"""Configs in one sweep."""

_RANGE = re.compile(r"([0-9]{1,12})\.\.([0-9]{1,12})(?::([0-9]{1,12}))?")
_EXAMPLE = "for example n_layers=4..24:4 or norm.kind=layernorm,rmsnorm"


def sweep(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="A preset or published model, a YAML file, a folder with a config.json, or - for standard input.",
            autocompletion=complete_config,
        ),
    ],
    fields: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUES...",
            help="One or two fields, each with a range, n_layers=4..24:4, or a list, norm.kind=layernorm,rmsnorm.",
            autocompletion=complete_set,
        ),
    ],
    figure: Annotated[
        str, typer.Option(metavar="NAME", help="The figure to chart.", rich_help_panel=OUTPUT_PANEL)
    ] = "total_params",
    batch_size: BatchSizeOption = 1,
    seq_len: SeqLenOption = None,
    dtype: StorageOption = Storage.bfloat16,
    optimizer: OptimizerOption = "adamw",
    recompute: RecomputeOption = "none",
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> CommandOutput:
    """Vary one or two fields of a config; show how figures change.

    Every combination of values is one row; an invalid one says why. Exits with 1 if none is valid.

    \b
    Examples:
      tinylm sweep small n_layers=4..24:4
      tinylm sweep small n_layers=4,8 d_model=256,512
      tinylm sweep gpt2 d_ff=2048,3072 --figure serve_bytes
    """
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.analysis.sweep import sweep as swept
    from tinylm_cli.interop.load import parse_written, read_written
    from tinylm_cli.render.views.sweep import sweep_view

    overrides = set_ or []
    swept_fields = parse_fields(fields, config)
    _require_not_set(swept_fields, overrides)
    mistakes = ErrorCollector()
    written = mistakes.read(read_written, config)
    loaded = mistakes.read(parse_written, written, overrides) if written is not None else None
    if loaded is not None and not any(each.name == "max_len" for each in swept_fields):
        mistakes.read(fitting_length, loaded, seq_len)
    mistakes.read(require_figure, figure, FIGURES)
    mistakes.settle()
    assert written is not None
    setups = Setups.of(
        batch_size=batch_size, seq_len=seq_len, dtype=dtype.value, optimizer=optimizer, recompute=recompute
    )
    report = swept(lambda more: parse_written(written, [*overrides, *more]), swept_fields, setups, figure)
    valid = any(each.figures is not None for each in report.points)
    code = ExitCode.DONE if valid else ExitCode.FAILED
    return CommandOutput(report, lambda: sweep_view(report), format_, output, exit_code=code, table=table)


def parse_fields(written: Sequence[str], config: str) -> tuple[SweptField, ...]:
    """Return the swept fields and their values.

    ``4..24:4`` is 4, 8, … up to 24; ``a,b`` is a, then b.

    Args:
        written: One ``key=values`` for each field.
        config: The word before them.

    Raises:
        UsageError: If a word is neither, a field is unknown or comes twice, or there are too many combinations.
    """
    from tinylm_cli.config.fields import fields

    if config.partition("=")[0] in fields():
        raise UsageError(f"{config} is not a config", help=f"name the config first: tinylm sweep small {config}")
    if len(written) > 2:
        raise UsageError("sweep takes one or two fields", help="fix the others with --set")
    parsed = tuple(SweptField(*_parse(each)) for each in written)
    if len({each.name for each in parsed}) < len(parsed):
        raise UsageError(f"{parsed[0].name} is given twice", help="write all its values in one list")
    points = prod(len(each.values) for each in parsed)
    if points > MAX_POINTS:
        raise UsageError(f"that makes {points:,} configs; at most {MAX_POINTS:,} are swept", help="take larger steps")
    return parsed


def _require_not_set(swept_fields: Sequence[SweptField], overrides: Sequence[str]) -> None:
    """Refuse ``--set`` of a swept field."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        if any(each.name == key for each in swept_fields):
            raise UsageError(f"--set {override} has no effect: {key} is swept", help="leave out one of them")


def _parse(written: str) -> tuple[str, tuple[str, ...]]:
    """Return the field and the values of one ``key=values``."""
    from tinylm_cli.config.fields import fields

    key, equals, values = written.partition("=")
    if not equals or not key.strip() or not key.isprintable() or not values.strip():
        raise UsageError(f"{written or 'an empty word'}: expected key=values", help=_EXAMPLE)
    if key not in fields():
        from tinylm_cli.config.suggestions import suggest

        meant = suggest(key, fields())
        raise UsageError(
            f"{written}: unknown field {key}",
            help=f"did you mean {meant}?" if meant else "tinylm schema --format markdown lists the fields",
        )
    found = _RANGE.fullmatch(values.strip())
    if found is None:
        listed = tuple(value.strip() for value in values.split(","))
        if not all(listed) or ".." in values:
            raise UsageError(f"{written}: expected a range or a list", help=_EXAMPLE)
        return key, listed
    first, last, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if step == 0 or last < first:
        raise UsageError(f"{written}: the range is empty", help=_EXAMPLE)
    if (last - first) // step >= MAX_POINTS:
        raise UsageError(f"{written}: at most {MAX_POINTS:,} values are swept", help="take larger steps")
    return key, tuple(map(str, range(first, last + 1, step)))
