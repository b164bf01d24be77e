"""Liquid AI's LFM3: short convolutions, attention with gates per head, and norms on both sides of each sub-layer."""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.lfm2 import LFM2_NAMES
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.layer_rope import ProportionalRopeKeys
from tinylm_cli.interop.tensor_names import PROJECTIONS
from tinylm_cli.interop.translation import Translation

_FULL, _LOCAL, _CONV = "full_attention", "sliding_attention", "conv"
_KINDS = {_FULL: "full", _LOCAL: "local", _CONV: "conv"}


class Lfm3Keys(key.LlamaLikeKeys, ProportionalRopeKeys):
    """``Lfm3Config``."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head"}
    tensor_names = LFM2_NAMES.override(
        layer={
            **PROJECTIONS,
            "attention.q_norm": "self_attn.q_norm",
            "attention.k_norm": "self_attn.k_norm",
            "attention.gate_proj": "self_attn.gate_proj",
            "post_ln_1": "post_operator_norm",
            "post_ln_2": "post_ffn_norm",
        },
        other_spellings={"self_attn.gate_proj": "self_attn.g_proj"},
    )
    default_rope = {
        _LOCAL: {"rope_type": "default", "rope_theta": 1e4},
        _FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 1e6},
    }
    aliases = {"rms_norm_eps": "norm_eps"}

    vocab_size: key.VocabSize = 128_000
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 7680
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 128
    hidden_act: key.Activation = key.only("silu", why="this family's code has SiLU")
    max_position_embeddings: key.MaxLen = 128_000
    tie_word_embeddings: key.TieWeights = True
    norm_eps: key.NormEps = 1e-5
    conv_bias: bool = False
    conv_L_cache: key.OptionalSize = 7  # noqa: N815 - the family's key
    layer_types: key.LayerTypes = None
    sliding_window: key.LayerWindow = 256
    use_sandwich_norm: bool = True
    use_attention_gate: bool = True
    attention_bias: Annotated[bool, *key.fills("attention.bias")] = key.only(
        False, why="the gates of this family have no biases"
    )

    def to_tinylm(self, to: Translation) -> None:
        """Map the kinds of layers, each type of attention with its RoPE."""
        super().to_tinylm(to)
        to.put("norm.placement", "sandwich" if self.use_sandwich_norm else "pre", "use_sandwich_norm")
        if self.use_attention_gate:
            to.put("attention.gate", True, "use_attention_gate")
            to.put("attention.gate_per_head", True, "use_attention_gate")
        if to.has_error("num_hidden_layers", "layer_types", "rope_parameters"):
            return
        types = self.layer_types
        if types is None:
            types = [
                _FULL if i % 4 == 2 else _LOCAL if i % 4 == 0 and i > 0 else _CONV
                for i in range(self.num_hidden_layers)
            ]
        names = kinds_of_types(to, "layer_types", types, _KINDS, self.num_hidden_layers)
        if "local" in names and self.sliding_window is None:
            message = f"{to.display('layer_types')} lists sliding_attention, but sliding windows are off"
            to.contradiction("layer_types", message, "give sliding_window a number", "sliding_window")
        kinds: dict[str, dict[str, Any]] = {"conv": {"block.mixer": "short_conv"}}
        if "full" in names:
            kinds["full"] = self.rope_of_type(to, _FULL)
        if "local" in names:
            kinds["local"] = {"attention.window": self.sliding_window, **self.rope_of_type(to, _LOCAL)}
        if names and not to.errors:
            if "conv" in names:
                to.put("short_conv.kernel_size", self.conv_L_cache, "conv_L_cache")
                to.put("short_conv.bias", self.conv_bias, "conv_bias")
            put_layers(to, names, kinds, "layer_types", "sliding_window")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer."""
        kinds = list(layer_pattern(config))
        conv = next((kind.short_conv for kind in kinds if kind.block.mixer == "short_conv"), config.short_conv)
        window = next((kind.attention.window for kind in kinds if kind.attention.window is not None), config.max_len)
        return super().from_tinylm(config) | {
            "layer_types": [_layer_type(kind) for kind in kinds],
            "conv_L_cache": conv.kernel_size,
            "conv_bias": conv.bias,
            "sliding_window": window,
            "use_sandwich_norm": config.norm.placement == "sandwich",
            "use_attention_gate": any(kind.attention.gate for kind in kinds if kind.block.mixer == "attention"),
        }


def _layer_type(kind: ModelConfig) -> str:
    """Return the family's type of a kind of layers."""
    if kind.block.mixer == "short_conv":
        return _CONV
    return _FULL if kind.attention.window is None else _LOCAL
