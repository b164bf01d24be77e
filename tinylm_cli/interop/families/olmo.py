"""Ai2's OLMo (norms without weights), OLMo 2 (norms after each sub-layer) and OLMoE (mixture of experts)."""

# no deferred annotations, as in config.blocks

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, rope, rope_keys
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, LLAMA_NAMES, POST_NORM_NAMES

Unclipped = Annotated[float | None, *key.only(why="tinylm does not clip queries, keys and values")]


class OlmoKeys(RopeKeys):
    """``OlmoConfig``."""

    vocab_size: key.VocabSize = 50304
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 11008
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 2048
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = False
    clip_qkv: Unclipped = None


OLMO = Family(
    model_type="olmo",
    architecture="OlmoForCausalLM",
    title="OLMo",
    keys=OlmoKeys,
    constants={**key.LLAMA_LIKE, "norm.kind": "layernorm", "norm.weight": False},
    to_tinylm=rope,
    from_tinylm=rope_keys,
    tensor_names=LLAMA_NAMES,
)


class Olmo2Keys(RopeKeys):
    """``Olmo2Config``."""

    vocab_size: key.VocabSize = 50304
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 11008
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = None
    head_dim: key.DHead = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 2048
    rms_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = False


OLMO2 = Family(
    model_type="olmo2",
    architecture="Olmo2ForCausalLM",
    title="OLMo 2",
    keys=Olmo2Keys,
    constants={**key.LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "full"},
    to_tinylm=rope,
    from_tinylm=rope_keys,
    tensor_names=POST_NORM_NAMES,
)


class OlmoeKeys(RopeKeys):
    """``OlmoeConfig``."""

    vocab_size: key.VocabSize = 50304
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 2048
    num_hidden_layers: key.NLayers = 16
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 4096
    rms_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = False
    num_experts: key.NExperts = 64
    num_experts_per_tok: key.TopK = 8
    norm_topk_prob: key.Renormalize = False
    clip_qkv: Unclipped = None


OLMOE = Family(
    model_type="olmoe",
    architecture="OlmoeForCausalLM",
    title="OLMoE",
    keys=OlmoeKeys,
    constants={**key.LLAMA_LIKE, "attention.qk_norm": "full", "feed_forward.router": "softmax"},
    to_tinylm=rope,
    from_tinylm=rope_keys,
    tensor_names=EXPERT_NAMES,
    aliases={"num_local_experts": "num_experts"},
)
