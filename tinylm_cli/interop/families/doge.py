"""SmallDoge's Doge: attention with a dynamic mask of the keys, and residual additions with learned weights."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused

_ACROSS_TOKENS = "its router mixes the scores of different tokens, so that a token depends on later ones"


class DogeKeys(RopeKeys, key.LlamaLikeKeys):
    """``DogeConfig``, without its mixture of experts."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head", "block.skip_weight": True}
    tensor_names = LLAMA_NAMES.override(
        layer={"attention.dynamic_mask.proj": "self_attn.dt_proj"},
        tensors=(
            Fused(("attention.dynamic_mask.scale",), "self_attn.A"),
            Fused(("skip_weight_1",), "input_residual"),
            Fused(("skip_weight_2",), "post_attention_residual"),
        ),
    )
    ignored = ("num_experts", "num_experts_per_tok", "norm_topk_prob")  # read only with is_moe

    vocab_size: key.VocabSize = 32768
    hidden_size: key.DModel = 1024
    intermediate_size: key.DFF = 2048
    num_attention_heads: key.NHeads = 8
    head_dim: key.DHead = None
    hidden_dropout: key.Dropout = 0.0
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False
    sliding_window: key.Window = None
    keep_window_size: Annotated[int, *key.fills("attention.dynamic_mask_top_k")] = 2048
    is_moe: bool = key.only(False, why=_ACROSS_TOKENS)
