"""mLSTM: the matrix memory of xLSTM, a linear attention with exponential input gates and a normalizer."""

# no deferred annotations, as in config.base

from typing import ClassVar

from pydantic import Field

from tinylm_cli.config.base import MAX_FACTOR, MAX_LEN, MAX_N_HEADS, Block, Dim, Requirement, one_of, optional


class Mlstm(Block):
    """Linear attention whose heads each keep a memory of d_key × d_value numbers, with gates computed from the token.

    References:
        Beck et al. 2024 (xLSTM), section 2.3, https://arxiv.org/abs/2405.04517;
        Beck et al. 2025 (xLSTM 7B), https://arxiv.org/abs/2503.13427
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", "mlstm"),)

    n_heads: int | None = optional(
        8, "Heads, each with its own memory and gates; default: d_model / d_value.", ge=1, le=MAX_N_HEADS
    )
    d_key: Dim = Field(256, description="Query and key dimensions per head.")
    d_value: Dim = Field(512, description="Value dimensions per head.")
    gate_softcap: float | None = optional(
        15.0, "Soft-cap c of the inputs of both gates: c · tanh(x / c); default: none.", gt=0, le=MAX_FACTOR
    )
    o_norm_eps: float | None = optional(
        1e-6, "Added to the variance in the norm of the output; default: norm.eps.", gt=0, le=0.1
    )
    chunk_len: int = Field(
        64, ge=1, le=MAX_LEN, description="Positions that the parallel form computes at once; no effect on the result."
    )
