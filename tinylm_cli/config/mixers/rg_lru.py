"""RG-LRU: a real-gated linear recurrent unit (Griffin, RecurrentGemma)."""

# no deferred annotations, as in config.base

from typing import ClassVar

from pydantic import Field

from tinylm_cli.config.base import MAX_DIM, MAX_KERNEL_SIZE, Block, HeadCount, Requirement, one_of, optional


class RgLru(Block):
    """An elementwise linear recurrence with gates computed from the input, multiplied by a GELU branch.

    References:
        De et al. 2024 (Griffin), https://arxiv.org/abs/2402.19427
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", "rg_lru"),)

    d_inner: int | None = optional(2560, "Inner dimensions; default: d_model.", ge=1, le=MAX_DIM)
    n_blocks: HeadCount = Field(
        1, description="Blocks on the diagonal of the weights of both gates; must divide d_inner."
    )
    kernel_size: int = Field(4, ge=1, le=MAX_KERNEL_SIZE, description="Positions that the convolution reads.")
    bias: bool = Field(True, description="Whether the projections and the convolution have biases.")
