"""Model families: a base config, its published sizes, and the sizes that a search tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from tinylm_cli.analysis.mixers import mixer_of
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.loader import load_yaml_config
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.constraint import Sizes

_SHARED_GROUPS = ("mamba2.n_groups", "gated_deltanet.n_key_heads")
"""Fields that a search does not change although tensor parallelism divides them."""


DerivedFields = tuple[tuple[str, Callable[[Sizes], float]], ...]
"""Fields that follow from the sizes: the name of each, and its value."""


class PublishedModel(NamedTuple):
    """A published model of a family."""

    name: str
    params: int  # Number of parameters, embeddings included.
    sizes: Sizes


@dataclass(frozen=True)
class DesignFamily:
    """An architecture and the sizes that are searched for it."""

    name: str
    # Name of a built-in config. All models that are searched share its fields except the sizes and ``derived_fields``;
    # vocab_size, max_len and tie_weights default to its values.
    base: str
    title: str  # The architecture in a few words.
    source: str  # Publication of the architecture.
    published_sizes: tuple[PublishedModel, ...]  # In ascending order; ranking compares proportions with these.
    d_heads: tuple[int, ...] = (64, 128)  # Dimensions per head.
    groups: tuple[int, ...] = (1,)  # Query heads per key and value head.
    # Smallest and largest d_ff / d_model: around 4 without a gate (Vaswani et al. 2017,
    # https://arxiv.org/abs/1706.03762), around 8/3 with one, which adds a third matrix (Shazeer 2020,
    # https://arxiv.org/abs/2002.05202).
    d_ff_ratios: tuple[float, float] = (2.0, 4.0)
    # Ratios of n_heads · d_head to d_model, for families that choose them independently; empty if n_heads · d_head =
    # d_model. n_heads is rounded to a multiple of ``heads_step``.
    head_ratios: tuple[float, ...] = ()
    heads_step: int = 8
    derived_fields: DerivedFields = ()
    # Step of d_model for which the sizes that mixers derive from it are integers; None if no mixer derives any.
    d_model_step: int | None = None

    @cached_property
    def config(self) -> ModelConfig:
        """The base config."""
        return load_yaml_config(self.base).config

    @cached_property
    def shared_groups(self) -> dict[str, int]:
        """Groups of heads that all models share and tensor parallelism divides, by the field of their number."""
        sizes = (mixer_of(kind).tensor_parallel_sizes(kind) for kind in layer_pattern(self.config).kinds)
        return {name: size for name, size in chain.from_iterable(sizes) if name in _SHARED_GROUPS}

    def heads(self, d_model: int, d_head: int) -> tuple[int, ...]:
        """Return the possible numbers of query heads for a d_model and d_head; may be empty."""
        if not self.head_ratios:
            return () if d_model % d_head else (d_model // d_head,)
        steps = {max(1, round(ratio * d_model / (d_head * self.heads_step))) for ratio in self.head_ratios}
        return tuple(self.heads_step * count for count in sorted(steps))

    def kv_heads(self, n_heads: int) -> tuple[int, ...]:
        """Return the possible numbers of key and value heads for ``n_heads`` query heads."""
        return tuple(n_heads // group for group in self.groups if n_heads % group == 0)


_GRANITE = "IBM 2025, https://huggingface.co/collections/ibm-granite/granite-40-language-models"

_GRANITE_MULTIPLIERS: DerivedFields = (  # as in its published models, with µP (Yang et al. 2022)
    ("attention.scale", lambda sizes: 1 / sizes.d_head),
    ("head.logit_scale", lambda sizes: 256 / sizes.d_model),
)

FAMILIES: dict[str, DesignFamily] = {
    family.name: family
    for family in (
        DesignFamily(
            "course",
            base="base",
            title="The course's model: sinusoidal positions, LayerNorm, GELU",
            source="Vaswani et al. 2017, https://arxiv.org/abs/1706.03762",
            published_sizes=(
                PublishedModel("tiny", 826_112, Sizes(128, 4, 4, 4, 32, 512)),
                PublishedModel("small", 4_995_072, Sizes(256, 6, 8, 8, 32, 1024)),
                PublishedModel("medium", 40_389_632, Sizes(512, 12, 8, 8, 64, 2048)),
                PublishedModel("base", 92_736_000, Sizes(768, 12, 12, 12, 64, 3072)),
            ),
            d_ff_ratios=(3.0, 5.0),
        ),
        DesignFamily(
            "gpt2",
            base="gpt2",
            title="GPT-2: learned positions, LayerNorm, GELU",
            source="Radford et al. 2019, https://huggingface.co/openai-community/gpt2",
            published_sizes=(  # table 2; https://huggingface.co/openai-community: the counts in the paper are too low
                PublishedModel("GPT-2", 124_439_808, Sizes(768, 12, 12, 12, 64, 3072)),
                PublishedModel("GPT-2 medium", 354_823_168, Sizes(1024, 24, 16, 16, 64, 4096)),
                PublishedModel("GPT-2 large", 774_030_080, Sizes(1280, 36, 20, 20, 64, 5120)),
                PublishedModel("GPT-2 XL", 1_557_611_200, Sizes(1600, 48, 25, 25, 64, 6400)),
            ),
            d_ff_ratios=(3.0, 5.0),
        ),
        DesignFamily(
            "llama",
            base="llama-3-8b",
            title="Llama 3: rotary positions, RMSNorm, SwiGLU, grouped-query attention",
            source="Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783",
            published_sizes=(  # table 3; 1B and 3B: the models at https://huggingface.co/meta-llama
                PublishedModel("Llama 3.2 1B", 1_235_814_400, Sizes(2048, 16, 32, 8, 64, 8192)),
                PublishedModel("Llama 3.2 3B", 3_212_749_824, Sizes(3072, 28, 24, 8, 128, 8192)),
                PublishedModel("Llama 3 8B", 8_030_261_248, Sizes(4096, 32, 32, 8, 128, 14336)),
                PublishedModel("Llama 3 70B", 70_553_706_496, Sizes(8192, 80, 64, 8, 128, 28672)),
                PublishedModel("Llama 3.1 405B", 405_853_388_800, Sizes(16384, 126, 128, 8, 128, 53248)),
            ),
            groups=(1, 3, 4, 8, 16),
        ),
        DesignFamily(
            "qwen3",
            base="qwen3-0.6b",
            title="Qwen3: like Llama, with normalized queries and keys, and n_heads · d_head independent of d_model",
            source="Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            published_sizes=(  # table 1, and the models at https://huggingface.co/Qwen
                PublishedModel("Qwen3 0.6B", 596_049_920, Sizes(1024, 28, 16, 8, 128, 3072)),
                PublishedModel("Qwen3 1.7B", 1_720_574_976, Sizes(2048, 28, 16, 8, 128, 6144)),
                PublishedModel("Qwen3 4B", 4_022_468_096, Sizes(2560, 36, 32, 8, 128, 9728)),
                PublishedModel("Qwen3 8B", 8_190_735_360, Sizes(4096, 36, 32, 8, 128, 12288)),
                PublishedModel("Qwen3 14B", 14_768_307_200, Sizes(5120, 40, 40, 8, 128, 17408)),
                PublishedModel("Qwen3 32B", 32_762_123_264, Sizes(5120, 64, 64, 8, 128, 25600)),
            ),
            groups=(2, 4, 5, 8),
            d_ff_ratios=(2.0, 5.0),
            head_ratios=(1.0, 1.5, 2.0),
        ),
        DesignFamily(
            "gemma2",
            base="gemma-2-2b",
            title="Gemma 2: pre- and post-norms, GeGLU, a window of 4,096 in every other layer, soft-capped logits",
            source="Gemma Team 2024, https://arxiv.org/abs/2408.00118",
            published_sizes=(  # table 1, which states the d_ff of gate and value together
                PublishedModel("Gemma 2 2B", 2_614_341_888, Sizes(2304, 26, 8, 4, 256, 9216)),
                PublishedModel("Gemma 2 9B", 9_241_705_984, Sizes(3584, 42, 16, 8, 256, 14336)),
                PublishedModel("Gemma 2 27B", 27_227_128_320, Sizes(4608, 46, 32, 16, 128, 36864)),
            ),
            d_heads=(64, 128, 256),
            groups=(2, 4),
            d_ff_ratios=(2.0, 8.0),
            head_ratios=(1.0,),
        ),
        DesignFamily(
            "mixtral",
            base="mixtral-8x7b",
            title="Mixtral: like Mistral, with 8 experts per layer, 2 active per token",
            source="Jiang et al. 2024, https://arxiv.org/abs/2401.04088",
            published_sizes=(  # table 1, and https://huggingface.co/mistralai
                PublishedModel("Mixtral 8x7B", 46_702_792_704, Sizes(4096, 32, 32, 8, 128, 14336)),
                PublishedModel("Mixtral 8x22B", 140_620_634_112, Sizes(6144, 56, 48, 8, 128, 16384)),
            ),
            groups=(1, 4, 6, 8),
        ),
        DesignFamily(
            "qwen3-moe",
            base="qwen3-30b-a3b",
            title="Qwen3 with 128 small experts per layer, 8 active per token",
            source="Qwen Team 2025, https://arxiv.org/abs/2505.09388",
            published_sizes=(  # table 2, and the models at https://huggingface.co/Qwen
                PublishedModel("Qwen3 30B-A3B", 30_532_122_624, Sizes(2048, 48, 32, 4, 128, 768)),
                PublishedModel("Qwen3 235B-A22B", 235_093_634_560, Sizes(4096, 94, 64, 4, 128, 1536)),
            ),
            groups=(4, 8, 16),
            d_ff_ratios=(0.25, 0.5),
            head_ratios=(1.0, 1.5, 2.0),
        ),
        DesignFamily(
            "qwen3.5",
            base="qwen3.5-9b",
            title="Qwen3.5: Gated DeltaNet in three of four layers, gated attention in the fourth",
            source="Qwen Team 2026, https://huggingface.co/Qwen/Qwen3.5-9B",
            published_sizes=(  # the language models at https://huggingface.co/Qwen, without multi-token prediction
                PublishedModel("Qwen3.5 0.8B", 752_393_024, Sizes(1024, 24, 8, 2, 256, 3584)),
                PublishedModel("Qwen3.5 2B", 1_881_825_088, Sizes(2048, 24, 8, 2, 256, 6144)),
                PublishedModel("Qwen3.5 4B", 4_205_751_296, Sizes(2560, 32, 16, 4, 256, 9216)),
                PublishedModel("Qwen3.5 9B", 8_953_803_264, Sizes(4096, 32, 16, 4, 256, 12288)),
                PublishedModel("Qwen3.5 27B", 26_895_998_464, Sizes(5120, 64, 24, 4, 256, 17408)),
            ),
            d_heads=(256,),
            groups=(4, 6, 8),
            d_ff_ratios=(2.0, 4.0),
            head_ratios=(1.0, 1.25, 1.5, 2.0),
            derived_fields=(("gated_deltanet.n_value_heads", lambda sizes: 2 * sizes.n_heads),),
        ),
        DesignFamily(
            "qwen3.5-moe",
            base="qwen3.5-35b-a3b",
            title="Qwen3.5 with 256 small experts per layer, 8 active per token, and a shared one",
            source="Qwen Team 2026, https://huggingface.co/Qwen/Qwen3.5-35B-A3B",
            published_sizes=(  # as for qwen3.5
                PublishedModel("Qwen3.5 35B-A3B", 34_660_610_688, Sizes(2048, 40, 16, 2, 256, 512)),
                PublishedModel("Qwen3.5 122B-A10B", 122_111_526_912, Sizes(3072, 48, 32, 2, 256, 1024)),
            ),
            d_heads=(256,),
            groups=(8, 16),
            d_ff_ratios=(0.25, 0.5),
            head_ratios=(1.0, 1.5, 2.0, 2.5),
            derived_fields=(
                ("gated_deltanet.n_value_heads", lambda sizes: 2 * sizes.n_heads),
                ("feed_forward.d_shared_expert", lambda sizes: sizes.d_ff),
            ),
        ),
        DesignFamily(
            "nemotron-h",
            base="nemotron-h-8b",
            title=(
                "Nemotron-H: Mamba-2 and feed-forward layers alternate, with attention before every fifth feed-forward"
                " layer"
            ),
            source="NVIDIA 2025, https://arxiv.org/abs/2504.03624",
            published_sizes=(  # tables 1 and 2: 4 layers of attention among 52, and 10 among 118
                PublishedModel("Nemotron-H 8B", 8_100_852_736, Sizes(4096, 52, 32, 8, 128, 21504)),
                PublishedModel("Nemotron-H 56B", 56_324_350_464, Sizes(8192, 118, 64, 8, 128, 32768)),
            ),
            groups=(4, 8),
            d_ff_ratios=(3.0, 6.0),
            d_model_step=256,  # 2 · d_model is the product of 64 dimensions and heads in 8 groups
        ),
        DesignFamily(
            "granite-4-h",
            base="granite-4.0-h-micro",
            title="Granite 4.0 H: Mamba-2 in nine of ten layers, attention without positions in the tenth",
            source=_GRANITE,
            published_sizes=(
                PublishedModel("Granite 4.0 H 1B", 1_461_538_368, Sizes(1536, 40, 12, 4, 128, 4096)),
                PublishedModel("Granite 4.0 H Micro", 3_191_396_096, Sizes(2048, 40, 32, 8, 64, 8192)),
            ),
            groups=(3, 4),
            derived_fields=_GRANITE_MULTIPLIERS,
            d_model_step=32,  # 2 · d_model is the product of 64 dimensions and heads
        ),
        DesignFamily(
            "granite-4-h-moe",
            base="granite-4.0-h-small",
            title="Granite 4.0 H with 72 small experts per layer, 10 active per token, and a shared one",
            source=_GRANITE,
            published_sizes=(
                PublishedModel("Granite 4.0 H Tiny", 6_939_037_248, Sizes(1536, 40, 12, 4, 128, 512)),
                PublishedModel("Granite 4.0 H Small", 32_207_337_984, Sizes(4096, 40, 32, 8, 128, 768)),
            ),
            groups=(3, 4),
            d_ff_ratios=(0.125, 0.5),
            derived_fields=(*_GRANITE_MULTIPLIERS, ("feed_forward.d_shared_expert", lambda sizes: 2 * sizes.d_ff)),
            d_model_step=32,
        ),
        DesignFamily(
            "jamba",
            base="jamba-v0.1",
            title="Jamba: Mamba in seven of eight layers, attention in the eighth, 16 experts in every second layer",
            source="Lieber et al. 2024, https://arxiv.org/abs/2403.19887",
            published_sizes=(  # Jamba Team 2024, https://arxiv.org/abs/2408.12570
                PublishedModel("Jamba 1.5 Mini", 51_570_323_328, Sizes(4096, 32, 32, 8, 128, 14336)),
                PublishedModel("Jamba 1.5 Large", 398_555_145_696, Sizes(8192, 72, 64, 8, 128, 24576)),
            ),
            groups=(4, 8),
            d_model_step=16,  # Δ has a rank of d_model / 16
        ),
    )
}
"""Every family by name."""
