"""The canonical fields of a config: equal for all configs that describe one model."""

from __future__ import annotations

import math
from itertools import chain, islice
from typing import Any

from tinylm_cli.config.base import MAX_WINDOW_PATTERN
from tinylm_cli.config.dependencies import applies
from tinylm_cli.config.layer_kinds import GLOBAL, LOCAL, LayerPattern, layer_pattern, repeated_prefix, shared_blocks
from tinylm_cli.config.layer_rules import LAYER_SELECTORS
from tinylm_cli.config.layers import Layers
from tinylm_cli.config.schema import LABELS, ModelConfig, flatten

KV_FROM, SHARED_BLOCK = "attention.kv_from", "block.shared_block"


def canonical_fields(config: ModelConfig) -> dict[str, Any]:
    """Return the fields that apply, each with its resolved value: equal for all configs that describe one model.

    Kinds of layers that ``attention.window_pattern`` and ``feed_forward.n_dense_layers`` can select are spelled so. For
    others, ``layers.kinds`` is a list of the fields in which the kinds differ, and ``layers.pattern`` a list with the
    index of each layer's kind. ``attention.kv_from`` is such an index, too; ``block.shared_block`` is the index of a
    shared block, in the order of their first layers.
    """
    if config.layers.kinds:
        short = without_named_kinds(config)
        return _canonical_kinds(config) if short is None else canonical_fields(short)
    values = flatten(config.model_dump(exclude={"layers"}))
    applying = {name: value for name, value in values.items() if applies(name, values)}
    attention = config.attention
    # with RoPE scaling, an absent local_theta differs from theta: scaling then affects sliding-window layers
    local_theta = config.position.theta if config.position.scaling == "none" else None
    scale = attention.scale
    if scale is None and "attention.scale" in applying:  # layers without attention may have d_model < n_heads
        scale = config.d_head**-0.5
    resolved = {
        "embedding.multiplier": math.sqrt(config.d_model)
        if config.embedding.multiplier is None
        else config.embedding.multiplier,
        "embedding.per_layer_vocab_size": config.per_layer_rows,
        "norm.bias": config.norm.has_bias,
        "attention.n_kv_heads": config.n_kv_heads,
        "attention.d_head": config.d_head,
        "attention.d_value": config.d_value_per_kv_head,
        "attention.out_bias": attention.has_out_bias,
        "attention.gate_bias": attention.gate_bias_kind,
        "attention.latent_norm_eps": attention.latent_norm_eps or config.norm.eps,
        "attention.scale": scale,
        "mamba.d_inner": config.mamba_d_inner,
        "mamba.dt_rank": config.mamba_dt_rank,
        "mamba.eps": config.norm.eps if config.mamba.eps is None else config.mamba.eps,
        "mamba2.n_heads": config.mamba2_heads,
        "gated_deltanet.n_key_heads": config.gated_deltanet_key_heads,
        "gated_deltanet.n_value_heads": config.gated_deltanet_value_heads,
        "kimi_delta_attention.n_heads": config.kimi_delta_attention_heads,
        "lightning_attention.n_heads": config.lightning_attention_heads,
        "mlstm.n_heads": config.mlstm_heads,
        "rg_lru.d_inner": config.rg_lru_d_inner,
        "rwkv.d_inner": config.rwkv_d_inner,
        SHARED_BLOCK: 0,
        "gated_deltanet.o_norm_eps": config.gated_deltanet.o_norm_eps or config.norm.eps,
        "kimi_delta_attention.o_norm_eps": config.kimi_delta_attention.o_norm_eps or config.norm.eps,
        "lightning_attention.o_norm_eps": config.lightning_attention.o_norm_eps or config.norm.eps,
        "mlstm.o_norm_eps": config.mlstm.o_norm_eps or config.norm.eps,
        "feed_forward.d_expert": config.d_expert,
        "feed_forward.expert_bias": config.feed_forward.has_expert_bias,
        **_shared_experts(config),
        "position.scaling_factor": config.position.stretch,
        "position.local_theta": config.position.local_theta or local_theta,
    }
    kept = {name: resolved.get(name, value) for name, value in applying.items() if name not in LABELS}
    if attention.window is not None:
        # patterns that agree on the length of two patterns agree on all layers (Fine and Wilf 1965)
        layers = islice(layer_pattern(config), 2 * MAX_WINDOW_PATTERN)
        kept["attention.window_pattern"] = tuple(kind.attention.window for kind in layers)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def without_named_kinds(config: ModelConfig) -> ModelConfig | None:
    """Return an equal config without the block ``layers``; None if no other fields select the same layers."""
    pattern = layer_pattern(config)
    local = [kind for kind in pattern.kinds if kind.attention.window is not None]
    full = [kind for kind in pattern.kinds if kind.attention.window is None]
    experts = [kind for kind in pattern.kinds if kind.feed_forward.n_experts is not None]
    layers = _kind_of_each_layer(pattern)
    if any(kind.attention.kv_from is not None for kind in pattern.kinds):
        return None
    of_layers = [GLOBAL if pattern.kinds[kind].attention.window is None else LOCAL for kind in layers]
    letters = "".join(repeated_prefix(of_layers)) if local else LOCAL
    if len(letters) > MAX_WINDOW_PATTERN:
        return None
    common, windowed, routed = (full or local)[0], (local or full)[0], (experts or full or local)[0]
    is_dense = [pattern.kinds[kind].feed_forward.n_experts is None for kind in layers]
    n_dense_layers = is_dense.index(False) if experts else 0
    theta = windowed.position.theta if windowed.position != common.position else None
    short = common.model_copy(
        update={
            "attention": windowed.attention.model_copy(update={"window_pattern": letters}),
            "position": common.position.model_copy(update={"local_theta": theta}),
            "feed_forward": routed.feed_forward.model_copy(update={"n_dense_layers": n_dense_layers}),
            "layers": Layers(),
        }
    )
    other = layer_pattern(short)
    indices = {kind: index for index, kind in enumerate(other.kinds)}
    renamed = [indices.get(kind) for kind in pattern.kinds]
    return short if [renamed[kind] for kind in layers] == _kind_of_each_layer(other) else None


