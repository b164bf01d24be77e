"""Poolside's Laguna: softplus gates of attention, and layers that differ in heads, windows, RoPE and experts."""

from typing import Annotated, Any

from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import NETWORKS, expert_kind
from tinylm_cli.interop.layer_order import kinds_of_types
from tinylm_cli.interop.sliding_windows import LETTERS, LayerRopeParameters
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES, Fused, mlp
from tinylm_cli.interop.translation import Translation
from tinylm_cli.interop.typed_layers import TypedLayerKeys

_BLOCKS = {
    "full_attention": {"rope_theta": 5e5, "partial_rotary_factor": 0.5},
    "sliding_attention": {"rope_theta": 1e4, "partial_rotary_factor": 1.0},
}
_HEADS = "num_attention_heads_per_layer"


class LagunaKeys(TypedLayerKeys):
    """``LagunaConfig``: by default, the first layer has no experts, and every layer attends to all positions."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "per_head",
        "attention.gate": True,
        "attention.gate_activation": "softplus",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": True,
        "feed_forward.n_shared_experts": 1,
    }
    tensor_names = ROUTED_EXPERT_NAMES.override(
        layer={"attention.gate_proj": "self_attn.g_proj", **mlp("feed_forward.shared_experts", "mlp.shared_expert")},
        tensors=(Fused(("feed_forward.router.score_correction",), "mlp.experts.e_score_correction_bias"),),
    )

    vocab_size: key.VocabSize = 100352
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 40
    num_attention_heads: key.NHeads = 48
    num_attention_heads_per_layer: key.IntegerList = None
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 131072
    tie_word_embeddings: key.TieWeights = False
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: bool = key.only(False, why="tinylm cannot add biases without one of the gate")
    gating: Annotated[bool | str, FieldType("text", "per-head or per-element")] = True
    sliding_window: Annotated[int, *key.like("attention.window")] = 512
    rope_parameters: LayerRopeParameters = LayerRopeParameters.model_validate(_BLOCKS)
    num_experts: key.NExperts = 256
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 512
    shared_expert_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 512
    moe_routed_scaling_factor: key.RoutedScale = 1.0
    moe_apply_router_weight_on_input: bool = key.only(False, why="this family's code does not support it")
    moe_router_logit_softcapping: float = key.only(0.0, why="tinylm has no soft-cap on the logits of experts")

    def to_tinylm(self, to: Translation) -> None:
        """Map the gate of attention, and the kinds of layers."""
        super().to_tinylm(to)
        if self.gating not in (True, "per-head", "per-element"):
            to.unsupported("gating", "this family's code does not support it", "write per-head or per-element")
        to.put("attention.gate_per_head", self.gating != "per-element", "gating")
        listed = ("layer_types", "mlp_layer_types", _HEADS)
        if to.has_error("num_hidden_layers", "num_attention_heads", "rope_parameters", *listed):
            return
        n_layers = self.num_hidden_layers
        types = self.layer_types or ["full_attention"] * n_layers
        windows = kinds_of_types(to, "layer_types", types, {name: name for name in LETTERS}, n_layers)
        networks = self.mlp_layer_types or ["dense"] + ["sparse"] * (n_layers - 1)
        networks = kinds_of_types(to, "mlp_layer_types", networks, NETWORKS, n_layers)
        heads = self.num_attention_heads_per_layer or [self.num_attention_heads] * n_layers
        if len(heads) != n_layers:
            message = f"{to.display(_HEADS)} lists {len(heads):,} layers, but {to.key_of('n_layers')} is {n_layers:,}"
            to.contradiction(_HEADS, message, "give the heads of each layer")
        elif windows and networks:
            own = [{"n_heads": n} if n != self.num_attention_heads else {} for n in heads]
            self.put_typed_layers(to, windows, networks, own, _HEADS)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the heads and types of each layer and the RoPE of each type."""
        return super().from_tinylm(config) | {
            "num_experts": expert_kind(config).feed_forward.n_experts,
            "gating": "per-head" if config.attention.gate_per_head else "per-element",
            _HEADS: [kind.n_heads for kind in layer_pattern(config)],
        }
