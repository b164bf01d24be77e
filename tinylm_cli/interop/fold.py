"""A model rewritten so that a family can express it, with the same logits: what is fixed becomes what is learned."""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.schema import ModelConfig


def folded(config: ModelConfig) -> ModelConfig | None:
    """Return the config of an equal model with learned positions, token vectors as they are, and every bias.

    The table of sinusoids becomes learned positions, and a model without positions gets a table of zeros; the factor on
    token vectors goes into them, which then cannot be the head's as well; a bias that is absent becomes one of zeros.

    Returns:
        None if nothing of this would change the model, or if positions enter in another way.
    """
    if config.position.kind not in ("sinusoidal", "none", "learned") or config.embedding.norm:
        return None
    values = config.model_dump(exclude_unset=True)
    scaled = config.embedding.multiplier != 1
    changes: dict[str, Any] = {
        "tie_weights": config.tie_weights and not scaled,
        "embedding": {"multiplier": 1.0},
        "position": {"kind": "learned"},
        "attention": {**values.get("attention", {}), "bias": True, "out_bias": None},
        "feed_forward": {**values.get("feed_forward", {}), "bias": True},
    }
    changed = ModelConfig.model_validate(values | changes)
    return None if changed == config else changed
