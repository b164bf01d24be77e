"""Floating-point operations in the report of ``tinylm estimate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tinylm_cli.reports.choices import AttentionCount, Recompute

FlopsComponent = Literal["attention", "attention_scores", "feed_forward", "router", "experts", "lm_head"]

COMPONENTS: tuple[FlopsComponent, ...] = get_args(FlopsComponent)


@dataclass(frozen=True)
class PartFlops:
    """One row of a breakdown.

    Attributes:
        name: A component (``attention_scores`` are attention's matmuls without weights), or identical layers:
            ``blocks.{0..5}``.
        count: Number of layers in the row.
        forward_flops: FLOPs of a forward pass, for all ``count`` layers together.
        share: Share of the model's ``forward_flops``, 0 to 1.
    """

    name: str
    count: int
    forward_flops: int
    share: float


@dataclass(frozen=True)
class ModelFlops:
    """FLOPs of a forward pass and of a training step; a multiply-add counts as two.

    Attributes:
        batch_size: Sequences in a step.
        seq_len: Tokens per sequence.
        attention: ``causal`` counts the pairs that the mask allows; ``full`` all pairs, like torch's FlopCounterMode.
        recompute: Activations that the backward pass recomputes.
        forward_flops: A forward pass over all sequences.
        backward_flops: The backward pass, twice the forward pass.
        recompute_flops: Recomputation of activations.
        train_flops: Forward pass, backward pass and recomputation.
        forward_flops_per_token: ``forward_flops`` over the tokens of the step.
        train_flops_per_token: ``train_flops`` over the tokens of the step.
        six_n_flops_per_token: Six times the active parameters, the usual estimate of ``train_flops_per_token``.
        six_n_ratio: ``train_flops_per_token`` without recomputation, over ``six_n_flops_per_token``.
        decode_flops_per_token: Decoding one token with ``seq_len - 1`` tokens in the KV cache.
        components: By component, in the order of the model.
        layers: By layer, with identical layers in one row, and the LM head.
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
