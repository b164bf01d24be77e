"""Parameter counts of a config, summed over the tensor table: total, active, non-embedding, by component; tying."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from tinylm_cli.analysis.count_conventions import counts
from tinylm_cli.analysis.optimizer_state import MOMENTS
from tinylm_cli.analysis.tensor_table import (
    COMPONENTS,
    DTYPE_BYTES,
    FLOAT32_BYTES,
    Component,
    Tensor,
    TensorTable,
    tensor_table,
)
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.reports.params import ModelParams, PartParams, TyingSavings

EMBEDDING_COMPONENTS: tuple[Component, ...] = ("token_embedding", "position", "lm_head")
"""Components outside the layers that grow with the vocabulary or with max_len."""

Breakdown = Literal["component", "layer", "tensor"]


def total_params(table: TensorTable) -> int:
    """Return the parameters of the model; a tied tensor counts once."""
    return sum(section.repeats * tensor.params for section in table for tensor in section.tensors)


def active_params(table: TensorTable) -> int:
    """Return the parameters that one token uses; routed experts count top_k of n_experts."""
    return sum(section.repeats * tensor.active_params for section in table for tensor in section.tensors)


def non_embedding_params(table: TensorTable) -> int:
    """Return the parameters outside the token embedding, learned positions and LM head, as scaling laws count them.

    References:
        Kaplan et al. 2020, section 2.1, https://arxiv.org/abs/2001.08361
    """
    return total_params(table) - sum(component_params(table, component) for component in EMBEDDING_COMPONENTS)


def component_params(table: TensorTable, component: Component) -> int:
    """Return the parameters of one component; a tied tensor counts where it is stored."""
    return sum(section.repeats * t.params for section in table for t in section.tensors if t.component == component)


def weights_bytes(table: TensorTable, dtype: str) -> int:
    """Return the bytes of the stored parameters in ``dtype``, a key of ``DTYPE_BYTES``."""
    return total_params(table) * DTYPE_BYTES[dtype]


def untied_params(table: TensorTable) -> int:
    """Return the number of parameters if no tensors were tied."""
    return sum(section.repeats * tensor.elements for section in table for tensor in section.tensors)


def analyze_params(
    loaded: LoadedConfig, *, by: Breakdown = "component", expand: bool = False, dtype: str = "float32"
) -> ModelParams:
    """Return the parameter counts of a config, with a breakdown.

    Args:
        loaded: A validated config and its name.
        by: ``layer`` or ``tensor`` adds ``parts`` to the breakdown by component.
        expand: Whether to list repeated layers one by one.
        dtype: A key of ``DTYPE_BYTES``, for the byte counts.
    """
    config = loaded.config
    table = tensor_table(config)
    total, nominal = total_params(table), config.nominal_params
    active, non_embedding = active_params(table), non_embedding_params(table)
    return ModelParams(
        name=loaded.name,
        source=loaded.source,
        total_params=total,
        active_params=active,
        embedding_params=total - non_embedding,
        non_embedding_params=non_embedding,
        nominal_params=nominal,
        nominal_error=total / nominal - 1 if nominal else None,
        weights_bytes=weights_bytes(table, dtype),
        dtype=dtype,
        components=tuple(_by_component(table, total)),
        parts=tuple(_PARTS[by](table, total, expand)) if by in _PARTS else (),
        tying=tying_savings(table, dtype),
        counts=counts(config, unique=total, non_embedding=non_embedding, active=active),
    )


def tying_savings(table: TensorTable, dtype: str) -> TyingSavings:
    """Return the parameters and bytes that tying the LM head saves, for weights in ``dtype``."""
    untied, tied = untied_params(table), total_params(table)
    saved = untied - tied  # V × D if the LM head is tied, else 0
    weight, adam = DTYPE_BYTES[dtype], MOMENTS * FLOAT32_BYTES  # bytes per parameter
    return TyingSavings(
        untied_params=untied,
        tied_params=tied,
        saved_params=saved,
        untied_weights_bytes=untied * weight,
        tied_weights_bytes=tied * weight,
        saved_weights_bytes=saved * weight,
        untied_adam_bytes=untied * adam,
        tied_adam_bytes=tied * adam,
        saved_adam_bytes=saved * adam,
    )


def tied_component(table: TensorTable, tensors: Iterable[Tensor]) -> Component | None:
    """Return the component that ``tensors`` are tied to; None if none of them is tied."""
    owner = next((tensor.tied_to for tensor in tensors if tensor.tied_to), None)
    return next((t.component for section in table for t in section.tensors if t.name == owner), None)


def _by_component(table: TensorTable, total: int) -> Iterator[PartParams]:
    for component in COMPONENTS:
        tensors = [t for section in table for t in section.tensors if t.component == component]
        if tensors:
            params = component_params(table, component)
            yield PartParams(component, 1, None, params, params / total, tied_component(table, tensors))


def _by_layer(table: TensorTable, total: int, expand: bool) -> Iterator[PartParams]:  # noqa: FBT001
    for section in table:
        if section.layers is None:
            for tensor in section.tensors:
                yield PartParams(tensor.name, 1, None, tensor.params, tensor.params / total, tensor.tied_to)
            continue
        params = sum(tensor.params for tensor in section.tensors)
        for layer in section.layers if expand else (None,):
            count = 1 if expand else section.repeats
            yield PartParams(section.prefix(layer), count, None, count * params, count * params / total, None)


def _by_tensor(table: TensorTable, total: int, expand: bool) -> Iterator[PartParams]:  # noqa: FBT001
    for section in table:
        layers = section.layers if expand and section.layers is not None else (None,)
        for layer in layers:
            count = section.repeats if layer is None else 1
            for tensor in section.tensors:
                params = count * tensor.params
                name = section.full_name(tensor, layer)
                yield PartParams(name, count, tensor.shape, params, params / total, tensor.tied_to)


_PARTS = {"layer": _by_layer, "tensor": _by_tensor}
