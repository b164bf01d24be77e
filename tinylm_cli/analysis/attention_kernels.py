"""The implementation of attention in each layer, and whether it materializes scores or masks."""

from __future__ import annotations

from typing import Literal

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.choices import AttentionKernel, Device

AttentionBackend = Literal["flash", "fused", "math", "eager"]
"""``flash``: a kernel that materializes neither scores nor masks. ``fused``: torch's fused kernels, which take a mask.
``math``: torch's unfused operations, which materialize scores in float32 or wider. ``eager``: the eager path
of ``model/sdpa.py:sdpa``, which materializes scores in the model's dtype."""


def attention_backend(
    config: ModelConfig,
    kernel: AttentionKernel,
    *,
    device: Device,
    banded: bool,
    dropout: bool = False,
    trains: bool = False,
) -> AttentionBackend:
    """Return the backend that runs in a layer, for the kernel that the user names.

    ``sdpa`` follows ``model/sdpa.py:sdpa``: soft-capped scores and attention sinks take the eager path; everything
    else calls torch. On the CPU, torch's fused kernels need d_value equal to d_head, no dropout and no gradient of the
    mask; on CUDA they accept a mask or grouped queries, but not both.

    Args:
        config: A validated config.
        kernel: ``flash`` materializes neither scores nor masks, ``math`` both.
        device: The device whose kernels run.
        banded: Whether the layer's window is shorter than the sequence.
        dropout: Whether attention weights are dropped.
        trains: Whether gradients are computed.

    References:
        https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    if kernel == "flash":
        return "flash"
    if needs_eager_attention(config):
        return "eager"
    is_dynamic = config.attention.dynamic_mask_top_k is not None
    if device == "cpu":
        unsupported = dropout or config.d_value != config.d_head or (is_dynamic and trains)
    else:
        has_mask = banded or is_dynamic or config.position.kind == "alibi"
        unsupported = has_mask and config.n_kv_heads != config.n_heads
    return "math" if kernel == "math" or unsupported else "fused"


def needs_eager_attention(config: ModelConfig) -> bool:
    """Return whether scores are soft-capped or compete with a sink, which torch's fused kernels cannot do."""
    return config.attention.logit_softcap is not None or config.attention.sinks
