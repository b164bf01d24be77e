"""Ai2's OLMo (norms without weights), OLMo 2 (norms after each sub-layer) and OLMoE (mixture of experts)."""

# no deferred annotations, as in config.blocks

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, LLAMA_NAMES, POST_NORM_NAMES

_UNCLIPPED = "tinylm does not clip queries, keys and values"


class _OlmoLikeKeys(key.LlamaLikeKeys, RopeKeys):
    vocab_size: key.VocabSize = 50304
    attention_bias: key.AttentionBias = False


class OlmoKeys(_OlmoLikeKeys):
    """``OlmoConfig``."""

    clip_qkv: float | None = key.only(why=_UNCLIPPED)


OLMO = Family(
    "olmo",
    "OlmoForCausalLM",
    "OLMo",
    OlmoKeys,
    constants={**key.LLAMA_LIKE, "norm.kind": "layernorm", "norm.weight": False},
    tensor_names=LLAMA_NAMES,
)


class Olmo2Keys(_OlmoLikeKeys):
    """``Olmo2Config``."""

    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-5


OLMO2 = Family(
    "olmo2",
    "Olmo2ForCausalLM",
    "OLMo 2",
    Olmo2Keys,
    constants={**key.LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "full"},
    tensor_names=POST_NORM_NAMES,
)


class OlmoeKeys(_OlmoLikeKeys):
    """``OlmoeConfig``."""

    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 2048
    num_hidden_layers: key.NLayers = 16
    num_attention_heads: key.NHeads = 16
    max_position_embeddings: key.MaxLen = 4096
    rms_norm_eps: key.NormEps = 1e-5
    num_experts: key.NExperts = 64
    num_experts_per_tok: key.TopK = 8
    norm_topk_prob: key.Renormalize = False
    clip_qkv: float | None = key.only(why=_UNCLIPPED)


OLMOE = Family(
    "olmoe",
    "OlmoeForCausalLM",
    "OLMoE",
    OlmoeKeys,
    constants={**key.LLAMA_LIKE, "attention.qk_norm": "full", "feed_forward.router": "softmax"},
    tensor_names=EXPERT_NAMES,
    aliases={"num_local_experts": "num_experts"},
)
