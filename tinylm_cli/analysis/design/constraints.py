"""Constraints on the figures of a model."""

from __future__ import annotations

import math
from dataclasses import replace

from tinylm_cli.analysis.chinchilla import optimal_params
from tinylm_cli.analysis.design import DEFAULT_TOLERANCE
from tinylm_cli.analysis.design.families import DesignFamily
from tinylm_cli.analysis.design.measures import DECODE_SECONDS, TRAIN_BYTES
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.reports.choices import Purpose
from tinylm_cli.reports.constraint import Constraint, Origin
from tinylm_cli.reports.design import ComputeBudget

DECODE_RATE = "decode_tokens_per_second"
"""Decode throughput, summed over the batch: the batch size over ``DECODE_SECONDS``."""

TARGETS = ("total_params", "active_params")
"""The figures that usually have a target instead of an upper bound."""

FITS: dict[Purpose, str] = {"training": TRAIN_BYTES, "serving": "serve_bytes"}
"""The figure that GPU memory limits, by purpose."""


def at_most(figure: str, value: float, origin: Origin = "option") -> Constraint:
    """Return an upper bound on a figure."""
    return Constraint(figure, FIGURES[figure].unit, "at_most", value, origin=origin)


def within(figure: str, target: float, tolerance: float, origin: Origin = "option") -> Constraint:
    """Return a target for a figure, with the largest relative distance from it."""
    return Constraint(figure, FIGURES[figure].unit, "within", target, tolerance, origin)


def decodes_at_least(tokens_per_second: float) -> Constraint:
    """Return a lower bound on the decode throughput, summed over the batch."""
    return Constraint(DECODE_RATE, "tokens_per_second", "at_least", tokens_per_second)


def constraint_on(figure: str, value: float, tolerance: float = DEFAULT_TOLERANCE) -> Constraint:
    """Return the usual constraint on a figure: a target for a size, a minimum for the decoding rate, else a maximum."""
    if figure == DECODE_RATE:
        return decodes_at_least(value)
    return within(figure, value, tolerance) if figure in TARGETS else at_most(figure, value)


def fits(accelerator: Accelerator, purpose: Purpose) -> Constraint:
    """Return the constraint that a model fits in the usable memory of a GPU."""
    return at_most(FITS[purpose], accelerator.capacity_bytes, "gpu_memory")


def compute_budget(compute_flops: int, train_tokens: int | None) -> ComputeBudget:
    """Return the model size that a compute budget affords.

    Training takes ``C = 6 · N · D`` FLOPs for N parameters and D tokens. With D given, ``N = C / 6D``; otherwise the
    size is compute-optimal, ``D = 20 · N`` and so ``N = √(C / 120)``.

    Args:
        compute_flops: C.
        train_tokens: D, or None.

    References:
        Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556
    """
    if train_tokens is not None:
        params = max(compute_flops // (6 * train_tokens), 1)
        return ComputeBudget(compute_flops, train_tokens, params, train_tokens, train_tokens / params)
    params = max(optimal_params(compute_flops), 1)
    tokens = trained_tokens(compute_flops, params)
    return ComputeBudget(compute_flops, None, params, tokens, tokens / params)


def trained_tokens(compute_flops: int, params: int) -> int:
    """Return the tokens on which a budget trains ``params`` parameters, at 6 FLOPs per parameter and token."""
    return compute_flops // (6 * params)


def compute_target(budget: ComputeBudget, family: DesignFamily, tolerance: float) -> Constraint:
    """Return the model size that a compute budget affords, as a target; with experts, in active parameters."""
    routed = family.config.feed_forward.n_experts is not None
    return within("active_params" if routed else "total_params", budget.params, tolerance, "compute_budget")


def searchable(constraint: Constraint, batch_size: int) -> Constraint:
    """Convert a constraint to one on a measure, which is non-decreasing: a throughput becomes a maximum step time."""
    if constraint.figure != DECODE_RATE:
        return constraint
    seconds = _longest_step(batch_size, constraint.value)
    return replace(constraint, figure=DECODE_SECONDS, unit="seconds", relation="at_most", value=seconds)


def _longest_step(batch_size: int, tokens_per_second: float) -> float:
    """Return the longest step time that reaches the throughput after rounding."""
    seconds = batch_size / tokens_per_second
    while batch_size / math.nextafter(seconds, math.inf) >= tokens_per_second:
        seconds = math.nextafter(seconds, math.inf)
    while batch_size / seconds < tokens_per_second:
        seconds = math.nextafter(seconds, 0)
    return seconds
