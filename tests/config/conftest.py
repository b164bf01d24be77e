"""Fixtures of the config tests: strategies for valid configs, and a minimal config."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import strategies as st

from tinylm_cli.config.base import WITH_ATTENTION, WITH_MAMBA, WITH_MAMBA2, WITH_SHARED_BLOCK
from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.choices import MixerKind

MINIMAL = "vocab_size: 256\nd_model: 128\nn_heads: 4\nn_layers: 4\nd_ff: 512\n"


@pytest.fixture(scope="session")
def minimal() -> str:
    """The shortest valid config: the required fields."""
    return MINIMAL


@pytest.fixture(scope="session")
def valid_values() -> st.SearchStrategy[dict[str, Any]]:
    """Draw valid configs as nested values, over the whole schema, any optional field or block left out at times."""
    return _configs()


NUMBERS = st.floats(min_value=0, max_value=1e6, exclude_min=True, allow_subnormal=True)
DIMS = st.integers(1, 2**20)


BUDGET: dict[str, st.SearchStrategy[Any]] = {
    "max_params": st.none() | st.integers(1, 10**18) | st.just("130M"),
    "max_active_params": st.none() | st.integers(1, 10**18),
    "max_kv_bytes": st.none() | st.integers(1, 10**21) | st.sampled_from(["24GiB", "80 GB", "1.5TiB"]),
    "max_train_bytes_per_gpu": st.none() | st.integers(1, 10**21),
    "max_flops_per_token": st.none() | st.integers(1, 10**21) | st.sampled_from(["2.5G", 2.5e9]),
    "batch_size": st.none() | st.integers(1, 10**9),
    "dtype": st.sampled_from([None, "float32", "bfloat16", "float16", "float64"]),
}

MODULES = st.lists(
    st.sampled_from(["lm_head", "blocks.*.attention", "blocks.0", "blocks.1.feed_forward.up_proj"]), max_size=3
)


@st.composite
def _storage(draw: st.DrawFn, d_model: int) -> dict[str, Any]:
    """Draw how weights are stored; groups divide the inputs, except with g_idx."""
    kind = draw(st.sampled_from(["none", "int8", "int4", "float8", "nf4", "fp4", "mxfp4", "nvfp4"]))
    values = draw(
        _some(
            {
                "dtype": st.sampled_from(["float32", "bfloat16", "float16", "float64"]),
                "kv_cache_dtype": st.sampled_from([None, "float8", "int8", "bfloat16"]),
            }
        )
    )
    if kind == "none" or d_model % {"mxfp4": 32, "nvfp4": 16}.get(kind, 1):
        return values
    values |= {"quantization": kind} | draw(_some({"modules_to_not_convert": MODULES}))
    values |= draw(_some({"module_tensors": st.lists(st.sampled_from(["weight_shape", "input_scale"]), max_size=2)}))
    if kind in ("nf4", "fp4"):
        return values | draw(_some({"double_quant": st.booleans()}))
    if kind in ("mxfp4", "nvfp4"):
        return values
    strategy = draw(st.sampled_from(["tensor", "channel", "group", "block"]))
    values |= {"strategy": strategy} | draw(_some({"scale_dtype": st.sampled_from(["float32", "bfloat16", "float16"])}))
    if strategy == "group":
        values["group_size"] = math.gcd(d_model, draw(st.integers(1, 1024)))
    if strategy == "block":
        values |= draw(_some({"weight_block_size": st.integers(1, 2**20)}))
    return values | (draw(_some({"zero_point": st.booleans()})) if kind != "float8" else {})


WINDOW_PATTERN = st.from_regex(r"\A[LG]{0,6}L[LG]{0,6}\Z")


@st.composite
def _configs(draw: st.DrawFn) -> dict[str, Any]:
    n_heads, d_head, n_layers = draw(st.integers(1, 512)), 2 * draw(st.integers(1, 64)), draw(st.integers(1, 10**5))
    mixer = draw(st.sampled_from(["attention", "attention", *get_args(MixerKind)]))
    attends = mixer in WITH_ATTENTION
    has_feed_forward = mixer == "none" or draw(st.integers(0, 3)) > 0
    has_block = mixer in WITH_SHARED_BLOCK
    latent = attends and not has_block and draw(st.booleans())
    head = {"d_rope": 2 * draw(st.integers(1, 64))} if latent else {}
    if attends and not latent and draw(st.booleans()):
        head["d_head"] = 2 * draw(st.integers(1, 64))
    norm = draw(_norm())
    attention = draw(_latent() if latent else _multi_head(n_heads)) | head if attends else None
    blocks = {
        "embedding": draw(
            _some({"multiplier": st.none() | NUMBERS, "norm": st.booleans(), "n_codebooks": st.integers(1, 256)})
        ),
        "position": draw(_position(head.get("d_rope") or head.get("d_head") or d_head, attention)),
        "norm": norm,
        "attention": attention or {},
        "short_conv": draw(_some(SHORT_CONV)) if mixer == "short_conv" else {},
        "mamba": draw(_mamba()) if mixer in WITH_MAMBA else {},
        "mamba2": draw(_mamba2()) if mixer in WITH_MAMBA2 else {},
        "gated_deltanet": draw(_gated_deltanet(n_heads * d_head)) if mixer == "gated_deltanet" else {},
        "kimi_delta_attention": draw(_with_heads(KIMI_DELTA_ATTENTION, n_heads * d_head, d_head=128))
        if mixer == "kimi_delta_attention"
        else {},
        "lightning_attention": draw(_with_heads(LIGHTNING_ATTENTION, n_heads * d_head, d_head=128))
        if mixer == "lightning_attention"
        else {},
        "mlstm": draw(_with_heads(MLSTM, n_heads * d_head, d_value=512)) if mixer == "mlstm" else {},
        "rg_lru": draw(_rg_lru()) if mixer == "rg_lru" else {},
        "rwkv": draw(_some({"d_inner": st.none() | DIMS})) if mixer == "rwkv" else {},
        "feed_forward": draw(_feed_forward(n_layers)) if has_feed_forward else {},
        "block": draw(_block(norm.get("placement", "pre"), mixer, has_feed_forward=has_feed_forward)),
        "loop": {},
        "head": draw(_head()),
        "storage": draw(_storage(n_heads * d_head)),
        "budget": draw(_some(BUDGET)),
    }
    if blocks["position"].get("kind") == "rope" and blocks["attention"].get("qk_norm") == "per_head":
        blocks["attention"] |= draw(_some({"qk_norm_after_rope": st.booleans()}))
    if blocks["attention"].get("kind") == "latent" and draw(st.booleans()):
        if blocks["attention"].get("q_rank") and draw(st.booleans()):
            blocks["attention"]["q_concat_raw"] = draw(st.booleans())
            blocks["attention"] |= draw(_indexer(blocks["position"]["kind"], blocks["attention"]["d_rope"]))
        else:
            blocks["attention"]["window"] = draw(st.integers(1, 10**9))
            blocks["attention"] |= draw(_some({"window_pattern": WINDOW_PATTERN}))
    if blocks["attention"].get("gate"):
        more = {"gate_per_head": st.booleans(), "gate_activation": st.sampled_from(["sigmoid", "softplus"])}
        if blocks["attention"].get("kind") != "latent":
            more["gate_bias"] = st.sampled_from([None, "none", "full", "per_head"])
        blocks["attention"] |= draw(_some(more))
    if blocks["attention"].get("qk_norm", "none") != "none" and norm.get("weight", True):
        blocks["attention"] |= draw(_some({"qk_norm_weight": st.booleans()}))
    if mixer == "attention":
        blocks["attention"] |= draw(_temperature())
        unmasked = ("kind", "latent"), ("differential", True), ("v_norm", True), ("chunked", True)
        is_plain = all(blocks["attention"].get(name) != value for name, value in unmasked)
        if is_plain and blocks["position"].get("kind") != "alibi":
            blocks["attention"] |= draw(_some({"dynamic_mask_top_k": st.none() | st.integers(1, 10**9)}))
    if "n_experts" in blocks["feed_forward"] and norm.get("placement", "pre") == "pre" and mixer != "none":
        blocks["feed_forward"] |= draw(_some({"out_norm": st.booleans()}))
    if has_block:
        _keep_plain(blocks)
        blocks["block"] |= draw(_some({"shared_block": st.sampled_from(["a", "shared", "b-2"])}))
    elif not any(blocks["block"].get(name) for name in ("hyper_streams", "altup_streams", "depth_scaled_residual")):
        blocks["loop"] = draw(_loop(n_layers))
    assert list(blocks) == list(BLOCKS)
    text = st.characters(exclude_categories=["Cs"])
    course: dict[str, st.SearchStrategy[Any]] = {
        "name": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1),
        "description": st.none() | st.text(text, min_size=1),
        "max_len": st.integers(1, 10**9),
        "dropout": st.floats(min_value=0, max_value=1, exclude_max=True),
        "tie_weights": st.booleans(),
        "nominal_params": st.none() | st.integers(1, 10**18),
    }
    values = draw(_some(course))
    if values.get("nominal_params"):
        blocks["budget"] |= draw(_some({"nominal_tolerance": st.floats(0, 1)}))
    blocks["budget"] |= draw(_some({"seq_len": st.none() | st.integers(1, values.get("max_len", 1024))}))
    return {
        "vocab_size": draw(st.integers(1, 10**8)),
        "d_model": n_heads * d_head,
        **({"n_heads": n_heads} if attends else {}),
        "n_layers": n_layers,
        **({"d_ff": draw(st.integers(1, 2**24))} if has_feed_forward else {}),
        **values,
        **{name: block for name, block in blocks.items() if block},
    }


def _keep_plain(blocks: dict[str, Any]) -> None:
    """Remove the fields that layers with a shared block cannot have."""
    blocks["norm"].pop("placement", None)
    blocks["attention"].pop("differential", None)
    blocks["head"].pop("n_mtp_layers", None)
    blocks["feed_forward"].pop("channel_mixing", None)
    blocks["feed_forward"].pop("activation_sparsity", None)
    streams = ("hyper_streams", "altup_streams", "laurel_rank")
    for name in ("parallel", "shared_norm", "normed_residual", "feed_forward_norm_gate_rank", *streams):
        blocks["block"].pop(name, None)
    if "n_experts" in blocks["feed_forward"] or blocks["feed_forward"].get("activation") == "xielu":
        blocks["feed_forward"] = {}


def _some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def _position(draw: st.DrawFn, d_head: int, attention: dict[str, Any] | None) -> dict[str, Any]:
    latent = attention is not None and attention.get("kind") == "latent"
    kinds = ["sinusoidal", "learned", "none", *(["rope", "alibi"] if attention is not None else [])]
    kind = draw(st.sampled_from(["rope", "rope", "none"] if latent else kinds))
    if kind != "rope":
        added = {"offset": st.integers(0, 1024)} if kind in ("learned", "sinusoidal") else {}
        if kind == "sinusoidal":
            added["sinusoids"] = st.sampled_from(["interleaved", "concatenated", "tensor2tensor"])
        return {"kind": kind, **draw(_some(added))} if kind != "sinusoidal" or draw(st.booleans()) else {}
    base: st.SearchStrategy[Any] = st.floats(min_value=1, max_value=1e12, exclude_min=True)
    optional: dict[str, st.SearchStrategy[Any]] = {"theta": base, "pairing": st.sampled_from(["half", "adjacent"])}
    if attention is not None and attention.get("window"):
        optional["local_theta"] = st.none() | base
    scaling = draw(st.sampled_from(["none", "linear", "dynamic", "llama3", "yarn", "longrope"]))
    rotated, values = d_head, dict[str, Any](kind=kind, scaling=scaling)
    if not latent and d_head % 4 == 0 and draw(st.booleans()):
        rotated, values["rotary_fraction"] = d_head // 2, 0.5
    if scaling in ("linear", "dynamic", "llama3", "yarn"):
        values["scaling_factor"] = draw(st.floats(1, 1e6))
    if scaling == "longrope":
        optional["scaling_factor"] = st.none() | st.floats(1, 1e6)
    if scaling in ("dynamic", "llama3", "yarn", "longrope"):
        values["original_max_len"] = draw(st.integers(1, 10**9))
    if scaling in ("yarn", "longrope"):
        optional["attention_factor"] = st.none() | NUMBERS
    below, above = NUMBERS.filter(lambda n: n < 4), st.floats(33, 1e6)
    if scaling == "llama3":
        optional |= {"low_freq_factor": below | st.just(4.0), "high_freq_factor": above | st.just(4.0)}
    if scaling == "yarn":
        optional |= {"beta_slow": below | st.just(32.0), "beta_fast": above, "truncate": st.booleans()}
    if scaling == "longrope":
        factor = st.floats(min_value=0, max_value=1e9, exclude_min=True) | st.integers(1, 9)
        factors = st.lists(factor, min_size=rotated // 2, max_size=rotated // 2)
        values |= {"short_factors": draw(factors), "long_factors": draw(factors)}
    return values | draw(_some(optional))


@st.composite
def _loop(draw: st.DrawFn, n_layers: int) -> dict[str, Any]:
    n_loops = draw(st.sampled_from([None, None, 2, 64]))
    if n_loops is None:
        return draw(_some({"n_loops": st.none()}))
    n_prelude = draw(st.integers(0, n_layers - 1))
    values = {"n_loops": n_loops, "n_prelude_layers": n_prelude}
    n_coda = draw(st.integers(0, n_layers - n_prelude - 1))
    n_core = n_layers - n_prelude - n_coda
    values |= {"n_coda_layers": n_coda} if n_coda else {}
    if n_core > 1 and draw(st.booleans()):
        return {**values, "n_low_layers": draw(st.integers(1, n_core - 1)), **draw(_some({"n_low_loops": st.just(3)}))}
    return {**values, **draw(_some({"inject": st.booleans(), "n_low_layers": st.none()}))}


@st.composite
def _head(draw: st.DrawFn) -> dict[str, Any]:
    optional = {"bias": st.booleans(), "logit_scale": NUMBERS, "logit_softcap": st.none() | NUMBERS}
    values = draw(_some(optional))
    if draw(st.booleans()):
        activations = st.sampled_from(["gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "silu"])
        values |= {"dense": True, **draw(_some({"dense_activation": activations, "dense_bias": st.booleans()}))}
    return values


@st.composite
def _norm(draw: st.DrawFn) -> dict[str, Any]:
    values = draw(
        _some(
            {
                "kind": st.sampled_from(["layernorm", "rmsnorm"]),
                "eps": st.floats(min_value=0, max_value=0.1, exclude_min=True, allow_subnormal=True),
                "placement": st.sampled_from(["pre", "post", "sandwich", "post_residual"]),
                "weight": st.booleans(),
            }
        )
    )
    biased = values.get("kind", "layernorm") == "layernorm" and values.get("weight", True)
    optional: dict[str, st.SearchStrategy[Any]] = {"bias": st.sampled_from([None, False, True] if biased else [False])}
    if values.get("weight", True):
        optional["zero_centered"] = st.booleans()
    return values | draw(_some(optional))


EITHER_ATTENTION: dict[str, st.SearchStrategy[Any]] = {
    "bias": st.booleans(),
    "out_bias": st.none() | st.booleans(),
    "logit_softcap": st.none() | NUMBERS,
    "scale": st.none() | NUMBERS,
    "gate": st.booleans(),
}


@st.composite
def _temperature(draw: st.DrawFn) -> dict[str, Any]:
    scale = draw(st.none() | NUMBERS)
    others = {"temperature_len": st.integers(1, 10**9), "temperature_offset": st.integers(0, 1024)}
    others["temperature_growth"] = st.sampled_from(["log_steps", "power"])
    return {} if scale is None else {"temperature_scale": scale, **draw(_some(others))}


@st.composite
def _multi_head(draw: st.DrawFn, n_heads: int) -> dict[str, Any]:
    divisors = [n for n in range(1, n_heads + 1) if n_heads % n == 0]
    optional: dict[str, st.SearchStrategy[Any]] = {
        **EITHER_ATTENTION,
        "kind": st.just("multi_head"),
        "n_kv_heads": st.none() | st.sampled_from(divisors),
        "qk_norm": st.sampled_from(["none", "per_head", "full"]),
        "clip_qkv": st.none() | NUMBERS,
        "out_multiplier": NUMBERS,
        "sinks": st.booleans(),
        "sub_norm": st.booleans(),
    }
    values = draw(_some(optional))
    if not (values.get("n_kv_heads") or n_heads) % 2:
        values |= draw(_some({"differential": st.booleans()}))
    if not values.get("differential"):
        top_k = n_heads // (values.get("n_kv_heads") or n_heads)
        values |= draw(_some({"d_value": st.none() | DIMS, "n_experts": st.none() | st.integers(top_k, top_k + 4096)}))
    if draw(st.booleans()):
        is_normed = values.get("qk_norm", "none") != "none"
        shared = is_normed and values.get("d_value") is None
        values |= {"v_norm": True, **(draw(_some({"keys_as_values": st.booleans()})) if shared else {})}
    if draw(st.booleans()):
        values["window"] = draw(st.integers(1, 10**9))
        values |= draw(_some({"window_pattern": WINDOW_PATTERN, "chunked": st.booleans()}))
    return values


def _latent() -> st.SearchStrategy[dict[str, Any]]:
    own = {"kv_rank": DIMS, "q_rank": st.none() | DIMS, "d_nope": DIMS, "d_value": st.none() | DIMS}
    own["latent_norm_eps"] = st.sampled_from([None, 1e-6, 0.1])
    own |= {"scale_latents": st.booleans(), "k_rope_norm": st.booleans()}
    return st.fixed_dictionaries({"kind": st.just("latent")}, optional={**EITHER_ATTENTION, **own})


def _indexer(position: str, d_rope: int) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "index_n_heads": st.integers(1, 2**16),
        **({"index_pairing": st.sampled_from(["half", "adjacent"])} if position == "rope" else {}),
    }
    required = {"index_top_k": st.integers(1, 10**9), "index_d_head": st.integers(d_rope, 2**16)}
    return st.fixed_dictionaries(required, optional=optional)


KIMI_DELTA_ATTENTION: dict[str, st.SearchStrategy[Any]] = {
    "d_head": DIMS,
    "gate_rank": st.none() | DIMS,
    "kernel_size": st.integers(1, 1024),
    "max_decay_rate": st.none() | st.floats(0, 1e4, exclude_min=True),
    "o_norm_eps": st.none() | st.floats(0, 0.1, exclude_min=True),
    "chunk_len": st.integers(1, 10**9),
}
LIGHTNING_ATTENTION: dict[str, st.SearchStrategy[Any]] = {
    "d_head": DIMS,
    "o_norm_eps": st.none() | st.floats(0, 0.1, exclude_min=True),
    "chunk_len": st.integers(1, 10**9),
}
MLSTM: dict[str, st.SearchStrategy[Any]] = {
    "d_key": DIMS,
    "d_value": DIMS,
    "gate_softcap": st.none() | st.floats(0, 1e6, exclude_min=True),
    "o_norm_eps": st.none() | st.floats(0, 0.1, exclude_min=True),
    "chunk_len": st.integers(1, 10**9),
}
SHORT_CONV: dict[str, st.SearchStrategy[Any]] = {"kernel_size": st.integers(1, 1024), "bias": st.booleans()}


@st.composite
def _with_heads(
    draw: st.DrawFn, /, optional: dict[str, st.SearchStrategy[Any]], d_model: int, **width: int
) -> dict[str, Any]:
    """Draw some of ``optional``, and n_heads, which a d_model that is not a multiple of the width of a head needs."""
    values = draw(_some(optional))
    ((name, default),) = width.items()
    if draw(st.booleans()) or d_model % values.get(name, default):
        values["n_heads"] = draw(st.integers(1, 2**16))
    return values


@st.composite
def _mamba(draw: st.DrawFn) -> dict[str, Any]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "d_inner": st.none() | DIMS,
        "n_heads": st.just(1),
        "d_state": DIMS,
        "dt_rank": st.none() | DIMS,
        "kernel_size": st.integers(1, 1024),
        "bias": st.booleans(),
        "conv_bias": st.booleans(),
        "chunk_len": st.integers(1, 10**9),
    }
    norm = draw(st.sampled_from(["unweighted", "weighted", "none"]))
    eps = {} if norm == "none" else draw(_some({"eps": st.none() | st.floats(1e-9, 0.1)}))
    return {"norm": norm, **eps, **draw(_some(optional))}


@st.composite
def _mamba2(draw: st.DrawFn) -> dict[str, Any]:
    n_groups, heads_each = draw(st.integers(1, 16)), draw(st.integers(1, 16))
    bounds = {"min_dt": st.floats(0, 1), "max_dt": st.none() | st.floats(2, 1e6)}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "d_head": DIMS,
        "d_state": DIMS,
        "kernel_size": st.integers(1, 1024),
        "bias": st.booleans(),
        "conv_bias": st.booleans(),
        "norm": st.sampled_from(["grouped", "full", "none"]),
        "multipliers": st.none() | st.lists(NUMBERS, min_size=5, max_size=5),
        "out_multiplier": NUMBERS,
        "chunk_len": st.integers(1, 10**9),
        **bounds,
    }
    return {"n_heads": n_groups * heads_each, "n_groups": n_groups, **draw(_some(optional))}


@st.composite
def _rg_lru(draw: st.DrawFn) -> dict[str, Any]:
    values = draw(_some({"kernel_size": st.integers(1, 1024), "bias": st.booleans()}))
    if draw(st.booleans()):
        n_blocks = draw(st.integers(1, 2**8))
        values |= {"n_blocks": n_blocks, "d_inner": n_blocks * draw(st.integers(1, 2**8))}
    return values


@st.composite
def _gated_deltanet(draw: st.DrawFn, d_model: int) -> dict[str, Any]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "d_key": DIMS,
        "d_value": DIMS,
        "kernel_size": st.integers(1, 1024),
        "chunk_len": st.integers(1, 10**9),
    }
    optional["o_norm_eps"] = st.sampled_from([None, 1e-6, 0.1])
    values = draw(_some({**optional, "gate": st.booleans(), "negative_eigenvalues": st.booleans()}))
    if draw(st.booleans()) or d_model % values.get("d_key", 128):
        heads = draw(st.integers(1, 2**8))
        values |= {
            "n_key_heads": heads,
            **draw(_some({"n_value_heads": st.integers(1, 2**8).map(lambda n: n * heads)})),
        }
    return values


@st.composite
def _feed_forward(draw: st.DrawFn, n_layers: int) -> dict[str, Any]:
    activations = ["gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "silu", "xielu"]
    values = draw(_some({"activation": st.sampled_from(activations), "gated": st.booleans(), "bias": st.booleans()}))
    if values.get("gated"):
        values |= draw(_some({"clamp": st.none() | NUMBERS}))
    if values.get("activation") == "xielu" or draw(st.booleans()):
        more: dict[str, st.SearchStrategy[Any]] = {"channel_mixing": st.booleans()}
        if values.get("gated"):
            more = {"gate_multiplier": NUMBERS}
        if values.get("gated") and not values.get("clamp"):
            more["activation_sparsity"] = st.none() | st.floats(0.01, 0.99)
        return values | draw(_some({"out_multiplier": NUMBERS, "sub_norm": st.booleans(), **more}))
    n_groups, size = draw(st.integers(1, 16)), draw(st.integers(2, 4096))
    groups = draw(st.integers(1, n_groups))
    router = draw(st.sampled_from(["topk_softmax", "softmax", "sigmoid", "sparsemixer"]))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "top_k": st.integers(1, size * groups),
        "d_expert": st.none() | st.integers(1, 2**24),
        "d_latent": st.none() | st.integers(1, 2**20),
        "expert_bias": st.none() | st.booleans(),
        "n_dense_layers": st.integers(0, n_layers - 1),
        "router_bias": st.booleans(),
        "expert_scale": st.booleans(),
        "out_bias": st.booleans(),
        "router_weight_on_input": st.booleans(),
        "routed_scale": NUMBERS,
    }
    if router == "sparsemixer":
        optional["router_jitter"] = st.floats(0, 1e6)
    elif router != "topk_softmax":
        optional["renormalize"] = st.booleans()
    shared = {
        "d_shared_expert": st.none() | st.integers(1, 2**24),
        "shared_expert_gate": st.booleans(),
        "shared_scale": NUMBERS,
    }
    n_shared = draw(st.integers(0, 2**16))
    values |= {"n_shared_experts": n_shared, **(draw(_some(shared)) if n_shared else {})} if draw(st.booleans()) else {}
    if router in ("sigmoid", "softmax") and draw(st.booleans()):
        values |= {"score_correction": True} | ({"correct_logits": draw(st.booleans())} if router == "sigmoid" else {})
    chosen = {"n_groups": n_groups, "top_k_groups": groups} if n_groups > 1 or draw(st.booleans()) else {}
    if n_groups == 1:
        optional["n_zero_experts"] = st.integers(0, 2**16)
    if n_groups > 1 and values.get("score_correction"):
        optional["zero_other_groups"] = st.booleans()
    return {**values, "n_experts": n_groups * size, "router": router, **chosen, **draw(_some(optional))}


@st.composite
def _block(draw: st.DrawFn, placement: str, mixer: str, *, has_feed_forward: bool) -> dict[str, Any]:
    parallel = placement == "pre" and mixer != "none" and has_feed_forward and draw(st.booleans())
    optional: dict[str, st.SearchStrategy[Any]] = {"residual_multiplier": NUMBERS, "skip_multiplier": NUMBERS}
    before = placement in ("pre", "sandwich")
    if parallel:
        optional["shared_norm"] = st.booleans()
    elif before:
        optional["normed_residual"] = st.booleans()
    if before and not parallel and mixer != "none":
        optional["mixer_norm"] = st.booleans()
    elif before and mixer != "none":
        optional["mixer_norm_gate_rank"] = st.none() | DIMS
    if before and not parallel and has_feed_forward:
        optional["feed_forward_norm_gate_rank"] = st.none() | DIMS
    if placement != "post_residual" and not parallel:
        optional["hyper_streams"] = st.none() | st.integers(2, 64)
    if not parallel:
        optional |= {"depth_scaled_residual": st.booleans(), "skip_weight": st.booleans()}
    optional["altup_streams"] = st.none() | st.integers(2, 64)
    if before and not parallel and mixer != "none":
        optional["laurel_rank"] = st.none() | DIMS
    parts: dict[str, Any] = {} if mixer == "attention" and draw(st.booleans()) else {"mixer": mixer}
    parts |= {} if has_feed_forward and draw(st.booleans()) else {"feed_forward": has_feed_forward}
    values = draw(_some(optional))
    if values.get("hyper_streams"):
        for name in ("normed_residual", "depth_scaled_residual", "altup_streams", "laurel_rank", "skip_weight"):
            values.pop(name, None)
    if values.get("depth_scaled_residual"):
        values.pop("altup_streams", None)
    if values.get("normed_residual") or values.get("depth_scaled_residual") or not values.get("mixer_norm", True):
        values.pop("laurel_rank", None)
    if values.get("altup_streams") or values.get("laurel_rank"):
        values.pop("skip_weight", None)
    return parts | ({"parallel": True} if parallel else {}) | values
