"""Kimi delta attention: linear attention whose state decays by channel and is corrected by the delta rule."""

# no deferred annotations, as in config.base

from typing import ClassVar

from pydantic import Field

from tinylm_cli.config.base import (
    MAX_KERNEL_SIZE,
    MAX_LEN,
    MAX_N_HEADS,
    Block,
    Dim,
    Requirement,
    one_of,
    optional,
)


class KimiDeltaAttention(Block):
    """Linear attention whose heads each keep a state of d_head × d_head numbers, with a decay for each of its rows.

    References:
        Kimi Team 2025 (Kimi Linear), https://arxiv.org/abs/2510.26692
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", "kimi_delta_attention"),)

    n_heads: int | None = optional(
        32, "Heads, each with its own state; default: d_model / d_head.", ge=1, le=MAX_N_HEADS
    )
    d_head: Dim = Field(128, description="Query, key and value dimensions per head.")
    gate_rank: Dim | None = optional(
        128,
        "Rank of the projections to decays and to the output gate, a product of two matrices each; default: full rank,"
        " one matrix each.",
    )
    kernel_size: int = Field(
        4, ge=1, le=MAX_KERNEL_SIZE, description="Positions that the convolution of queries, keys and values reads."
    )
    max_decay_rate: float | None = optional(
        5.0,
        "Upper bound of the decay rate −ln(decay), which is then max_decay_rate × sigmoid(…); default: unbounded,"
        " exp(A_log) × softplus(…).",
        gt=0,
        le=1e4,
    )
    o_norm_eps: float | None = optional(
        1e-5, "Added to the variance in the norm of the output; default: norm.eps.", gt=0, le=0.1
    )
    chunk_len: int = Field(
        64,
        ge=1,
        le=MAX_LEN,
        description="Positions that the parallel form computes at once, rounded up to a power of 2; no effect on the"
        " result.",
    )
