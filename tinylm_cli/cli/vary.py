"""``tinylm design --vary``: a field, the values it takes one after the other, and what they do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.workload_options import fitting_length, require_figure
from tinylm_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from tinylm_cli.analysis.figures import Conditions
    from tinylm_cli.reports.design import Varied

MOST_VARIANTS = 1000
_RANGE = re.compile(r"([0-9]{1,12})\.\.([0-9]{1,12})(?::([0-9]{1,12}))?")
_EXAMPLE = "for example --vary n_layers=4..24:4 or --vary norm.kind=layernorm,rmsnorm"


def varied_outcome(
    config: str | None,
    vary: list[str],
    overrides: list[str],
    figure: str | None,
    given: Conditions,
    format_: Format,
    output: Path | None,
) -> CommandOutput:
    """Return what values of one field or two do to the figures of a config; it fails where none makes a valid one.

    Args:
        config: Where it is read from.
        vary: What ``--vary`` was given.
        overrides: What is set before anything is varied.
        figure: The figure that is drawn; total_params when None.
        given: What figures assume.
        format_: How to write it.
        output: Where to.

    Raises:
        UsageError: If there is nothing to vary, or a field is set too.
        ConfigError: If the config is wrong as it is, reads no such length, or there is no such figure.
    """
    from tinylm_cli.analysis.design.sweep import sweep
    from tinylm_cli.analysis.figures import FIGURES
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
    _require_unset(varied, overrides)
    figure = figure or "total_params"
    mistakes = ErrorCollector()
    loaded = mistakes.read(load_config, config, overrides)
    if loaded is not None and not any(each.field == "max_len" for each in varied):
        mistakes.read(fitting_length, loaded, given.seq_len)
    mistakes.read(require_figure, figure, FIGURES)
    mistakes.settle()
    report = sweep(lambda values: load_config(config, [*overrides, *values]), varied, given, figure)
    found = any(each.figures is not None for each in report.variants)
    code = ExitCode.DONE if found else ExitCode.FAILED
    return CommandOutput(report, lambda: sweep_view(report), format_, output, exit_code=code)


def parse_vary(written: list[str]) -> tuple[Varied, ...]:
    """Return the fields to vary and their values.

    ``4..24:4`` is 4, 8, … up to 24; ``a,b`` is a, then b.

    Raises:
        UsageError: If it is neither, a field comes twice or has no name, or there are too many combinations.
    """
    from tinylm_cli.reports.design import Varied

    if len(written) > 2:
        raise UsageError("--vary takes one field or two", help="leave the others out, or fix them with --set")
    varied = tuple(Varied(*_parse(each)) for each in written)
    if len({each.field for each in varied}) < len(varied):
        raise UsageError(f"--vary is given {varied[0].field} twice", help="write all its values in one")
    count = 1
    for each in varied:
        count *= len(each.values)
    if count > MOST_VARIANTS:
        raise UsageError(
            f"--vary makes {count:,} configs, and {MOST_VARIANTS:,} are the most", help="take larger steps"
        )
    return varied


def _require_unset(varied: tuple[Varied, ...], overrides: list[str]) -> None:
    """Refuse a value of a field that takes others."""
    for override in overrides:
        field = override.partition("=")[0].strip()
        if any(each.field == field for each in varied):
            raise UsageError(f"--set {override} has no effect: --vary sets {field}", help="leave out one of them")


def _parse(written: str) -> tuple[str, tuple[str, ...]]:
    field, equals, values = written.partition("=")
    if not equals or not field.strip() or not field.isprintable() or not values.strip():
        raise UsageError(f"--vary {written}: expected field=values", help=_EXAMPLE)
    from tinylm_cli.config.fields import fields

    if field not in fields():
        from tinylm_cli.config.suggestions import suggest

        meant = suggest(field, fields())
        raise UsageError(
            f"--vary {written}: no field is called {field}",
            help=f"did you mean {meant}?" if meant else "tinylm schema --format markdown lists them all",
        )
    found = _RANGE.fullmatch(values.strip())
    if found is None:
        each = tuple(value.strip() for value in values.split(","))
        if not all(each) or ".." in values:
            raise UsageError(f"--vary {written}: expected a range or a list", help=_EXAMPLE)
        return field, each
    first, last, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if step == 0 or last < first:
        raise UsageError(f"--vary {written}: the range holds nothing", help=_EXAMPLE)
    if (last - first) // step >= MOST_VARIANTS:
        raise UsageError(f"--vary {written}: {MOST_VARIANTS:,} values are the most", help="take larger steps")
    return field, tuple(map(str, range(first, last + 1, step)))
