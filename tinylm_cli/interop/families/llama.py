"""Llama, and its variants Mistral (sliding window), Ministral (windows in some layers) and Mixtral (experts)."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import LayerWindowKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, MIXTRAL_EXPERTS


class LlamaKeys(key.LlamaLikeKeys, RopeKeys):
    """``LlamaConfig``."""

    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False


class MistralKeys(key.LlamaLikeKeys, RopeKeys):
    """``MistralConfig``."""

    intermediate_size: key.DFF = 14336
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-6
    sliding_window: key.Window = 4096


class MinistralKeys(MistralKeys, LayerWindowKeys):
    """``MinistralConfig``: by default, every layer has a window."""

    default_pattern = "L"

    sliding_window: key.LayerWindow = 4096


class MixtralKeys(MistralKeys):
    """``MixtralConfig``."""

    constants = {**key.LLAMA_LIKE, "feed_forward.router": "topk_softmax"}
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "block_sparse_moe.gate"},
        experts=MIXTRAL_EXPERTS,
    )
    aliases = {"num_experts": "num_local_experts"}
    ignored = ("router_jitter_noise",)  # training

    rms_norm_eps: key.NormEps = 1e-5
    rope_theta: Theta = 1e6
    num_local_experts: key.NExperts = 8
    num_experts_per_tok: key.TopK = 2
    sliding_window: key.Window = None
