"""The figures of a config at every combination of values of one or two fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from tinylm_cli.analysis.figures import FIGURES, Conditions
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import AnalysisError, ConfigError
from tinylm_cli.reports.sweep import SweepPoint, SweepReport, SweptField

LoadConfig = Callable[[Sequence[str]], LoadedConfig]
"""Returns the config to sweep, with the given ``key=value`` overrides applied."""


def sweep(
    load_config: LoadConfig, fields: Sequence[SweptField], given: Conditions, figure: str = "total_params"
) -> SweepReport:
    """Return the figures at every combination of values; an invalid combination carries its error instead.

    Args:
        load_config: Returns the config with overrides applied.
        fields: The swept fields and their values.
        given: Batch size, sequence length and types that the figures assume.
        figure: The figure to chart, a key of ``FIGURES``.

    Raises:
        ConfigError: If the config is invalid before any field changes.
    """
    loaded = load_config(())
    return SweepReport(
        name=loaded.name,
        source=loaded.source,
        dtype=given.dtype,
        batch_size=given.batch_size,
        seq_len=given.seq_len,
        optimizer=given.optimizer,
        recompute=given.recompute,
        figure=figure,
        unit=FIGURES[figure].unit,
        fields=tuple(fields),
        points=tuple(
            _point(load_config, fields, values, given) for values in product(*(each.values for each in fields))
        ),
    )


def _point(
    load_config: LoadConfig, fields: Sequence[SweptField], values: tuple[str, ...], given: Conditions
) -> SweepPoint:
    overrides = [f"{field.name}={value}" for field, value in zip(fields, values, strict=True)]
    try:
        config = load_config(overrides).config
        return SweepPoint(values, {name: figure.compute(config, given) for name, figure in FIGURES.items()}, "")
    except ConfigError as error:
        return SweepPoint(values, None, error.diagnostics[0].message)
    except AnalysisError as error:
        return SweepPoint(values, None, error.message)
