"""RWKV: the time mixing of RWKV-4, a linear attention whose weights decay with the distance."""

# no deferred annotations, as in config.base

from typing import ClassVar

from tinylm_cli.config.base import MAX_DIM, Block, Requirement, one_of, optional


class Rwkv(Block):
    """A weighted average of all earlier values in each inner dimension, computed position by position.

    References:
        Peng et al. 2023, https://arxiv.org/abs/2305.13048
    """

    requires: ClassVar[tuple[Requirement, ...]] = (one_of("block.mixer", "rwkv"),)

    d_inner: int | None = optional(2560, "Inner dimensions; default: d_model.", ge=1, le=MAX_DIM)
