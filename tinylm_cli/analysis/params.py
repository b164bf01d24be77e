"""Parameter counts of a config, summed over the tensor table: by component, by convention, with and without tying."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from tinylm_cli.analysis.dtypes import DTYPE_BYTES, FLOAT32_BYTES
from tinylm_cli.analysis.layer_kinds import kind_names
from tinylm_cli.analysis.optimizer_state import MOMENTS
from tinylm_cli.analysis.stored_tensors import params_by_type, quantized_params, stored_as, stored_bytes
from tinylm_cli.analysis.tensor import COMPONENTS, Component, Tensor
from tinylm_cli.analysis.tensor_table import (
    LAYER_SCALAR,
    LOW_STATE,
    SCORE_CORRECTION,
    XIELU_CONSTANTS,
    TensorTable,
    buffer_elements,
    in_order,
    rotary_frequencies,
    rotary_pairs,
    tensor_table,
    xielu_constants,
)
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.params import (
    Convention,
    Count,
    LoraParams,
    ModelParams,
    OtherPart,
    PartParams,
    StoredSize,
    StoredType,
    StoredWeights,
    TyingSavings,
)

if TYPE_CHECKING:
    from tinylm_cli.config.lora import Lora

EMBEDDING_COMPONENTS: tuple[Component, ...] = ("token_embedding", "position", "per_layer_embedding", "lm_head")
"""Components outside the layers that grow with the vocabulary or with max_len."""

Breakdown = Literal["component", "layer", "tensor"]

MAX_EXPANDED_ROWS = 50_000
"""Rows of a breakdown that lists repeated layers one by one: about 3,000 layers by tensor."""


def total_params(table: TensorTable) -> int:
    """Return the parameters of the model; a tied tensor counts once."""
    return sum(section.repeats * sum([tensor.params for tensor in section.tensors]) for section in table)


def active_params(table: TensorTable) -> int:
    """Return the parameters that a token uses in inference: routed experts count top_k of n_experts, MTP modules 0.

    With zero-computation experts, this is the upper bound: a token that selects none of them.
    """
    used = (section for section in table if not section.n_mtp_layers)
    return sum(section.repeats * tensor.active_params for section in used for tensor in section.tensors)


def non_embedding_params(table: TensorTable) -> int:
    """Return the parameters outside embeddings, learned positions and LM head, as scaling laws count them.

    References:
        Kaplan et al. 2020, section 2.1, https://arxiv.org/abs/2001.08361
    """
    return total_params(table) - sum(component_params(table, component) for component in EMBEDDING_COMPONENTS)


def component_params(table: TensorTable, component: Component) -> int:
    """Return the parameters of one component; a tied tensor counts where it is stored."""
    return sum(
        section.repeats * sum([tensor.params for tensor in section.tensors if section.component(tensor) == component])
        for section in table
    )


def weights_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes of the weights of an instantiated model: parameters and buffers.

    Rotary frequencies, one per rotated pair of dimensions, corrections of routers and scalars of layers are always in
    float32.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``.
    """
    sinusoids = config.max_len * config.d_model if config.position.kind == "sinusoidal" else 0
    in_dtype = (total_params(tensor_table(config)) + sinusoids + buffer_elements(config, LOW_STATE)) * DTYPE_BYTES[
        dtype
    ]
    saved_buffers = buffer_elements(config, SCORE_CORRECTION) + buffer_elements(config, LAYER_SCALAR)
    in_float32 = (sum(rotary_frequencies(config)) + saved_buffers) * FLOAT32_BYTES
    return in_dtype + in_float32


def untied_params(table: TensorTable) -> int:
    """Return the number of parameters if no tensors were tied."""
    return sum(section.repeats * tensor.elements for section in table for tensor in section.tensors)


