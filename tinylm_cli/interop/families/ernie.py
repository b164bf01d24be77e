"""Baidu's ERNIE 4.5 without experts: Llama with RoPE that pairs adjacent dimensions."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta


class Ernie45Keys(key.LlamaLikeKeys, RopeKeys):
    """``Ernie4_5Config``."""

    constants = {**key.LLAMA_LIKE, "position.pairing": "adjacent"}

    vocab_size: key.VocabSize = 103424
    hidden_size: key.DModel = 1024
    intermediate_size: key.DFF = 3072
    num_hidden_layers: key.NLayers = 18
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 2
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    tie_word_embeddings: key.TieWeights = True
    rope_theta: Theta = 500_000.0
    rms_norm_eps: key.NormEps = 1e-5
    use_bias: key.AllBiases = False
