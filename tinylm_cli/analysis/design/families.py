"""Families of models: each is a published member, the sizes it was published in, and its part of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tinylm_cli.analysis.design import published_sizes
from tinylm_cli.analysis.design.published_sizes import Member
from tinylm_cli.config.loader import load_config
from tinylm_cli.config.schema import ModelConfig


@dataclass(frozen=True)
class Family:
    """A well-known model with its part of the grid.

    Attributes:
        name: What ``--family`` takes.
        member: The model, by the name of the config that ships. What it says but for sizes, all of the family say; its
            vocabulary, longest sequence and tying are theirs unless others are asked for.
        title: What it is, in a few words.
        source: Where its shape was published.
        members: The sizes that the family was published in, from small to large: to their proportions ranking compares.
        d_heads: Dimensions per head to choose from.
        groups: How many heads of queries may share one of keys and values.
        d_ff_ratios: Least and greatest d_ff / d_model: around 4 for a plain network (Vaswani et al. 2017,
            https://arxiv.org/abs/1706.03762), around 8/3 for a gated one, which has a third matrix (Shazeer 2020,
            https://arxiv.org/abs/2002.05202).
        spans: Ratios of n_heads · d_head to d_model, for families in which heads are a choice of their own: their
            number is then the nearest multiple of ``heads_step``. Empty where they span d_model exactly.
        heads_step: See ``spans``.
    """

    name: str
    member: str
    title: str
    source: str
    members: tuple[Member, ...]
    d_heads: tuple[int, ...] = (64, 128)
    groups: tuple[int, ...] = (1,)
    d_ff_ratios: tuple[float, float] = (2.0, 4.0)
    spans: tuple[float, ...] = ()
    heads_step: int = 8

    @cached_property
    def config(self) -> ModelConfig:
        """The member."""
        return load_config(self.member).config

    def heads(self, d_model: int, d_head: int) -> tuple[int, ...]:
        """Return how many heads of ``d_head`` dimensions a model of a width may have; perhaps none."""
        if not self.spans:
            return () if d_model % d_head else (d_model // d_head,)
        steps = {max(1, round(span * d_model / (d_head * self.heads_step))) for span in self.spans}
        return tuple(self.heads_step * count for count in sorted(steps))

    def kv_heads(self, n_heads: int) -> tuple[int, ...]:
        """Return how many heads of keys and values may serve ``n_heads`` of queries."""
        return tuple(n_heads // group for group in self.groups if n_heads % group == 0)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "course",
            member="base",
            title="The course's model: sinusoidal positions, LayerNorm, GELU",
            source="Vaswani et al. 2017, https://arxiv.org/abs/1706.03762",
            members=published_sizes.COURSE,
            d_ff_ratios=(3.0, 5.0),
        ),
        Family(
            "gpt2",
            member="gpt2",
            title="GPT-2: learned positions, LayerNorm, GELU",
            source="Radford et al. 2019, https://huggingface.co/openai-community/gpt2",
            members=published_sizes.GPT2,
            d_ff_ratios=(3.0, 5.0),
        ),
        Family(
            "llama",
            member="llama-3-8b",
            title="Llama 3: rotary positions, RMSNorm, SwiGLU, grouped queries",
            source="Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783",
            members=published_sizes.LLAMA,
            groups=(1, 3, 4, 8, 16),
        ),
        Family(
            "qwen3",
            member="qwen3-0.6b",
            title="Qwen3: Llama's parts, norms on queries and keys, heads as wide as they like",
            source="Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            members=published_sizes.QWEN3,
            groups=(2, 4, 5, 8),
            d_ff_ratios=(2.0, 5.0),
            spans=(1.0, 1.5, 2.0),
        ),
        Family(
            "gemma2",
            member="gemma-2-2b",
            title="Gemma 2: norms on both sides, GeGLU, a window of 4,096 in every second layer, soft caps",
            source="Gemma Team 2024, https://arxiv.org/abs/2408.00118",
            members=published_sizes.GEMMA2,
            d_heads=(64, 128, 256),
            groups=(2, 4),
            d_ff_ratios=(2.0, 8.0),
            spans=(1.0,),
        ),
        Family(
            "mixtral",
            member="mixtral-8x7b",
            title="Mixtral: Mistral's parts, 8 experts a layer, 2 for each token",
            source="Jiang et al. 2024, https://arxiv.org/abs/2401.04088",
            members=published_sizes.MIXTRAL,
            groups=(1, 4, 6, 8),
        ),
        Family(
            "qwen3-moe",
            member="qwen3-30b-a3b",
            title="Qwen3 with 128 small experts a layer, 8 for each token",
            source="Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            members=published_sizes.QWEN3_MOE,
            groups=(4, 8, 16),
            d_ff_ratios=(0.25, 0.5),
            spans=(1.0, 1.5, 2.0),
        ),
    )
}
"""Every family by name."""
