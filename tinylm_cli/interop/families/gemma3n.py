"""Gemma 3n: AltUp, LAuReL, embeddings for each layer, sparse activations, and keys and values shared by layers."""

from collections.abc import Sequence
from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.gemma4 import PER_LAYER, PER_LAYER_INPUTS, sources_exist, unread_tensors
from tinylm_cli.interop.layer_order import kind_with, kinds_of_types, of_each_layer, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters, Theta, rope_scaling, rope_scaling_key
from tinylm_cli.interop.sliding_windows import LayerRopeParameters
from tinylm_cli.interop.tensor_names import POST_NORM_NAMES, Fused, TensorNames
from tinylm_cli.interop.translation import Translation

_FULL, _LOCAL = "full_attention", "sliding_attention"
_KINDS = {_FULL: "full", _LOCAL: "local"}

_PERIOD = 5
"""By default, every fifth layer is global."""

_N_SPARSE, _SPARSITY = 10, 0.95
"""By default, the first layers of a model with more of them have sparse activations."""

_NAMES = POST_NORM_NAMES.override(
    top_level=PER_LAYER,
    layer={
        **PER_LAYER_INPUTS,
        "ln_2": "pre_feedforward_layernorm",
        "altup.norm": "altup.router_norm",
        "altup.router": "altup.modality_router",
        "altup.prediction": "altup.prediction_coefs",
        "altup.correction": "altup.correction_coefs",
        "laurel.down": "laurel.linear_left",
        "laurel.up": "laurel.linear_right",
        "laurel.norm": "laurel.post_laurel_norm",
    },
    tensors=(Fused(("per_layer_input.scale",), "altup.correct_output_scale"),),
)
_PROJECTIONS = {"embedding.altup": "altup_projections", "altup_head": "altup_unembed_projections"}


