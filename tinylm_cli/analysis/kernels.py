"""How attention is computed: by torch's kernels, or with its scores written out."""

from __future__ import annotations

from tinylm_cli.analysis.layers import sorts
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import AttentionKernel, Device


def writes_scores(config: ModelConfig) -> bool:
    """Return whether scores are capped or have a sink beside them, which torch's kernels do not know."""
    return config.attention.logit_softcap is not None or config.attention.sinks


def module_kernel(config: ModelConfig, *, seq_len: int, device: Device = "cuda") -> AttentionKernel:
    """Return how tinylm's model computes attention while it trains.

    Soft-capped scores and those beside a sink are written out. Torch's fused kernels want values as wide as queries
    and keys, and on the CPU no dropout; on CUDA the one that takes a mask (a band, or fading) takes no groups.

    Args:
        config: A validated config.
        seq_len: T.
        device: Whose kernels run.

    References:
        https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    if writes_scores(config):
        return "math"
    if device == "cpu":
        return "math" if config.dropout or config.d_value != config.d_head else "flash"
    masked = config.position.kind == "alibi" or any(
        sort.window is not None for sort in sorts(config, seq_len, config.n_layers)
    )
    return "math" if masked and config.n_kv_heads != config.n_heads else "flash"
