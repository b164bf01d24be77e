"""What one or two fields of a config do to its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from tinylm_cli.analysis.figures import FIGURES, Conditions
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import AnalysisError, ConfigError
from tinylm_cli.reports.design import SweepReport, Variant, Varied

Load = Callable[[Sequence[str]], LoadedConfig]
"""Loads the config to vary, with overrides ``key=value`` on top."""


def sweep(load: Load, varied: Sequence[Varied], given: Conditions) -> SweepReport:
    """Return the figures of every combination of values; one that is no valid config says why instead.

    Args:
        load: Where the config comes from.
        varied: The fields and what each is set to.
        given: What figures assume.

    Raises:
        ConfigError: If the config is wrong as it is, before anything is varied.
    """
    loaded = load(())
    return SweepReport(
        name=loaded.name,
        source=loaded.source,
        dtype=given.dtype,
        batch_size=given.batch_size,
        seq_len=given.seq_len,
        optimizer=given.optimizer,
        recompute=given.recompute,
        varied=tuple(varied),
        variants=tuple(_variant(load, varied, values, given) for values in product(*(each.values for each in varied))),
    )


def _variant(load: Load, varied: Sequence[Varied], values: tuple[str, ...], given: Conditions) -> Variant:
    overrides = [f"{each.field}={value}" for each, value in zip(varied, values, strict=True)]
    try:
        config = load(overrides).config
        return Variant(values, {name: figure.compute(config, given) for name, figure in FIGURES.items()}, "")
    except ConfigError as error:
        return Variant(values, None, error.diagnostics[0].message)
    except AnalysisError as error:
        return Variant(values, None, error.message)
