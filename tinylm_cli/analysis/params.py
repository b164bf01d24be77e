"""Parameters of a config: folds over the tensor table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tinylm_cli.analysis.count_conventions import counts
from tinylm_cli.analysis.tensor_table import COMPONENTS, DTYPE_BYTES, Component, TensorTable, tensor_table
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.reports.params import ModelParams, PartParams, TiedLedger

VOCABULARY: tuple[Component, ...] = ("token_embedding", "position", "lm_head")
"""Components that grow with the vocabulary or with the longest sequence, and that stand outside the layers."""

Breakdown = Literal["component", "layer", "tensor"]

ADAM_BYTES_PER_PARAM = 8
"""Adam keeps two float32 moments per parameter: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980."""


def total_params(table: TensorTable) -> int:
    """Return the parameters of the model, a tied tensor counted once."""
    return sum(section.repeats * tensor.params for section in table for tensor in section.tensors)


def active_params(table: TensorTable) -> int:
    """Return the parameters that one token uses: of experts, those it is sent to."""
    return sum(section.repeats * tensor.active_params for section in table for tensor in section.tensors)


def non_embedding_params(table: TensorTable) -> int:
    """Return the parameters outside the token embedding, learned positions and an untied head, as scaling laws count.

    References:
        Kaplan et al. 2020, section 2.1, https://arxiv.org/abs/2001.08361
    """
    vocabulary = sum(t.params for section in table for t in section.tensors if t.component in VOCABULARY)
    return total_params(table) - vocabulary


def component_params(table: TensorTable, component: Component) -> int:
    """Return the parameters of one component, a tied tensor counted where it is stored."""
    return sum(section.repeats * t.params for section in table for t in section.tensors if t.component == component)


def weights_bytes(table: TensorTable, dtype: str) -> int:
    """Return the bytes of the stored parameters in ``dtype``, a key of ``DTYPE_BYTES``."""
    return total_params(table) * DTYPE_BYTES[dtype]


def naive_params(table: TensorTable) -> int:
    """Return the elements of all named tensors, a tied tensor counted as often as it is named."""
    return sum(section.repeats * tensor.elements for section in table for tensor in section.tensors)


def analyze_params(
    loaded: LoadedConfig, *, by: Breakdown = "component", expand: bool = False, dtype: str = "float32"
) -> ModelParams:
    """Return the parameters of a config, broken down.

    Args:
        loaded: A validated config and its name.
        by: ``component`` always comes; ``layer`` or ``tensor`` adds ``parts``.
        expand: Write repeated layers out instead of holding them once.
        dtype: A key of ``DTYPE_BYTES``, for the byte counts.
    """
    config = loaded.config
    table = tensor_table(config)
    total, naive = total_params(table), naive_params(table)
    head = config.vocab_size * config.d_model
    nominal = config.nominal_params
    active, non_embedding = active_params(table), non_embedding_params(table)
    return ModelParams(
        name=loaded.name,
        source=loaded.source,
        total_params=total,
        active_params=active,
        embedding_params=total - non_embedding,
        non_embedding_params=non_embedding,
        untied_params=total + head if config.tie_weights else total,
        tied_saved_params=head if config.tie_weights else 0,
        nominal_params=nominal,
        nominal_error=total / nominal - 1 if nominal else None,
        weights_bytes=weights_bytes(table, dtype),
        dtype=dtype,
        components=tuple(_by_component(table, total)),
        parts=tuple(_PARTS[by](table, total, expand)) if by in _PARTS else (),
        tied=_ledger(naive, total, DTYPE_BYTES[dtype]),
        counts=counts(config, unique=total, non_embedding=non_embedding, active=active),
    )


def _ledger(naive: int, unique: int, width_bytes: int) -> TiedLedger:
    """Return what sharing saves; ``width_bytes`` is that of one stored parameter."""
    saved = naive - unique
    return TiedLedger(
        naive_params=naive,
        unique_params=unique,
        saved_params=saved,
        naive_weights_bytes=naive * width_bytes,
        unique_weights_bytes=unique * width_bytes,
        saved_weights_bytes=saved * width_bytes,
        naive_adam_bytes=naive * ADAM_BYTES_PER_PARAM,
        unique_adam_bytes=unique * ADAM_BYTES_PER_PARAM,
        saved_adam_bytes=saved * ADAM_BYTES_PER_PARAM,
    )


def _by_component(table: TensorTable, total: int) -> Iterator[PartParams]:
    for component in COMPONENTS:
        found = [t for section in table for t in section.tensors if t.component == component]
        if found:
            params = component_params(table, component)
            owner = next((tensor.tied_to for tensor in found if tensor.tied_to), None)
            tied_to = next((t.component for s in table for t in s.tensors if t.name == owner), None)
            yield PartParams(component, 1, None, params, params / total, tied_to)


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
