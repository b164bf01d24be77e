"""OLMo by Ai2: the first without norm weights, the second normed after each sub-layer, and a mixture of experts."""

# no deferred annotations, as in config.blocks

from typing import Annotated

from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, rope, rope_keys
from tinylm_cli.interop.shared_keys import (
    DFF,
    LLAMA_LIKE,
    Activation,
    AttentionBias,
    DHead,
    DModel,
    MaxLen,
    NExperts,
    NHeads,
    NKVHeads,
    NLayers,
    NormEps,
    Renormalize,
    TieWeights,
    TopK,
    VocabSize,
    only,
)
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, LLAMA_NAMES, POST_NORM_NAMES

Unclipped = Annotated[float | None, *only(why="tinylm does not clip queries, keys and values")]


class OlmoKeys(RopeKeys):
    """``OlmoConfig``."""

    vocab_size: VocabSize = 50304
    hidden_size: DModel = 4096
    intermediate_size: DFF = 11008
    num_hidden_layers: NLayers = 32
    num_attention_heads: NHeads = 32
    num_key_value_heads: NKVHeads = None
    hidden_act: Activation = "silu"
    max_position_embeddings: MaxLen = 2048
    tie_word_embeddings: TieWeights = False
    attention_bias: AttentionBias = False
    clip_qkv: Unclipped = None


OLMO = Family(
    model_type="olmo",
    architecture="OlmoForCausalLM",
    title="OLMo",
    keys=OlmoKeys,
    constants={**LLAMA_LIKE, "norm.kind": "layernorm", "norm.weight": False},
    to_tinylm=rope,
    from_tinylm=rope_keys,
    tensor_names=LLAMA_NAMES,
)


class Olmo2Keys(RopeKeys):
    """``Olmo2Config``."""

    vocab_size: VocabSize = 50304
    hidden_size: DModel = 4096
    intermediate_size: DFF = 11008
    num_hidden_layers: NLayers = 32
    num_attention_heads: NHeads = 32
    num_key_value_heads: NKVHeads = None
    head_dim: DHead = None
    hidden_act: Activation = "silu"
    max_position_embeddings: MaxLen = 2048
    rms_norm_eps: NormEps = 1e-5
    tie_word_embeddings: TieWeights = False
    attention_bias: AttentionBias = False


OLMO2 = Family(
    model_type="olmo2",
    architecture="Olmo2ForCausalLM",
    title="OLMo 2",
    keys=Olmo2Keys,
    constants={**LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "full"},
    to_tinylm=rope,
    from_tinylm=rope_keys,
    tensor_names=POST_NORM_NAMES,
)


class OlmoeKeys(RopeKeys):
    """``OlmoeConfig``."""

    vocab_size: VocabSize = 50304
    hidden_size: DModel = 2048
    intermediate_size: DFF = 2048
    num_hidden_layers: NLayers = 16
    num_attention_heads: NHeads = 16
    num_key_value_heads: NKVHeads = None
    hidden_act: Activation = "silu"
    max_position_embeddings: MaxLen = 4096
    rms_norm_eps: NormEps = 1e-5
    tie_word_embeddings: TieWeights = False
    attention_bias: AttentionBias = False
    num_experts: NExperts = 64
    num_experts_per_tok: TopK = 8
    norm_topk_prob: Renormalize = False
    clip_qkv: Unclipped = None


OLMOE = Family(
    model_type="olmoe",
    architecture="OlmoeForCausalLM",
    title="OLMoE",
    keys=OlmoeKeys,
    constants={**LLAMA_LIKE, "attention.qk_norm": "full", "feed_forward.router": "softmax"},
    to_tinylm=rope,
    from_tinylm=rope_keys,
    tensor_names=EXPERT_NAMES,
    aliases={"num_local_experts": "num_experts"},
)
