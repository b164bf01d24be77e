"""Rednote's Dots 3 Note: latent attention with a window or an indexer, whose sizes depend on it, and routed experts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import (
    NETWORKS,
    MlpLayerTypeKeys,
    expert_kind,
    idle_expert_keys,
    put_expert_groups,
    put_expert_layers,
)
from tinylm_cli.interop.families.deepseek import IGNORED, LATENT, LatentAttentionKeys
from tinylm_cli.interop.families.sparse_attention import INDEXED_ATTENTION, INDEXED_NAMES
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters
from tinylm_cli.interop.translation import Translation

_FULL, _SLIDING = "full_attention", "sliding_attention"
_KINDS = {INDEXED_ATTENTION: "indexed", _FULL: "full", _SLIDING: "local"}
_PERIOD = 4
_WINDOW = 512

_INDEX = ("top_k", "n_heads", "d_head", "pairing")
_SIZES = {
    "num_attention_heads": "n_heads",
    "q_lora_rank": "attention.q_rank",
    "kv_lora_rank": "attention.kv_rank",
    "qk_nope_head_dim": "attention.d_nope",
    "qk_rope_head_dim": "attention.d_rope",
    "v_head_dim": "attention.d_value",
}
"""The field of each size that may differ in layers with a window."""

_OTHER_PARTS = ("vision_tower", "vision_encoder", "audio_tower", "audio_encoder", "audio_adapter")
"""The encoders, under the names of saved modules and of published checkpoints."""

_DERIVED = ("num_key_value_heads", "head_dim")
"""Further sizes of a layer, which follow from the others."""


class _TypedRope(key.KeyBlock):
    """RoPE of each type of layers."""

    indexed_attention: RopeParameters | None = None
    full_attention: RopeParameters | None = None
    sliding_attention: RopeParameters | None = None


class Dots3NoteTextKeys(MlpLayerTypeKeys, LatentAttentionKeys):
    """``Dots3NoteTextConfig``: by default, three of four layers have a window and sizes of their own."""

    constants = {
        **LATENT,
        "attention.index_pairing": "adjacent",
        "attention.scale_latents": True,
        "attention.k_rope_norm": True,
        "attention.gate": True,
        "attention.gate_per_head": True,
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    }
    tensor_names = INDEXED_NAMES.override(
        layer={"attention.gate_proj": "self_attn.g_proj", "attention.k_rope_norm": "self_attn.k_rope_only_layernorm"},
        skipped_prefixes=("model.mtp.",),
    )
    aliases = {
        "num_local_experts": "n_routed_experts",
        "moe_shared_expert_intermediate_size": "shared_experts_intermediate_size",
    }
    # not read by this family's code, except head_dim
    ignored = (*(name for name in IGNORED if name != "head_dim"), "mlp_bias")

    vocab_size: key.VocabSize = 152064
    hidden_size: key.DModel = 5120
    intermediate_size: key.DFF = 13824
    num_hidden_layers: key.NLayers = 46
    num_attention_heads: key.NHeads = 128
    head_dim: key.Size = 256
    max_position_embeddings: key.MaxLen = 524288
    rms_norm_eps: key.NormEps = 1e-5
    q_lora_rank: Annotated[int, *key.fills("attention.q_rank")] = 1024
    n_routed_experts: key.NExperts = 256
    n_shared_experts: key.NSharedExperts = 1
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 1536
    shared_experts_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 1536
    routed_scaling_factor: key.RoutedScale = 1.0
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 1
    topk_group: key.Size = 1
    norm_topk_prob: key.Renormalize = True
    first_k_dense_replace: key.Count = 1
    moe_layer_freq: key.AnyValue = 1
    index_topk: Annotated[int, *key.fills("attention.index_top_k")] = 2048
    index_n_heads: Annotated[int, *key.fills("attention.index_n_heads")] = 64
    index_head_dim: Annotated[int, *key.fills("attention.index_d_head")] = 128
    layer_types: Annotated[key.LayerTypes, Field(examples=[[INDEXED_ATTENTION, _SLIDING]])] = None
    use_dsa: bool | None = None
    use_sliding_window: bool = True
    sliding_window: key.LayerWindow = None
    sliding_window_size: key.LayerWindow = None
    rope_theta: Annotated[float, *key.like("position.theta")] = 8e7
    swa_rope_theta: Annotated[float, *key.like("position.theta")] = 5e4
    rope_parameters: _TypedRope | None = None
    rope_scaling: key.AnyValue = None
    per_layer_config: key.AnyValue = None
    swa_num_attention_heads: key.Size = 64
    swa_num_key_value_heads: key.Size = 64
    swa_q_lora_rank: key.Size = 1024
    swa_kv_lora_rank: key.Size = 1024
    swa_head_dim: key.Size = 256
    swa_qk_nope_head_dim: key.Size = 192
    swa_qk_rope_head_dim: key.OptionalSize = None
    swa_v_head_dim: key.Size = 128

    def to_tinylm(self, to: Translation) -> None:
        """Map the types of layers, with the sizes and the theta of each, and the layers that have experts."""
        super().to_tinylm(to)
        to.put("attention.latent_norm_eps", None)  # all norms use rms_norm_eps
        put_expert_groups(to, self.n_group, self.topk_group)
        if self.n_shared_experts < 1:
            to.unsupported("n_shared_experts", "this family's code requires a shared expert")
            to.put("feed_forward.d_shared_expert", None)
        if self.rope_scaling is not None:
            to.unsupported("rope_scaling", "tinylm does not scale RoPE in this family")
        read = ("num_hidden_layers", "layer_types", "per_layer_config", "rope_parameters", "moe_layer_freq")
        if to.has_error(*read, "mlp_layer_types", "first_k_dense_replace"):
            return
        types, networks = self._types(), self._networks(to)
        if to.has_error("moe_layer_freq"):
            return
        networks = kinds_of_types(to, "mlp_layer_types", networks, NETWORKS, self.num_hidden_layers)
        if not kinds_of_types(to, "layer_types", types, _KINDS, self.num_hidden_layers) or not networks:
            return
        self._put_types(to, types)
        if not to.errors:
            is_dense = [network == "dense" for network in networks]
            keys = ("mlp_layer_types", "moe_layer_freq", "first_k_dense_replace")
            put_expert_layers(to, self.n_routed_experts, "n_routed_experts", is_dense, *keys)

    def _types(self) -> list[str]:
        """Return the type of each layer; ``use_dsa`` selects whether layers without a window have an indexer."""
        indexed = self.use_dsa
        if indexed is None and self.per_layer_config is None:  # configs of the first release
            indexed = True
        types = self.layer_types
        if types is None:
            is_local = [self.use_sliding_window and i >= 2 and i % _PERIOD != 1 for i in range(self.num_hidden_layers)]
            types = [_SLIDING if local else INDEXED_ATTENTION if indexed is not False else _FULL for local in is_local]
        if indexed is None:
            return types
        old, new = (_FULL, INDEXED_ATTENTION) if indexed else (INDEXED_ATTENTION, _FULL)
        return [new if each == old else each for each in types]

    def _networks(self, to: Translation) -> list[str]:
        """Return ``sparse`` for each layer with experts, and ``dense`` for the others."""
        if self.mlp_layer_types is not None:
            to.ignore("first_k_dense_replace", "moe_layer_freq")
            return self.mlp_layer_types
        n_layers, given = self.num_hidden_layers, self.moe_layer_freq
        if isinstance(given, int) and given > 0:
            chosen = [i % given == 0 for i in range(n_layers)]
        elif isinstance(given, list) and len(given) >= n_layers and all(isinstance(each, int) for each in given):
            chosen = [bool(each) for each in given]
        else:
            to.unsupported("moe_layer_freq", "it must be an integer above 0, or a list with one for each layer")
            return []
        return ["sparse" if i >= self.first_k_dense_replace and chosen[i] else "dense" for i in range(n_layers)]

    def _put_types(self, to: Translation, types: Sequence[str]) -> None:
        """Set the kinds of layers: the fields of a type that differ from those set so far."""
        used = list(dict.fromkeys(types))
        if self.rope_parameters is not None:
            to.ignore("rope_theta", "swa_rope_theta")
        thetas = {name: self._theta(to, name) for name in used}
        common = next((name for name in used if name != _SLIDING), _SLIDING)
        to.put("position.theta", thetas[common])
        if INDEXED_ATTENTION not in used:
            for field in _INDEX:
                to.put(f"attention.index_{field}", None)
        kinds: dict[str, dict[str, Any]] = {}
        for name in used:
            sizes = self._sizes(to, types, name)
            fields = {field: sizes[size] for size, field in _SIZES.items() if sizes[size] != getattr(self, size)}
            fields |= {"position.theta": thetas[name]} if thetas[name] != thetas[common] else {}
            if name == _SLIDING:
                fields["attention.window"] = self.sliding_window or self.sliding_window_size or _WINDOW
            if name != INDEXED_ATTENTION and INDEXED_ATTENTION in used:
                fields["attention.index_top_k"] = None
            kinds[_KINDS[name]] = fields
        if not to.errors:
            put_layers(to, [_KINDS[name] for name in types], kinds, "layer_types", "per_layer_config", "sliding_window")

    def _theta(self, to: Translation, name: str) -> float | None:
        """Return the theta of a type of layers, whose RoPE must not be scaled."""
        if self.rope_parameters is None:
            return self.swa_rope_theta if name == _SLIDING else self.rope_theta
        place, block = f"rope_parameters.{name}", getattr(self.rope_parameters, name)
        if block is None or block.rope_theta is None:
            to.missing(f"{place}.rope_theta", "the layers of this type have RoPE", 'for example add "rope_theta": 1e6')
            return None
        if (block.rope_type or "default") != "default":
            to.unsupported(f"{place}.rope_type", "tinylm does not scale RoPE in this family")
        # the rotary fraction follows from qk_rope_head_dim
        read = ("rope_type", "rope_theta", "partial_rotary_factor")
        to.ignore(*(f"{place}.{each}" for each in RopeParameters.model_fields if each not in read))
        theta: float = block.rope_theta
        return theta

    def _sizes(self, to: Translation, types: Sequence[str], name: str) -> dict[str, Any]:
        """Return the sizes of the layers of a type, which must be alike."""
        sizes: dict[str, Any] = {size: getattr(self, size) for size in (*_SIZES, "head_dim")}
        sizes["num_key_value_heads"] = self.num_key_value_heads or self.num_attention_heads
        local = {
            size: getattr(self, f"swa_{size}")
            for size in (*_SIZES, *_DERIVED)
            if getattr(self, f"swa_{size}") is not None
        }
        place = heads_place = "per_layer_config"
        if self.per_layer_config is not None:
            to.ignore(*(f"swa_{size}" for size in (*_SIZES, *_DERIVED)))
            own = list(_overrides(self.per_layer_config, [i for i, each in enumerate(types) if each == name]))
            if any(each is None or each != own[0] for each in own):
                to.unsupported(place, "tinylm supports only sizes of attention, alike in all layers of a type")
                return sizes
            sizes |= own[0] or {}
        elif name == _SLIDING:
            place, heads_place = "swa_head_dim", "swa_num_key_value_heads"
            local.setdefault("qk_rope_head_dim", self.swa_head_dim - self.swa_qk_nope_head_dim)
            sizes |= local
        else:
            place, heads_place = "head_dim", "num_key_value_heads"
        if sizes["num_key_value_heads"] != sizes["num_attention_heads"]:
            to.unsupported(heads_place, "latent attention expands keys and values for every head")
        d_rope, d_head = sizes["qk_rope_head_dim"], sizes["head_dim"]
        if name == _SLIDING and (d_rope < 1 or d_head != sizes["qk_nope_head_dim"] + d_rope):
            to.unsupported(place, "this family's code requires a head_dim of qk_nope_head_dim + qk_rope_head_dim")
        elif int(d_head * (d_rope / d_head)) != d_rope:  # this family's code derives the rotated dimensions so
            to.unsupported(place, "this family's code rounds its product with the rotary fraction down")
        return sizes

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the types of layers, and the sizes of layers that have others than the common ones."""
        pattern = list(layer_pattern(config))
        types = {_type(kind): kind for kind in reversed(pattern)}
        common = next((kind for name, kind in types.items() if name != _SLIDING), pattern[0])
        sizes, indexed = _written_sizes(common), types.get(INDEXED_ATTENTION)
        ropes = {
            name: {"rope_type": "default", "rope_theta": kind.position.theta, "partial_rotary_factor": 1.0}
            for name, kind in types.items()
        }
        experts, window = expert_kind(config), types.get(_SLIDING)
        index = {f"index_{name}": cls.model_fields[f"index_{name}"].default for name in ("topk", "n_heads", "head_dim")}
        if indexed is not None:
            attention = indexed.attention
            values = (attention.index_top_k, attention.index_n_heads, attention.index_d_head)
            index = dict(zip(index, values, strict=True))
        return (
            super().from_tinylm(config)
            | sizes
            | index
            | {
                "layer_types": [_type(kind) for kind in pattern],
                "sliding_window": _WINDOW if window is None else window.attention.window,
                "rope_parameters": ropes,
                "per_layer_config": {
                    str(i): own for i, kind in enumerate(pattern) if (own := _written_sizes(kind)) != sizes
                },
                "n_routed_experts": experts.feed_forward.n_experts,
                "topk_group": experts.feed_forward.top_k_groups,
                **idle_expert_keys(cls, config),
            }
        )


