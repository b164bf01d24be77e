"""The figures of a config for every combination of values of one or two fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.config.field_values import MAX_POINTS
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
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
        AnalysisError: If there are too many combinations of a config with several kinds of layers.
    """
    loaded, training = load_config(()), setups.training
    combinations = list(product(*(each.values for each in fields)))
    _require_little_work(len(combinations) * _work(loaded.config), loaded.config)
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
        points=tuple(_points(load_config, fields, combinations, setups)),
        ignored_keys=loaded.ignored_keys,
    )


def _work(config: ModelConfig) -> int:
    """Return the time to compute all figures of a config, relative to a config with two layer kinds."""
    return max(len(layer_pattern(config).kinds) - 1, 1)


def _require_little_work(work: int, config: ModelConfig) -> None:
    if work > MAX_POINTS:
        n_kinds = len(layer_pattern(config).kinds)
        message = f"with {n_kinds} kinds of layers, the limit is {MAX_POINTS // _work(config):,} configs"
        raise AnalysisError(message, help="take larger steps")


def _points(
    load_config: LoadConfig, fields: Sequence[SweptField], combinations: Sequence[tuple[str, ...]], setups: Setups
) -> Iterator[SweepPoint]:
    """Yield the figures for each combination; the fields may change the number of kinds of layers."""
    work = 0
    for values in combinations:
        overrides = [f"{field.name}={value}" for field, value in zip(fields, values, strict=True)]
        try:
            config = load_config(overrides).config
        except ConfigError as error:
            yield SweepPoint(values, None, error.diagnostics[0].message, error.diagnostics[0].help)
            continue
        work += _work(config)
        _require_little_work(work, config)
        try:
            yield SweepPoint(values, {name: figure.compute(config, setups) for name, figure in FIGURES.items()}, "")
        except AnalysisError as error:
            yield SweepPoint(values, None, error.message, error.help)