def _shared_experts(config: ModelConfig) -> dict[str, int]:
    """Return the shared experts, which form one network: as wide as routed ones if their size divides its size."""
    n_shared, rest = divmod(config.d_shared_experts, config.d_expert)
    return {
        "feed_forward.n_shared_experts": 1 if rest else n_shared,
        "feed_forward.d_shared_expert": config.d_shared_experts if rest else config.d_expert,
    }


def _canonical_kinds(config: ModelConfig) -> dict[str, Any]:
    pattern = layer_pattern(config)
    kinds = [canonical_fields(kind) for kind in pattern.kinds]
    blocks = list(shared_blocks(config))
    for kind, of_kind in zip(kinds, pattern.kinds, strict=True):
        if kind.get(KV_FROM) is not None:
            kind[KV_FROM] = pattern.names.index(kind[KV_FROM])
        if SHARED_BLOCK in kind:
            kind[SHARED_BLOCK] = blocks.index(of_kind.block.shared_block)
    names = [name for name in dict.fromkeys(chain.from_iterable(kinds)) if name not in LAYER_SELECTORS]
    common = {name for name in names if all(name in kind and kind[name] == kinds[0][name] for kind in kinds)}
    return {
        **{name: value for name, value in kinds[0].items() if name in common},
        "layers.kinds": [{name: kind[name] for name in names if name in kind and name not in common} for kind in kinds],
        "layers.pattern": _kind_of_each_layer(pattern),
    }


def _kind_of_each_layer(pattern: LayerPattern) -> list[int]:
    """Return the index of each layer's kind."""
    stretches = ((len(layers), cycle) for layers, cycle in pattern.stretches)
    return [kind for length, cycle in stretches for kind in (cycle * -(-length // len(cycle)))[:length]]
