"""The figures of a config for every combination of values of one or two fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import AnalysisError, ConfigError
from tinylm_cli.reports.sweep import SweepPoint, SweepReport, SweptField

LoadConfig = Callable[[Sequence[str]], LoadedConfig]
"""Returns the config to sweep, with the given ``key=value`` overrides applied."""


def sweep(
    load_config: LoadConfig, fields: Sequence[SweptField], setups: Setups, figure: str = "total_params"
) -> SweepReport:
    """Return the figures for every combination of values; an invalid combination has an error and its remedy instead.

    Args:
        load_config: Returns the config with overrides applied.
        fields: The swept fields and their values.
        setups: How the model is trained and served.
        figure: Name of the figure to chart, a key of ``FIGURES``.

    Raises:
        ConfigError: If the config is invalid without any change.
    """
    loaded, training = load_config(()), setups.training
    return SweepReport(
        name=loaded.name,
        source=loaded.source,
        dtype=training.dtype,
        batch_size=training.batch_size,
        seq_len=training.seq_len,
        optimizer=training.optimizer,
        recompute=training.recompute,
        figure=figure,
        unit=FIGURES[figure].unit,
        fields=tuple(fields),
        points=tuple(
            _point(load_config, fields, values, setups) for values in product(*(each.values for each in fields))
        ),
    )


def _point(
    load_config: LoadConfig, fields: Sequence[SweptField], values: tuple[str, ...], setups: Setups
) -> SweepPoint:
    overrides = [f"{field.name}={value}" for field, value in zip(fields, values, strict=True)]
    try:
        config = load_config(overrides).config
        return SweepPoint(values, {name: figure.compute(config, setups) for name, figure in FIGURES.items()}, "")
    except ConfigError as error:
        return SweepPoint(values, None, error.diagnostics[0].message, error.diagnostics[0].help)
    except AnalysisError as error:
        return SweepPoint(values, None, error.message, error.help)
