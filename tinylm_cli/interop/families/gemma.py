"""Gemma: embeddings scaled by √d_model, norm weights 1 + w; Gemma 2 and 3 add sandwich norms and sliding windows."""

# no deferred annotations, as in config.blocks

from dataclasses import replace
from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, RopeParameters, Theta, rope, rope_keys, rope_scaling
from tinylm_cli.interop.sliding_windows import alternate, layer_window_keys, layer_windows
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, POST_NORM_NAMES
from tinylm_cli.interop.translation import Translation

_GEMMA_LIKE = {**key.LLAMA_LIKE, "embedding.multiplier": None, "norm.zero_centered": True}

Causal = Annotated[bool, *key.only(False, why="tokens would attend to later tokens")]


class GemmaKeys(RopeKeys):
    """``GemmaConfig``."""

    vocab_size: key.VocabSize = 256000
    hidden_size: key.DModel = 3072
    intermediate_size: key.DFF = 24576
    num_hidden_layers: key.NLayers = 28
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 16
    head_dim: key.DHead = 256
    hidden_act: key.ActivationName = "gelu_pytorch_tanh"
    hidden_activation: Annotated[str, *key.only("gelu_pytorch_tanh", why="this family's code reads hidden_act")] = (
        "gelu_pytorch_tanh"
    )
    max_position_embeddings: key.MaxLen = 8192
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    use_bidirectional_attention: Causal = False


def _gemma(keys: GemmaKeys, to: Translation) -> None:
    """Map RoPE and the activation; in early Gemma configs, gelu means the tanh approximation."""
    activation = "gelu_tanh" if keys.hidden_act == "gelu" else key.ACTIVATIONS[keys.hidden_act]
    to.put("feed_forward.activation", activation, "hidden_act")
    rope(keys, to)


