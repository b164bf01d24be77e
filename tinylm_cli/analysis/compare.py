"""What differs between models: fields of their configs, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.setups import SHARED_FIELDS, Setups
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig, canonical_fields, flatten
from tinylm_cli.reports.compare import ComparedModel, CompareReport, FieldDifference, FigureDifference


def compare(models: Sequence[tuple[LoadedConfig, tuple[str, ...]]], setups: Setups) -> CompareReport:
    """Return what differs between two models or more.

    A default written out is no difference, and nor is the size a model is known by.

    Args:
        models: Configs by names that differ, each with what was changed on top of what was read.
        setups: How all of them are trained and served; :func:`shared_setups` where nothing else is asked for.

    Raises:
        AnalysisError: If a model cannot do what ``setups`` ask for.
    """
    configs = [each.config for each, _ in models]
    length = setups.training.seq_len or min(config.max_len for config in configs)
    fields = tuple(_fields(configs))
    figures = tuple(_figures(configs, setups.changed(seq_len=length)))
    return CompareReport(
        models=tuple(ComparedModel(each.name, each.source, changes, each.config.max_len) for each, changes in models),
        same=not fields and not figures,
        batch_size=setups.training.batch_size,
        seq_len=length,
        dtype=setups.training.dtype,
        fields=fields,
        figures=figures,
    )


def shared_setups(configs: Sequence[ModelConfig]) -> Setups:
    """Return what the budgets of all configs say alike, so that figures are those that each is held to.

    Where one says nothing or another thing, what is common to all: one sequence as long as the smallest ``max_len``.
    """
    budgets = [config.budget.model_dump(include=set(SHARED_FIELDS)) for config in configs]
    alike = {name: value for name, value in budgets[0].items() if _all_alike([each[name] for each in budgets])}
    stated = {name: value for name, value in alike.items() if value is not None}
    return Setups.of(**{"seq_len": min(config.max_len for config in configs), **stated})


_IDLE = (None, 0, 1, "none")
"""Values that say nothing where all are left at them: what follows from others; none, one of it, once as much; off, or
on as its part is usual."""


def _fields(configs: Sequence[ModelConfig]) -> Iterator[FieldDifference]:
    """Yield the fields that mean something different.

    What only follows from another field, as the size of a head from their number, is not a difference of its own. Of a
    part that some models lack, as experts, a size left at its default is told, and what does nothing is not.
    """
    written = [flatten(config.model_dump()) for config in configs]
    meant = [{**canonical_fields(config), **_budget(config)} for config in configs]
    for field in written[0]:
        says = [each.get(field) for each in meant]
        left = _all_alike([each[field] for each in written]) and written[0][field] in _IDLE
        if not left and not _all_alike(says):
            if field == "attention.window_pattern":  # which is told by what each layer sees, and shown as written
                says = [raw[field] if field in each else None for raw, each in zip(written, meant, strict=True)]
            yield FieldDifference(field, tuple(says))


def _budget(config: ModelConfig) -> dict[str, Any]:
    """Return what a config is held to, and at what; what its budget leaves open is filled in."""
    assumed = Setups.of(seq_len=config.max_len).training._asdict()
    return {
        f"budget.{name}": assumed.get(name) if value is None else value
        for name, value in config.budget.model_dump().items()
    }


def _figures(configs: Sequence[ModelConfig], setups: Setups) -> Iterator[FigureDifference]:
    found = {name: tuple(figure(name, config, setups) for config in configs) for name in FIGURES}
    if found["active_params"] == found["total_params"]:
        del found["active_params"]
    for name, values in found.items():
        if not _all_alike(values):
            base = values[0]
            yield FigureDifference(
                name=name,
                unit=FIGURES[name].unit,
                values=values,
                differences=tuple(value - base for value in values),
                ratios=tuple(value / base if base else None for value in values),
            )


def _all_alike(values: Sequence[object]) -> bool:
    return all(value == values[0] for value in values)
