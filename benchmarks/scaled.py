"""Published architectures scaled down, with the same parts and about the same ratios."""

from __future__ import annotations

from functools import cache
from typing import Any

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.feed_forward import FeedForward
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.loader import load_yaml_config
from tinylm_cli.config.presets import gallery
from tinylm_cli.config.schema import ModelConfig, flatten

WIDTH, HEAD, LENGTH, WINDOW = 64, 16, 64, 16


def scaled_down(config: ModelConfig, *, width: int = WIDTH) -> ModelConfig:
    """Return a small model of the same architecture.

    Args:
        config: A published model.
        width: d_model, a multiple of 16.
    """
    values: dict[str, Any] = config.model_dump(exclude_unset=True)
    values |= {
        "vocab_size": 512,
        "d_model": width,
        "n_layers": max(4, len(config.attention.window_pattern)),
        "max_len": LENGTH,
    }
    values.pop("nominal_params", None)
    if any(kind.block.feed_forward for kind in layer_pattern(config).kinds):
        values["d_ff"] = max(1, round(config.d_ff / config.d_model)) * width
    if attends(config):
        group = min(4, config.n_heads // config.n_kv_heads)
        values["n_heads"] = 2 * group if group > 1 else width // HEAD
        values["attention"] = values.get("attention", {}) | _attention(config, values["n_heads"] // group)
    if config.layers.kinds:
        names, kinds = layer_pattern(config).names * 2, values["layers"]["kinds"]
        for kind in kinds.values():
            if kind.get("feed_forward", {}).get("n_experts") is not None:
                kind["feed_forward"] |= _experts(FeedForward.model_validate(kind["feed_forward"]), width)
        values["layers"] = {"pattern": ", ".join(names), "kinds": kinds}
        values["n_layers"] = len(names)
    feed_forward = config.feed_forward
    if feed_forward.n_experts is not None:
        values["feed_forward"] = values["feed_forward"] | _experts(feed_forward, width)
    if feed_forward.adapter_rank is not None:
        values["feed_forward"] = values["feed_forward"] | {"adapter_rank": HEAD}
    for mixer, sizes in _mixers(config, width).items():
        if mixer in values:
            values[mixer] = values[mixer] | sizes
    return ModelConfig.model_validate(values)


def _experts(feed_forward: FeedForward, width: int) -> dict[str, int]:
    """Return the sizes of few and small experts."""
    few = {"n_experts": 8, "top_k": min(feed_forward.top_k, 3), "d_expert": width}
    if feed_forward.d_shared_expert is not None:
        few["d_shared_expert"] = width
    if feed_forward.d_latent is not None:
        few["d_latent"] = width // 4
    return few


@cache
def architectures() -> dict[str, ModelConfig]:
    """Return the smallest published model of each architecture.

    Two models have the same architecture if their fields differ only in sizes, RoPE frequencies and other numbers.
    """
    configs = {name: load_yaml_config(name).config for name in gallery()}
    params = {name: total_params(tensor_table(config)) for name, config in configs.items()}
    smallest: dict[str, str] = {}
    for name in sorted(configs, key=lambda name: params[name]):
        smallest.setdefault(_parts(configs[name]), name)
    return {name: configs[name] for name in gallery() if name in smallest.values()}


_NUMBERS = {
    "d_ff",
    "n_heads",
    "attention.scale",
    "position.theta",
    "position.local_theta",
    "position.scaling",
    "position.scaling_factor",
    "position.original_max_len",
    "position.attention_factor",
    "position.truncate",
}


def _parts(config: ModelConfig) -> str:
    """Return the fields of a config at one size, with a placeholder for each number that only scales."""
    fields = flatten(scaled_down(config).model_dump())
    fields["attention.n_kv_heads"] = attends(config) and config.n_kv_heads < config.n_heads
    return repr({field: _scale(value) for field, value in fields.items() if field not in _NUMBERS})


def _scale(value: Any) -> Any:
    return float if isinstance(value, float) and value not in (0.0, 1.0) else value


def attends(config: ModelConfig) -> bool:
    """Whether a layer of the model has attention."""
    return any("attention" in kind.block.mixers for kind in layer_pattern(config).kinds)


def _mixers(config: ModelConfig, width: int) -> dict[str, dict[str, int]]:
    """Return the sizes of each mixer other than attention, by its block."""
    heads = width // HEAD
    return {
        "mamba": {"d_inner": 2 * width, "dt_rank": heads},
        "mamba2": {
            "n_heads": 2 * heads,
            "d_head": HEAD,
            "d_state": HEAD,
            "n_groups": min(2, config.mamba2.n_groups),
        },
        "gated_deltanet": {"n_key_heads": heads, "n_value_heads": 2 * heads, "d_key": HEAD, "d_value": HEAD},
        "kimi_delta_attention": {"n_heads": heads, "d_head": HEAD, "gate_rank": HEAD},
        "lightning_attention": {"n_heads": heads, "d_head": HEAD},
        "mlstm": {"n_heads": heads, "d_key": HEAD // 2, "d_value": HEAD},
        "rg_lru": {"d_inner": width, "n_blocks": heads},
        "rwkv": {"d_inner": width},
    }


def _attention(config: ModelConfig, kv_heads: int) -> dict[str, Any]:
    if config.attention.kind == "latent":
        q_rank = {} if config.attention.q_rank is None else {"q_rank": 48}
        return {"kv_rank": 32, **q_rank, "d_nope": 16, "d_rope": 8, "d_value": 16}
    window = {"window": WINDOW} if config.attention.window is not None else {}
    return {"n_kv_heads": kv_heads, "d_head": HEAD, **window}
