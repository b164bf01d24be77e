"""Floating-point operations in the report of ``tinylm estimate``."""

from __future__ import annotations

from typing import Literal, get_args

from tinylm_cli.reports.choices import AttentionCount, Recompute
from tinylm_cli.reports.record import Record

FlopsComponent = Literal[
    "per_layer_input",
    "attention",
    "attention_scores",
    "short_conv",
    "mamba",
    "mamba_scan",
    "mamba2",
    "mamba2_scan",
    "gated_deltanet",
    "kimi_delta_attention",
    "delta_rule",
    "lightning_attention",
    "mlstm",
    "linear_attention",
    "rg_lru",
    "rwkv",
    "feed_forward",
    "router",
    "experts",
    "norm",
    "hyper_connections",
    "altup",
    "laurel",
    "lm_head",
    "score",
]

COMPONENTS: tuple[FlopsComponent, ...] = get_args(FlopsComponent)


class PartFlops(Record):
    """One row of a breakdown."""

    # A component (``attention_scores``, ``mamba_scan``, ``mamba2_scan``, ``delta_rule`` and ``linear_attention`` are
    # matmuls without weights), or identical layers: ``blocks.{0..5}``.
    name: str
    count: int  # Number of layers in the row.
    forward_flops: int  # FLOPs of a forward pass, for all ``count`` layers together.
    share: float  # Share of the model's ``forward_flops``, 0 to 1.


class ModelFlops(Record):
    """FLOPs of a forward pass and of a training step; a multiply-add counts as two."""

    batch_size: int  # Sequences in a step.
    seq_len: int  # Tokens per sequence.
    # ``causal`` counts the pairs that the mask allows; ``full`` all pairs, like torch's FlopCounterMode.
    attention: AttentionCount
    recompute: Recompute  # Activations that the backward pass recomputes.
    forward_flops: int  # A forward pass over all sequences, as inference runs it: without MTP modules.
    mtp_flops: int  # The forward pass of the multi-token prediction (MTP) modules, which only training runs.
    # Twice the forward passes of the model and of its MTP modules; without the gradients of frozen weights.
    backward_flops: int
    recompute_flops: int  # Recomputation of activations.
    train_flops: int  # Forward pass, MTP modules, adapters, backward pass and recomputation.
    forward_flops_per_token: float  # ``forward_flops`` over the tokens of the step.
    train_flops_per_token: float  # ``train_flops`` over the tokens of the step.
    six_n_flops_per_token: int  # Six times the active parameters, the usual estimate of training FLOPs.
    # Training FLOPs per token without recomputation and MTP modules, over ``six_n_flops_per_token``.
    six_n_ratio: float
    decode_flops_per_token: int  # Decoding one token with ``seq_len - 1`` tokens in the KV cache; 0 without an LM head.
    components: tuple[PartFlops, ...]  # By component, in the order of the model.
    layers: tuple[PartFlops, ...]  # By layer, with identical layers in one row, and the head.
    adapter_flops: int = 0  # The forward pass of LoRA adapters, if they are trained.
