"""What a config says of its model, however it is written."""

from __future__ import annotations

import math
from typing import Any

from tinylm_cli.config.dependencies import applies
from tinylm_cli.config.schema import LABELS, ModelConfig, flatten


def meaning(config: ModelConfig) -> dict[str, Any]:
    """Return what a config says, the same for all that describe one model: every field that applies, none left open."""
    values = flatten(config.model_dump())
    applying = {name: value for name, value in values.items() if applies(name, values)}
    attention = config.attention
    resolved = {
        "embedding.multiplier": math.sqrt(config.d_model)
        if config.embedding.multiplier is None
        else config.embedding.multiplier,
        "norm.bias": config.norm.has_bias,
        "attention.n_kv_heads": config.n_kv_heads,
        "attention.d_head": config.d_head,
        "attention.out_bias": attention.has_out_bias,
        "attention.scale": config.d_head**-0.5 if attention.scale is None else attention.scale,
        "feed_forward.d_expert": config.d_expert,
        "position.scaling_factor": config.position.stretch,
        "position.local_theta": config.position.local_theta or config.position.theta,
    }
    kept = {name: resolved.get(name, value) for name, value in applying.items() if name not in LABELS}
    if attention.window is not None:
        kept["attention.window_pattern"] = tuple(config.window(layer) for layer in range(config.n_layers))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}
