"""Attention tensors that tinylm's own model materializes and a flash kernel does not."""

from __future__ import annotations

from tinylm_cli.analysis.attention_kernels import attention_backend, needs_eager_attention
from tinylm_cli.analysis.layer_kinds import group_layers
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import SdpaOverhead


def sdpa_overhead(config: ModelConfig, *, seq_len: int) -> SdpaOverhead | None:
    """Return the tensors that tinylm's own model materializes on CUDA and a flash kernel does not; None if none.

    Args:
        config: A validated config.
        seq_len: T.
    """
    banded = any(group.config.attention.window is not None for group in group_layers(config, seq_len))
    indexed = any((group.config.attention.index_top_k or seq_len) < seq_len for group in group_layers(config, seq_len))
    is_dynamic = any(group.config.attention.dynamic_mask_top_k is not None for group in group_layers(config, seq_len))
    kinds = (
        ("windows", banded),
        ("ALiBi", config.position.kind == "alibi"),
        ("selected positions", indexed),
        ("dynamic masks", is_dynamic),
    )
    masks = tuple(name for name, used in kinds if used)
    if needs_eager_attention(config):
        reasons = (("soft-caps", config.attention.logit_softcap is not None), ("sinks", config.attention.sinks))
        return SdpaOverhead("scores", tuple(name for name, used in reasons if used))
    if attention_backend(config, "sdpa", device="cuda", banded=banded) == "math":
        return SdpaOverhead("scores", (*masks, "grouped keys"))
    return SdpaOverhead("masks", masks) if masks else None