class Gemma3nTextKeys(key.LlamaLikeKeys):
    """``Gemma3nTextConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "embedding.multiplier": None,
        "norm.placement": "sandwich",
        "attention.qk_norm": "per_head",
        "attention.v_norm": True,
        "attention.scale": 1.0,
    }
    tensor_names = _NAMES
    # the first bounds the weights of AltUp while they are trained; this family's code does not read the others
    ignored = ("altup_coef_clip", "altup_lr_multiplier", "query_pre_attn_scalar")

    vocab_size: key.VocabSize = 262_400
    hidden_size: key.DModel = 2048
    intermediate_size: key.LayerSizes = 16_384  # type: ignore[assignment]
    num_hidden_layers: key.NLayers = 35
    num_attention_heads: key.NHeads = 8
    num_key_value_heads: key.NKVHeads = 2
    head_dim: key.DHead = 256
    hidden_act: key.AnyValue = None  # without effect: hidden_activation is used instead
    hidden_activation: key.Activation = "gelu_pytorch_tanh"
    max_position_embeddings: key.MaxLen = 32_768
    original_max_position_embeddings: key.OptionalSize = None
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = True
    attention_bias: key.AttentionBias = False
    rope_parameters: LayerRopeParameters | None = None
    rope_scaling: RopeParameters | None = None
    rope_theta: Theta = 1e6
    rope_local_base_freq: Theta = 1e4
    sliding_window: Annotated[int, *key.like("attention.window")] = 512
    layer_types: key.LayerTypes = None
    final_logit_softcapping: Annotated[float, *key.fills("head.logit_softcap")] = 30.0
    vocab_size_per_layer_input: key.Size = 262_144
    hidden_size_per_layer_input: Annotated[int, *key.fills("embedding.d_per_layer")] = 256
    altup_active_idx: int = key.only(0, why="tinylm's layers compute the first stream")
    altup_correct_scale: bool = key.only(True, why="without it, the code of this family has a tensor without effect")
    altup_num_inputs: Annotated[int, *key.fills("block.altup_streams")] = 4
    num_kv_shared_layers: key.Count = 15
    laurel_rank: Annotated[int, *key.fills("block.laurel_rank")] = 64
    activation_sparsity_pattern: key.NumberList = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers, which differ in windows, RoPE, widths, sparsity, and in keys and values."""
        super().to_tinylm(to)
        to.ignore("hidden_act")
        if self.vocab_size_per_layer_input != self.vocab_size:
            place = "vocab_size_per_layer_input"
            to.put("embedding.per_layer_vocab_size", self.vocab_size_per_layer_input, place)
        sizes = self.intermediate_size
        to.put("d_ff", sizes[0] if isinstance(sizes, list) else sizes, "intermediate_size")
        read = ("num_hidden_layers", "layer_types", "num_kv_shared_layers", "intermediate_size")
        if to.has_error(*read, "activation_sparsity_pattern", "rope_parameters", "rope_scaling"):
            return
        local_theta = self._put_rope(to)
        names = kinds_of_types(to, "layer_types", self._types(), _KINDS, self.num_hidden_layers)
        widths = of_each_layer(to, "intermediate_size", self.intermediate_size, self.num_hidden_layers)
        shares = of_each_layer(to, "activation_sparsity_pattern", self._sparsity(), self.num_hidden_layers)
        if not (names and widths and shares and sources_exist(to, names, self.num_kv_shared_layers, _KINDS)):
            return
        own: dict[str, Any] = {"attention.window": self.sliding_window, "position.theta": local_theta}
        own |= {"position.scaling": "none"} if to.get("position.scaling") is not None else {}
        n_own = len(names) - self.num_kv_shared_layers
        kinds: dict[str, Any] = {}
        order: list[str] = []
        sources: dict[str, str] = {}  # the kind of the last layer of each type with keys and values of its own
        for layer, (name, width, share) in enumerate(zip(names, widths, shares, strict=True)):
            fields = dict(own) if name == "local" else {}
            fields |= {"d_ff": int(width)} if width != widths[0] else {}
            fields |= {"feed_forward.activation_sparsity": share} if share else {}
            if layer >= n_own:
                fields["attention.kv_from"] = sources[name]
            stem = f"{'sparse-' if share else ''}{'shared-' if layer >= n_own else ''}{name}"
            order.append(kind_with(fields, stem, kinds))
            if layer < n_own:
                sources[name] = order[-1]
        put_layers(to, order, kinds, *read[1:], "activation_sparsity_pattern", "sliding_window")

    def _types(self) -> list[str]:
        """Return the type of each layer."""
        layers = range(1, self.num_hidden_layers + 1)
        if self.layer_types is not None:
            return list(self.layer_types)
        return [_LOCAL if layer % _PERIOD else _FULL for layer in layers]

    def _sparsity(self) -> Sequence[float]:
        """Return the share of each layer's activations that are 0; none in a short model without the key."""
        n_layers = self.num_hidden_layers
        if self.activation_sparsity_pattern is not None:
            return self.activation_sparsity_pattern
        n_sparse = _N_SPARSE if n_layers > _N_SPARSE else 0
        return [_SPARSITY] * n_sparse + [0.0] * (n_layers - n_sparse)

    def _put_rope(self, to: Translation) -> float:
        """Map the RoPE of global layers, and return the theta of the others, whose RoPE is not scaled."""
        both = self.rope_parameters or LayerRopeParameters()
        full, local = both.full_attention or RopeParameters(), both.sliding_attention or RopeParameters()
        place = "rope_theta" if full.rope_theta is None else "rope_parameters.full_attention.rope_theta"
        to.put("position.theta", full.rope_theta or self.rope_theta or 1e6, place)
        blocks = {"rope_parameters.full_attention": both.full_attention, "rope_scaling": self.rope_scaling}
        for name, block in blocks.items():
            if block is not None and block.model_fields_set:  # rope_scaling overrides full_attention
                rope_scaling(self, block, name, to)
        if (local.rope_type or local.type or "default") != "default":
            place = f"rope_parameters.sliding_attention.{'type' if local.rope_type is None else 'rope_type'}"
            to.unsupported(place, "tinylm scales RoPE only in global layers")
        return local.rope_theta or self.rope_local_base_freq or 1e4

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type, width and sparsity of each layer."""
        pattern = list(layer_pattern(config))
        local = next((kind for kind in pattern if kind.attention.window is not None), config)
        full = next((kind for kind in pattern if kind.attention.window is None), config)
        return super().from_tinylm(config) | {
            "intermediate_size": [kind.d_ff for kind in pattern],
            "sliding_window": local.attention.window or config.max_len,
            "layer_types": [_FULL if kind.attention.window is None else _LOCAL for kind in pattern],
            "num_kv_shared_layers": sum(kind.attention.kv_from is not None for kind in pattern),
            "activation_sparsity_pattern": [kind.feed_forward.activation_sparsity or 0.0 for kind in pattern],
            "vocab_size_per_layer_input": config.per_layer_rows,
            "rope_parameters": {
                _FULL: {"rope_theta": full.position.theta, **(rope_scaling_key(full) or {"rope_type": "default"})},
                _LOCAL: {"rope_theta": local.position.theta, "rope_type": "default"},
            },
        }

    @classmethod
    def tensor_names_for(cls, config: ModelConfig) -> TensorNames:
        """Return the names, including the projections of all streams but the first."""
        streams = range(1, config.block.n_streams)
        projections = {
            f"{ours}.stream_{stream}": f"model.{theirs}.{stream - 1}"
            for ours, theirs in _PROJECTIONS.items()
            for stream in streams
        }
        names = cls.tensor_names.override(top_level=projections)
        return names.override(recomputed_suffixes=(*names.recomputed_suffixes, *unread_tensors(config)))


class Gemma3nKeys(Gemma3nTextKeys):
    """``Gemma3nConfig``: a multimodal model, whose language model is under ``text_config``."""

    tensor_names = _NAMES.override(
        prefix_maps=({"model.": "model.language_model."},),
        skipped_prefixes=tuple(
            f"model.{part}." for part in ("vision_tower", "audio_tower", "embed_vision", "embed_audio")
        ),
    )
    language_model_key = "text_config"
    ignored_outer_keys = (
        *("vision_config", "audio_config", "audio_soft_tokens_per_image", "vision_soft_tokens_per_image"),
        *("boi_token_id", "eoi_token_id", "image_token_id", "boa_token_id", "eoa_token_id", "audio_token_id"),
    )
