"""Zhipu's GLM: Llama with RoPE on half of each head and biases on q, k and v; GLM-4-0414 adds sandwich norms."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction
from tinylm_cli.interop.tensor_names import GATE_UP, LLAMA_NAMES


class GlmKeys(key.LlamaLikeKeys, RopeKeys):
    """``GlmConfig``."""

    constants = {**key.LLAMA_LIKE, "position.pairing": "adjacent", "attention.out_bias": False}
    tensor_names = LLAMA_NAMES.override(fused=(GATE_UP,))

    vocab_size: key.VocabSize = 151552
    intermediate_size: key.DFF = 13696
    num_hidden_layers: key.NLayers = 40
    num_key_value_heads: key.NKVHeads = 2
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    partial_rotary_factor: RotaryFraction = 0.5
    rms_norm_eps: key.NormEps = 1.5625e-7
    attention_bias: key.AttentionBias = True


class Glm4Keys(GlmKeys):
    """``Glm4Config``."""

    constants = {**GlmKeys.constants, "norm.placement": "sandwich"}
    tensor_names = GlmKeys.tensor_names.override(
        layer={"post_ln_1": "post_self_attn_layernorm", "post_ln_2": "post_mlp_layernorm"}
    )
