"""Gated short convolution (LFM2)."""

# no deferred annotations, as in config.base

from typing import ClassVar

from pydantic import Field

from tinylm_cli.config.base import MAX_KERNEL_SIZE, Block, Requirement, one_of


class ShortConv(Block):
    """A causal convolution of each channel over a few positions, between two gates.

    References:
        Liquid AI 2025 (LFM2), section 2, https://arxiv.org/abs/2511.23404
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", "short_conv"),)

    kernel_size: int = Field(
        3, ge=1, le=MAX_KERNEL_SIZE, description="Positions that the convolution reads, a token's own included."
    )
    bias: bool = Field(False, description="Whether the projections and the convolution have biases.")
