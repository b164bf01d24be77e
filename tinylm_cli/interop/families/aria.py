"""Aria's language model: Llama with experts, and shared experts that have twice their size or more."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import put_expert_bias
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, TensorLayout, mlp
from tinylm_cli.interop.translation import Translation


class AriaTextKeys(LlamaKeys):
    """``AriaTextConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "feed_forward.activation": "silu",
        "feed_forward.router": "topk_softmax",
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "mlp.router", **mlp("feed_forward.shared_experts", "mlp.shared_experts")},
        tensors=(
            Fused(
                ("feed_forward.experts.gate_proj.weight", "feed_forward.experts.up_proj.weight"),
                "mlp.experts.fc1.weight",
                TensorLayout.stacked_transposed,
            ),
            Fused(("feed_forward.experts.down_proj.weight",), "mlp.experts.fc2.weight", TensorLayout.transposed),
        ),
    )

    intermediate_size: key.DFF = 4096
    hidden_act: str = key.only("silu", why="the routed experts of this family's code always use silu")
    mlp_bias: key.FeedForwardBias = False  # not of routed experts
    moe_num_experts: key.NExperts = 8
    moe_topk: key.TopK = 2
    moe_num_shared_experts: key.NSharedExperts = 2

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE, and the biases of the shared experts, which routed ones do not have."""
        super().to_tinylm(to)
        put_expert_bias(to, mlp_bias=self.mlp_bias)
