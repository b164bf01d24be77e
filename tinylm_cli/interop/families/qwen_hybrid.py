"""Qwen3-Next, Qwen3.5 and OLMo Hybrid: gated DeltaNet in three of four layers, attention in the others."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.qwen import GATED_SHARED_EXPERT, SHARED_EXPERT_NAMES, SharedExpertKeys, SparseStepKeys
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, POST_NORM_NAMES, Fused, Split, TensorLayout
from tinylm_cli.interop.translation import Translation

LINEAR = {"linear_attention": "linear", "full_attention": "full"}
"""The kind of each layer type."""

_GATED_QUERIES = Fused(("attention.q_proj", "attention.gate_proj"), "self_attn.q_proj", TensorLayout.by_head)
_CONSTANTS: dict[str, Any] = {
    **key.LLAMA_LIKE,
    "norm.zero_centered": True,
    "attention.qk_norm": "per_head",
    "attention.gate": True,
}
DELTA_NET_VECTORS = (
    Fused(("gated_deltanet.A_log",), "linear_attn.A_log"),
    Fused(("gated_deltanet.dt_bias",), "linear_attn.dt_bias"),
)
"""The decays of gated DeltaNet."""

_DELTA_NET = {
    "gated_deltanet.conv": "linear_attn.conv1d",
    "gated_deltanet.o_norm": "linear_attn.norm",
    "gated_deltanet.o_proj": "linear_attn.out_proj",
}


def of_delta_net(*names: str) -> tuple[str, ...]:
    """Return the names of some projections of gated DeltaNet."""
    return tuple(f"gated_deltanet.{name}_proj" for name in names)


class DeltaNetKeys(key.LlamaLikeKeys, RopeKeys):
    """Keys of a family whose layers are gated DeltaNet or attention."""

    type_kinds: ClassVar[Mapping[str, str]] = LINEAR  # The kind of each layer type.

    num_key_value_heads: key.NKVHeads = 2
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-6
    hidden_act: key.Activation = key.only("silu", why="tinylm activates the convolution of gated DeltaNet with SiLU")
    attention_bias: key.AttentionBias = False
    linear_conv_kernel_dim: Annotated[int, *key.like("gated_deltanet.kernel_size")] = 4
    linear_key_head_dim: Annotated[int | None, *key.like("gated_deltanet.d_key")] = 128
    linear_value_head_dim: Annotated[int | None, *key.like("gated_deltanet.d_value")] = 128
    linear_num_key_heads: Annotated[int | None, *key.like("gated_deltanet.n_key_heads")] = 16
    linear_num_value_heads: Annotated[int | None, *key.like("gated_deltanet.n_value_heads")] = 32
    layer_types: key.LayerTypes = None

    def default_types(self) -> tuple[list[str], str]:
        """Return the types of the layers in the absence of ``layer_types``, and the key that determines them."""
        types = ["full_attention" if layer % 4 == 3 else "linear_attention" for layer in range(self.num_hidden_layers)]
        return types, "layer_types"

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Return the fields of each kind of layers."""
        return {"linear": {"block.mixer": "gated_deltanet"}, "full": {}}

    def to_tinylm(self, to: Translation) -> None:
        """Map the kinds of layers, and the sizes of gated DeltaNet."""
        super().to_tinylm(to)
        if to.has_error("num_hidden_layers", "layer_types"):
            return
        types, listed = (self.layer_types, "layer_types") if self.layer_types is not None else self.default_types()
        names = kinds_of_types(to, listed, types, self.type_kinds, self.num_hidden_layers)
        if "linear" in names:
            self.put_sizes(to)
        put_layers(to, names, self.kinds(), listed)

    def put_sizes(self, to: Translation) -> None:
        """Set the sizes of gated DeltaNet."""
        for field, name in (
            ("kernel_size", "linear_conv_kernel_dim"),
            ("d_key", "linear_key_head_dim"),
            ("d_value", "linear_value_head_dim"),
            ("n_key_heads", "linear_num_key_heads"),
            ("n_value_heads", "linear_num_value_heads"),
        ):
            to.put(f"gated_deltanet.{field}", getattr(self, name), name)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer."""
        linear, names = config.gated_deltanet, {kind: name for name, kind in LINEAR.items()}
        mixers = (kind.block.mixer for kind in layer_pattern(config))
        return super().from_tinylm(config) | {
            "layer_types": [names["linear" if mixer == "gated_deltanet" else "full"] for mixer in mixers],
            "linear_conv_kernel_dim": linear.kernel_size,
            "linear_key_head_dim": linear.d_key,
            "linear_value_head_dim": linear.d_value,
            "linear_num_key_heads": config.gated_deltanet_key_heads,
            "linear_num_value_heads": config.gated_deltanet_value_heads,
        }


class _QwenHybridKeys(DeltaNetKeys):
    # transformers does not read them
    ignored: ClassVar[Collection[str]] = (
        *("mamba_ssm_dtype", "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"),
        *("max_window_layers", "sliding_window", "use_sliding_window"),
    )

    vocab_size: key.VocabSize = 248320
    hidden_size: key.DModel = 2048
    num_attention_heads: key.NHeads = 16
    head_dim: key.DHead = 256
    partial_rotary_factor: RotaryFraction = 0.25
    full_attention_interval: key.OptionalSize = 4

    def default_types(self) -> tuple[list[str], str]:
        """Return the types: every ``full_attention_interval``-th layer has attention."""
        step = self.full_attention_interval or 1
        linear = [bool((layer + 1) % step) for layer in range(self.num_hidden_layers)]
        return ["linear_attention" if each else "full_attention" for each in linear], "full_attention_interval"


class Qwen3NextKeys(SparseStepKeys, SharedExpertKeys, _QwenHybridKeys):
    """``Qwen3NextConfig``."""

    constants = {**_CONSTANTS, **GATED_SHARED_EXPERT}
    tensor_names = SHARED_EXPERT_NAMES.override(
        layer=_DELTA_NET,
        fused=(
            _GATED_QUERIES,
            Fused(of_delta_net("q", "k", "v", "gate"), "linear_attn.in_proj_qkvz", TensorLayout.by_key_head),
            Fused(of_delta_net("b", "a"), "linear_attn.in_proj_ba", TensorLayout.by_key_head),
        ),
        tensors=DELTA_NET_VECTORS,
        skipped_prefixes=("mtp.",),
    )

    vocab_size: key.VocabSize = 151936
    intermediate_size: key.DFF = 5632
    num_hidden_layers: key.NLayers = 48
    num_experts: key.Count = 512
    num_experts_per_tok: key.TopK = 10
    moe_intermediate_size: key.DExpert = 512
    shared_expert_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 512
    norm_topk_prob: key.Renormalize = True


_SEPARATE = (
    _GATED_QUERIES,
    Fused(of_delta_net("q", "k", "v"), "linear_attn.in_proj_qkv"),
    Fused(of_delta_net("gate"), "linear_attn.in_proj_z"),
    Fused(of_delta_net("b"), "linear_attn.in_proj_b"),
    Fused(of_delta_net("a"), "linear_attn.in_proj_a"),
)
_IN_MULTIMODAL = ({"model.": "model.language_model."},)
_MULTIMODAL_KEYS = ("vision_config", "image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
_SKIPPED = ("mtp.", "model.visual.")


class Qwen35TextKeys(_QwenHybridKeys):
    """``Qwen3_5TextConfig``: without experts."""

    constants = _CONSTANTS
    tensor_names = LLAMA_NAMES.override(
        layer=_DELTA_NET,
        fused=_SEPARATE,
        tensors=DELTA_NET_VECTORS,
        prefix_maps=_IN_MULTIMODAL,
        skipped_prefixes=_SKIPPED,
    )

    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 12288
    num_key_value_heads: key.NKVHeads = 4


class Qwen35Keys(Qwen35TextKeys):
    """``Qwen3_5Config``: a multimodal model, whose language model is under ``text_config``."""

    language_model_key = "text_config"
    ignored_outer_keys = _MULTIMODAL_KEYS


class Qwen35MoeTextKeys(SharedExpertKeys, _QwenHybridKeys):
    """``Qwen3_5MoeTextConfig``: with experts in all layers."""

    constants = {**_CONSTANTS, **GATED_SHARED_EXPERT, "feed_forward.renormalize": True}
    tensor_names = SHARED_EXPERT_NAMES.override(
        layer=_DELTA_NET,
        fused=_SEPARATE,
        tensors=DELTA_NET_VECTORS,
        prefix_maps=_IN_MULTIMODAL,
        skipped_prefixes=_SKIPPED,
    )
    ignored = (*_QwenHybridKeys.ignored, "norm_topk_prob")  # this family's code does not read it

    num_hidden_layers: key.NLayers = 40
    num_experts: key.NExperts = 256
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 512
    shared_expert_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 512

    def to_tinylm(self, to: Translation) -> None:
        """Map experts, whose size is the only one of a feed-forward network, and the kinds of layers."""
        to.put("d_ff", self.moe_intermediate_size, "moe_intermediate_size")
        to.put("feed_forward.d_expert", None)
        to.ignore("intermediate_size")
        super().to_tinylm(to)


class Qwen35MoeKeys(Qwen35MoeTextKeys):
    """``Qwen3_5MoeConfig``: a multimodal model, whose language model is under ``text_config``."""

    language_model_key = "text_config"
    ignored_outer_keys = _MULTIMODAL_KEYS


def _channels(config: ModelConfig) -> tuple[int, int, int]:
    """Return the channels of queries, keys and values."""
    linear = config.gated_deltanet
    d_keys = config.gated_deltanet_key_heads * linear.d_key
    return d_keys, d_keys, config.gated_deltanet_value_heads * linear.d_value


class OlmoHybridKeys(DeltaNetKeys):
    """``OlmoHybridConfig``: attention as in OLMo 2, with norms after the sub-layers, and maybe without RoPE."""

    constants = key.LLAMA_LIKE
    tensor_names = POST_NORM_NAMES.override(
        layer={
            **{f"gated_deltanet.{part}_proj": f"linear_attn.{part}_proj" for part in "qkvabo"},
            "gated_deltanet.gate_proj": "linear_attn.g_proj",
            "gated_deltanet.o_norm": "linear_attn.o_norm",
            "ln_1": "attention_layer_norm",
            "ln_2": "feedforward_layer_norm",
        },
        tensors=DELTA_NET_VECTORS,
        splits=(
            Split(
                "gated_deltanet.conv.weight", tuple(f"linear_attn.{part}_conv1d.weight" for part in "qkv"), _channels
            ),
        ),
        # transformers writes the second name, because the other layers have a norm of the first name in its code
        other_spellings={".post_attention_layernorm.": ".feedforward_layer_norm."},
    )
    ignored = ("linear_a_log_min", "linear_a_log_max", "linear_dt_min", "linear_dt_max", "linear_dt_init_floor")

    vocab_size: key.VocabSize = 100352
    hidden_size: key.DModel = 3840
    num_attention_heads: key.NHeads = 30
    num_key_value_heads: key.NKVHeads = None
    max_position_embeddings: key.MaxLen = 65536
    linear_key_head_dim: Annotated[int | None, *key.like("gated_deltanet.d_key")] = None
    linear_value_head_dim: Annotated[int | None, *key.like("gated_deltanet.d_value")] = None
    linear_num_key_heads: Annotated[int | None, *key.like("gated_deltanet.n_key_heads")] = None
    linear_num_value_heads: Annotated[int | None, *key.like("gated_deltanet.n_value_heads")] = None
    linear_allow_neg_eigval: bool = True

    def default_types(self) -> tuple[list[str], str]:
        """Return the types: every fourth layer, or else the last one, has attention."""
        types, listed = super().default_types()
        return types if "full_attention" in types else [*types[:-1], "full_attention"], listed

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Return the fields of each kind of layers: only those with attention have norms after the sub-layers."""
        full = {"norm.placement": "post", "attention.qk_norm": "full"}
        return {"linear": {"block.mixer": "gated_deltanet"}, "full": full}

    def to_tinylm(self, to: Translation) -> None:
        """Map the layer kinds (the family requires both), and a theta of null, which means no RoPE."""
        super().to_tinylm(to)
        block_key, block = self.rope_block()
        if block is not None and "rope_theta" in block.model_fields_set and block.rope_theta is None:
            for field in [name for name in to.fields if name.startswith("position.")]:
                to.put(field, None)
            to.put("position.kind", "none", f"{block_key}.rope_theta")
        types = self.layer_types
        if types is not None and not to.has_error("layer_types") and set(types) != set(LINEAR):
            to.unsupported("layer_types", "this family requires layers of both types", "change layer_types")

    def put_sizes(self, to: Translation) -> None:
        """Set the sizes of gated DeltaNet, by default derived from the model's."""
        super().put_sizes(to)
        key_heads = self.linear_num_key_heads or self.num_attention_heads
        d_key = self.linear_key_head_dim or int(0.75 * self.hidden_size / key_heads)
        to.put("gated_deltanet.n_key_heads", key_heads, "linear_num_key_heads")
        to.put(
            "gated_deltanet.n_value_heads",
            self.linear_num_value_heads or self.num_attention_heads,
            "linear_num_value_heads",
        )
        to.put("gated_deltanet.d_key", d_key, "linear_key_head_dim")
        to.put("gated_deltanet.d_value", self.linear_value_head_dim or 2 * d_key, "linear_value_head_dim")
        to.put("gated_deltanet.o_norm_eps", 1e-5)
        to.put("gated_deltanet.negative_eigenvalues", self.linear_allow_neg_eigval, "linear_allow_neg_eigval")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; without RoPE, theta is null."""
        keys = super().from_tinylm(config)
        keys["linear_allow_neg_eigval"] = config.gated_deltanet.negative_eigenvalues
        if any(kind.position.kind == "rope" for kind in layer_pattern(config).kinds):
            return keys
        del keys["rope_theta"], keys["rope_scaling"]
        return keys | {"rope_parameters": {"rope_type": "default", "rope_theta": None}}
