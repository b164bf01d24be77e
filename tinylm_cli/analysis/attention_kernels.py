"""How attention is computed: without scores and masks, as torch does it on a device, or written out."""

from __future__ import annotations

from typing import Literal

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import AttentionKernel, Device, OwnAttention

Way = Literal["flash", "fused", "math", "own"]
"""What runs in a layer: a kernel that writes nothing out; torch's own, which is given masks; torch's single operations,
which write scores out in float32 or wider; tinylm's, which do so in the model's type."""


def attention_way(
    config: ModelConfig, kernel: AttentionKernel, *, device: Device, banded: bool, dropout: bool = False
) -> Way:
    """Return what a kernel's name means in a layer.

    ``sdpa`` is what tinylm's own model does: soft-capped scores and those beside a sink it writes out itself; else it
    calls torch, whose fused kernels want values as wide as queries and keys, and no dropout, on the CPU; and on CUDA
    take either a mask or groups.

    Args:
        config: A validated config.
        kernel: ``flash`` writes nothing out, ``math`` everything.
        device: Whose kernels run.
        banded: Whether the layer's window is shorter than the sequence.
        dropout: Whether weights are dropped.

    References:
        https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    if kernel == "flash":
        return "flash"
    if writes_scores(config):
        return "own"
    if device == "cpu":
        refused = dropout or config.d_value != config.d_head
    else:
        refused = (banded or config.position.kind == "alibi") and config.n_kv_heads != config.n_heads
    return "math" if kernel == "math" or refused else "fused"


def own_attention(config: ModelConfig, *, seq_len: int) -> OwnAttention | None:
    """Return what tinylm's own model keeps on CUDA beyond a flash kernel: scores, or masks; None where neither.

    Args:
        config: A validated config.
        seq_len: T.
    """
    banded = has_band(config, seq_len)
    fades = config.position.kind == "alibi"
    masks = [name for name, there in (("windows", banded), ("ALiBi", fades)) if there]
    if writes_scores(config):
        capped, sinks = config.attention.logit_softcap is not None, config.attention.sinks
        return OwnAttention("scores", tuple(n for n, there in (("soft-caps", capped), ("sinks", sinks)) if there))
    if attention_way(config, "sdpa", device="cuda", banded=banded) == "math":
        return OwnAttention("scores", (*masks, "grouped keys"))
    return OwnAttention("masks", tuple(masks)) if masks else None


def has_band(config: ModelConfig, seq_len: int) -> bool:
    """Return whether a layer has a window that is shorter than the sequence."""
    pattern = range(min(config.n_layers, len(config.attention.window_pattern)))
    return any((config.window(layer) or seq_len) < seq_len for layer in pattern)


def writes_scores(config: ModelConfig) -> bool:
    """Return whether scores are capped or have a sink beside them, which torch's kernels do not know."""
    return config.attention.logit_softcap is not None or config.attention.sinks
