"""Gemma 4: global layers with a head size of their own and proportional RoPE; values are normalized, too."""

from collections.abc import Mapping, Sequence
from typing import Any

from tinylm_cli.config.layer_kinds import kv_sources, layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.layer_rope import ProportionalRopeKeys
from tinylm_cli.interop.tensor_names import POST_NORM_NAMES, Fused, TensorLayout, TensorNames, mlp
from tinylm_cli.interop.translation import Translation

_FULL, _LOCAL = "full_attention", "sliding_attention"
_KINDS = {_FULL: "full", _LOCAL: "local"}
_SHARED = "shared-"
"""Prefix of the kinds of layers that attend to the keys and values of an earlier layer."""

_PERIOD = 6
"""By default, every sixth layer is global."""

_SIZES = {"head_dim": "attention.d_head", "num_key_value_heads": "attention.n_kv_heads"}
_NAMES = POST_NORM_NAMES.override(
    layer={"ln_2": "pre_feedforward_layernorm"}, tensors=(Fused(("layer_scalar.value",), "layer_scalar"),)
)
_EXPERTS = {
    "feed_forward.n_shared_experts": 1,
    "feed_forward.branch_norms": True,
    "feed_forward.router": "softmax",
    "feed_forward.renormalize": True,
    "feed_forward.expert_scale": True,
}
_EXAMPLES = {"num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704}
_EXPERT_LAYER = {
    "feed_forward.router": "router.proj",
    "feed_forward.expert_norm": "pre_feedforward_layernorm_2",
    "feed_forward.post_expert_norm": "post_feedforward_layernorm_2",
    "feed_forward.post_shared_norm": "post_feedforward_layernorm_1",
    **mlp("feed_forward.shared_experts", "mlp"),
}
_EXPERT_TENSORS = (
    Fused(("feed_forward.router.expert_scale",), "router.per_expert_scale"),
    Fused(("feed_forward.router_norm.weight",), "router.scale"),
    Fused(
        ("feed_forward.experts.gate_proj.weight", "feed_forward.experts.up_proj.weight"),
        "experts.gate_up_proj",
        TensorLayout.stacked,
    ),
    Fused(("feed_forward.experts.down_proj.weight",), "experts.down_proj"),
)
PER_LAYER = {
    "embedding.per_layer.table": "model.embed_tokens_per_layer",
    "embedding.per_layer.projection": "model.per_layer_model_projection",
    "embedding.per_layer.norm": "model.per_layer_projection_norm",
}
PER_LAYER_INPUTS = {
    "per_layer_input.gate": "per_layer_input_gate",
    "per_layer_input.projection": "per_layer_projection",
    "per_layer_input.norm": "post_per_layer_input_norm",
}
_PER_LAYER_NAMES = _NAMES.override(
    top_level=PER_LAYER,
    layer=PER_LAYER_INPUTS,
    tensors=(*_NAMES.tensors, *_EXPERT_TENSORS),
)
_OTHER_PARTS = ("vision_tower", "audio_tower", "embed_vision", "embed_audio", "vision_embedder")
_WRAPPED_NAMES = _PER_LAYER_NAMES.override(
    prefix_maps=({"model.": "model.language_model."},),
    skipped_prefixes=tuple(f"model.{part}." for part in _OTHER_PARTS),
)
_OUTER_KEYS = (
    *("vision_config", "audio_config", "boi_token_id", "eoi_token_id", "image_token_id", "video_token_id"),
    *("boa_token_id", "eoa_token_index", "eoa_token_id", "audio_token_id", "vision_soft_tokens_per_image"),
)


class Gemma4UnifiedTextKeys(key.LlamaLikeKeys, ProportionalRopeKeys):
    """``Gemma4UnifiedTextConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "embedding.multiplier": None,
        "norm.placement": "sandwich",
        "attention.qk_norm": "per_head",
        "attention.v_norm": True,
        "attention.scale": 1.0,
        "block.layer_scalar": True,
    }
    tensor_names = _NAMES
    default_rope = {
        _LOCAL: {"rope_type": "default", "rope_theta": 1e4},
        _FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
    }

    vocab_size: key.VocabSize = 262_144
    hidden_size: key.DModel = 2304
    intermediate_size: key.DFF = 9216
    num_hidden_layers: key.NLayers = 30
    num_attention_heads: key.NHeads = 8
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 256
    hidden_act: key.AnyValue = None  # without effect: hidden_activation is used instead
    hidden_activation: key.Activation = "gelu_pytorch_tanh"
    max_position_embeddings: key.MaxLen = 262_144
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    sliding_window: key.LayerWindow = 1024
    layer_types: key.LayerTypes = None
    final_logit_softcapping: key.LogitSoftcap = None
    global_head_dim: key.OptionalSize = 512
    num_global_key_value_heads: key.OptionalSize = None
    per_layer_config: key.AnyValue = None
    attention_k_eq_v: bool = False
    use_bidirectional_attention: str | None = key.only("vision", why="tokens would attend to later tokens")
    num_kv_shared_layers: key.Count = 0
    use_double_wide_mlp: bool = False

    def to_tinylm(self, to: Translation) -> None:
        """Map the sizes, values and RoPE of global layers, the windows of the others, and shared keys and values."""
        super().to_tinylm(to)
        to.ignore("hidden_act")
        if to.has_error(
            "num_hidden_layers", "layer_types", "per_layer_config", "rope_parameters", "num_kv_shared_layers"
        ):
            return
        types = self._types()
        names = kinds_of_types(to, "layer_types", types, _KINDS, self.num_hidden_layers)
        sizes = self._global_sizes(to, types)
        local = {"attention.window": self.sliding_window}
        kinds = {
            "local": local | (self.rope_of_type(to, _LOCAL) if "local" in names else {}),
            "full": sizes | self.rope_of_type(to, _FULL),
        }
        if self.attention_k_eq_v:
            kinds["full"]["attention.keys_as_values"] = True
        names = self._share(to, names, kinds)
        if names and not to.errors:
            put_layers(to, names, kinds, "layer_types", "sliding_window", "num_kv_shared_layers")

    def _share(self, to: Translation, names: list[str], kinds: dict[str, dict[str, Any]]) -> list[str]:
        """Return the kind of each layer; the last layers read keys and values of the last other layer of their type.

        ``kinds`` has the fields of each kind; kinds for the sharing layers are added. Their feed-forward network may be
        twice as wide.
        """
        if not sources_exist(to, names, self.num_kv_shared_layers, _KINDS):
            return []
        n_own = len(names) - self.num_kv_shared_layers
        own, shared = names[:n_own], names[n_own:]
        wide = {self.width_field: 2 * self.intermediate_size} if self.use_double_wide_mlp else {}
        if not shared:
            to.ignore("use_double_wide_mlp")
        for name in dict.fromkeys(shared):
            kinds[f"{_SHARED}{name}"] = {**kinds[name], **wide, "attention.kv_from": name}
        return [*own, *(f"{_SHARED}{name}" for name in shared)]

    @property
    def width_field(self) -> str:
        """The field that has the width of the dense network."""
        return "d_ff"

    def _types(self) -> list[str]:
        """Return the type of each layer; the last layer is always global."""
        given = self.layer_types
        layers = range(1, self.num_hidden_layers + 1)
        types = [_LOCAL if layer % _PERIOD else _FULL for layer in layers] if given is None else list(given)
        return [*types[:-1], _FULL if types[-1:] == [_LOCAL] else types[-1]] if types else []

    def _global_sizes(self, to: Translation, types: Sequence[str]) -> dict[str, Any]:
        """Return the sizes of global layers, from ``per_layer_config`` or else from keys of their own."""
        given = self.per_layer_config
        if given is None:
            to_put: dict[str, Any] = {"attention.d_head": self.global_head_dim or 512}
            if self.attention_k_eq_v and self.num_global_key_value_heads is not None:
                to_put["attention.n_kv_heads"] = self.num_global_key_value_heads
            return to_put
        to.ignore("global_head_dim", "num_global_key_value_heads")
        if given == {}:  # transformers omits sizes equal to the other layers'
            return {}
        listed = [index for index, each in enumerate(types) if each == _FULL]
        overrides = list(given.values()) if isinstance(given, Mapping) else []
        indices = sorted(int(index) for index in given if str(index).isdecimal()) if overrides else []
        alike = all(each == overrides[0] for each in overrides)
        if indices != listed or not alike or len(overrides) != len(listed) or not _are_sizes(overrides[0]):
            why = "tinylm supports only one head_dim and num_key_value_heads, in all global layers"
            to.unsupported("per_layer_config", why)
            return {}
        return {_SIZES[name]: size for name, size in overrides[0].items()}

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the sizes of each global layer."""
        pattern = list(layer_pattern(config))
        local = next((kind for kind in pattern if kind.attention.window is not None), config)
        full = next((kind for kind in pattern if kind.attention.window is None), config)
        types = [_FULL if kind.attention.window is None else _LOCAL for kind in pattern]
        shared = [kind for kind in pattern if kind.attention.kv_from is not None]
        widths = [kind.d_shared_experts if kind.feed_forward.n_experts else kind.d_ff for kind in (pattern[0], *shared)]
        sizes = {"head_dim": full.d_head, "num_key_value_heads": full.n_kv_heads}
        return super().from_tinylm(config) | {
            "head_dim": local.d_head,
            "num_key_value_heads": local.n_kv_heads,
            "sliding_window": local.attention.window or config.max_len,
            "layer_types": types,
            "per_layer_config": {str(index): sizes for index, each in enumerate(types) if each == _FULL},
            "attention_k_eq_v": full.attention.keys_as_values,
            "intermediate_size": widths[0],
            "num_kv_shared_layers": len(shared),
            "use_double_wide_mlp": widths[1:2] == [2 * widths[0]],
        }

    @classmethod
    def tensor_names_for(cls, config: ModelConfig) -> TensorNames:
        """Return the names; checkpoints store keys and values that shared layers do not read."""
        unread = unread_tensors(config)
        return cls.tensor_names.override(recomputed_suffixes=(*cls.tensor_names.recomputed_suffixes, *unread))


def sources_exist(to: Translation, names: Sequence[str], n_shared: int, kinds: Mapping[str, str]) -> bool:
    """Return whether earlier layers have keys and values for the last ``n_shared``; if not, that is reported.

    Args:
        to: The translation.
        names: The kind of attention of each layer.
        n_shared: Number of the last layers, which share keys and values.
        kinds: The kind of each of the family's types of layers.
    """
    n_own = max(len(names) - n_shared, 0)
    missing = sorted(set(names[n_own:]) - set(names[:n_own]))
    if missing:
        types = " and ".join(each for each, name in kinds.items() if name in missing)
        message = f"no layer before the last {len(names) - n_own} has keys and values for their {types}"
        to.contradiction("num_kv_shared_layers", message, "share the keys and values of fewer layers", "layer_types")
    return not missing


def unread_tensors(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the keys' and values' tensors that checkpoints store for layers that do not read them."""
    return tuple(
        f"layers.{layer}.self_attn.{module}.{tensor}"
        for layer in kv_sources(config)
        for module in ("k_proj", "v_proj", "k_norm", "v_norm")
        for tensor in ("weight", "bias")
    )


def _are_sizes(override: object) -> bool:
    """Return whether the value of one layer under ``per_layer_config`` has only the sizes that tinylm reads."""
    if not isinstance(override, Mapping) or not set(override) <= set(_SIZES):
        return False
    return all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in override.values())


class Gemma4TextKeys(Gemma4UnifiedTextKeys):
    """``Gemma4TextConfig``: the model with experts has shared ones, which the family calls a dense network."""

    tensor_names = _PER_LAYER_NAMES

    max_position_embeddings: key.MaxLen = 131_072
    sliding_window: key.LayerWindow = 512
    hidden_size_per_layer_input: key.OptionalCount = 256
    vocab_size_per_layer_input: key.OptionalSize = 262_144
    enable_moe_block: bool = False
    num_experts: key.OptionalSize = None
    top_k_experts: key.OptionalSize = None
    moe_intermediate_size: key.OptionalSize = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers, and the embeddings for each of them, which the larger models do not have."""
        if self.enable_moe_block:
            self._put_experts(to)
        else:
            to.ignore(*_EXAMPLES)
        super().to_tinylm(to)
        if not self.hidden_size_per_layer_input:
            to.ignore("vocab_size_per_layer_input")
            if self.num_kv_shared_layers:
                why = "in transformers, layers that share keys and values need hidden_size_per_layer_input"
                to.unsupported("num_kv_shared_layers", why)
            return
        to.put("embedding.d_per_layer", self.hidden_size_per_layer_input, "hidden_size_per_layer_input")
        n_rows = self.vocab_size_per_layer_input
        if n_rows is None:
            why = "hidden_size_per_layer_input is set"
            to.missing(
                "vocab_size_per_layer_input", why, f'for example "vocab_size_per_layer_input": {self.vocab_size}'
            )
        elif n_rows != self.vocab_size:
            # transformers fails for tokens without a row of their own; tinylm reads the first row for them
            to.put("embedding.per_layer_vocab_size", n_rows, "vocab_size_per_layer_input")

    @property
    def width_field(self) -> str:
        """The field that has the width of the dense network, which is a shared expert if there are routed ones."""
        return "feed_forward.d_shared_expert" if self.enable_moe_block else "d_ff"

    def _put_experts(self, to: Translation) -> None:
        """Map the routed experts, and the dense network of width ``intermediate_size`` in parallel with them."""
        for field, value in _EXPERTS.items():
            to.put(field, value, "enable_moe_block")
        to.put("feed_forward.d_shared_expert", self.intermediate_size, "intermediate_size")
        sizes = {
            "num_experts": ("feed_forward.n_experts", self.num_experts),
            "top_k_experts": ("feed_forward.top_k", self.top_k_experts),
            "moe_intermediate_size": ("feed_forward.d_expert", self.moe_intermediate_size),
        }
        for name, (field, size) in sizes.items():
            if size is None:
                to.missing(name, "enable_moe_block is true", f'for example "{name}": {_EXAMPLES[name]}')
            to.put(field, size, name)

    @classmethod
    def tensor_names_for(cls, config: ModelConfig) -> TensorNames:
        """Return the names; shared experts have the names of the dense network."""
        names = super().tensor_names_for(config)
        return names if config.feed_forward.n_experts is None else names.override(layer=_EXPERT_LAYER)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        experts = config.feed_forward.n_experts
        found = super().from_tinylm(config)
        return found | {
            "enable_moe_block": experts is not None,
            "num_experts": experts,
            "top_k_experts": None if experts is None else config.feed_forward.top_k,
            "moe_intermediate_size": None if experts is None else config.d_expert,
            "hidden_size_per_layer_input": config.embedding.d_per_layer or 0,
            "vocab_size_per_layer_input": config.per_layer_rows,
        }


class Gemma4UnifiedKeys(Gemma4UnifiedTextKeys):
    """``Gemma4UnifiedConfig``: a multimodal model, whose language model is under ``text_config``."""

    tensor_names = _WRAPPED_NAMES
    language_model_key = "text_config"
    ignored_outer_keys = _OUTER_KEYS


class Gemma4Keys(Gemma4TextKeys):
    """``Gemma4Config``: a multimodal model, whose language model is under ``text_config``."""

    tensor_names = _WRAPPED_NAMES
    language_model_key = "text_config"
    ignored_outer_keys = _OUTER_KEYS
