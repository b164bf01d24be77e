"""Published architectures scaled down, with the same parts and about the same ratios."""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig

WIDTH, HEAD, LENGTH, WINDOW = 64, 16, 64, 16


def scaled_down(config: ModelConfig, *, width: int = WIDTH) -> ModelConfig:
    """Return a small model of the same architecture.

    Args:
        config: A published model.
        width: d_model, a multiple of 16.
    """
    ratio = max(1, round(config.d_ff / config.d_model))
    group = min(4, config.n_heads // config.n_kv_heads)
    heads = 2 * group if group > 1 else width // HEAD
    values: dict[str, Any] = config.model_dump(exclude_unset=True)
    values |= {
        "vocab_size": 512,
        "d_model": width,
        "n_heads": heads,
        "n_layers": max(4, len(config.attention.window_pattern)),
        "d_ff": ratio * width,
        "max_len": LENGTH,
    }
    values.pop("nominal_params", None)
    if config.layers.kinds:
        names = layer_pattern(config).names * 2
        values["layers"] = {"pattern": ", ".join(names), "kinds": values["layers"]["kinds"]}
        values["n_layers"] = len(names)
    values["attention"] = values.get("attention", {}) | _attention(config, heads // group)
    feed_forward = config.feed_forward
    if feed_forward.n_experts is not None:
        few = {"n_experts": 8, "top_k": min(feed_forward.top_k, 3), "d_expert": width}
        values["feed_forward"] = values["feed_forward"] | few
    return ModelConfig.model_validate(values)


def _attention(config: ModelConfig, kv_heads: int) -> dict[str, Any]:
    if config.attention.kind == "latent":
        return {"kv_rank": 32, "d_nope": 16, "d_rope": 8, "d_value": 16}
    window = {"window": WINDOW} if config.attention.window is not None else {}
    return {"n_kv_heads": kv_heads, "d_head": HEAD, **window}
