"""Aleph Alpha's Kolibri-1: experts in every layer, sandwich norms; layers without a window have no RoPE."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, LayerWindowKeys
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES, Fused
from tinylm_cli.interop.translation import Translation


class Kolibri1Keys(LayerWindowKeys, RopeKeys):
    """``Kolibri1Config``: every fifth layer has no window."""

    constants = {
        **key.LLAMA_LIKE,
        "norm.placement": "sandwich",
        "attention.qk_norm": "per_head",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "feed_forward.correct_logits": True,
        "feed_forward.n_shared_experts": 1,
    }
    tensor_names = ROUTED_EXPERT_NAMES.override(
        layer={"post_ln_1": "post_attn_norm", "post_ln_2": "post_ffn_norm"},
        tensors=(Fused(("feed_forward.router.score_correction",), "moe.router.expert_bias"),),
    )
    aliases = {"num_local_experts": "num_experts"}
    default_pattern = "LLLLG"
    global_fields = WITHOUT_ROPE

    vocab_size: key.VocabSize = 128000
    hidden_size: key.DModel = 2560
    num_hidden_layers: key.NLayers = 50
    num_attention_heads: key.NHeads = 48
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 262144
    rms_norm_eps: key.NormEps = 1e-6
    sliding_window: Annotated[int, *key.like("attention.window")] = 513
    num_experts: key.NExperts = 384
    num_experts_per_tok: key.TopK = 6
    moe_intermediate_size: Annotated[int, *key.like("d_ff")] = 512
    shared_expert_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 512
    norm_topk_prob: key.Renormalize = False

    def to_tinylm(self, to: Translation) -> None:
        """Map windows and experts, whose size is the only one of a feed-forward network."""
        super().to_tinylm(to)
        to.ignore("intermediate_size")
        to.put("d_ff", self.moe_intermediate_size, "moe_intermediate_size")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"moe_intermediate_size": config.d_expert}
