"""MiniMax-M2: Mixtral with DeepSeek V3's router, norms on all queries and keys, and RoPE on a part of each head."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction, Theta
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, MIXTRAL_EXPERTS, Fused
from tinylm_cli.interop.translation import Translation


class MiniMaxM2Keys(key.LlamaLikeKeys, RopeKeys):
    """``MiniMaxM2Config``."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "full",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": True,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "block_sparse_moe.gate"},
        experts=MIXTRAL_EXPERTS,
        tensors=(Fused(("feed_forward.router.score_correction",), "block_sparse_moe.e_score_correction_bias"),),
    )
    aliases = {"num_experts": "num_local_experts"}
    ignored = (
        "router_jitter_noise",  # training
        "use_mtp",  # multi-token prediction layers, which are not loaded
        "num_mtp_modules",
        "mtp_transformer_layers",
    )

    vocab_size: key.VocabSize = 200064
    hidden_size: key.DModel = 3072
    intermediate_size: key.DFF = 1536
    num_hidden_layers: key.NLayers = 62
    num_attention_heads: key.NHeads = 48
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 196608
    rope_theta: Theta = 5e6
    partial_rotary_factor: RotaryFraction = 1.0
    rotary_dim: key.OptionalSize = None
    rms_norm_eps: key.NormEps = 1e-6
    num_local_experts: key.NExperts = 256
    num_experts_per_tok: key.TopK = 8
    attn_type_list: key.IntegerList = None
    use_qk_norm: bool = key.only(True, why="this family's code normalizes queries and keys")
    qk_norm_type: str = key.only("per_layer", why="this family's code normalizes queries and keys over all heads")
    scoring_func: str = key.only("sigmoid", why="this family's code weights experts with a sigmoid")
    use_routing_bias: bool = key.only(True, why="this family's code corrects the scores of experts")
    shared_intermediate_size: int = key.only(0, why="this family's code has no shared experts")

    def to_tinylm(self, to: Translation) -> None:
        """Map as Llama; ``rotary_dim`` is an older form of ``partial_rotary_factor``, which takes precedence."""
        super().to_tinylm(to)
        if self.attn_type_list and set(self.attn_type_list) != {1}:
            to.unsupported("attn_type_list", "this family's code has only softmax attention, which is 1")
        if self.rotary_dim is None or to.has_error("head_dim", "rotary_dim"):
            return
        block_key, _ = self.rope_block()
        if to.is_given("partial_rotary_factor") or to.is_given(f"{block_key}.partial_rotary_factor"):
            to.ignore("rotary_dim")
        else:
            d_head = self.head_dim or self.hidden_size // self.num_attention_heads
            to.put("position.rotary_fraction", self.rotary_dim / d_head, "rotary_dim")
