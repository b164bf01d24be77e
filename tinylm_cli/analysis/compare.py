"""What differs between models: fields of their configs, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tinylm_cli.analysis.cache import kv_cache_bytes
from tinylm_cli.analysis.figures import Conditions, figure
from tinylm_cli.analysis.params import analyse_params
from tinylm_cli.analysis.table import COMPONENTS, Component
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.meaning import meaning
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.reports.compare import ComparedModel, CompareReport, FieldDifference, FigureDifference
from tinylm_cli.reports.figures import Unit
from tinylm_cli.reports.params import ModelParams


class _Measured(NamedTuple):
    """A model, and under what its bytes are counted."""

    config: ModelConfig
    params: ModelParams
    seq_len: int
    dtype: str


class _Figure(NamedTuple):
    """A figure that models are compared by: its name in JSON, its unit, and how it is read off a model."""

    name: str
    unit: Unit
    of: Callable[[_Measured], int]


def _component(name: Component) -> Callable[[_Measured], int]:
    return lambda model: sum(part.params for part in model.params.components if part.name == name)


def _named(name: str) -> Callable[[_Measured], int]:
    return lambda model: figure(name, model.config, Conditions(seq_len=model.seq_len, dtype=model.dtype))


_FIGURES = (
    _Figure("total_params", "params", lambda model: model.params.total_params),
    _Figure("active_params", "params", lambda model: model.params.active_params),
    _Figure("embedding_params", "params", lambda model: model.params.embedding_params),
    _Figure("non_embedding_params", "params", lambda model: model.params.non_embedding_params),
    *(_Figure(f"{name}_params", "params", _component(name)) for name in COMPONENTS),
    _Figure("weights_bytes", "bytes", lambda model: model.params.weights_bytes),
    _Figure(
        "kv_cache_bytes",
        "bytes",
        lambda model: kv_cache_bytes(model.config, batch_size=1, seq_len=model.seq_len, dtype=model.dtype),
    ),
    *(
        _Figure(name, "flops", _named(name))
        for name in ("forward_flops_per_token", "train_flops_per_token", "decode_flops_per_token")
    ),
)


def compare(
    models: Sequence[tuple[LoadedConfig, tuple[str, ...]]], *, dtype: str = "float32", seq_len: int | None = None
) -> CompareReport:
    """Return what differs between two models or more.

    A default written out is no difference, and nor is the size a model is known by.

    Args:
        models: Configs by names that differ, each with what was changed on top of what was read.
        dtype: A key of ``DTYPE_BYTES``, for the byte counts.
        seq_len: Tokens in the sequence whose cache is counted, at most the max_len of each; None for that.
    """
    loaded = [each for each, _ in models]
    fields = tuple(_fields([each.config for each in loaded]))
    figures = tuple(
        _figures(
            [
                _Measured(each.config, analyse_params(each, dtype=dtype), seq_len or each.config.max_len, dtype)
                for each in loaded
            ]
        )
    )
    return CompareReport(
        models=tuple(ComparedModel(each.name, each.source, changes) for each, changes in models),
        same=not fields and not figures,
        dtype=dtype,
        seq_len=seq_len,
        fields=fields,
        figures=figures,
    )


def _fields(configs: Sequence[ModelConfig]) -> Iterator[FieldDifference]:
    """Yield the fields that are written differently and mean something different.

    What only follows from another field, as the size of a head from their number, is not a difference of its own.
    """
    written = [flatten(config.model_dump()) for config in configs]
    meant = [meaning(config) for config in configs]
    for field in written[0]:
        says = [each.get(field) for each in meant]
        if not _all_alike([each[field] for each in written]) and not _all_alike(says):
            if field == "attention.window_pattern":  # which is told by what each layer sees, and shown as written
                says = [raw[field] if field in each else None for raw, each in zip(written, meant, strict=True)]
            yield FieldDifference(field, tuple(says))


def _figures(models: Sequence[_Measured]) -> Iterator[FigureDifference]:
    all_active = all(model.params.active_params == model.params.total_params for model in models)
    for each in _FIGURES:
        values = tuple(each.of(model) for model in models)
        if _all_alike(values) or (each.name == "active_params" and all_active):
            continue
        base = values[0]
        yield FigureDifference(
            name=each.name,
            unit=each.unit,
            values=values,
            differences=tuple(value - base for value in values),
            ratios=tuple(value / base if base else None for value in values),
        )


def _all_alike(values: Sequence[object]) -> bool:
    return all(value == values[0] for value in values)
