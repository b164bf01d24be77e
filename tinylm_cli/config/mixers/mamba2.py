"""Mamba-2: a state-space model with scalar decay per head (SSD)."""

# no deferred annotations, as in config.base

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tinylm_cli.config.base import (
    MAX_FACTOR,
    MAX_KERNEL_SIZE,
    MAX_LEN,
    MAX_N_HEADS,
    WITH_MAMBA2,
    Block,
    Dim,
    Factor,
    Factors,
    HeadCount,
    Requirement,
    one_of,
    optional,
)

GatedNorm = Literal["grouped", "full", "none"]


N_MULTIPLIED = 5
"""Parts of the output of the input projection: z, x, B, C and Δ."""

Multipliers = Annotated[Factors, Field(min_length=N_MULTIPLIED, max_length=N_MULTIPLIED)]

EXPAND = 2
"""By default, a state-space mixer has twice the dimensions of the residual stream."""


class Mamba2(Block):
    """A state-space model whose heads each keep a state of d_head × d_state numbers.

    References:
        Dao and Gu 2024 (Mamba-2), https://arxiv.org/abs/2405.21060
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", *WITH_MAMBA2),)

    n_heads: int | None = optional(
        32, "Heads, each with its own decay; default: 2 × d_model / d_head.", ge=1, le=MAX_N_HEADS
    )
    d_head: Dim = Field(64, description="Dimensions per head.")
    d_state: Dim = Field(128, description="Dimensions of the state that each dimension of a head keeps.")
    n_groups: HeadCount = Field(1, description="Groups of heads that share B and C, as query heads share keys in GQA.")
    kernel_size: int = Field(
        4, ge=1, le=MAX_KERNEL_SIZE, description="Positions that the convolution of x, B and C reads."
    )
    bias: bool = Field(False, description="Whether the input and output projections have biases.")
    conv_bias: bool = Field(True, description="Whether the convolution has a bias.")
    norm: GatedNorm = Field(
        "grouped",
        description="RMSNorm of the gated output. grouped: over the dimensions of each group; full: over all; none: no"
        " norm.",
    )
    min_dt: float = Field(0.0, ge=0, le=MAX_FACTOR, description="Lower bound of the step size Δ.")
    max_dt: float | None = optional(0.1, "Upper bound of the step size Δ; default: unbounded.", gt=0, le=MAX_FACTOR)
    multipliers: Multipliers | None = optional(
        (0.5, 1.0, 1.0, 1.0, 2.0),
        "Multipliers of the five parts of the output of the input projection: z, x, B, C and Δ (Falcon-H1); default: 1"
        " each.",
    )
    out_multiplier: Factor = Field(1.0, description="Multiplier of the output, after the output projection.")
    chunk_len: int = Field(
        256, ge=1, le=MAX_LEN, description="Positions that the parallel form computes at once; no effect on the result."
    )
