"""Mamba: a selective state-space model with a decay for each dimension and state."""

# no deferred annotations, as in config.base

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tinylm_cli.config.base import (
    MAX_DIM,
    MAX_KERNEL_SIZE,
    MAX_LEN,
    WITH_MAMBA,
    Block,
    Dim,
    HeadCount,
    Requirement,
    one_of,
    optional,
)

SsmNorm = Literal["none", "unweighted", "weighted"]

DT_RANK_DIVISOR = 16
"""By default, the step size has the rank d_model / 16, rounded up."""


class Mamba(Block):
    """A state-space model whose inner dimensions each keep a state of d_state numbers.

    References:
        Gu and Dao 2023 (Mamba), https://arxiv.org/abs/2312.00752
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", *WITH_MAMBA),)

    d_inner: int | None = optional(1536, "Inner dimensions; default: 2 × d_model.", ge=1, le=MAX_DIM)
    d_state: Dim = Field(16, description="Dimensions of the state that each inner dimension keeps.")
    n_heads: HeadCount = Field(
        1, description="Heads; each computes Δ, B and C from d_inner / n_heads of the inner dimensions (Zamba)."
    )
    dt_rank: int | None = optional(
        48, "Rank of the step size Δ of each inner dimension; default: d_model / 16, rounded up.", ge=1, le=MAX_DIM
    )
    kernel_size: int = Field(4, ge=1, le=MAX_KERNEL_SIZE, description="Positions that the convolution of x reads.")
    bias: bool = Field(False, description="Whether the input and output projections have biases.")
    conv_bias: bool = Field(True, description="Whether the convolution has a bias.")
    norm: SsmNorm = Field(
        "none",
        description="RMSNorm of the low-rank Δ, of B and of C. unweighted: without learned weights (Falcon Mamba);"
        " weighted: with them (Jamba).",
    )
    eps: Annotated[float | None, one_of("mamba.norm", "unweighted", "weighted")] = optional(
        1e-6, "Added to the mean square in these norms; default: norm.eps.", gt=0, le=0.1
    )
    chunk_len: int = Field(
        64, ge=1, le=MAX_LEN, description="Positions that the parallel form prepares at once; no effect on the result."
    )
