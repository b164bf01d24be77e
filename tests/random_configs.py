"""A hypothesis strategy that draws small configs of every architecture, over all blocks."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st

from tinylm_cli.config.base import WITH_SHARED_BLOCK
from tinylm_cli.config.blocks import ResidualBlock
from tinylm_cli.config.choices import MixerKind
from tinylm_cli.config.layer_kinds import index_sources, kv_sources, layer_pattern, shared_blocks
from tinylm_cli.config.schema import ModelConfig

one_of = st.sampled_from


def drawn(number: int) -> int:
    """Return the number of configs that a test draws: ``number``, or the environment variable TINYLM_DRAWN."""
    return int(os.environ.get("TINYLM_DRAWN", number))


OTHER_MIXERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "short_conv": st.fixed_dictionaries({"kernel_size": one_of([1, 3, 4]), "bias": st.booleans()}),
    "mamba": st.fixed_dictionaries(
        {
            "d_inner": one_of([None, 12]),
            "n_heads": one_of([1, 1, 2, 4]),
            "d_state": one_of([1, 5]),
            "dt_rank": one_of([None, 3]),
            "kernel_size": one_of([1, 4]),
            "bias": st.booleans(),
            "conv_bias": st.booleans(),
            "norm": one_of(["none", "unweighted", "weighted"]),
            "chunk_len": one_of([1, 3, 64]),
        }
    ),
    "mamba2": st.fixed_dictionaries(
        {
            "n_heads": one_of([2, 4]),
            "d_head": one_of([1, 4, 8]),
            "d_state": one_of([1, 5]),
            "n_groups": one_of([1, 2]),
            "kernel_size": one_of([1, 4]),
            "bias": st.booleans(),
            "conv_bias": st.booleans(),
            "norm": one_of(["grouped", "full", "none"]),
            "min_dt": one_of([0.0, 0.2]),
            "max_dt": one_of([None, 0.9]),
            "multipliers": one_of([None, (0.5, 2.0, 1.5, 0.75, 3.0)]),
            "out_multiplier": one_of([1.0, 0.5]),
            "chunk_len": one_of([1, 3, 4, 256]),
        }
    ),
    "gated_deltanet": st.fixed_dictionaries(
        {
            "n_key_heads": one_of([1, 2]),
            "n_value_heads": one_of([2, 4]),
            "d_key": one_of([1, 4, 6]),
            "d_value": one_of([1, 5]),
            "kernel_size": one_of([1, 4]),
            "gate": st.booleans(),
            "negative_eigenvalues": st.booleans(),
            "chunk_len": one_of([1, 3, 4, 64]),
        }
    ),
    "kimi_delta_attention": st.fixed_dictionaries(
        {
            "n_heads": one_of([1, 2, 4]),
            "d_head": one_of([1, 4, 6]),
            "gate_rank": one_of([None, 1, 3]),
            "kernel_size": one_of([1, 4]),
            "max_decay_rate": one_of([None, 5.0]),
            "o_norm_eps": one_of([None, 1e-3]),
            "chunk_len": one_of([1, 3, 4, 64]),
        }
    ),
    "lightning_attention": st.fixed_dictionaries(
        {
            "n_heads": one_of([1, 2, 4]),
            "d_head": one_of([1, 4, 6]),
            "o_norm_eps": one_of([None, 1e-3]),
            "chunk_len": one_of([1, 3, 4, 256]),
        }
    ),
    "mlstm": st.fixed_dictionaries(
        {
            "n_heads": one_of([1, 2, 4]),
            "d_key": one_of([1, 4, 6]),
            "d_value": one_of([4, 5]),
            "gate_softcap": one_of([None, 2.0]),
            "o_norm_eps": one_of([None, 1e-3]),
            "chunk_len": one_of([1, 3, 4, 64]),
        }
    ),
    "rg_lru": st.fixed_dictionaries(
        {
            "d_inner": one_of([None, 4, 12]),
            "n_blocks": one_of([1, 2, 4]),
            "kernel_size": one_of([1, 4]),
            "bias": st.booleans(),
        }
    ),
    "rwkv": st.fixed_dictionaries({"d_inner": one_of([None, 1, 12])}),
}
"""The block of each sequence mixer other than attention."""


LAYER_LATENT_ATTENTION: list[dict[str, Any]] = [
    {},
    {"window": 2, "index_top_k": None},
    {"window": None, "scale_latents": True},
    {"kv_rank": 5, "d_nope": 3, "d_value": 2},
    {"d_rope": 6, "k_rope_norm": True},
]
"""Fields of latent attention in which a kind of layers may differ."""


LAYER_ATTENTION: list[dict[str, Any]] = [
    {},
    {"window": 2},
    {"window": 3, "chunked": True},
    {"window": None},
    {"n_kv_heads": 1},
    {"sinks": True},
    {"n_experts": None},
    {"n_experts": 5},
    {"temperature_scale": 2.0, "temperature_len": 2},
    {"temperature_scale": 0.5, "temperature_len": 2, "temperature_growth": "power"},
]
"""Fields of attention in which a kind of layers may differ."""


GATES: list[dict[str, Any]] = [
    {},
    {"gate": True},
    {"gate": True, "gate_per_head": True},
    {"gate": True, "gate_activation": "softplus"},
]
"""Gates of the attention output."""


GATE_BIASES = [
    {"gate": True, "gate_bias": "none"},
    {"gate": True, "gate_bias": "full"},
    {"gate": True, "gate_bias": "per_head"},
    {"gate": True, "gate_bias": "per_head", "gate_per_head": True, "gate_activation": "softplus"},
]
"""Gates of multi-head attention whose biases do not follow from those of the projections."""


GATE_RANKS = one_of([None, None, 1, 3])
"""Ranks of the gates of norms."""


HYPER: st.SearchStrategy[dict[str, Any]] = one_of(
    [{}, {}, {"hyper_streams": 2}, {"hyper_streams": 3, "hyper_write_scale": 1.5, "hyper_eps": 0.01}]
)
"""Hyper-connections."""


ALTUP: st.SearchStrategy[dict[str, Any]] = one_of([{}, {}, {"altup_streams": 2}, {"altup_streams": 3}])
"""Streams of AltUp."""


PER_LAYER: list[dict[str, Any]] = [
    {},
    {},
    {"d_per_layer": 3},
    {"d_per_layer": 3, "per_layer_vocab_size": 29},
    {"d_per_layer": 3, "per_layer_vocab_size": 11},
]
"""Embeddings for each layer, for all tokens or for the first ones."""


CODEBOOKS: list[dict[str, Any]] = [{}, {}, {}, {"n_codebooks": 2}, {"n_codebooks": 3}]
"""Token ids of each position."""


OTHER_HEADS: list[dict[str, Any]] = [
    {"kind": "sequence_classification", "n_labels": 1},
    {"kind": "sequence_classification", "n_labels": 3},
    {"kind": "token_classification", "n_labels": 1},
    {"kind": "token_classification", "n_labels": 3},
    {"kind": "none"},
]


@st.composite
def mtp_configs(draw: st.DrawFn) -> ModelConfig:
    """Draw a valid config of a small model with multi-token prediction modules."""
    config = draw(small_configs(may_have_mtp=True).filter(_may_have_mtp))
    return with_mtp(config, draw(one_of([1, 2, 3])))


def _may_have_mtp(config: ModelConfig) -> bool:
    has_no_module = (
        config.embedding.d_per_layer is not None or config.head.dense or kv_sources(config) or index_sources(config)
    )
    shares_blocks = bool(shared_blocks(config))
    changes_stream = config.block.n_streams > 1 or config.block.depth_scaled_residual or config.loop.n_loops is not None
    return config.has_lm_head and not (has_no_module or shares_blocks or changes_stream)


def has_zero_experts(config: ModelConfig) -> bool:
    """Return whether some experts compute nothing, so that FLOPs and saved tensors are upper bounds."""
    return any(kind.feed_forward.n_zero_experts for kind in layer_pattern(config).kinds)


def with_mtp(config: ModelConfig, n_mtp_layers: int) -> ModelConfig:
    """Return the config of a language model with ``n_mtp_layers`` multi-token prediction modules."""
    head = config.head.model_copy(update={"n_mtp_layers": n_mtp_layers})
    return ModelConfig.model_validate(config.model_copy(update={"head": head}).model_dump(exclude_unset=True))


@st.composite
def small_configs(draw: st.DrawFn, *, may_have_mtp: bool = False) -> ModelConfig:
    """Draw a valid config of a small model; ``may_have_mtp`` leaves out most that cannot have prediction modules."""
    blocks = [] if may_have_mtp else WITH_SHARED_BLOCK
    mixer: MixerKind = draw(
        one_of(["attention", "attention", "attention", "attention_mamba2", *blocks, *OTHER_MIXERS, "none"])
    )
    mixers = ResidualBlock(mixer=mixer).mixers
    attends, has_block = "attention" in mixers, mixer in WITH_SHARED_BLOCK
    has_feed_forward = mixer == "none" or draw(one_of([True, True, True, False]))
    latent = attends and not has_block and draw(st.booleans())
    groups, heads_each = draw(one_of([1, 2])), draw(one_of([1, 2]))
    heads, d_head = groups * heads_each, draw(one_of([1, 4, 8]))
    d_rope = draw(one_of([2, 4]))
    position = _position(draw, attends=attends, rope=latent, pairs=d_rope // 2 if latent else d_head // 2)
    if latent and draw(one_of([False, False, True])):
        position = {"kind": "none"}
    parallel = mixer != "none" and has_feed_forward and not has_block and draw(st.booleans())
    norm = {
        "kind": draw(one_of(["layernorm", "rmsnorm"])),
        "placement": "pre" if parallel or has_block else draw(one_of(["pre", "post", "sandwich", "post_residual"])),
        "weight": draw(st.booleans()),
    }
    norm["zero_centered"] = norm["weight"] and draw(st.booleans())
    before = norm["placement"] in ("pre", "sandwich")
    n_layers = draw(one_of([1, 2, 3]))
    attention: dict[str, Any] = {}
    if attends:
        rope = position["kind"] == "rope"
        weighted = bool(norm["weight"])
        pairs = groups % 2 == 0 and not has_block
        many = _multi_head(draw, groups, d_head, rope=rope, weighted_norms=weighted, pairs=pairs) if not latent else {}
        masks = many and not (many.get("differential") or many["v_norm"] or many.get("chunked"))
        if masks and mixer == "attention" and position["kind"] != "alibi":
            many["dynamic_mask_top_k"] = draw(one_of([None, None, 1, 3, 20]))
        attention = _latent(draw, d_rope, rope=rope) if latent else many
    feed_forward = _feed_forward(draw, n_layers, plain=has_block) if has_feed_forward else {}
    if has_block:
        attention["adapter_rank"] = draw(one_of([None, 1, 3]))
        feed_forward |= {"adapter_rank": draw(one_of([None, 1, 3]))} if has_feed_forward else {}
    head = draw(one_of([{"kind": "lm"}, {"kind": "lm"}, *([] if may_have_mtp else OTHER_HEADS)]))
    if "n_experts" in feed_forward and norm["placement"] == "pre" and mixer != "none":
        feed_forward["out_norm"] = draw(st.booleans())
    if "n_shared_experts" in feed_forward and norm["placement"] == "sandwich":
        feed_forward["branch_norms"] = draw(st.booleans())
    has_kinds = n_layers > 1 and draw(st.booleans())
    layers = (
        _layers(draw, n_layers, mixer, position, attention, feed_forward, before=before and not parallel)
        if has_kinds
        else {}
    )
    is_plain_sum = norm["placement"] == "pre" and not feed_forward.get("out_norm")
    has_shortcut = False
    if layers and "n_shared_experts" in feed_forward and is_plain_sum:
        ends_otherwise = any(str(order).endswith("other") for order in layers.values())
        has_shortcut = ends_otherwise and draw(st.booleans())
        layers["kinds"]["one"] = {"feed_forward": {"shortcut": True}} if has_shortcut else {}
    codebooks = draw(one_of(CODEBOOKS))
    no_inputs = codebooks or may_have_mtp or feed_forward.get("activation") == "xielu"
    per_layer = {} if no_inputs else draw(one_of(PER_LAYER))
    normed = before and not parallel and not has_block and draw(st.booleans())
    is_plain = not (parallel or normed or per_layer or has_block or feed_forward.get("branch_norms") or has_shortcut)
    is_plain = is_plain and not may_have_mtp
    hyper: dict[str, Any] = draw(HYPER) if is_plain and norm["placement"] != "post_residual" else {}
    depth_scaled = not (parallel or per_layer or hyper or has_shortcut or may_have_mtp) and draw(st.booleans())
    hyper = hyper or ({} if has_block or depth_scaled or has_shortcut or may_have_mtp else draw(ALTUP))
    alone = not (per_layer or has_block or hyper or depth_scaled or _shares(layers))
    loop = _loop(draw, n_layers) if alone and not (has_shortcut or may_have_mtp) else {}
    has_mtp = alone and not loop
    weighted_skip = not (parallel or hyper) and draw(st.booleans())
    is_added = not (parallel or normed or depth_scaled or weighted_skip or has_block or "hyper_streams" in hyper)
    has_laurel = before and mixer != "none" and is_added
    return ModelConfig.model_validate(
        {
            "vocab_size": 29,
            "d_model": 16,
            "n_heads": heads,
            "n_layers": n_layers,
            "d_ff": 20,
            "max_len": 14,
            "dropout": 0.0,
            "tie_weights": head["kind"] == "lm" and draw(st.booleans()),
            "embedding": {
                "multiplier": draw(one_of([None, 1.0])),
                "norm": draw(st.booleans()),
                **per_layer,
                **codebooks,
            },
            "position": position,
            "norm": norm,
            "attention": attention,
            **{name: draw(OTHER_MIXERS[name]) for name in mixers if name in OTHER_MIXERS},
            "feed_forward": feed_forward,
            "block": {
                "mixer": mixer,
                "feed_forward": has_feed_forward,
                "parallel": parallel,
                "mixer_norm": (mixer_norm := not (before and mixer != "none" and draw(one_of([False, False, True])))),
                "shared_norm": (shared_norm := parallel and mixer_norm and draw(st.booleans())),
                "mixer_norm_gate_rank": draw(GATE_RANKS) if before and mixer != "none" and mixer_norm else None,
                "feed_forward_norm_gate_rank": (
                    draw(GATE_RANKS) if before and has_feed_forward and not (shared_norm or has_block) else None
                ),
                "residual_multiplier": draw(one_of([1.0, 0.5])),
                "skip_multiplier": draw(one_of([1.0, 1.5])),
                "skip_weight": weighted_skip,
                "depth_scaled_residual": depth_scaled,
                "layer_scalar": draw(st.booleans()),
                "normed_residual": normed,
                "laurel_rank": draw(one_of([None, None, 1, 3])) if has_laurel and mixer_norm else None,
                **hyper,
            },
            "loop": loop,
            "head": head | _head_options(draw, head["kind"], has_mtp=has_mtp),
            "layers": layers,
        }
    )


def _loop(draw: st.DrawFn, n_layers: int) -> dict[str, Any]:
    """Draw a loop over some of the layers, or none."""
    n_loops = draw(one_of([None, None, None, 1, 2, 3]))
    if n_loops is None:
        return {}
    n_core = draw(st.integers(1, n_layers))
    n_prelude = draw(st.integers(0, n_layers - n_core))
    ends = {"n_prelude_layers": n_prelude, "n_coda_layers": n_layers - n_core - n_prelude}
    if n_core > 1 and draw(st.booleans()):
        n_low = draw(st.integers(1, n_core - 1))
        return {"n_loops": n_loops, **ends, "n_low_layers": n_low, "n_low_loops": draw(one_of([1, 2]))}
    return {"n_loops": n_loops, **ends, "inject": n_loops == 1 or draw(st.booleans())}


def _shares(layers: dict[str, Any]) -> bool:
    """Return whether layers of the other kind attend to the keys, or to the selected positions, of an earlier one."""
    return bool({"kv_from", "index_shared"} & layers.get("kinds", {}).get("other", {}).get("attention", {}).keys())


def _head_options(draw: st.DrawFn, kind: str, *, has_mtp: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"bias": draw(st.booleans())} if kind != "none" else {}
    if kind != "none" and draw(one_of([False, False, True])):
        activation = draw(one_of(["gelu", "gelu_tanh", "quick_gelu", "relu2", "silu"]))
        found |= {"dense": True, "dense_activation": activation, "dense_bias": draw(st.booleans())}
        has_mtp = False
    if kind == "lm":
        found["logit_scale"] = draw(one_of([1.0, 0.25]))
        found["logit_softcap"] = draw(one_of([None, 10.0, 1e-3]))
        found["n_mtp_layers"] = draw(one_of([0, 0, 0, 1, 2])) if has_mtp else 0
    return found


def _layers(
    draw: st.DrawFn,
    n_layers: int,
    mixer: str,
    position: dict[str, Any],
    attention: dict[str, Any],
    feed_forward: dict[str, Any],
    *,
    before: bool,
) -> dict[str, Any]:
    """Draw two kinds of layers and their order; the fields that select layers are removed from the blocks."""
    attention.pop("window_pattern", None)
    feed_forward.pop("n_dense_layers", None)
    other: dict[str, Any] = {"d_ff": draw(one_of([12, 20]))} if feed_forward else {}
    change = draw(one_of(["mixer", "no feed_forward", "fields", "fields", *(["no norm"] if before else [])]))
    if change == "mixer":
        own = draw(one_of([name for name in ("attention", *OTHER_MIXERS) if name != mixer]))
        other["block"] = {"mixer": own}
        other |= {own: draw(OTHER_MIXERS[own])} if own in OTHER_MIXERS else {}
    elif change == "no feed_forward" and mixer != "none":
        other = {"block": {"feed_forward": False}}
    elif change == "no norm" and mixer != "none":
        other = {"block": {"mixer_norm": False}}
    elif mixer == "attention" and _projects_keys(attention) and draw(one_of([False, False, True])):
        other["attention"] = {"kv_from": "one"}
    elif mixer == "attention" and attention.get("kind") != "latent":
        paired = attention.get("differential")
        changes = [each for each in LAYER_ATTENTION if not (paired and {"n_kv_heads", "n_experts"} & each.keys())]
        if attention.get("dynamic_mask_top_k"):
            changes = [each for each in changes if not each.get("chunked")]
            changes += [{"dynamic_mask_top_k": 2}, {"dynamic_mask_top_k": None}]
        elif attention["n_kv_heads"] % 2 == 0 and attention["n_experts"] is None:
            changes.append({"differential": not paired, "d_value": None})
        other["attention"] = draw(one_of(changes))
        if position["kind"] in ("rope", "alibi"):
            other["position"] = draw(one_of([{}, {"kind": "none"}]))
        if position["kind"] == "rope":
            other["position"] = draw(one_of([other["position"], {"theta": 50.0}]))
    elif mixer == "attention":
        fitting = position.get("scaling") != "longrope"  # its factors are for d_rope dimensions
        other["attention"] = draw(one_of([each for each in LAYER_LATENT_ATTENTION if fitting or "d_rope" not in each]))
        if other["attention"].get("d_rope", 0) > attention.get("index_d_head", 6):
            other["attention"] = other["attention"] | {"index_top_k": None}
        other["n_heads"] = draw(one_of([1, 2, 4]))
        is_indexed = attention.get("index_top_k") and "index_top_k" not in other["attention"]
        if is_indexed and "window" not in other["attention"] and draw(st.booleans()):
            other["attention"] = other["attention"] | {"index_shared": True}
    if mixer in WITH_SHARED_BLOCK and change != "mixer":
        own_block = {"shared_block": "second"} if other else {}
        other["block"] = other.get("block", {}) | own_block
    if "n_experts" in feed_forward and change != "no feed_forward":
        other["feed_forward"] = draw(one_of([{}, {"n_experts": None}, {"n_experts": 4, "n_groups": 1}]))
    first = ["one"] if {"kv_from", "index_shared"} & other.get("attention", {}).keys() else []
    listed = ["one", "other", draw(one_of(["one", "other"]))][:n_layers]
    kinds = [*first, *draw(st.permutations(listed[len(first) :]))]
    sequences = draw(one_of(["pattern", "first", "last"])), ", ".join(kinds)
    return {sequences[0]: sequences[1], "kinds": {"one": {}, "other": other}}


def _projects_keys(attention: dict[str, Any]) -> bool:
    """Return whether layers of another kind may attend to the keys and values of this attention."""
    return attention.get("kind") != "latent" and not attention.get("dynamic_mask_top_k")


def _position(draw: st.DrawFn, *, attends: bool, rope: bool, pairs: int) -> dict[str, Any]:
    """Draw positions; those inside attention only with it, and rotary ones only if a head has ``pairs``."""
    inside = ["alibi", *(["rope"] if pairs else [])] if attends else []
    kinds = ["sinusoidal", "learned", "none", *inside]
    kind = "rope" if rope else draw(one_of(kinds))
    if kind == "learned":
        return {"kind": kind, "offset": draw(one_of([0, 2]))}
    if kind == "sinusoidal":
        sinusoids = draw(one_of(["interleaved", "concatenated", "tensor2tensor"]))
        return {"kind": kind, "offset": draw(one_of([0, 2])), "sinusoids": sinusoids}
    if kind != "rope":
        return {"kind": kind}
    scaling: dict[str, Any] = draw(
        one_of(
            [
                {},
                {"scaling": "linear", "scaling_factor": 2.0},
                {"scaling": "dynamic", "scaling_factor": 2.0, "original_max_len": 6},
                {"scaling": "llama3", "scaling_factor": 4.0, "original_max_len": 6},
                {"scaling": "yarn", "scaling_factor": 2.0, "original_max_len": 6},
                {
                    "scaling": "longrope",
                    "scaling_factor": 2.0,
                    "original_max_len": 6,
                    "short_factors": [1.0 + i for i in range(pairs)],
                    "long_factors": [2.0 + i for i in range(pairs)],
                },
            ]
        )
    )
    partial: dict[str, Any] = {}
    if not rope and pairs >= 2 and scaling.get("scaling", "none") in ("none", "linear"):
        partial = draw(one_of([{}, {"rotary_fraction": 0.5, "proportional": True}]))
    return {"kind": kind, "theta": 100.0, "pairing": draw(one_of(["half", "adjacent"])), **scaling, **partial}


def _multi_head(
    draw: st.DrawFn, groups: int, d_head: int, *, rope: bool, weighted_norms: bool, pairs: bool
) -> dict[str, Any]:
    window: dict[str, Any] = draw(
        one_of(
            [
                {},
                {"window": 4},
                {"window": 1},
                {"window": 1, "window_pattern": "GL"},
                {"window": 3, "window_pattern": "LG"},
                {"window": 4, "chunked": True},
                {"window": 5, "chunked": True, "window_pattern": "LG"},
            ]
        )
    )
    differential = pairs and draw(one_of([False, False, True]))
    return {
        **({"differential": True} if differential else {}),
        "n_experts": None if differential else draw(one_of([None, None, 4])),
        "n_kv_heads": groups,
        "d_head": d_head,
        "bias": draw(st.booleans()),
        "out_bias": draw(one_of([None, True, False])),
        "qk_norm": (qk_norm := draw(one_of(["none", "per_head", "full"]))),
        "qk_norm_weight": not (weighted_norms and qk_norm != "none" and draw(st.booleans())),
        "qk_norm_after_rope": rope and qk_norm == "per_head" and draw(st.booleans()),
        "clip_qkv": draw(one_of([None, 0.5])),
        **draw(one_of(GATES + GATE_BIASES)),
        "sub_norm": draw(st.booleans()),
        "d_value": (d_value := None if differential else draw(one_of([None, 1, 6]))),
        "v_norm": (v_norm := d_head > 1 and draw(st.booleans())),
        "keys_as_values": v_norm and qk_norm != "none" and d_value is None and draw(st.booleans()),
        "logit_softcap": draw(one_of([None, 5.0, 1e-3])),
        "scale": draw(one_of([None, 0.3])),
        "out_multiplier": draw(one_of([1.0, 0.5])),
        "sinks": draw(st.booleans()),
        **window,
        **_temperature(draw),
    }


def _latent(draw: st.DrawFn, d_rope: int, *, rope: bool) -> dict[str, Any]:
    q_rank = draw(one_of([None, 1, 6]))
    restricted: dict[str, Any] = draw(one_of([{}, {"window": 4}, {"window": 1}, {"window": 3, "window_pattern": "LG"}]))
    if q_rank is not None and draw(st.booleans()):
        restricted = _indexer(draw, rope=rope)
    return {
        "kind": "latent",
        "kv_rank": draw(one_of([1, 10])),
        "q_rank": q_rank,
        **restricted,
        "scale_latents": draw(st.booleans()),
        "q_concat_raw": q_rank is not None and draw(st.booleans()),
        "k_rope_norm": draw(st.booleans()),
        "d_nope": draw(one_of([1, 6])),
        "d_rope": d_rope,
        "d_value": draw(one_of([None, 1, 6, 8])),
        "latent_norm_eps": draw(one_of([None, 1e-2])),
        "bias": draw(st.booleans()),
        **draw(one_of(GATES)),
        "logit_softcap": draw(one_of([None, 5.0, 1e-3])),
        "sinks": draw(one_of([False, False, True])),
        **_temperature(draw),
    }


def _indexer(draw: st.DrawFn, *, rope: bool) -> dict[str, Any]:
    """Draw an indexer, of more dimensions than RoPE rotates."""
    pairing: dict[str, Any] = {"index_norm_eps": draw(one_of([1e-6, 0.01]))}
    if rope:
        pairing |= {"index_pairing": draw(one_of(["half", "adjacent"])), "index_rope_last": draw(st.booleans())}
    sizes = {"index_n_heads": draw(one_of([1, 3])), "index_d_head": draw(one_of([4, 6]))}
    return {"index_top_k": draw(one_of([1, 3, 5, 20])), **sizes, **pairing}


def _temperature(draw: st.DrawFn) -> dict[str, Any]:
    """Draw factors of the scores that grow with the position, or none."""
    length, offset = draw(one_of([1, 4])), draw(one_of([0, 1]))
    tuned: dict[str, Any] = {"temperature_scale": 0.3, "temperature_len": length, "temperature_offset": offset}
    tuned["temperature_growth"] = draw(one_of(["log_steps", "power"]))
    return tuned if draw(st.booleans()) else {}


def _feed_forward(draw: st.DrawFn, n_layers: int, *, plain: bool) -> dict[str, Any]:
    """Draw a network, or a mixture of experts; ``plain`` leaves out the latter, and xIELU."""
    gated = draw(st.booleans())
    found: dict[str, Any] = {
        "activation": draw(one_of(["gelu", "gelu_tanh", "quick_gelu", "relu2", "silu", *([] if plain else ["xielu"])])),
        "gated": gated,
        "bias": draw(st.booleans()),
        "clamp": draw(one_of([None, 7.0])) if gated else None,
    }
    if plain or found["activation"] == "xielu" or draw(st.booleans()):
        factors: dict[str, Any] = {
            "out_multiplier": draw(one_of([1.0, 0.5])),
            "gate_multiplier": draw(one_of([1.0, 0.7])) if gated else 1.0,
            "sub_norm": draw(st.booleans()),
            "channel_mixing": not (gated or plain) and draw(st.booleans()),
        }
        if gated and not (plain or found["clamp"]):
            factors["activation_sparsity"] = draw(one_of([None, None, 0.3, 0.9]))
        return found | factors
    router = draw(one_of(["softmax", "topk_softmax", "sigmoid", "sparsemixer"]))
    shared: dict[str, Any] = draw(
        one_of([{}, {"n_shared_experts": 2}, {"n_shared_experts": 2, "d_shared_expert": 7, "shared_expert_gate": True}])
    )
    if shared:
        shared |= {"shared_scale": draw(one_of([1.0, 0.5]))}
    corrected: dict[str, Any] = {}
    if router in ("sigmoid", "softmax") and draw(st.booleans()):
        corrected = {"score_correction": True, "correct_logits": router == "sigmoid" and draw(st.booleans())}
    groups: dict[str, Any] = draw(one_of([{}, {"n_zero_experts": 3}, {"n_groups": 4, "top_k_groups": 2}]))
    if "n_groups" in groups and corrected:
        groups["zero_other_groups"] = draw(st.booleans())
    return {
        **found,
        "out_bias": draw(st.booleans()),
        **groups,
        **shared,
        "n_experts": 8,
        "top_k": draw(one_of([1, 2, 3])),
        "d_expert": draw(one_of([None, 12])),
        "d_latent": draw(one_of([None, None, 6])),
        "expert_bias": draw(one_of([None, None, False, True])),
        "n_dense_layers": draw(st.integers(0, n_layers - 1)),
        "router": router,
        "router_bias": draw(st.booleans()),
        "renormalize": router in ("softmax", "sigmoid") and draw(st.booleans()),
        **({"expert_clamp": draw(one_of([None, 0.5]))} if gated and not found["clamp"] else {}),
        **({"router_jitter": draw(one_of([0.01, 0.5]))} if router == "sparsemixer" else {}),
        **corrected,
        "router_weight_on_input": draw(st.booleans()),
        "expert_scale": draw(st.booleans()),
        "routed_scale": draw(one_of([1.0, 2.5])),
    }
