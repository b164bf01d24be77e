"""NVIDIA's Nemotron 3 and 4, and Minitron: LayerNorm with weights 1 + w, and a feed-forward network with ReLU²."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction
from tinylm_cli.interop.tensor_names import LLAMA_NAMES


class NemotronKeys(key.LlamaLikeKeys, RopeKeys):
    """``NemotronConfig``."""

    constants = {**key.LLAMA_LIKE, "norm.kind": "layernorm", "norm.zero_centered": True, "feed_forward.gated": False}
    tensor_names = LLAMA_NAMES

    vocab_size: key.VocabSize = 256000
    hidden_size: key.DModel = 6144
    intermediate_size: key.DFF = 24576
    num_attention_heads: key.NHeads = 48
    head_dim: key.DHead = None
    hidden_act: key.Activation = "relu2"
    max_position_embeddings: key.MaxLen = 4096
    partial_rotary_factor: RotaryFraction = 0.5
    norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False