def analyze_params(
    loaded: LoadedConfig,
    *,
    by: Breakdown = "component",
    expand: bool = False,
    dtype: str = "float32",
    lora: Lora | None = None,
) -> ModelParams:
    """Return the parameter counts of a config, with a breakdown.

    Args:
        loaded: A validated config and its name.
        by: ``layer`` or ``tensor`` adds ``parts`` to the breakdown by component.
        expand: Whether to list repeated layers one by one.
        dtype: A key of ``DTYPE_BYTES``, for the byte counts.
        lora: The adapters that are trained, if any.

    Raises:
        AnalysisError: If a breakdown would list more than ``MAX_EXPANDED_ROWS`` rows.
    """
    config = loaded.config
    table = tensor_table(config)
    if by != "component" and expand:
        _require_listable(table, by)
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
        params_bytes=total * DTYPE_BYTES[dtype],
        dtype=dtype,
        components=tuple(_by_component(table, total)),
        parts=() if by == "component" else tuple(_parts(config, total, by, expand=expand)),
        tying=tying_savings(table, dtype),
        counts=counts(config, unique=total, non_embedding=non_embedding, active=active),
        storage=_storage(loaded),
        other_parts=tuple(OtherPart(name, params) for name, params in loaded.other_params.items()),
        ignored_keys=loaded.ignored_keys,
        lora=None if lora is None else _lora(lora, total, by, expand=expand),
    )


def _lora(lora: Lora, total: int, by: Breakdown, *, expand: bool) -> LoraParams:
    from tinylm_cli.analysis.lora import lora_params

    return lora_params(lora, total, tensors=by == "tensor", expand=expand)


def _storage(loaded: LoadedConfig) -> StoredWeights:
    table, storage = tensor_table(loaded.config), loaded.config.storage
    return StoredWeights(
        dtype=storage.dtype,
        quantization=storage.quantization,
        quantized_params=quantized_params(table, storage),
        stored_bytes=stored_bytes(table, storage),
        is_stated=storage.is_stated,
        types=tuple(StoredType(name, *sizes) for name, sizes in params_by_type(table, storage).items()),
        unread=loaded.unread_storage,
    )


def tying_savings(table: TensorTable, dtype: str) -> TyingSavings:
    """Return the parameters and bytes that tying the LM head saves, for weights in ``dtype``."""
    untied, tied = untied_params(table), total_params(table)
    sizes = (untied, tied, untied - tied)  # saved: C·V × D if the LM head is tied, else 0
    weight, adam = DTYPE_BYTES[dtype], MOMENTS * FLOAT32_BYTES  # bytes per parameter
    return TyingSavings(*(StoredSize(params, params * weight, params * adam) for params in sizes))


def tied_component(table: TensorTable, tensors: Iterable[Tensor]) -> Component | None:
    """Return the component that ``tensors`` are tied to; None if none of them is tied."""
    owner = next((tensor.tied_to for tensor in tensors if tensor.tied_to), None)
    return next((t.component for section in table for t in section.tensors if t.name == owner), None)


def _by_component(table: TensorTable, total: int) -> Iterator[PartParams]:
    for component in COMPONENTS:
        tensors = [t for section in table for t in section.tensors if section.component(t) == component]
        if tensors:
            params = component_params(table, component)
            yield PartParams(component, 1, None, params, params / total, tied_component(table, tensors))


def _require_listable(table: TensorTable, by: Breakdown) -> None:
    per_layer = (1 if by == "layer" and section.is_repeated else len(section.tensors) for section in table)
    n_rows = sum(section.repeats * rows for section, rows in zip(table, per_layer, strict=True))
    if n_rows > MAX_EXPANDED_ROWS:
        raise AnalysisError(
            f"one row for each {by} of each layer would be {n_rows:,} rows, more than {MAX_EXPANDED_ROWS:,}",
            help="list identical layers once, with their number",
        )


def _parts(config: ModelConfig, total: int, by: Breakdown, *, expand: bool) -> Iterator[PartParams]:
    """Yield a row for each layer and for each tensor outside the layers, or for each tensor of the layers too."""
    table, pattern = tensor_table(config), layer_pattern(config)
    for section, index in in_order(table) if expand else ((section, None) for section in table):
        count = section.repeats if index is None else 1
        kind = "" if section.layers is None else kind_names(config, section.layers)
        if section.layers is not None and index is not None:
            kind = pattern.names[pattern.kind(index)]
        if by == "layer" and section.is_repeated:
            params = count * sum(tensor.params for tensor in section.tensors)
            yield PartParams(section.prefix(index), count, None, params, params / total, None, kind)
            continue
        for tensor in section.tensors:
            params, shape = count * tensor.params, tensor.shape if by == "tensor" else None
            name = section.full_name(tensor, index)
            stored = stored_as(section, tensor, config.storage, index) if by == "tensor" else (None, None)
            yield PartParams(name, count, shape, params, params / total, tensor.tied_to, kind, *stored)


