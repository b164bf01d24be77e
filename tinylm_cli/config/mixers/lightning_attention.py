"""Lightning attention: linear attention whose heads decay at constant rates."""

# no deferred annotations, as in config.base

from typing import ClassVar

from pydantic import Field

from tinylm_cli.config.base import MAX_LEN, MAX_N_HEADS, Block, Dim, Requirement, one_of, optional


class LightningAttention(Block):
    """Linear attention whose heads each keep a state of d_head × d_head numbers, with a gate on its normalized output.

    References:
        Qin et al. 2024 (Lightning Attention-2), https://arxiv.org/abs/2401.04658;
        MiniMax 2025 (MiniMax-01), https://arxiv.org/abs/2501.08313
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", "lightning_attention"),)

    n_heads: int | None = optional(
        16, "Heads, each with its own state and decay; default: d_model / d_head.", ge=1, le=MAX_N_HEADS
    )
    d_head: Dim = Field(128, description="Query, key and value dimensions per head.")
    o_norm_eps: float | None = optional(
        1e-6, "Added to the variance in the norm of the output; default: norm.eps.", gt=0, le=0.1
    )
    chunk_len: int = Field(
        64, ge=1, le=MAX_LEN, description="Positions that the parallel form computes at once; no effect on the result."
    )
