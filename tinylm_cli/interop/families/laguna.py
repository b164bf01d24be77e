"""Poolside's Laguna: softplus gates of attention, and layers that differ in heads, windows, RoPE and experts."""

from typing import Annotated, Any

from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters, rope_scaling, rope_scaling_key
from tinylm_cli.interop.sliding_windows import LETTERS, LayerRopeParameters, layer_names
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES, Fused, mlp
from tinylm_cli.interop.translation import Translation

_BLOCKS = {
    "full_attention": {"rope_theta": 5e5, "partial_rotary_factor": 0.5},
    "sliding_attention": {"rope_theta": 1e4, "partial_rotary_factor": 1.0},
}
_HEADS = "num_attention_heads_per_layer"


class LagunaKeys(MlpLayerTypeKeys):
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
    original_max_position_embeddings: key.OptionalSize = None
    tie_word_embeddings: key.TieWeights = False
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: bool = key.only(False, why="tinylm cannot add biases without one of the gate")
    gating: Annotated[bool | str, FieldType("text", "per-head or per-element")] = True
    sliding_window: Annotated[int, *key.like("attention.window")] = 512
    layer_types: key.LayerTypes = None
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
        networks = kinds_of_types(to, "mlp_layer_types", networks, {"dense": "dense", "sparse": "sparse"}, n_layers)
        heads = self.num_attention_heads_per_layer or [self.num_attention_heads] * n_layers
        if len(heads) != n_layers:
            message = f"{to.display(_HEADS)} lists {len(heads):,} layers, but n_layers is {n_layers:,}"
            to.contradiction(_HEADS, message, "give the heads of each layer")
        elif windows and networks:
            self._layers(to, windows, networks, heads)

    def _layers(self, to: Translation, windows: list[str], networks: list[str], heads: list[int]) -> None:
        """Set the kind of each layer; layers alike in all that differs are of one kind."""
        ropes = {name: self._rope(name, to) for name in _BLOCKS if name in windows}
        common = ropes.get("full_attention") or ropes["sliding_attention"]
        for field, value in common.items():
            to.put(field, value, "rope_parameters")
        kinds: dict[str, dict[str, Any]] = {}
        names = []
        for window, network, n_heads in zip(windows, networks, heads, strict=True):
            fields = {field: value for field, value in ropes[window].items() if value != common[field]}
            fields |= {"attention.window": self.sliding_window} if window == "sliding_attention" else {}
            fields |= {"position.scaling": "none"} if fields and to.get("position.scaling") is not None else {}
            fields |= {"n_heads": n_heads} if n_heads != self.num_attention_heads else {}
            fields |= {"feed_forward.n_experts": None} if network == "dense" else {}
            stem = ("local" if window == "sliding_attention" else "full") + ("_dense" if network == "dense" else "")
            alike = [name for name, others in kinds.items() if others == fields]
            name = alike[0] if alike else stem if stem not in kinds else f"{stem}_{len(kinds)}"
            kinds[name] = fields
            names.append(name)
        put_layers(to, names, kinds, "layer_types", "mlp_layer_types", _HEADS)

    def _rope(self, name: str, to: Translation) -> dict[str, Any]:
        """Return theta and the rotary fraction of a type of layers, and map the scaling of global layers."""
        place, block = f"rope_parameters.{name}", getattr(self.rope_parameters, name)
        if block is None:
            why = "the code of this family requires the RoPE of each type of layers"
            to.missing(place, why, f'for example add "{name}": {{"rope_type": "default", "rope_theta": 10000.0}}')
            block = RopeParameters()
        if name == "full_attention":
            rope_scaling(self, block, place, to)
        elif (block.rope_type or "default") != "default":
            to.unsupported(f"{place}.rope_type", "tinylm scales RoPE only in global layers")
        fraction = 1.0 if block.partial_rotary_factor is None else block.partial_rotary_factor
        return {"position.theta": block.rope_theta or 10_000.0, "position.rotary_fraction": fraction}

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the heads and types of each layer and the RoPE of each type."""
        pattern = layer_pattern(config)
        blocks: dict[str, Any] = {}
        for kind in pattern.kinds:
            rope = {"rope_theta": kind.position.theta, "partial_rotary_factor": kind.position.rotary_fraction}
            name = "full_attention" if kind.attention.window is None else "sliding_attention"
            blocks[name] = rope | (rope_scaling_key(kind) or {"rope_type": "default"})
        windows = [kind.attention.window for kind in pattern.kinds if kind.attention.window is not None]
        return super().from_tinylm(config) | {
            "num_experts": expert_kind(config).feed_forward.n_experts,
            "gating": "per-head" if config.attention.gate_per_head else "per-element",
            _HEADS: [kind.n_heads for kind in pattern],
            "layer_types": layer_names(config, LETTERS),
            "sliding_window": windows[0] if windows else config.max_len,
            "rope_parameters": blocks,
        }
