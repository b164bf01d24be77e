"""What several families write alike into a config.json: rotary positions and their stretching, windows."""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.schema import ModelConfig

Keys = dict[str, Any]


def rope_keys(config: ModelConfig) -> Keys:
    """Return the base of the rotation and how it stretches, in the form that every version of transformers reads."""
    position = config.position
    return {"rope_theta": position.theta, "rope_scaling": scaling_keys(config)}


def scaling_keys(config: ModelConfig) -> Keys | None:
    """Return how the rotation stretches; None where it does not."""
    position = config.position
    if position.scaling == "none":
        return None
    keys: Keys = {"rope_type": position.scaling, "factor": position.stretch}
    if position.scaling in ("llama3", "yarn", "longrope"):
        keys["original_max_position_embeddings"] = position.original_max_len
    if position.scaling == "llama3":
        keys |= {"low_freq_factor": position.low_freq_factor, "high_freq_factor": position.high_freq_factor}
    if position.scaling == "yarn":
        keys |= {"beta_fast": position.beta_fast, "beta_slow": position.beta_slow, "truncate": position.truncate}
    if position.scaling == "longrope":
        keys |= {"short_factor": list(position.short_factors or ()), "long_factor": list(position.long_factors or ())}
    if position.attention_factor is not None:
        keys["attention_factor"] = position.attention_factor
    return keys


def partial_rope_keys(config: ModelConfig) -> Keys:
    """Return the same, and the share of a head that rotates."""
    return {**rope_keys(config), "partial_rotary_factor": config.position.rotary_fraction}


def window_keys(config: ModelConfig) -> Keys:
    """Return the window of all layers."""
    return {"sliding_window": config.attention.window}


def layer_types(config: ModelConfig) -> list[str]:
    """Return a word for each layer."""
    local = (config.window(layer) is not None for layer in range(config.n_layers))
    return ["sliding_attention" if each else "full_attention" for each in local]


def windows_keys(config: ModelConfig) -> Keys:
    """Return the window, a number even where no layer has one, and which layers have it."""
    return {"sliding_window": config.attention.window or config.max_len, "layer_types": layer_types(config)}
