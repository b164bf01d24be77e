"""What may be asked of a model, as what must hold of its figures."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from tinylm_cli.analysis.chinchilla import optimal_params
from tinylm_cli.analysis.design.families import Family
from tinylm_cli.analysis.design.measures import DECODE_SECONDS
from tinylm_cli.analysis.design.search import Bound
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.reports.design import Aim, ComputeBudget, Origin, Purpose

DECODE_RATE = "decode_tokens_per_second"
"""What people ask of decoding; its step's time, of which it is the inverse, is what grows with a model."""

FITS: dict[Purpose, str] = {"training": "train_bytes_per_gpu", "serving": "serve_bytes"}
"""The figure that has to fit in a GPU's memory."""


class Goal(NamedTuple):
    """What is asked of a figure.

    Attributes:
        figure: A key of ``MEASURES``, or ``DECODE_RATE``.
        wanted: A value to come near, or the most that is allowed, or for ``DECODE_RATE`` the least.
        tolerance: How far the figure may be from it, as a share of it; None where ``wanted`` is a limit.
        origin: As in :class:`Aim`.
    """

    figure: str
    wanted: float
    tolerance: float | None = None
    origin: Origin = "asked"

    def aim(self) -> Aim:
        """Return what it makes a figure be."""
        figure, wanted, tolerance, origin = self
        if figure == DECODE_RATE:
            return Aim(figure, "tokens_per_second", wanted, None, wanted, None, origin)
        unit = FIGURES[figure].unit
        if tolerance is None:
            return Aim(figure, unit, wanted, None, 0, wanted, origin)
        margin = int(wanted * Fraction(str(tolerance)))
        return Aim(
            figure, unit, wanted, tolerance, wanted - margin, wanted + (0 if origin == "room" else margin), origin
        )


def memory_goal(accelerator: Accelerator, purpose: Purpose) -> Goal:
    """Return that a model fits in what a program finds of a GPU's memory."""
    return Goal(FITS[purpose], accelerator.capacity_bytes, origin="gpu")


def compute_budget(compute_flops: int, budget_tokens: int | None) -> ComputeBudget:
    """Return the size of model that a training of ``compute_flops`` makes.

    Training takes ``C = 6 · N · D`` operations for N parameters and D tokens. Where D is given, ``N = C / 6D``; else it
    is compute-optimal, ``D = 20 · N`` and so ``N = √(C / 120)``.

    Args:
        compute_flops: C.
        budget_tokens: D, or None.

    References:
        Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556
    """
    if budget_tokens is not None:
        params = max(compute_flops // (6 * budget_tokens), 1)
        return ComputeBudget(compute_flops, budget_tokens, params, budget_tokens, budget_tokens / params)
    params = max(optimal_params(compute_flops), 1)
    tokens = trained_tokens(compute_flops, params)
    return ComputeBudget(compute_flops, None, params, tokens, tokens / params)


def trained_tokens(compute_flops: int, params: int) -> int:
    """Return the tokens that compute trains a model of ``params`` on, at 6 operations for each and each parameter."""
    return compute_flops // (6 * params)


def compute_goal(budget: ComputeBudget, family: Family, tolerance: float) -> Goal:
    """Return that a model has the size that compute makes; with experts, in the parameters that a token uses."""
    routed = family.config.feed_forward.n_experts is not None
    return Goal("active_params" if routed else "total_params", budget.params, tolerance, "compute")


def bound_of(aim: Aim, batch_size: int) -> Bound:
    """Return what an aim makes a measure lie between."""
    if aim.figure == DECODE_RATE:
        return Bound(DECODE_SECONDS, 0, _slowest(batch_size, aim.wanted))
    return Bound(aim.figure, aim.least, aim.most)


def _slowest(batch_size: int, tokens_per_second: float) -> float:
    """Return the longest step that is as fast as that, however division rounds."""
    seconds = batch_size / tokens_per_second
    while batch_size / math.nextafter(seconds, math.inf) >= tokens_per_second:
        seconds = math.nextafter(seconds, math.inf)
    while batch_size / seconds < tokens_per_second:
        seconds = math.nextafter(seconds, 0)
    return seconds
