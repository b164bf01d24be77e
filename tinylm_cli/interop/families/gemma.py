"""Gemma: embeddings scaled by √d_model, norm weights 1 + w; Gemma 2 and 3 add sandwich norms and sliding windows."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta, rope_scaling_key
from tinylm_cli.interop.sliding_windows import LayerRopeKeys, LayerWindowKeys, WindowPeriodKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, POST_NORM_NAMES
from tinylm_cli.interop.translation import Translation

_GEMMA_LIKE = {**key.LLAMA_LIKE, "embedding.multiplier": None, "norm.zero_centered": True}
_NAMES = POST_NORM_NAMES.override(layer={"ln_2": "pre_feedforward_layernorm"})
_BIDIRECTIONAL = "tokens would attend to later tokens"


class GemmaKeys(key.LlamaLikeKeys, RopeKeys):
    """``GemmaConfig``."""

    constants = _GEMMA_LIKE

    vocab_size: key.VocabSize = 256000
    hidden_size: key.DModel = 3072
    intermediate_size: key.DFF = 24576
    num_hidden_layers: key.NLayers = 28
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 16
    head_dim: key.DHead = 256
    hidden_act: key.ActivationName = "gelu_pytorch_tanh"
    hidden_activation: str = key.only("gelu_pytorch_tanh", why="this family's code reads hidden_act")
    max_position_embeddings: key.MaxLen = 8192
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    use_bidirectional_attention: bool = key.only(False, why=_BIDIRECTIONAL)

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE and the activation; in early Gemma configs, gelu means the tanh approximation."""
        super().to_tinylm(to)
        activation = "gelu_tanh" if self.hidden_act == "gelu" else key.ACTIVATIONS[self.hidden_act]
        to.put("feed_forward.activation", activation, "hidden_act")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | dict.fromkeys(("hidden_act", "hidden_activation"), "gelu_pytorch_tanh")


class _SandwichKeys(LayerWindowKeys):
    """The keys that Gemma 2 and 3 share."""

    constants = {**_GEMMA_LIKE, "norm.placement": "sandwich"}
    tensor_names = _NAMES

    hidden_size: key.DModel = 2304
    intermediate_size: key.DFF = 9216
    num_hidden_layers: key.NLayers = 26
    num_attention_heads: key.NHeads = 8
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 256
    hidden_act: key.AnyValue = None  # without effect: hidden_activation is used instead
    hidden_activation: key.Activation = "gelu_pytorch_tanh"
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    query_pre_attn_scalar: key.OptionalSize = 256
    use_bidirectional_attention: bool = key.only(False, why=_BIDIRECTIONAL)

    def to_tinylm(self, to: Translation) -> None:
        """Map windows, and the score scale 1/√query_pre_attn_scalar, which is usually 1/√d_head."""
        super().to_tinylm(to)
        to.ignore("hidden_act")
        scalar, d_head = self.query_pre_attn_scalar, self.head_dim or self.hidden_size // self.num_attention_heads
        if scalar is not None and scalar != d_head:
            to.put("attention.scale", scalar**-0.5, "query_pre_attn_scalar")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        scale = config.attention.scale
        scalar = config.d_head if scale is None else round(scale**-2)
        return super().from_tinylm(config) | {"query_pre_attn_scalar": scalar}


class Gemma2Keys(_SandwichKeys, RopeKeys):
    """``Gemma2Config``."""

    aliases = {"sliding_window_size": "sliding_window"}

    vocab_size: key.VocabSize = 256000
    max_position_embeddings: key.MaxLen = 8192
    attn_logit_softcapping: key.ScoreSoftcap = 50.0
    final_logit_softcapping: key.LogitSoftcap = 30.0


class VaultGemmaKeys(Gemma2Keys):
    """``VaultGemmaConfig``: Gemma 2 without norms after the sub-layers."""

    constants = _GEMMA_LIKE
    tensor_names = LLAMA_NAMES.override(layer={"ln_2": "pre_feedforward_layernorm"})


class Gemma3TextKeys(_SandwichKeys, LayerRopeKeys, WindowPeriodKeys):
    """``Gemma3TextConfig``: by default, every sixth layer is global."""

    constants = {**_SandwichKeys.constants, "attention.qk_norm": "per_head"}
    ignored = ("attn_logit_softcapping",)  # this family's code does not soft-cap attention scores

    local_theta_key = "rope_local_base_freq"

    vocab_size: key.VocabSize = 262208
    max_position_embeddings: key.MaxLen = 131072
    final_logit_softcapping: key.LogitSoftcap = None
    sliding_window_pattern: key.OptionalSize = 6
    rope_theta: Theta = 1e6
    rope_local_base_freq: Theta = 1e4

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with RoPE in the form that every version of transformers reads."""
        position = config.position
        keys = super().from_tinylm(config)
        del keys["rope_parameters"]
        return keys | {
            "rope_theta": position.theta,
            "rope_scaling": rope_scaling_key(config),
            "rope_local_base_freq": position.local_theta or position.theta,
        }


class Gemma3Keys(Gemma3TextKeys):
    """``Gemma3Config``: a multimodal model, whose language model is under ``text_config``."""

    tensor_names = _NAMES.override(
        prefix_maps=(
            {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."},
            {"model.": "model.language_model."},
        ),
        skipped_prefixes=tuple(
            f"{root}{part}." for root in ("", "model.") for part in ("vision_tower", "multi_modal_projector")
        ),
    )
    language_model_key = "text_config"
    ignored_outer_keys = (
        "vision_config",
        "mm_tokens_per_image",
        "boi_token_index",
        "eoi_token_index",
        "image_token_index",
    )
