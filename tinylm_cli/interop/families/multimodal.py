"""Multimodal families; tinylm reads their language model.

Most of them read images; Emu3 also generates them, and MOSS reads audio.

For text, the three axes of Qwen's M-RoPE have the same positions, so that it equals RoPE.
"""

from collections.abc import Collection
from typing import ClassVar

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys, MistralKeys
from tinylm_cli.interop.families.persimmon import PersimmonKeys
from tinylm_cli.interop.families.qwen import Qwen2Keys, Qwen3Keys
from tinylm_cli.interop.rope_scaling import Theta
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, TensorNames
from tinylm_cli.interop.translation import Translation

LLAVA_PREFIXES = (
    {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."},
    {"model.": "model.language_model."},
)
"""Where older and newer checkpoints of LLaVA and its descendants store the language model."""

LLAVA_PARTS = tuple(f"{root}{part}." for root in ("", "model.") for part in ("vision_tower", "multi_modal_projector"))
"""Name prefixes of the other parts of LLaVA and its descendants."""

LLAVA_KEYS = (
    "vision_config",
    "ignore_index",  # of the loss
    "image_seq_length",
    "image_token_id",
    "image_token_index",
    "multimodal_projector_bias",
    "projector_hidden_act",
    "spatial_merge_size",
    "vision_feature_layer",
    "vision_feature_select_strategy",
    "vocab_size",  # text_config has the language model's
)
QWEN_KEYS = (
    "vision_config",
    *("image_token_id", "video_token_id", "vision_token_id", "vision_start_token_id", "vision_end_token_id"),
)


def llava_names(names: TensorNames) -> TensorNames:
    """Return the names of the tensors of a language model in LLaVA and its descendants."""
    return names.override(prefix_maps=LLAVA_PREFIXES, skipped_prefixes=LLAVA_PARTS)


class LlavaKeys(LlamaKeys):
    """``LlavaConfig`` with a Llama."""

    tensor_names = llava_names(LLAMA_NAMES)
    language_model_key = "text_config"
    ignored_outer_keys = LLAVA_KEYS


class LlavaMistralKeys(MistralKeys):
    """``LlavaConfig`` with a Mistral, such as Pixtral, and ``Mistral3Config`` with a Mistral under ``text_config``.

    Configs of the latter from before transformers 5 lack ``tie_word_embeddings``; the LM head of their models is not
    tied.
    """

    tensor_names = llava_names(LLAMA_NAMES)
    language_model_key = "text_config"
    ignored_outer_keys = LLAVA_KEYS


class Mistral3Keys(LlavaMistralKeys):
    """``Mistral3Config`` without ``text_config``."""

    hidden_size: key.DModel = 5120
    intermediate_size: key.DFF = 32768
    num_hidden_layers: key.NLayers = 40
    head_dim: key.DHead = 128
    rms_norm_eps: key.NormEps = 1e-5
    rope_theta: Theta = 1e9
    sliding_window: key.Window = None
    vocab_size: key.VocabSize = 131072


_QWEN_NAMES = LLAMA_NAMES.override(
    prefix_maps=({"model.": "model.language_model."},), skipped_prefixes=("visual.", "model.visual.")
)


class Qwen2VLKeys(Qwen2Keys):
    """``Qwen2VLConfig`` and ``Qwen2_5_VLConfig``; published configs have the keys of both parts at the top level."""

    tensor_names = _QWEN_NAMES
    language_model_key = "text_config"
    ignored_outer_keys = QWEN_KEYS
    reads_flat_configs = True
    scaling_names: ClassVar[dict[str, str]] = {"mrope": "default"}

    vocab_size: key.VocabSize = 152064
    hidden_size: key.DModel = 8192
    intermediate_size: key.DFF = 29568
    num_hidden_layers: key.NLayers = 80
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: key.NKVHeads = 8
    rms_norm_eps: key.NormEps = 1e-5
    max_window_layers: key.OptionalCount = 80
    rope_theta: Theta = 1e6


class Qwen3VLKeys(Qwen3Keys):
    """``Qwen3VLConfig``."""

    tensor_names = _QWEN_NAMES
    language_model_key = "text_config"
    ignored_outer_keys = QWEN_KEYS

    num_key_value_heads: key.NKVHeads = 32
    max_position_embeddings: key.MaxLen = 128000
    rope_theta: Theta = 500_000.0


class _LlavaNextKeys(key.Keys):
    """The keys that the language models of ``LlavaNextConfig`` share."""

    tensor_names = llava_names(LLAMA_NAMES)._replace(
        skipped_prefixes=(*LLAVA_PARTS, "image_newline", "model.image_newline")
    )
    language_model_key = "text_config"
    ignored_outer_keys: ClassVar[Collection[str]] = (
        *LLAVA_KEYS,
        *("image_grid_pinpoints", "use_image_newline_parameter"),
    )


class LlavaNextKeys(_LlavaNextKeys, LlamaKeys):
    """``LlavaNextConfig`` with a Llama."""


class LlavaNextMistralKeys(_LlavaNextKeys, MistralKeys):
    """``LlavaNextConfig`` with a Mistral."""


class LlavaNextQwen2Keys(_LlavaNextKeys, Qwen2Keys):
    """``LlavaNextConfig`` with a Qwen2."""


class LlavaOnevisionKeys(LlavaNextQwen2Keys):
    """``LlavaOnevisionConfig`` with a Qwen2, and without ``text_config``."""

    ignored_outer_keys = (
        *LlavaNextQwen2Keys.ignored_outer_keys,
        *("video_token_id", "video_token_index", "vision_aspect_ratio"),
    )


class _InternVLKeys(key.Keys):
    """The keys that the language models of ``InternVLConfig`` share.

    Configs from before transformers 5 lack ``tie_word_embeddings``; the LM head of their models is not tied.
    """

    tensor_names = llava_names(LLAMA_NAMES)
    language_model_key = "text_config"
    ignored_outer_keys = (*LLAVA_KEYS, "downsample_ratio")


class InternVLQwen2Keys(_InternVLKeys, Qwen2Keys):
    """``InternVLConfig`` with a Qwen2, and without ``text_config``."""


class InternVLQwen3Keys(_InternVLKeys, Qwen3Keys):
    """``InternVLConfig`` with a Qwen3."""


class InternVLLlamaKeys(_InternVLKeys, LlamaKeys):
    """``InternVLConfig`` with a Llama."""


class Idefics3LlamaKeys(LlamaKeys):
    """``Idefics3Config`` and ``SmolVLMConfig`` with a Llama under ``text_config``."""

    tensor_names = LLAMA_NAMES.override(
        prefix_maps=({"model.": "model.text_model."},),
        skipped_prefixes=("model.vision_model.", "model.connector."),
    )
    language_model_key = "text_config"
    # written by the code that trained SmolVLM; transformers does not read them
    ignored = (
        *("is_llama_config", "neftune_noise_alpha", "perceiver_config", "pixel_shuffle_factor", "qk_layer_norms"),
        *("rope_interleaved", "transformers.js_config", "use_resampler"),
    )
    ignored_outer_keys = (
        *("vision_config", "hidden_size", "image_token_id", "scale_factor", "vocab_size"),
        "use_reentrant_checkpointing",
    )


class Idefics3Keys(Idefics3LlamaKeys):
    """``Idefics3Config`` and ``SmolVLMConfig`` without ``text_config``."""

    rms_norm_eps: key.NormEps = 1e-5


class GotOcr2QwenKeys(Qwen2Keys):
    """``GotOcr2Config`` with a Qwen2 under ``text_config``."""

    tensor_names = llava_names(LLAMA_NAMES)
    language_model_key = "text_config"
    ignored_outer_keys = ("vision_config", "image_token_id", "image_token_index", "image_seq_length")

    tie_word_embeddings: key.TieWeights = True


class GotOcr2Keys(GotOcr2QwenKeys):
    """``GotOcr2Config`` without ``text_config``."""

    vocab_size: key.VocabSize = 151860
    hidden_size: key.DModel = 1024
    intermediate_size: key.DFF = 2816
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 16
    rope_theta: Theta = 1e6
    max_window_layers: key.OptionalCount = 21


class MossQwenKeys(Qwen3Keys):
    """``MossTranscribeDiarizeConfig`` with a Qwen3 under ``text_config``."""

    tensor_names = LLAMA_NAMES.override(
        prefix_maps=({"model.": "model.language_model."},),
        skipped_prefixes=("model.audio_tower.", "model.multi_modal_projector."),
    )
    language_model_key = "text_config"
    ignored_outer_keys = (
        *("audio_config", "audio_chunk_size", "audio_merge_size", "audio_token_id"),
        *("projector_bias", "projector_hidden_act"),
    )

    tie_word_embeddings: key.TieWeights = True


class MossKeys(MossQwenKeys):
    """``MossTranscribeDiarizeConfig`` without ``text_config``."""

    hidden_size: key.DModel = 1024
    intermediate_size: key.DFF = 3072
    num_hidden_layers: key.NLayers = 28
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 8
    max_position_embeddings: key.MaxLen = 131072
    rope_theta: Theta = 1e6


class FuyuKeys(PersimmonKeys):
    """``FuyuConfig``, without vision encoder; published configs have the language model's keys at the top level."""

    tensor_names = PersimmonKeys.tensor_names.override(
        prefix_maps=(
            {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."},
            {"model.": "model.language_model."},
        ),
        skipped_prefixes=("vision_embed_tokens.", "model.vision_embed_tokens."),
    )
    language_model_key = "text_config"
    ignored_outer_keys = ("image_size", "image_token_id", "num_channels", "patch_size")
    reads_flat_configs = True

    def to_tinylm(self, to: Translation) -> None:
        """Map as Persimmon; without ``text_config``, half of each head's dimensions rotate."""
        super().to_tinylm(to)
        if not to.prefix and self.partial_rotary_factor not in (None, 0.5):
            why = "without text_config, this family's code rotates half of the dimensions of a head"
            to.unsupported("partial_rotary_factor", why)


class Emu3Keys(LlamaKeys):
    """``Emu3Config``: images are tokens of the vocabulary, which a VQ-VAE encodes and decodes."""

    tensor_names = LLAMA_NAMES.override(
        prefix_maps=(
            {"model.": "text_model.model.", "lm_head.": "text_model.lm_head."},
            {"model.": "model.text_model."},
        ),
        skipped_prefixes=("vqmodel.", "model.vqmodel."),
    )
    language_model_key = "text_config"
    ignored_outer_keys = ("vq_config", "vocabulary_map", "image_token_id")

    vocab_size: key.VocabSize = 184622
    intermediate_size: key.DFF = 14336
    num_key_value_heads: key.NKVHeads = 8
    max_position_embeddings: key.MaxLen = 9216
    rms_norm_eps: key.NormEps = 1e-5
    rope_theta: Theta = 1e6
    attention_dropout: key.Dropout = 0.1  # this family's code uses it for the residual branches, too
