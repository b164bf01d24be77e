"""Beam: gated attention with RoPE in layers with a window, residual additions weighted by depth, and routed experts."""

from collections.abc import Mapping
from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind, idle_expert_keys, put_expert_groups
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters, rope_scaling, rope_scaling_key
from tinylm_cli.interop.sliding_windows import LETTERS, WITHOUT_ROPE, LayerRopeParameters, layer_names
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES, Fused
from tinylm_cli.interop.translation import Translation

_FULL, _LOCAL = "full_attention", "sliding_attention"
_NAMES = {_FULL: "full", _LOCAL: "local"}
_PERIOD = 6
_TUNING: dict[str, Any] = {
    "attention.temperature_growth": "power",
    "attention.temperature_scale": 0.1,
    "attention.temperature_len": 2048,
    "attention.temperature_offset": 1,
}
"""The scale of the queries in layers without RoPE."""


class BeamKeys(MlpLayerTypeKeys, key.LlamaLikeKeys):
    """``BeamConfig``: by default, every sixth layer and the last attend to all positions, without RoPE."""

    constants = {
        **key.LLAMA_LIKE,
        "norm.placement": "sandwich",
        "attention.qk_norm": "per_head",
        "attention.gate": True,
        "attention.gate_bias": "per_head",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "block.depth_scaled_residual": True,
    }
    tensor_names = ROUTED_EXPERT_NAMES.override(
        layer={
            "attention.gate_proj": "self_attn.gate_proj",
            "post_ln_1": "post_attention_layernorm",
            "ln_2": "pre_feedforward_layernorm",
            "post_ln_2": "post_feedforward_layernorm",
        },
        tensors=(*ROUTED_EXPERT_NAMES.tensors, Fused(("attention.gate_bias",), "self_attn.gate_bias")),
    )

    vocab_size: key.VocabSize = 151936
    hidden_size: key.DModel = 5120
    intermediate_size: key.DFF = 20480
    num_hidden_layers: key.NLayers = 52
    num_attention_heads: key.NHeads = 48
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 8192
    original_max_position_embeddings: key.OptionalSize = None
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    sliding_window: key.LayerWindow = 512
    layer_types: key.LayerTypes = None
    rope_parameters: LayerRopeParameters | None = None
    num_experts: key.NExperts = 256
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 2560
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 8
    topk_group: key.OptionalSize = 4
    norm_topk_prob: key.Renormalize = True
    routed_scaling_factor: key.RoutedScale = 2.5
    final_logit_softcapping: key.LogitSoftcap = 30.0

    def to_tinylm(self, to: Translation) -> None:
        """Map the type of each layer with its window and RoPE, the layers that have experts, and their groups."""
        super().to_tinylm(to)
        put_expert_groups(to, self.n_group, self.topk_group)
        if to.has_error("num_hidden_layers", "layer_types", "rope_parameters"):
            return
        n_layers, types = self.num_hidden_layers, self.layer_types
        if types is None:
            types = [_LOCAL if (i + 1) % _PERIOD and i + 1 < n_layers else _FULL for i in range(n_layers)]
        names = kinds_of_types(to, "layer_types", types, _NAMES, n_layers)
        if "local" in names and self.sliding_window is None:
            message = f"{to.display('layer_types')} lists sliding_attention, but sliding windows are off"
            to.contradiction("layer_types", message, "give sliding_window a number", "sliding_window")
        kinds: dict[str, Mapping[str, Any]] = {
            name: self._positions(to, layer_type, used=set(types))
            for layer_type, name in _NAMES.items()
            if name in names
        }
        if not names or to.errors:
            return
        if "local" in names:
            kinds["local"] = {"attention.window": self.sliding_window, **kinds["local"]}
        put_layers(to, names, kinds, "layer_types", "sliding_window")
        self.put_sparse_layers(to, self.num_experts, "num_experts", min(3, n_layers))

    def _positions(self, to: Translation, layer_type: str, *, used: set[str]) -> dict[str, Any]:
        """Return the position fields of a layer type, with or without RoPE.

        RoPE may be scaled in full attention, or in layers with a window if full attention has no RoPE.
        """
        place = f"rope_parameters.{layer_type}"
        if self.rope_parameters is None:
            block = None if layer_type == _FULL else RopeParameters(rope_theta=10_000.0)
        elif layer_type not in self.rope_parameters.model_fields_set:
            to.missing(
                place, "the code of this family requires it for each type of layers", 'for example add "…": null'
            )
            return {}
        else:
            block = getattr(self.rope_parameters, layer_type)
        if block is None:
            return {**WITHOUT_ROPE, **_TUNING}
        if block.rope_theta is None:
            to.missing(f"{place}.rope_theta", "the layers of this type have RoPE", 'for example add "rope_theta": 1e4')
        if block.partial_rotary_factor not in (None, 1.0):
            share = f"{place}.partial_rotary_factor"
            to.unsupported(share, "tinylm supports only RoPE of all dimensions of a head in this family")
        of_full = None if self.rope_parameters is None else self.rope_parameters.full_attention
        if layer_type == _FULL or _FULL not in used or of_full is None:
            to.put("position.theta", block.rope_theta, f"{place}.rope_theta")
            rope_scaling(self, block, place, to)
            return {}
        if (block.rope_type or "default") != "default":
            to.unsupported(f"{place}.rope_type", "tinylm scales RoPE only in full attention")
        unscaled = {} if to.get("position.scaling") is None else {"position.scaling": "none"}
        return {"position.theta": block.rope_theta, **unscaled}

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer and the RoPE of each type."""
        blocks: dict[str, Any] = {_LOCAL: {"rope_type": "default", "rope_theta": 10_000.0}, _FULL: None}
        for kind in layer_pattern(config).kinds:
            rope = {"rope_theta": kind.position.theta, **(rope_scaling_key(kind) or {"rope_type": "default"})}
            name = _FULL if kind.attention.window is None else _LOCAL
            blocks[name] = rope if kind.position.kind == "rope" else None
        windows = (kind.attention.window for kind in layer_pattern(config).kinds)
        experts = expert_kind(config).feed_forward
        keys = super().from_tinylm(config) | {
            "layer_types": layer_names(config, LETTERS),
            "sliding_window": next((window for window in windows if window is not None), config.max_len),
            "rope_parameters": blocks,
            "num_experts": experts.n_experts,
            "topk_group": experts.top_k_groups,
        }
        return keys | idle_expert_keys(cls, config)
