"""A model rewritten so that a family can express it, with the same logits: what is fixed becomes what is learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tinylm_cli.config.schema import ModelConfig


def equals(config: ModelConfig) -> Iterator[ModelConfig]:
    """Yield configs of equal models, other than ``config`` itself, the least rewritten first.

    The factor on token vectors goes into them, which then cannot be the head's as well. Beyond that, where positions
    are added to the embeddings, a table of sinusoids becomes learned positions, and no positions a table of zeros; and
    a bias that is absent becomes one of zeros.
    """
    values = config.model_dump(exclude_unset=True)
    unscaled: dict[str, Any] = {"embedding": {**values.get("embedding", {}), "multiplier": 1.0}}
    if config.embedding.multiplier != 1:
        unscaled["tie_weights"] = False
        yield ModelConfig.model_validate(values | unscaled)
    if config.position.kind in ("sinusoidal", "learned", "none") and not config.embedding.norm:
        learned: dict[str, Any] = {
            "position": {"kind": "learned"},
            "attention": {**values.get("attention", {}), "bias": True, "out_bias": None},
            "feed_forward": {**values.get("feed_forward", {}), "bias": True},
        }
        rewritten = ModelConfig.model_validate(values | unscaled | learned)
        if rewritten != config:
            yield rewritten