_Difference = tuple[Convention, int, str]
"""A convention, its count minus the unique count, and the cause of the difference."""


def counts(config: ModelConfig, *, unique: int, non_embedding: int, active: int) -> tuple[Count, ...]:
    """Return the parameter count by every convention, the unique count first.

    Args:
        config: A validated config.
        unique: Parameters; tied tensors count once.
        non_embedding: Parameters outside the token embedding, learned positions and the LM head.
        active: Parameters that one token uses.

    References:
        Kaplan et al. 2020 (non-embedding parameters), section 2.1, https://arxiv.org/abs/2001.08361;
        Jiang et al. 2024 (active parameters), https://arxiv.org/abs/2401.04088
    """
    head = config.embedding_rows * config.d_model if config.tie_weights else 0  # (C·V, D)
    mtp = component_params(tensor_table(config), "mtp")
    untied = "the LM head is not tied" if config.has_lm_head else "the model has no LM head"
    if head:
        untied = "with a separate LM head, as without tie_weights"
    vocabulary = "without token and per-layer embeddings, learned positions and LM head, as scaling laws count"
    modules = "without multi-token prediction modules" if mtp else "the model has no multi-token prediction modules"
    unused = ["without the experts that a token is not routed to"] if active < unique - mtp else []
    unused += ["without multi-token prediction modules"] if mtp else []
    routed = " and ".join(unused) or "no experts: a token uses all"
    differences: tuple[_Difference, ...] = (
        ("unique", 0, "each stored tensor once, tied or not"),
        ("untied", head, untied),
        ("non-embedding", non_embedding - unique, vocabulary),
        ("active", active - unique, routed),
        ("without-mtp", -mtp, modules),
        *_checkpoint(config, head),
    )
    return tuple(Count(name, unique + difference, difference, why) for name, difference, why in differences)


def _checkpoint(config: ModelConfig, head: int) -> Iterator[_Difference]:
    """Yield the counts of checkpoints, which may store buffers, or a tied head twice."""
    layers, corrections, constants = config.n_layers, buffer_elements(config, SCORE_CORRECTION), xielu_constants(config)
    stored = [f"{config.feed_forward.n_experts} corrections of each router"] if corrections else []
    stored += [f"{XIELU_CONSTANTS} constants of each xIELU"] if constants else []
    scalars = buffer_elements(config, LAYER_SCALAR)
    stored += ["a scalar of each layer"] if scalars else []
    low_state = buffer_elements(config, LOW_STATE)
    stored += ["the first state of the low-level module"] if low_state else []
    buffers = corrections + constants + scalars + low_state
    if stored:
        yield "hub", buffers, f"checkpoints: parameters and {' and '.join(stored)}, stored but not trained"
    else:
        yield "hub", 0, "checkpoints: parameters only"
    if config.head.n_mtp_layers:
        again = 2 * config.head.n_mtp_layers * config.embedding_rows * config.d_model  # (C·V, D), twice in each module
        why = "checkpoints that store token embedding and LM head again in each multi-token prediction module"
        yield "hub-mtp", buffers + again, why
    if head:
        yield "hub-tied-head", buffers + head, "checkpoints that also store a tied head"
    if config.position.kind == "rope" and config.attention.kind == "multi_head":
        pairs = rotary_pairs(config)
        why = f"checkpoints that store rotary frequencies in each layer, {layers} × {pairs}"
        yield "hub-rotary", buffers + layers * pairs, why
    if config.position.kind == "learned":
        why = f"checkpoints that store a causal mask in each layer, {layers} × {config.max_len}²"
        yield "hub-masks", buffers + layers * config.max_len**2, why
