"""Microsoft's BitNet b1.58: Llama with norms before the output projections; its weights are not read as ternary."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.tensor_names import LLAMA_NAMES


class BitNetKeys(key.LlamaLikeKeys, RopeKeys):
    """``BitNetConfig``; ``quantization_config`` is ignored, so weights are counted in the dtype of the model."""

    constants = {**key.LLAMA_LIKE, "attention.sub_norm": True, "feed_forward.sub_norm": True}
    tensor_names = LLAMA_NAMES.override(
        layer={"attention.sub_norm": "self_attn.attn_sub_norm", "feed_forward.sub_norm": "mlp.ffn_sub_norm"}
    )

    vocab_size: key.VocabSize = 128256
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 6912
    num_hidden_layers: key.NLayers = 30
    num_attention_heads: key.NHeads = 20
    num_key_value_heads: key.NKVHeads = 5
    hidden_act: key.Activation = "relu2"
    rope_theta: Theta = 5e5
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
