"""The published sizes of each family, and its usual proportions at any size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log2
from typing import NamedTuple

from tinylm_cli.reports.constraint import Sizes


class Proportions(NamedTuple):
    """The proportions of a model, each as a binary logarithm: a difference of one is a factor of two.

    Attributes:
        aspect: d_model / n_layers.
        d_ff_ratio: d_ff / d_model, of one expert where there are experts.
        d_head: Dimensions per head.
        group: Query heads per key and value head.
        span: n_heads · d_head / d_model.
    """

    aspect: float
    d_ff_ratio: float
    d_head: float
    group: float
    span: float

    def distance(self, other: Proportions) -> float:
        """Return the sum of the differences, in factors of two."""
        return sum(abs(mine - theirs) for mine, theirs in zip(self, other, strict=True))


class Member(NamedTuple):
    """A published model.

    Attributes:
        name: Its name.
        params: Its parameters, embeddings included.
        sizes: Its shape.
    """

    name: str
    params: int
    sizes: Sizes


def proportions(sizes: Sizes) -> Proportions:
    """Return the proportions of a shape."""
    return Proportions(
        aspect=log2(sizes.d_model / sizes.n_layers),
        d_ff_ratio=log2(sizes.d_ff / sizes.d_model),
        d_head=log2(sizes.d_head),
        group=log2(sizes.n_heads / sizes.n_kv_heads),
        span=log2(sizes.n_heads * sizes.d_head / sizes.d_model),
    )


def usual_proportions(members: Sequence[Member], params: float) -> Proportions:
    """Return the proportions of a family at a size: interpolated between its members, constant beyond them.

    Both the proportions and the size are interpolated as logarithms.

    Args:
        members: At least one, from small to large.
        params: The size.
    """
    above = bisect_right(members, params, key=lambda member: member.params)
    if above in (0, len(members)):
        return proportions(members[max(above - 1, 0)].sizes)
    small, large = members[above - 1], members[above]
    share = log2(params / small.params) / log2(large.params / small.params)
    pairs = zip(proportions(small.sizes), proportions(large.sizes), strict=True)
    return Proportions(*(low + share * (high - low) for low, high in pairs))


COURSE = (
    Member("tiny", 826_112, Sizes(128, 4, 4, 4, 32, 512)),
    Member("small", 4_995_072, Sizes(256, 6, 8, 8, 32, 1024)),
    Member("medium", 40_389_632, Sizes(512, 12, 8, 8, 64, 2048)),
    Member("base", 92_736_000, Sizes(768, 12, 12, 12, 64, 3072)),
)

GPT2 = (
    Member("GPT-2", 124_439_808, Sizes(768, 12, 12, 12, 64, 3072)),
    Member("GPT-2 medium", 354_823_168, Sizes(1024, 24, 16, 16, 64, 4096)),
    Member("GPT-2 large", 774_030_080, Sizes(1280, 36, 20, 20, 64, 5120)),
    Member("GPT-2 XL", 1_557_611_200, Sizes(1600, 48, 25, 25, 64, 6400)),
)
"""Radford et al. 2019, table 2, and https://huggingface.co/openai-community; the counts in the paper are too low."""

LLAMA = (
    Member("Llama 3.2 1B", 1_235_814_400, Sizes(2048, 16, 32, 8, 64, 8192)),
    Member("Llama 3.2 3B", 3_212_749_824, Sizes(3072, 28, 24, 8, 128, 8192)),
    Member("Llama 3 8B", 8_030_261_248, Sizes(4096, 32, 32, 8, 128, 14336)),
    Member("Llama 3 70B", 70_553_706_496, Sizes(8192, 80, 64, 8, 128, 28672)),
    Member("Llama 3.1 405B", 405_853_388_800, Sizes(16384, 126, 128, 8, 128, 53248)),
)
"""Grattafiori et al. 2024, table 3, https://arxiv.org/abs/2407.21783; 1B and 3B: the models at
https://huggingface.co/meta-llama."""

QWEN3 = (
    Member("Qwen3 0.6B", 596_049_920, Sizes(1024, 28, 16, 8, 128, 3072)),
    Member("Qwen3 1.7B", 1_720_574_976, Sizes(2048, 28, 16, 8, 128, 6144)),
    Member("Qwen3 4B", 4_022_468_096, Sizes(2560, 36, 32, 8, 128, 9728)),
    Member("Qwen3 8B", 8_190_735_360, Sizes(4096, 36, 32, 8, 128, 12288)),
    Member("Qwen3 14B", 14_768_307_200, Sizes(5120, 40, 40, 8, 128, 17408)),
    Member("Qwen3 32B", 32_762_123_264, Sizes(5120, 64, 64, 8, 128, 25600)),
)
"""Qwen Team 2025, table 1, https://arxiv.org/abs/2505.09388, and the models at https://huggingface.co/Qwen."""

GEMMA2 = (
    Member("Gemma 2 2B", 2_614_341_888, Sizes(2304, 26, 8, 4, 256, 9216)),
    Member("Gemma 2 9B", 9_241_705_984, Sizes(3584, 42, 16, 8, 256, 14336)),
    Member("Gemma 2 27B", 27_227_128_320, Sizes(4608, 46, 32, 16, 128, 36864)),
)
"""Gemma Team 2024, table 1, https://arxiv.org/abs/2408.00118, which states the d_ff of gate and value together."""

MIXTRAL = (
    Member("Mixtral 8x7B", 46_702_792_704, Sizes(4096, 32, 32, 8, 128, 14336)),
    Member("Mixtral 8x22B", 140_620_634_112, Sizes(6144, 56, 48, 8, 128, 16384)),
)
"""Jiang et al. 2024, table 1, https://arxiv.org/abs/2401.04088, and https://huggingface.co/mistralai."""

QWEN3_MOE = (
    Member("Qwen3 30B-A3B", 30_532_122_624, Sizes(2048, 48, 32, 4, 128, 768)),
    Member("Qwen3 235B-A22B", 235_093_634_560, Sizes(4096, 94, 64, 4, 128, 1536)),
)
"""Qwen Team 2025, table 2, https://arxiv.org/abs/2505.09388, and the models at https://huggingface.co/Qwen."""
