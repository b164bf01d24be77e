"""DiffLlama: Llama with differential attention."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused


class DiffLlamaKeys(key.LlamaLikeKeys, RopeKeys):
    """``DiffLlamaConfig``."""

    constants = {**key.LLAMA_LIKE, "attention.differential": True}
    tensor_names = LLAMA_NAMES.override(
        tensors=tuple(
            Fused((f"attention.{name}",), f"self_attn.{name}")
            for name in ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
        )
    )
    ignored = ("lambda_std_dev",)  # initialization

    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 16
    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
