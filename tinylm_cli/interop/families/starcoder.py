"""StarCoder 2: Llama's attention with biases, and GPT-2's norms and feed-forward network."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES


class Starcoder2Keys(key.LlamaLikeKeys, RopeKeys):
    """``Starcoder2Config``."""

    constants = {"embedding.multiplier": 1.0, "position.kind": "rope"}
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.up_proj": "mlp.c_fc", "feed_forward.down_proj": "mlp.c_proj"},
    )
    ignored = (
        "activation_function",  # hidden_act is used instead
        "layer_norm_epsilon",  # norm_epsilon is used instead
        "attention_softmax_in_fp32",
        "scale_attention_softmax_in_fp32",
    )

    vocab_size: key.VocabSize = 49152
    hidden_size: key.DModel = 3072
    intermediate_size: key.DFF = 12288
    num_hidden_layers: key.NLayers = 30
    num_attention_heads: key.NHeads = 24
    num_key_value_heads: key.NKVHeads = 2
    head_dim: key.DHead = None
    hidden_act: key.Activation = "gelu_pytorch_tanh"
    max_position_embeddings: key.MaxLen = 4096
    residual_dropout: key.Dropout = 0.0
    norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    use_bias: key.AllBiases = True
    sliding_window: key.Window = None
    mlp_type: str = key.only("default", why="this family's code supports no other value")
    norm_type: str = key.only("layer_norm", why="this family's code supports no other value")
    scale_attn_weights: bool = key.only(True, why="this family's code always divides scores by √d_head")
