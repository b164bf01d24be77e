"""Llama, and its variants Mistral (sliding window) and Mixtral (experts)."""

# no deferred annotations, as in config.blocks

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, rope, rope_keys
from tinylm_cli.interop.sliding_windows import window, window_keys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES
from tinylm_cli.interop.translation import Translation


class LlamaKeys(RopeKeys):
    """``LlamaConfig``."""

    vocab_size: key.VocabSize = 32000
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 11008
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = None
    head_dim: key.DHead = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 2048
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False


LLAMA = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    title="Llama",
    keys=LlamaKeys,
    constants=key.LLAMA_LIKE,
    to_tinylm=rope,
    from_tinylm=rope_keys,
    tensor_names=LLAMA_NAMES,
)


class MistralKeys(RopeKeys):
    """``MistralConfig``."""

    vocab_size: key.VocabSize = 32000
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 14336
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = False
    sliding_window: key.Window = 4096


def _mistral(keys: MistralKeys, to: Translation) -> None:
    rope(keys, to)
    window(keys, to)


def _mistral_keys(config: ModelConfig) -> dict[str, Any]:
    return {**rope_keys(config), **window_keys(config)}


MISTRAL = Family(
    model_type="mistral",
    architecture="MistralForCausalLM",
    title="Mistral",
    keys=MistralKeys,
    constants=key.LLAMA_LIKE,
    to_tinylm=_mistral,
    from_tinylm=_mistral_keys,
    tensor_names=LLAMA_NAMES,
)


class MixtralKeys(MistralKeys):
    """``MixtralConfig``."""

    rms_norm_eps: key.NormEps = 1e-5
    num_local_experts: key.NExperts = 8
    num_experts_per_tok: key.TopK = 2
    sliding_window: key.Window = None


def _mixtral(keys: MixtralKeys, to: Translation) -> None:
    rope(keys, to, theta=1e6)
    window(keys, to)


MIXTRAL = Family(
    model_type="mixtral",
    architecture="MixtralForCausalLM",
    title="Mixtral",
    keys=MixtralKeys,
    constants={**key.LLAMA_LIKE, "feed_forward.router": "topk_softmax"},
    to_tinylm=_mixtral,
    from_tinylm=_mistral_keys,
    tensor_names=LLAMA_NAMES.override(
        layer={"feed_forward.router": "block_sparse_moe.gate"},
        experts={
            "feed_forward.experts.gate_proj": "block_sparse_moe.experts.{e}.w1",
            "feed_forward.experts.up_proj": "block_sparse_moe.experts.{e}.w3",
            "feed_forward.experts.down_proj": "block_sparse_moe.experts.{e}.w2",
        },
    ),
    ignored=frozenset(["router_jitter_noise"]),  # training
    aliases={"num_experts": "num_local_experts"},
)
