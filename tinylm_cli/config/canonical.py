"""The canonical fields of a config: equal for all configs that describe one model."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

from tinylm_cli.config.blocks import MAX_WINDOW_PATTERN
from tinylm_cli.config.dependencies import applies
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import LABELS, ModelConfig, flatten


def canonical_fields(config: ModelConfig) -> dict[str, Any]:
    """Return the fields that apply, each with its resolved value: equal for all configs that describe one model."""
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
        # patterns that agree on the length of two patterns agree on all layers (Fine and Wilf 1965)
        layers = islice(layer_pattern(config), 2 * MAX_WINDOW_PATTERN)
        kept["attention.window_pattern"] = tuple(kind.attention.window for kind in layers)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}
