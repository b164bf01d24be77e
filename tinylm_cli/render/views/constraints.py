"""What a design was asked for, in words, and what is in the way of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from tinylm_cli.config.amounts import UNITS, stated
from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.units import amount, compact, integer, three_digits
from tinylm_cli.reports.design import AIMS, Aim, DesignReport, Obstacle
from tinylm_cli.reports.figures import AMOUNT_KINDS

_FAR = 1000
"""From how many times the other on an amount is told in its own unit."""


def aims_words(report: DesignReport) -> str:
    """Return what was asked for, and what followed from it."""
    return _listed(report.aims, report)


def obstacles_words(report: DesignReport) -> Iterator[str]:
    """Yield what is in the way of a design, and what comes nearest."""
    grid = f"the grid of the family {report.family}"
    if not any(each.alone for each in report.obstacles):
        yield f"Nothing in {grid} meets all of this."
        grid = "it"
    for each in report.obstacles:
        yield _sentence(each, report, grid)
        grid = "it"
    aimed = {aim.figure for aim in report.aims}
    if report.n_experts is None and {"total_params", "active_params"} <= aimed:
        yield f"Models of {report.family} have no experts: a token uses every parameter, and active is total."


def _sentence(obstacle: Obstacle, report: DesignReport, grid: str) -> str:
    aim, sizes = obstacle.aim, obstacle.sizes
    model = f"a model of {sizes.d_model} × {sizes.n_layers} with {_beside(aim, obstacle.nearest)}"
    asked, best = _words(aim, report), "least" if aim.most is not None else "most"
    others = [other for other in report.aims if other != aim]
    limits_alone = all(other.tolerance is None for other in others)
    if aim.tolerance is None and obstacle.alone:
        return f"Nothing in {grid} keeps to {asked}: the {best} is {model}."
    if aim.tolerance is None:
        beside = "within the other limits" if limits_alone else "with all that is wanted"
        return f"In the way is {asked}: {beside}, the {best} is {model}."
    if obstacle.alone:
        return f"Nothing in {grid} has {asked}: nearest is {model}."
    beside = "Within the limits" if limits_alone else f"With {_listed(others, report)}"
    return f"{beside}, nearest to {_wanted(aim)} {AIMS[aim.figure].words} is {model}."


def _listed(aims: Iterable[Aim], report: DesignReport) -> str:
    return ", ".join(_words(aim, report) for aim in aims)


def _words(aim: Aim, report: DesignReport) -> str:
    what = AIMS[aim.figure].words
    if aim.tolerance is None:
        where = f" on {report.accelerator}" if aim.origin == "gpu" else ""
        return f"at {'least' if aim.most is None else 'most'} {_wanted(aim)} {what}{where}"
    share = f"{aim.tolerance * 100:g}%"
    if aim.origin == "room":
        return f"within {share} of the most there is room for, {compact(int(aim.wanted))}"
    if aim.origin == "compute":
        return f"{compact(int(aim.wanted))} {what} ± {share}"
    return f"{_wanted(aim)} {what} ± {share}"


def _wanted(aim: Aim) -> str:
    """Return what was asked for in the unit it was typed in; the memory of a GPU, which nobody typed, rounded."""
    if aim.origin == "gpu":
        return binary_bytes(int(aim.wanted))
    unit, one = _unit(aim)
    if aim.unit == "tokens_per_second":
        return f"{aim.wanted:,.15g}{unit}"
    return f"{int(aim.wanted):,}{unit}" if one == 1 else f"{aim.wanted / one:.15g}{unit}"


def _beside(aim: Aim, value: float) -> str:
    """Return the value that comes nearest, in the unit of what was asked for, with digits enough to tell them apart."""
    unit, one = _unit(aim)
    if aim.unit == "params":
        return integer(int(value))
    if not aim.wanted / _FAR < value < aim.wanted * _FAR:
        return f"{three_digits(value)}{unit}" if aim.unit == "tokens_per_second" else amount(int(value), aim.unit)
    decimals = max(2 - math.floor(math.log10(value / one)), 0) if one > 1 or isinstance(value, float) else 0
    while f"{value / one:,.{decimals}f}" == f"{aim.wanted / one:,.{decimals}f}" and value != aim.wanted:
        decimals += 1
    return f"{value / one:,.{decimals}f}{unit}"


def _unit(aim: Aim) -> tuple[str, int]:
    """Return the unit that an aim is told in, as it stands after a number, and what one of it is."""
    if aim.unit == "tokens_per_second":
        return " tokens/s", 1
    kind, value = AMOUNT_KINDS[aim.unit], int(aim.wanted)
    words = binary_bytes(value) if aim.origin == "gpu" else stated(value, kind)
    unit = words.lstrip("0123456789., ")
    one = UNITS[kind].get(unit, 1)
    return {"count": unit, "size": f" {unit or 'B'}", "flops": f" {unit}FLOP"}[kind], one
