"""Constraints as text, and why they fail."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from string import ascii_letters

from tinylm_cli.config.amounts import UNITS, stated
from tinylm_cli.quantities import binary_bytes, counted
from tinylm_cli.render.units import amount, compact, integer, three_digits
from tinylm_cli.reports.constraint import Constraint, ConstraintFailure
from tinylm_cli.reports.design import DesignReport
from tinylm_cli.reports.figures import AMOUNT_KINDS, Unit

FIGURE_NOUNS = {
    "total_params": "parameters",
    "active_params": "active parameters",
    "forward_flops_per_token": "per token",
    "kv_cache_bytes": "of KV cache",
    "weights_bytes": "of weights",
    "train_bytes_per_gpu": "for training",
    "serve_bytes": "for serving",
    "decode_tokens_per_second": "of decoding",
}
"""Text after the value of each figure that can have a constraint."""

_FAR = 1000
"""Minimum ratio of two amounts at which each is shown in its own unit."""


def constraints_text(report: DesignReport) -> str:
    """Return every constraint of a report."""
    return _listed(report.constraints, report)


def failure_sentences(report: DesignReport) -> Iterator[str]:
    """Yield the constraints that fail, and the nearest model to each."""
    grid = f"the {report.family} grid"
    if not any(each.alone for each in report.failures):
        yield f"No model in {grid} satisfies every constraint."
    for each in report.failures:
        yield _sentence(each, report, grid)
    constrained = {each.figure for each in report.constraints}
    if report.n_experts is None and {"total_params", "active_params"} <= constrained:
        yield f"{report.family} models have no experts: every parameter is active."


def _sentence(failure: ConstraintFailure, report: DesignReport, grid: str) -> str:
    constraint, sizes = failure.constraint, failure.sizes
    best = "maximum" if constraint.relation == "at_least" else "minimum"
    model = f"{_near(constraint, failure.nearest)}, with d_model {sizes.d_model} and {counted(sizes.n_layers, 'layer')}"
    others = [each for each in report.constraints if each != constraint]
    has_targets = any(each.is_target for each in others)
    if failure.alone:
        nearest = "nearest" if constraint.is_target else best
        return f"No model in {grid} has {_text(constraint, report)}; the {nearest} is {model}."
    if not constraint.is_target:
        beside = "the models that meet the target" if has_targets else "the models within the other limits"
        return f"Too strict: {_text(constraint, report)}. Among {beside}, the {best} is {model}."
    beside = f"With {_listed(others, report)}" if has_targets else "Within the limits"
    return f"{beside}, the nearest to {_value(constraint)} {_noun(constraint)} is {model}."


def _listed(constraints: Iterable[Constraint], report: DesignReport) -> str:
    return ", ".join(_text(each, report) for each in constraints)


def _text(constraint: Constraint, report: DesignReport) -> str:
    if not constraint.is_target:
        where = f" on {report.accelerator}" if constraint.origin == "gpu_memory" else ""
        relation = "at least" if constraint.relation == "at_least" else "at most"
        return f"{relation} {_value(constraint)} {_noun(constraint)}{where}"
    assert constraint.tolerance is not None
    share = f"{constraint.tolerance * 100:g}%"
    if constraint.origin == "largest":
        return f"within {share} of the largest, {compact(int(constraint.value))}"
    if constraint.origin == "compute_budget":
        return f"{compact(int(constraint.value))} {FIGURE_NOUNS[constraint.figure]} ± {share}"
    return f"{_value(constraint)} {_noun(constraint)} ± {share}"


def _noun(constraint: Constraint) -> str:
    """Return the noun after the value of a constraint: ``1 parameter``, ``2 parameters``."""
    noun = FIGURE_NOUNS[constraint.figure]
    return noun.removesuffix("s") if constraint.unit == "params" and constraint.value == 1 else noun


def _value(constraint: Constraint) -> str:
    """Return the value in its typed unit; the memory of a GPU is rounded."""
    if constraint.origin == "gpu_memory":
        return binary_bytes(int(constraint.value))
    unit, factor = _unit(constraint)
    if constraint.unit == "tokens_per_second":
        return f"{constraint.value:,.15g}{unit}"
    if factor == 1:
        return f"{int(constraint.value):,}{unit}"
    stated_value = stated(int(constraint.value), AMOUNT_KINDS[_known(constraint)])
    return f"{stated_value.rstrip(ascii_letters)}{unit}"


def _near(constraint: Constraint, value: float) -> str:
    """Return the nearest value in the unit of the constraint, with enough digits to tell the two apart."""
    unit, factor = _unit(constraint)
    if constraint.unit == "params":
        return integer(int(value))
    if not constraint.value / _FAR < value < constraint.value * _FAR:
        if constraint.unit == "tokens_per_second":
            return f"{three_digits(value)}{unit}"
        return amount(int(value), _known(constraint))
    decimals = max(2 - math.floor(math.log10(value / factor)), 0) if factor > 1 or isinstance(value, float) else 0
    while (
        f"{value / factor:,.{decimals}f}" == f"{constraint.value / factor:,.{decimals}f}" and value != constraint.value
    ):
        decimals += 1
    return f"{value / factor:,.{decimals}f}{unit}"


def _unit(constraint: Constraint) -> tuple[str, int]:
    """Return the unit in which a constraint is shown, with the space before it, and its size in base units."""
    if constraint.unit == "tokens_per_second":
        return " tokens/s", 1
    kind, value = AMOUNT_KINDS[_known(constraint)], int(constraint.value)
    text = binary_bytes(value) if constraint.origin == "gpu_memory" else stated(value, kind)
    unit = text.lstrip("0123456789., ")
    factor = UNITS[kind].get(unit, 1)
    return {"count": unit, "size": f" {unit or 'B'}", "flops": f" {unit}FLOP"}[kind], factor


def _known(constraint: Constraint) -> Unit:
    assert constraint.unit in ("params", "bytes", "flops")
    return constraint.unit