class Dots3NoteKeys(Dots3NoteTextKeys):
    """``Dots3NoteConfig``: published configs have the language model's keys at the top level."""

    tensor_names = Dots3NoteTextKeys.tensor_names.override(
        prefix_maps=({"model.": "model.language_model."},),
        skipped_prefixes=(
            *Dots3NoteTextKeys.tensor_names.skipped_prefixes,
            "model.language_model.mtp.",
            *(f"{root}{part}." for root in ("", "model.") for part in _OTHER_PARTS),
        ),
    )
    language_model_key = "text_config"
    ignored_outer_keys = ("vision_config", "audio_config", "image_token_id", "video_token_id", "audio_token_id")
    reads_flat_configs = True


def _overrides(given: object, layers: Sequence[int]) -> Iterator[dict[str, int] | None]:
    """Yield the sizes that ``per_layer_config`` gives each of the layers; None if it has other values."""
    if not isinstance(given, Mapping) or not all(str(index).isdecimal() for index in given):
        yield None
        return
    by_layer = {int(index): own for index, own in given.items()}
    for layer in layers:
        own = by_layer.get(layer, {})
        is_known = isinstance(own, Mapping) and set(own) <= {*_SIZES, *_DERIVED}
        yield dict(own) if is_known and all(type(size) is int and size > 0 for size in own.values()) else None


def _type(kind: ModelConfig) -> str:
    if kind.attention.window is not None:
        return _SLIDING
    return _FULL if kind.attention.index_top_k is None else INDEXED_ATTENTION


def _written_sizes(kind: ModelConfig) -> dict[str, Any]:
    """Return the sizes of a kind of layers; the code reads head_dim only for the rotary fraction."""
    attention = kind.attention
    return {
        "num_attention_heads": kind.n_heads,
        "num_key_value_heads": kind.n_heads,
        "q_lora_rank": attention.q_rank,
        "kv_lora_rank": attention.kv_rank,
        "qk_nope_head_dim": attention.d_nope,
        "qk_rope_head_dim": attention.d_rope,
        "v_head_dim": kind.d_value,
        "head_dim": kind.d_head,
    }
