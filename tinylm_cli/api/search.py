"""Searches over models: a sweep of fields."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tinylm_cli.api.model import Model, load
from tinylm_cli.errors import UsageError
from tinylm_cli.render.report import Report
from tinylm_cli.reports.memory import Optimizer, Recompute
from tinylm_cli.reports.sweep import SweepReport, SweptField


def sweep(
    model: Model | str | os.PathLike[str],
    fields: str | Iterable[str] | Mapping[str, Iterable[Any]],
    *,
    figure: str = "total_params",
    batch_size: int = 1,
    seq_len: int | None = None,
    dtype: str = "bfloat16",
    optimizer: Optimizer = "adamw",
    recompute: Recompute = "none",
) -> Report[SweepReport]:
    """Return the figures of a model while one or two of its fields change; see ``tinylm sweep``.

    Args:
        model: A model, or what :func:`load` takes.
        fields: ``"n_layers=4..24:4"``, two of these, or ``{"n_layers": range(4, 25, 4)}``.
        figure: The figure to chart.
        batch_size: Sequences that every figure assumes.
        seq_len: Tokens in each; None for ``max_len``.
        dtype: Storage type of weights, activations and caches.
        optimizer: What updates the weights.
        recompute: What the backward pass computes again.

    Raises:
        ConfigError: If the config is wrong before any field changes; a wrong combination is a point with its error.
        UsageError: If a field or the figure is unknown, a field has no values, or there are too many combinations.
    """
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.analysis.sweep import sweep as swept
    from tinylm_cli.config.field_values import parse_field_values
    from tinylm_cli.config.suggestions import suggest
    from tinylm_cli.render.views.sweep import sweep_view

    base = model if isinstance(model, Model) else load(model)
    if figure not in FIGURES:
        meant = suggest(figure, FIGURES)
        raise UsageError(f"there is no figure {figure}", help=f"did you mean {meant}?" if meant else "")
    swept_fields = tuple(SweptField(*each) for each in parse_field_values(_values(fields)).items())
    setups = Setups.of(batch_size=batch_size, seq_len=seq_len, dtype=dtype, optimizer=optimizer, recompute=recompute)
    report = swept(lambda more: base.with_changes((*base.changes, *more)).loaded, swept_fields, setups, figure)
    return Report(report, lambda: sweep_view(report))


def _values(fields: str | Iterable[str] | Mapping[str, Iterable[Any]]) -> list[str]:
    """Return each swept field as ``tinylm sweep`` takes it."""
    if isinstance(fields, str):
        return [fields]
    if not isinstance(fields, Mapping):
        return list(fields)
    from tinylm_cli.config.yaml_writer import scalar

    return [f"{key}={','.join(map(scalar, values))}" for key, values in fields.items()]
