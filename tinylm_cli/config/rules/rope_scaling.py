"""How rotation stretches: each way with the numbers it needs, in order and as many as there are pairs."""

from __future__ import annotations

from functools import partial
from typing import Any

from tinylm_cli.config.base import MAX_FACTOR
from tinylm_cli.config.rules.rotary_pairs import HEAD, pairs
from tinylm_cli.config.rules.rule import Problem, Rule
from tinylm_cli.quantities import counted


def _scaling_has_its_factor(
    kind: str, scaling: str, scaling_factor: float | None, original_max_len: int | None, max_len: int
) -> Problem | None:
    if kind != "rope" or scaling_factor is not None or scaling in ("none", "longrope"):
        return None
    factor = max(max_len / original_max_len, 1.0) if original_max_len is not None else 8.0
    return Problem(
        "needs-field",
        ("position.scaling", "position.scaling_factor"),
        f"position.scaling {scaling} needs position.scaling_factor, how many times longer it makes sequences",
        f"write position.scaling_factor: {min(factor, MAX_FACTOR):g}, or position.scaling: none",
    )


def _scaling_has_its_length(
    kind: str, scaling: str, original_max_len: int | None, scaling_factor: float | None, max_len: int
) -> Problem | None:
    if kind != "rope" or original_max_len is not None or scaling in ("none", "linear"):
        return None
    return Problem(
        "needs-field",
        ("position.scaling", "position.original_max_len"),
        f"position.scaling {scaling} needs position.original_max_len, the length it stretches from",
        f"write position.original_max_len: {max(int(max_len / (scaling_factor or 1.0)), 1)},"
        " or as many tokens as it was first trained on",
    )


def _wavelengths_are_ordered(low: float, high: float, scaling: str) -> Problem | None:
    if scaling != "llama3" or low < high:
        return None
    return Problem(
        "contradiction",
        ("position.low_freq_factor", "position.high_freq_factor"),
        f"position.low_freq_factor {low:g} must be below position.high_freq_factor {high:g}",
        "write position.low_freq_factor: 1.0 and position.high_freq_factor: 4.0",
    )


def _turns_are_ordered(slow: float, fast: float, scaling: str) -> Problem | None:
    if scaling != "yarn" or slow < fast:
        return None
    return Problem(
        "contradiction",
        ("position.beta_slow", "position.beta_fast"),
        f"position.beta_slow {slow:g} must be below position.beta_fast {fast:g}",
        "write position.beta_slow: 1.0 and position.beta_fast: 32.0",
    )


def _longrope_has_its_factors(
    scaling: str, short: tuple[float, ...] | None, long: tuple[float, ...] | None, fraction: float, *head: Any
) -> Problem | None:
    factors = {"position.short_factors": short, "position.long_factors": long}
    missing = [name for name, given in factors.items() if given is None]
    n_pairs = pairs(fraction, *head)
    if scaling != "longrope" or not missing or not n_pairs:
        return None
    wanted = counted(n_pairs, "number")
    return Problem(
        "needs-field",
        ("position.scaling", *missing),
        f"position.scaling longrope needs {' and '.join(missing)}, a number for each of {n_pairs} rotated pairs",
        f"write {' and '.join(f'{name} as a list of {wanted}' for name in missing)}",
    )


def _factors_fit(
    name: str, scaling: str, factors: tuple[float, ...] | None, fraction: float, *head: Any
) -> Problem | None:
    n_pairs = pairs(fraction, *head)
    if scaling != "longrope" or factors is None or not n_pairs or len(factors) == n_pairs:
        return None
    turning = f"the {2 * n_pairs} dimensions that rotate make {counted(n_pairs, 'pair')}"
    return Problem(
        "contradiction",
        (name, "position.scaling"),
        f"{name} has {counted(len(factors), 'number')}, and {turning}",
        f"write {name} as a list of {counted(n_pairs, 'number')}",
    )


RULES = (
    Rule(
        ("position.kind", "position.scaling", "position.scaling_factor", "position.original_max_len", "max_len"),
        _scaling_has_its_factor,
    ),
    Rule(
        ("position.kind", "position.scaling", "position.original_max_len", "position.scaling_factor", "max_len"),
        _scaling_has_its_length,
    ),
    Rule(("position.low_freq_factor", "position.high_freq_factor", "position.scaling"), _wavelengths_are_ordered),
    Rule(("position.beta_slow", "position.beta_fast", "position.scaling"), _turns_are_ordered),
    Rule(
        ("position.scaling", "position.short_factors", "position.long_factors", "position.rotary_fraction", *HEAD),
        _longrope_has_its_factors,
    ),
    *(
        Rule(("position.scaling", name, "position.rotary_fraction", *HEAD), partial(_factors_fit, name))
        for name in ("position.short_factors", "position.long_factors")
    ),
)
