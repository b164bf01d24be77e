"""Inception's Jais 2: Llama with LayerNorm, biases, and a feed-forward network without a gate, activated by ReLU²."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys


class Jais2Keys(key.LlamaLikeKeys, RopeKeys):
    """``Jais2Config``."""

    constants = {**key.LLAMA_LIKE, "norm.kind": "layernorm", "feed_forward.gated": False}

    vocab_size: key.VocabSize = 150272
    hidden_size: key.DModel = 3328
    intermediate_size: key.DFF = 26624
    num_attention_heads: key.NHeads = 26
    head_dim: key.DHead = None
    hidden_act: key.Activation = "relu2"
    max_position_embeddings: key.MaxLen = 8192
    layer_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = True
    mlp_bias: key.FeedForwardBias = True
