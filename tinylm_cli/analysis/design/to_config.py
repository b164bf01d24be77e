"""A design as a config, with its constraints as ``nominal_params`` and a budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinylm_cli.analysis.budget_check import LIMITS
from tinylm_cli.analysis.design.measures import TRAIN_BYTES
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.amounts import parse_amount, rounded_down
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.design import Design, DesignReport

_DEPENDENT = {"max_kv_bytes", "max_train_bytes_per_gpu", "max_flops_per_token"}
"""Limits of a budget on figures that depend on more than the config."""


def to_config(design: Design, report: DesignReport) -> ModelConfig:
    """Return a design as a config, with the target as nominal_params and the bounds as its budget.

    A budget assumes training on one GPU with AdamW and without recomputation; under other conditions its memory limit
    is omitted. The memory of a GPU is rounded down to three digits, or to as many as the design needs.
    """
    sizes = (each for each in report.constraints if each.figure == "total_params" and each.origin == "option")
    target = next(sizes, None)
    budget = dict(_limits(design, report))
    if target is not None:
        budget["nominal_tolerance"] = target.tolerance
    if budget.keys() & _DEPENDENT:
        budget |= _conditions(report)
    nominal = None if target is None else int(target.value)
    return ModelConfig.model_validate({**design.config, "nominal_params": nominal, "budget": budget})


def _limits(design: Design, report: DesignReport) -> Iterator[tuple[str, Any]]:
    """Yield the bounds as budget limits."""
    default = TrainingSetup()
    plain = (report.optimizer, report.recompute, report.n_gpus) == (default.optimizer, default.recompute, 1)
    for field, figure in LIMITS.items():
        stated = [
            each for each in report.constraints if each.figure == figure and each.origin in ("option", "gpu_memory")
        ]
        if not stated or figure == "total_params" or (figure == TRAIN_BYTES and not plain):
            continue
        tightest = min(stated, key=lambda each: each.upper or 0)
        limit = int(tightest.upper or 0)
        yield field, limit if tightest.origin == "option" else _short_limit(limit, figure, design.figures[figure])


def _short_limit(limit: int, figure: str, value: int) -> int:
    """Return the limit rounded down to the fewest digits, from 3 to 5, that are at least ``value``."""
    kind = FIGURES[figure].kind
    short = (parse_amount(rounded_down(limit, kind, digits), kind) for digits in (3, 4, 5))
    return next((each for each in short if value <= each), limit)


def _conditions(report: DesignReport) -> dict[str, Any]:
    """Return the non-default conditions under which a budget is measured."""
    default = TrainingSetup()
    conditions = {
        "batch_size": (report.batch_size, default.batch_size),
        "seq_len": (report.seq_len, report.max_len),
        "dtype": (report.dtype, default.dtype),
    }
    return {name: value for name, (value, usual) in conditions.items() if value != usual}
