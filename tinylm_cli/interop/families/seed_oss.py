"""ByteDance's Seed-OSS: Llama with biases on q, k and v, and dropout on the residual branches."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys


class SeedOssKeys(key.LlamaLikeKeys, RopeKeys):
    """``SeedOssConfig``."""

    vocab_size: key.VocabSize = 155136
    intermediate_size: key.DFF = 27648
    num_hidden_layers: key.NLayers = 64
    num_attention_heads: key.NHeads = 80
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 524288
    residual_dropout: key.Dropout = 0.1
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = True
    attention_out_bias: Annotated[bool, *key.fills("attention.out_bias")] = False
    mlp_bias: key.FeedForwardBias = False