def _gemma_keys(config: ModelConfig) -> dict[str, Any]:
    return {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", **rope_keys(config)}


GEMMA = Family(
    model_type="gemma",
    architecture="GemmaForCausalLM",
    title="Gemma",
    keys=GemmaKeys,
    constants=_GEMMA_LIKE,
    to_tinylm=_gemma,
    from_tinylm=_gemma_keys,
    tensor_names=LLAMA_NAMES,
)


class Gemma2Keys(RopeKeys):
    """``Gemma2Config``."""

    vocab_size: key.VocabSize = 256000
    hidden_size: key.DModel = 2304
    intermediate_size: key.DFF = 9216
    num_hidden_layers: key.NLayers = 26
    num_attention_heads: key.NHeads = 8
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 256
    hidden_activation: key.Activation = "gelu_pytorch_tanh"
    max_position_embeddings: key.MaxLen = 8192
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    attn_logit_softcapping: key.ScoreSoftcap = 50.0
    final_logit_softcapping: key.LogitSoftcap = 30.0
    query_pre_attn_scalar: key.OptionalSize = 256
    sliding_window: key.Window = 4096
    layer_types: key.LayerTypes = None
    use_bidirectional_attention: Causal = False


def _query_scale(keys: Any, to: Translation) -> None:
    """Map the score scale 1/√query_pre_attn_scalar; the usual value is d_head."""
    scalar, d_head = keys.query_pre_attn_scalar, keys.head_dim or keys.hidden_size // keys.num_attention_heads
    if scalar not in (None, d_head):
        to.put("attention.scale", scalar**-0.5, "query_pre_attn_scalar")


def _query_scale_key(config: ModelConfig) -> dict[str, Any]:
    scale = config.attention.scale
    return {"query_pre_attn_scalar": config.d_head if scale is None else round(scale**-2)}


def _gemma2(keys: Gemma2Keys, to: Translation) -> None:
    _query_scale(keys, to)
    rope(keys, to)
    layer_windows(keys, to, alternate(keys.num_hidden_layers))


def _gemma2_keys(config: ModelConfig) -> dict[str, Any]:
    return {**_query_scale_key(config), **rope_keys(config), **layer_window_keys(config)}


_NAMES = POST_NORM_NAMES.override(layer={"ln_2": "pre_feedforward_layernorm"})

GEMMA2 = Family(
    model_type="gemma2",
    architecture="Gemma2ForCausalLM",
    title="Gemma 2",
    keys=Gemma2Keys,
    constants={**_GEMMA_LIKE, "norm.placement": "sandwich"},
    to_tinylm=_gemma2,
    from_tinylm=_gemma2_keys,
    tensor_names=_NAMES,
    ignored=frozenset(["hidden_act"]),  # hidden_activation is used instead
    aliases={"sliding_window_size": "sliding_window"},
)


class Gemma3RopeParameters(key.KeyBlock):
    """RoPE of global layers and of sliding-window layers."""

    full_attention: RopeParameters | None = None
    sliding_attention: RopeParameters | None = None


class Gemma3TextKeys(key.Keys):
    """``Gemma3TextConfig``."""

    vocab_size: key.VocabSize = 262208
    hidden_size: key.DModel = 2304
    intermediate_size: key.DFF = 9216
    num_hidden_layers: key.NLayers = 26
    num_attention_heads: key.NHeads = 8
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 256
    hidden_activation: key.Activation = "gelu_pytorch_tanh"
    max_position_embeddings: key.MaxLen = 131072
    original_max_position_embeddings: key.OptionalSize = None
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    final_logit_softcapping: key.LogitSoftcap = None
    query_pre_attn_scalar: key.OptionalSize = 256
    sliding_window: key.Window = 4096
    sliding_window_pattern: key.OptionalSize = 6
    layer_types: key.LayerTypes = None
    rope_theta: Theta = None
    rope_local_base_freq: Theta = None
    rope_scaling: RopeParameters | None = None
    rope_parameters: Gemma3RopeParameters | None = None
    use_bidirectional_attention: Causal = False


def _gemma3(keys: Gemma3TextKeys, to: Translation) -> None:
    """Map windows and RoPE; by default, every sixth layer is global."""
    _query_scale(keys, to)
    step, n_layers = keys.sliding_window_pattern or 1, keys.num_hidden_layers
    pattern = "".join("L" if (i + 1) % step else "G" for i in range(n_layers))
    layer_windows(keys, to, pattern, "sliding_window_pattern")
    _two_ropes(keys, to)


def _two_ropes(keys: Gemma3TextKeys, to: Translation) -> None:
    """Map the RoPE of global layers, and the unscaled RoPE of sliding-window layers (``sliding_attention``)."""
    both = keys.rope_parameters or Gemma3RopeParameters()
    full, local = both.full_attention or RopeParameters(), both.sliding_attention or RopeParameters()
    place = "rope_theta" if full.rope_theta is None else "rope_parameters.full_attention.rope_theta"
    theta = full.rope_theta or keys.rope_theta or 1e6
    to.put("position.theta", theta, place)
    if to.get("attention.window") is not None:
        outside = local.rope_theta is None
        place = "rope_local_base_freq" if outside else "rope_parameters.sliding_attention.rope_theta"
        local_theta = local.rope_theta or keys.rope_local_base_freq or 1e4
        to.put("position.local_theta", None if local_theta == theta else local_theta, place)
        if (local.rope_type or local.type or "default") != "default":
            place = "type" if local.rope_type is None else "rope_type"
            to.unsupported(
                f"rope_parameters.sliding_attention.{place}", "RoPE scaling does not apply to sliding-window layers"
            )
    for at, block in (("rope_parameters.full_attention", both.full_attention), ("rope_scaling", keys.rope_scaling)):
        if block is not None and block.model_fields_set:  # rope_scaling overrides full_attention
            rope_scaling(keys, block, at, to)


def _gemma3_keys(config: ModelConfig) -> dict[str, Any]:
    local_theta = config.position.local_theta or config.position.theta
    base = {"rope_local_base_freq": local_theta}
    return {**_query_scale_key(config), **rope_keys(config), **base, **layer_window_keys(config)}


GEMMA3_TEXT = Family(
    model_type="gemma3_text",
    architecture="Gemma3ForCausalLM",
    title="Gemma 3",
    keys=Gemma3TextKeys,
    constants={**_GEMMA_LIKE, "norm.placement": "sandwich", "attention.qk_norm": "per_head"},
    to_tinylm=_gemma3,
    from_tinylm=_gemma3_keys,
    tensor_names=_NAMES,
    ignored=frozenset(
        ["hidden_act", "attn_logit_softcapping"]
    ),  # this family's code does not soft-cap attention scores
)

GEMMA3 = replace(
    GEMMA3_TEXT,
    model_type="gemma3",
    architecture="Gemma3ForConditionalGeneration",
    title="Gemma 3 with vision, its language model",
    from_tinylm=None,
    tensor_names=_NAMES.override(
        prefix_maps=(
            {"model.": "language_model.model.", "lm_head.": "language_model.lm_head."},
            {"model.": "model.language_model."},
        ),
        skipped_prefixes=tuple(
            f"{root}{part}." for root in ("", "model.") for part in ("vision_tower", "multi_modal_projector")
        ),
    ),
    language_model_key="text_config",
    ignored_outer_keys=frozenset(
        ["vision_config", "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "image_token_index"]
    ),
)
