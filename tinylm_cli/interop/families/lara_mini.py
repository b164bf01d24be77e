"""Lara mini: gated DeltaNet, attention with a window, and attention without RoPE; every layer has experts."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.qwen import SHARED_EXPERT_NAMES, SharedExpertKeys
from tinylm_cli.interop.families.qwen_hybrid import DELTA_NET_VECTORS, LINEAR, DeltaNetKeys, of_delta_net
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE
from tinylm_cli.interop.tensor_names import Fused, TensorLayout
from tinylm_cli.interop.translation import Translation

_PERIOD = ("linear_attention", "sliding_attention", "linear_attention", "full_attention", "sliding_attention")
_EXPERTS = "feed_forward.experts"


class LaraMiniKeys(SharedExpertKeys, DeltaNetKeys):
    """``LaraMiniConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "per_head",
        "feed_forward.router": "softmax",
        "feed_forward.n_shared_experts": 1,
    }
    tensor_names = SHARED_EXPERT_NAMES.override(
        layer={
            "gated_deltanet.conv": "linear_attn.conv1d",
            "gated_deltanet.o_norm": "linear_attn.out_norm",
            "gated_deltanet.o_proj": "linear_attn.out_proj",
        },
        fused=(Fused(of_delta_net("q", "k", "v", "gate", "b", "a"), "linear_attn.in_proj"),),
        experts={},
        tensors=(
            *DELTA_NET_VECTORS,
            Fused(
                (f"{_EXPERTS}.gate_proj.weight", f"{_EXPERTS}.up_proj.weight"),
                "mlp.experts.gate_up_proj",
                TensorLayout.stacked,
            ),
            Fused((f"{_EXPERTS}.down_proj.weight",), "mlp.experts.down_proj"),
        ),
    )
    type_kinds: ClassVar[Mapping[str, str]] = {**LINEAR, "sliding_attention": "local"}

    vocab_size: key.VocabSize = 151936
    hidden_size: key.DModel = 1024
    num_hidden_layers: key.NLayers = 34
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    tie_word_embeddings: key.TieWeights = True
    sliding_window: Annotated[int, *key.like("attention.window")] = 512
    linear_num_key_heads: Annotated[int | None, *key.like("gated_deltanet.n_key_heads")] = 8
    linear_num_value_heads: Annotated[int | None, *key.like("gated_deltanet.n_value_heads")] = 16
    num_experts: key.NExperts = 128
    num_experts_per_tok: key.TopK = 4
    moe_intermediate_size: Annotated[int, *key.like("d_ff")] = 512
    shared_expert_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 512
    norm_topk_prob: key.Renormalize = True

    def default_types(self) -> tuple[list[str], str]:
        """Return the types: they repeat every five layers."""
        return [_PERIOD[layer % len(_PERIOD)] for layer in range(self.num_hidden_layers)], "layer_types"

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Return the fields of each kind of layers: attention without a window has no RoPE."""
        return super().kinds() | {"local": {"attention.window": self.sliding_window}, "full": WITHOUT_ROPE}

    def to_tinylm(self, to: Translation) -> None:
        """Map experts, whose size is the only one of a feed-forward network, and the kinds of layers."""
        to.put("d_ff", self.moe_intermediate_size, "moe_intermediate_size")
        to.ignore("intermediate_size")
        super().to_tinylm(to)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        keys, kinds = super().from_tinylm(config), layer_pattern(config)
        windows = [kind.attention.window for kind in kinds]
        keys["layer_types"] = [
            "sliding_attention" if window is not None and each == "full_attention" else each
            for window, each in zip(windows, keys["layer_types"], strict=True)
        ]
        window = next((window for window in windows if window is not None), config.max_len)
        return keys | {"sliding_window": window, "moe_intermediate_size": config.d_expert}
