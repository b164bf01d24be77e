"""A design as a config that carries what was asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinylm_cli.analysis.budget_check import LIMITS
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.design import Design, DesignReport


def written(design: Design, report: DesignReport) -> ModelConfig:
    """Return a design as a config, known by the size that was asked for, with a budget of what was asked.

    Budgets hold training to AdamW without recomputation, so under other conditions its memory is no part of one.
    """
    stated = next((aim for aim in report.aims if aim.figure == "total_params" and aim.origin == "asked"), None)
    budget = dict(_limits(report))
    if stated is not None:
        budget["nominal_tolerance"] = stated.tolerance
    if budget.keys() & _MEASURED:
        budget |= _conditions(report)
    nominal = None if stated is None else stated.wanted
    return ModelConfig.model_validate({**design.config, "nominal_params": nominal, "budget": budget})


_MEASURED = {"max_kv_bytes", "max_train_bytes_per_gpu", "max_flops_per_token"}
"""Limits on what depends on more than the config."""


def _limits(report: DesignReport) -> Iterator[tuple[str, Any]]:
    """Yield the limits of a budget that say what was asked."""
    plain = (report.optimizer, report.recompute) == (TrainingSetup().optimizer, TrainingSetup().recompute)
    for field, figure in LIMITS.items():
        asked = [aim.most for aim in report.aims if aim.figure == figure and aim.origin in ("asked", "gpu")]
        if figure == "total_params" or not asked or (figure == "train_bytes_per_gpu" and not plain):
            continue
        yield field, min(most for most in asked if most is not None)


def _conditions(report: DesignReport) -> dict[str, Any]:
    """Return under what conditions a budget is measured, those left out that it assumes."""
    given = TrainingSetup()
    said = {
        "batch_size": (report.batch_size, given.batch_size),
        "seq_len": (report.seq_len, report.max_len),
        "dtype": (report.dtype, given.dtype),
    }
    return {name: value for name, (value, assumed) in said.items() if value != assumed}
