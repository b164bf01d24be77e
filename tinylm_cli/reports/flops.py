"""Floating-point operations, as ``tinylm estimate`` reports them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

AttentionCount = Literal["causal", "full"]
Recompute = Literal["none", "selective", "full"]
FlopsComponent = Literal["attention", "attention_scores", "feed_forward", "router", "experts", "lm_head"]

COMPONENTS: tuple[FlopsComponent, ...] = get_args(FlopsComponent)


@dataclass(frozen=True)
class PartFlops:
    """One row of a breakdown.

    Attributes:
        name: A component, ``attention_scores`` being the products of attention that have no weights; or layers that are
            alike: ``blocks.{0..5}``.
        count: How many layers the row stands for.
        forward_flops: Operations of a forward pass, of all ``count`` together.
        share: ``forward_flops`` over those of the model, 0 to 1.
    """

    name: str
    count: int
    forward_flops: int
    share: float


@dataclass(frozen=True)
class ModelFlops:
    """What one pass and one training step compute, a multiplication and an addition counted as two.

    Attributes:
        batch_size: Sequences in a step.
        seq_len: Tokens in each.
        attention: ``causal``: only pairs that a query may see; ``full``: all of them, as torch's counter does.
        recompute: What the backward pass computes again.
        forward_flops: A forward pass over all sequences.
        backward_flops: The backward pass, twice that.
        recompute_flops: What it computes again.
        train_flops: All three.
        forward_flops_per_token: ``forward_flops`` over the tokens of the step.
        train_flops_per_token: ``train_flops`` over the tokens of the step.
        six_n_flops_per_token: Six times the active parameters, the usual estimate of ``train_flops_per_token``.
        six_n_ratio: ``train_flops_per_token``, without what is computed again, over ``six_n_flops_per_token``.
        decode_flops_per_token: Generating one more token after ``seq_len - 1`` others, what came before being cached.
        components: By component, in the order of the model.
        layers: By layer, alike ones held once, and the head.
    """

    batch_size: int
    seq_len: int
    attention: AttentionCount
    recompute: Recompute
    forward_flops: int
    backward_flops: int
    recompute_flops: int
    train_flops: int
    forward_flops_per_token: float
    train_flops_per_token: float
    six_n_flops_per_token: int
    six_n_ratio: float
    decode_flops_per_token: int
    components: tuple[PartFlops, ...]
    layers: tuple[PartFlops, ...]
