"""Gated DeltaNet: linear attention whose state decays and is corrected by the delta rule."""

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


class GatedDeltaNet(Block):
    """Linear attention whose value heads each keep a state of d_key × d_value numbers.

    References:
        Yang et al. 2024 (Gated DeltaNet), https://arxiv.org/abs/2412.06464
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", "gated_deltanet"),)

    n_key_heads: int | None = optional(16, "Query and key heads; default: d_model / d_key.", ge=1, le=MAX_N_HEADS)
    n_value_heads: int | None = optional(
        32,
        "Value heads, each with its own state and decay; n_value_heads / n_key_heads of them share a query and a key;"
        " default: n_key_heads.",
        ge=1,
        le=MAX_N_HEADS,
    )
    d_key: Dim = Field(128, description="Query and key dimensions per head.")
    d_value: Dim = Field(128, description="Value dimensions per head.")
    kernel_size: int = Field(
        4, ge=1, le=MAX_KERNEL_SIZE, description="Positions that the convolution of queries, keys and values reads."
    )
    gate: bool = Field(True, description="Multiply the normalized output by a SiLU gate, computed from the input.")
    negative_eigenvalues: bool = Field(
        False,
        description="Let the write strength β reach 2 instead of 1, so that a write can reverse what a key reads.",
    )
    o_norm_eps: float | None = optional(
        1e-5, "Added to the variance in the norm of the output; default: norm.eps.", gt=0, le=0.1
    )
    chunk_len: int = Field(
        64, ge=1, le=MAX_LEN, description="Positions that the parallel form computes at once; no effect on the result."
    )
