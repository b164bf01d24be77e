"""StarCoder 2: Llama's attention with biases, and GPT-2's norms and feed-forward network."""

# no deferred annotations, as in config.blocks

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, rope, rope_keys
from tinylm_cli.interop.sliding_windows import window, window_keys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES
from tinylm_cli.interop.translation import Translation


class Starcoder2Keys(RopeKeys):
    """``Starcoder2Config``."""

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
    mlp_type: Annotated[str, *key.only("default", why="this family's code supports no other")] = "default"
    norm_type: Annotated[str, *key.only("layer_norm", why="this family's code supports no other")] = "layer_norm"
    scale_attn_weights: Annotated[bool, *key.only(True, why="this family's code always divides scores by √d_head")] = (
        True
    )


def _starcoder2(keys: Starcoder2Keys, to: Translation) -> None:
    rope(keys, to)
    window(keys, to)


def _starcoder2_keys(config: ModelConfig) -> dict[str, Any]:
    return {**rope_keys(config), **window_keys(config)}


STARCODER2 = Family(
    model_type="starcoder2",
    architecture="Starcoder2ForCausalLM",
    title="StarCoder 2",
    keys=Starcoder2Keys,
    constants={"embedding.multiplier": 1.0, "position.kind": "rope"},
    to_tinylm=_starcoder2,
    from_tinylm=_starcoder2_keys,
    tensor_names=LLAMA_NAMES.override(
        layer={"feed_forward.up_proj": "mlp.c_fc", "feed_forward.down_proj": "mlp.c_proj"},
    ),
    ignored=frozenset(
        [
            "activation_function",  # hidden_act is used instead
            "layer_norm_epsilon",  # norm_epsilon is used instead
            "attention_softmax_in_fp32",
            "scale_attention_softmax_in_fp32",
        ]
    ),
)
