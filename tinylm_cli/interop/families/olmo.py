"""Ai2's OLMo (norms without weights), OLMo 2 and 3 (norms after each sub-layer) and OLMoE (mixture of experts)."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import LayerRopeKeys
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, POST_NORM_NAMES


class _OlmoLikeKeys(key.LlamaLikeKeys, RopeKeys):
    vocab_size: key.VocabSize = 50304
    attention_bias: key.AttentionBias = False


class OlmoKeys(_OlmoLikeKeys):
    """``OlmoConfig``."""

    constants = {**key.LLAMA_LIKE, "norm.kind": "layernorm", "norm.weight": False}

    clip_qkv: key.ClipQKV = None


class Olmo2Keys(_OlmoLikeKeys):
    """``Olmo2Config``."""

    constants = {**key.LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "full"}
    tensor_names = POST_NORM_NAMES

    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-5


class Olmo3Keys(LayerRopeKeys):
    """``Olmo3Config``: by default, every fourth layer is global."""

    constants = Olmo2Keys.constants
    tensor_names = POST_NORM_NAMES

    default_pattern = "LLLG"

    vocab_size: key.VocabSize = 50304
    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-5
    rope_theta: Theta = 500_000.0
    attention_bias: key.AttentionBias = False


class OlmoeKeys(_OlmoLikeKeys):
    """``OlmoeConfig``."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "full", "feed_forward.router": "softmax"}
    tensor_names = EXPERT_NAMES
    aliases = {"num_local_experts": "num_experts"}

    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 2048
    num_hidden_layers: key.NLayers = 16
    num_attention_heads: key.NHeads = 16
    max_position_embeddings: key.MaxLen = 4096
    rms_norm_eps: key.NormEps = 1e-5
    num_experts: key.NExperts = 64
    num_experts_per_tok: key.TopK = 8
    norm_topk_prob: key.Renormalize = False
    clip_qkv: key.ClipQKV = None


class FlexOlmoKeys(_OlmoLikeKeys):
    """``FlexOlmoConfig``: OLMo 2 with experts."""

    constants = {**Olmo2Keys.constants, "feed_forward.router": "softmax"}
    tensor_names = POST_NORM_NAMES.override(layer={"feed_forward.router": "mlp.gate"}, experts=EXPERT_NAMES.experts)
    aliases = {"num_local_experts": "num_experts"}

    vocab_size: key.VocabSize = 100352
    max_position_embeddings: key.MaxLen = 4096
    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-6
    rope_theta: Theta = 500_000.0
    num_experts: key.NExperts = 7
    num_experts_per_tok: key.TopK = 5
    norm_topk_prob: key.Renormalize = False
