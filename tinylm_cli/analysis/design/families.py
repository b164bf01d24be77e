"""Families of models: a published model, the sizes that the family was published in, and its sizes of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tinylm_cli.analysis.design import published_sizes
from tinylm_cli.analysis.design.published_sizes import Member
from tinylm_cli.config.loader import load_yaml_config
from tinylm_cli.config.schema import ModelConfig


@dataclass(frozen=True)
class Family:
    """An architecture and the sizes that are searched for it.

    Attributes:
        name: Its name.
        member: The config that ships of one model. All models of the family share its fields except the sizes; its
            vocabulary, longest sequence and tying are the defaults.
        title: The architecture in a few words.
        source: Publication of its shape.
        members: The published sizes, from small to large; ranking compares proportions with theirs.
        d_heads: Dimensions per head.
        groups: Query heads per key and value head.
        d_ff_ratios: Smallest and largest d_ff / d_model: around 4 without a gate (Vaswani et al. 2017,
            https://arxiv.org/abs/1706.03762), around 8/3 with one, which adds a third matrix (Shazeer 2020,
            https://arxiv.org/abs/2002.05202).
        spans: Ratios of n_heads · d_head to d_model where n_heads is chosen independently of d_model; n_heads is then
            rounded to a multiple of ``heads_step``. Empty where the heads span d_model exactly.
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
        """The config of the member."""
        return load_yaml_config(self.member).config

    def heads(self, d_model: int, d_head: int) -> tuple[int, ...]:
        """Return the numbers of query heads of ``d_head`` dimensions for a width; perhaps none."""
        if not self.spans:
            return () if d_model % d_head else (d_model // d_head,)
        steps = {max(1, round(span * d_model / (d_head * self.heads_step))) for span in self.spans}
        return tuple(self.heads_step * count for count in sorted(steps))

    def kv_heads(self, n_heads: int) -> tuple[int, ...]:
        """Return the numbers of key and value heads for ``n_heads`` query heads."""
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
            title="Llama 3: rotary positions, RMSNorm, SwiGLU, grouped-query attention",
            source="Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783",
            members=published_sizes.LLAMA,
            groups=(1, 3, 4, 8, 16),
        ),
        Family(
            "qwen3",
            member="qwen3-0.6b",
            title="Qwen3: as Llama, with normalized queries and keys, and n_heads · d_head independent of d_model",
            source="Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            members=published_sizes.QWEN3,
            groups=(2, 4, 5, 8),
            d_ff_ratios=(2.0, 5.0),
            spans=(1.0, 1.5, 2.0),
        ),
        Family(
            "gemma2",
            member="gemma-2-2b",
            title="Gemma 2: pre- and post-norms, GeGLU, a window of 4,096 in every other layer, soft-capped logits",
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
            title="Mixtral: as Mistral, with 8 experts per layer, 2 active per token",
            source="Jiang et al. 2024, https://arxiv.org/abs/2401.04088",
            members=published_sizes.MIXTRAL,
            groups=(1, 4, 6, 8),
        ),
        Family(
            "qwen3-moe",
            member="qwen3-30b-a3b",
            title="Qwen3 with 128 small experts per layer, 8 active per token",
            source="Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            members=published_sizes.QWEN3_MOE,
            groups=(4, 8, 16),
            d_ff_ratios=(0.25, 0.5),
            spans=(1.0, 1.5, 2.0),
        ),
    )
}
"""Every family by name."""
