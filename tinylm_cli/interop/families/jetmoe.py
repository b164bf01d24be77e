"""JetMoE: experts in attention, each with query and output projections, and in the feed-forward network."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, TensorLayout
from tinylm_cli.interop.translation import Translation

LAYER_EPS = 1e-6
"""The constant in the norms of the layers; ``rms_norm_eps`` is that of the final norm only."""


class JetMoeKeys(RopeKeys):
    """``JetMoeConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.out_bias": True,
        "feed_forward.router": "topk_softmax",
        "feed_forward.out_bias": True,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={
            "attention.experts.router": "self_attention.experts.router.layer",
            "feed_forward.router": "mlp.router.layer",
        },
        fused=(Fused(("attention.k_proj", "attention.v_proj"), "self_attention.kv_proj"),),
        tensors=(
            Fused(("attention.experts.bias",), "self_attention.experts.bias"),
            Fused(("attention.experts.q_proj.weight",), "self_attention.experts.input_linear.weight"),
            Fused(("attention.experts.o_proj.weight",), "self_attention.experts.output_linear.weight"),
            Fused(("feed_forward.out_bias",), "mlp.bias"),
            Fused(
                ("feed_forward.experts.gate_proj.weight", "feed_forward.experts.up_proj.weight"),
                "mlp.input_linear.weight",
                TensorLayout.stacked,
            ),
            Fused(("feed_forward.experts.down_proj.weight",), "mlp.output_linear.weight"),
        ),
    )
    aliases = {"head_dim": "kv_channels"}
    ignored = ("aux_loss_coef", "num_attention_heads")  # derived from other keys

    vocab_size: key.VocabSize = 32000
    hidden_size: key.DModel = 2048
    num_hidden_layers: key.NLayers = 12
    num_key_value_heads: Annotated[int, *key.fills("attention.n_kv_heads")] = 16
    kv_channels: Annotated[int, *key.fills("attention.d_head")] = 128
    intermediate_size: key.DFF = 5632
    max_position_embeddings: key.MaxLen = 4096
    activation_function: key.Activation = "silu"
    num_local_experts: Annotated[int, *key.fills("attention.n_experts", "feed_forward.n_experts")] = 8
    num_experts_per_tok: key.TopK = 2
    tie_word_embeddings: key.TieWeights = True
    rms_norm_eps: key.NormEps = 1e-6

    def to_tinylm(self, to: Translation) -> None:
        """Map the query heads, which are the heads of all experts of a token, and the norms of the layers."""
        super().to_tinylm(to)
        keys = ("num_experts_per_tok", "num_key_value_heads")
        if not to.has_error(*keys):
            to.put("n_heads", self.num_experts_per_tok * self.num_key_value_heads, *keys)
        if self.rms_norm_eps != LAYER_EPS:
            to.put("layers.pattern", "layer", "rms_norm_eps")
            to.put("layers.kinds.layer.norm.eps", LAYER_EPS, "rms_norm_eps")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"num_experts_per_tok": config.attention_top_k}
