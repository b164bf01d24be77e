"""Families of models: what a family fixes, what of it the grid varies, and the proportions its members usually have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Usual(NamedTuple):
    """The proportions of a well-known member: to what ranking compares.

    Attributes:
        aspect: d_model / n_layers.
        d_ff_ratio: d_ff / d_model, of one expert where there are experts.
        d_head: Dimensions per head.
        group: Heads of queries that share one of keys and values.
        span: n_heads · d_head / d_model.
    """

    aspect: float
    d_ff_ratio: float
    d_head: int
    group: int = 1
    span: float = 1.0


@dataclass(frozen=True)
class Family:
    """A template with its part of the grid.

    Attributes:
        name: What ``--family`` takes.
        title: What it is, in a few words.
        source: Where its shape was published.
        fixed: What every member's config says, but for sizes.
        vocab_size: Tokens, unless others are asked for.
        max_len: Longest sequence, likewise.
        tie_weights: Whether the head shares the embedding's table, likewise.
        d_heads: Dimensions per head to choose from.
        groups: How many heads of queries may share one of keys and values.
        d_ff_ratios: Least and greatest d_ff / d_model: around 4 for a plain network (Vaswani et al. 2017,
            https://arxiv.org/abs/1706.03762), around 8/3 for a gated one, which has a third matrix (Shazeer 2020,
            https://arxiv.org/abs/2002.05202).
        usual: The proportions of a well-known member.
        spans: Ratios of n_heads · d_head to d_model, for families in which heads are a choice of their own: their
            number is then the nearest multiple of ``heads_step``. Empty where they span d_model exactly.
        heads_step: See ``spans``.
    """

    name: str
    title: str
    source: str
    fixed: dict[str, Any]
    vocab_size: int
    max_len: int
    tie_weights: bool
    d_heads: tuple[int, ...]
    groups: tuple[int, ...]
    d_ff_ratios: tuple[float, float]
    usual: Usual
    spans: tuple[float, ...] = ()
    heads_step: int = 8

    def heads(self, d_model: int, d_head: int) -> tuple[int, ...]:
        """Return how many heads of ``d_head`` dimensions a model of a width may have; perhaps none."""
        if not self.spans:
            return () if d_model % d_head else (d_model // d_head,)
        steps = {max(1, round(span * d_model / (d_head * self.heads_step))) for span in self.spans}
        return tuple(self.heads_step * count for count in sorted(steps))

    def kv_heads(self, n_heads: int) -> tuple[int, ...]:
        """Return how many heads of keys and values may serve ``n_heads`` of queries."""
        return tuple(n_heads // group for group in self.groups if n_heads % group == 0)


_UNSCALED = {"multiplier": 1.0}
_SWIGLU = {"activation": "silu", "gated": True, "bias": False}
_PLAIN_RATIOS = (3.0, 5.0)
_GATED_RATIOS = (2.0, 4.0)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "course",
            "The course's model: sinusoidal positions, LayerNorm, GELU",
            "Vaswani et al. 2017, https://arxiv.org/abs/1706.03762",
            fixed={},
            vocab_size=10_000,
            max_len=1024,
            tie_weights=True,
            d_heads=(64, 128),
            groups=(1,),
            d_ff_ratios=_PLAIN_RATIOS,
            usual=Usual(aspect=64, d_ff_ratio=4, d_head=64),
        ),
        Family(
            "gpt2",
            "GPT-2: learned positions, LayerNorm, GELU",
            "Radford et al. 2019, https://huggingface.co/openai-community/gpt2",
            fixed={
                "embedding": _UNSCALED,
                "position": {"kind": "learned"},
                "feed_forward": {"activation": "gelu_tanh"},
            },
            vocab_size=50_257,
            max_len=1024,
            tie_weights=True,
            d_heads=(64, 128),
            groups=(1,),
            d_ff_ratios=_PLAIN_RATIOS,
            usual=Usual(aspect=64, d_ff_ratio=4, d_head=64),
        ),
        Family(
            "llama",
            "Llama 3: rotary positions, RMSNorm, SwiGLU, grouped queries",
            "Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783",
            fixed={
                "dropout": 0.0,
                "embedding": _UNSCALED,
                "position": {"kind": "rope", "theta": 500_000.0},
                "norm": {"kind": "rmsnorm"},
                "attention": {"bias": False},
                "feed_forward": _SWIGLU,
            },
            vocab_size=128_256,
            max_len=8192,
            tie_weights=False,
            d_heads=(64, 128),
            groups=(1, 4, 8, 16),
            d_ff_ratios=_GATED_RATIOS,
            usual=Usual(aspect=128, d_ff_ratio=3.5, d_head=128, group=4),
        ),
        Family(
            "qwen3",
            "Qwen3: Llama's parts, norms on queries and keys, heads as wide as they like",
            "Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            fixed={
                "dropout": 0.0,
                "embedding": _UNSCALED,
                "position": {"kind": "rope", "theta": 1_000_000.0},
                "norm": {"kind": "rmsnorm", "eps": 1e-6},
                "attention": {"bias": False, "qk_norm": "per_head"},
                "feed_forward": _SWIGLU,
            },
            vocab_size=151_936,
            max_len=40_960,
            tie_weights=True,
            d_heads=(64, 128),
            groups=(2, 4, 8),
            d_ff_ratios=_GATED_RATIOS,
            usual=Usual(aspect=1024 / 28, d_ff_ratio=3, d_head=128, group=2, span=2),
            spans=(1.0, 1.5, 2.0),
        ),
        Family(
            "gemma2",
            "Gemma 2: norms on both sides, GeGLU, a window of 4,096 in every second layer, soft caps",
            "Gemma Team 2024, https://arxiv.org/abs/2408.00118",
            fixed={
                "dropout": 0.0,
                "position": {"kind": "rope"},
                "norm": {"kind": "rmsnorm", "eps": 1e-6, "placement": "sandwich", "zero_centered": True},
                "attention": {"bias": False, "window": 4096, "window_pattern": "LG", "logit_softcap": 50.0},
                "feed_forward": {"activation": "gelu_tanh", "gated": True, "bias": False},
                "head": {"logit_softcap": 30.0},
            },
            vocab_size=256_000,
            max_len=8192,
            tie_weights=True,
            d_heads=(64, 128, 256),
            groups=(2, 4),
            d_ff_ratios=(2.0, 8.0),
            usual=Usual(aspect=2304 / 26, d_ff_ratio=4, d_head=256, group=2),
            spans=(1.0,),
        ),
        Family(
            "mixtral",
            "Mixtral: Mistral's parts, 8 experts a layer, 2 for each token",
            "Jiang et al. 2024, https://arxiv.org/abs/2401.04088",
            fixed={
                "dropout": 0.0,
                "embedding": _UNSCALED,
                "position": {"kind": "rope", "theta": 1_000_000.0},
                "norm": {"kind": "rmsnorm"},
                "attention": {"bias": False},
                "feed_forward": {**_SWIGLU, "n_experts": 8, "top_k": 2},
            },
            vocab_size=32_000,
            max_len=32_768,
            tie_weights=False,
            d_heads=(64, 128),
            groups=(1, 4, 8),
            d_ff_ratios=_GATED_RATIOS,
            usual=Usual(aspect=128, d_ff_ratio=3.5, d_head=128, group=4),
        ),
        Family(
            "qwen3-moe",
            "Qwen3 with 128 small experts a layer, 8 for each token",
            "Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            fixed={
                "dropout": 0.0,
                "embedding": _UNSCALED,
                "position": {"kind": "rope", "theta": 1_000_000.0},
                "norm": {"kind": "rmsnorm", "eps": 1e-6},
                "attention": {"bias": False, "qk_norm": "per_head"},
                "feed_forward": {**_SWIGLU, "n_experts": 128, "top_k": 8, "router": "softmax", "renormalise": True},
            },
            vocab_size=151_936,
            max_len=40_960,
            tie_weights=False,
            d_heads=(64, 128),
            groups=(4, 8, 16),
            d_ff_ratios=(0.25, 0.5),
            usual=Usual(aspect=2048 / 48, d_ff_ratio=0.375, d_head=128, group=8, span=2),
            spans=(1.0, 1.5, 2.0),
        ),
    )
}
"""Every family by name."""
