"""MiniMax: Mixtral with lightning attention in some layers; M2 and M3 with DeepSeek V3's router and QK norms."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import dense_layers, expert_kind, put_expert_layers
from tinylm_cli.interop.families.llama import MixtralKeys
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction, Theta
from tinylm_cli.interop.tensor_names import GATE_UP, LLAMA_NAMES, MIXTRAL_EXPERTS, Fused, TensorLayout
from tinylm_cli.interop.translation import Translation

_TYPES = {"linear_attention": "linear", "full_attention": "full"}
"""The kind of each layer type."""

_FACTORS = {"alpha": "block.skip_multiplier", "beta": "block.residual_multiplier"}
"""The fields of the factors of a residual addition: of the normalized input, and of the output of the sub-layer."""

Multiplier = Annotated[float, *key.like("block.skip_multiplier"), Field(examples=[3.5])]


class MiniMaxKeys(MixtralKeys):
    """``MiniMaxConfig``: by default, every second layer has lightning attention; residuals of normalized inputs."""

    constants = {**MixtralKeys.constants, "block.normed_residual": True}
    tensor_names = MixtralKeys.tensor_names.override(
        layer={
            "lightning_attention.gate_proj": "self_attn.output_gate",
            "lightning_attention.o_norm": "self_attn.norm",
            "lightning_attention.o_proj": "self_attn.out_proj",
        },
        fused=(
            Fused(
                tuple(f"lightning_attention.{part}_proj" for part in "qkv"),
                "self_attn.qkv_proj",
                TensorLayout.by_lightning_head,
            ),
        ),
        recomputed_suffixes=(
            *MixtralKeys.tensor_names.recomputed_suffixes,
            *(f"self_attn.{name}" for name in ("slope_rate", "query_decay", "key_decay", "diagonal_decay")),
        ),
    )

    hidden_act: key.Activation = key.only(
        "silu", "swish", why="tinylm activates queries, keys and values of lightning attention with SiLU"
    )
    layer_types: key.LayerTypes = None
    block_size: Annotated[int, *key.like("lightning_attention.chunk_len")] = 256
    full_attn_alpha_factor: Multiplier = 1.0
    full_attn_beta_factor: Multiplier = 1.0
    linear_attn_alpha_factor: Multiplier = 1.0
    linear_attn_beta_factor: Multiplier = 1.0
    mlp_alpha_factor: Multiplier = 1.0
    mlp_beta_factor: Multiplier = 1.0

    def to_tinylm(self, to: Translation) -> None:
        """Map as Mixtral, with the kinds of layers, and the factors of their residual additions."""
        super().to_tinylm(to)
        if to.has_error("num_hidden_layers", "layer_types"):
            return
        types = self.layer_types
        if types is None:
            types = ["linear_attention" if layer % 2 else "full_attention" for layer in range(self.num_hidden_layers)]
        names = kinds_of_types(to, "layer_types", types, _TYPES, self.num_hidden_layers)
        if "linear" in names and not to.has_error("hidden_size", "num_attention_heads", "head_dim", "block_size"):
            to.put("lightning_attention.n_heads", self.num_attention_heads, "num_attention_heads")
            d_head = self.head_dim or self.hidden_size // self.num_attention_heads
            to.put("lightning_attention.d_head", d_head, "head_dim", "hidden_size")
            to.put("lightning_attention.chunk_len", self.block_size, "block_size")
            to.put("lightning_attention.o_norm_eps", 1e-6)
        self._put_factors(to, set(names))
        put_layers(to, names, {"linear": {"block.mixer": "lightning_attention"}, "full": {}}, "layer_types")

    def _put_factors(self, to: Translation, kinds: set[str]) -> None:
        """Set the factors of residual additions, which must be the same after attention and after experts."""
        for factor, field in _FACTORS.items():
            shared = f"mlp_{factor}_factor"
            to.put(field, getattr(self, shared), shared)
            for kind in ("full", "linear"):
                name = f"{kind}_attn_{factor}_factor"
                if kind not in kinds:
                    to.ignore(name)
                elif getattr(self, name) != getattr(self, shared) and not to.has_error(name, shared):
                    why = f"tinylm has one factor for attention and experts, {shared}"
                    to.unsupported(name, why, f"write the value of {shared}")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer."""
        kinds = layer_pattern(config)
        linear = next((kind for kind in kinds.kinds if kind.block.mixer == "lightning_attention"), None)
        names = {kind: name for name, kind in _TYPES.items()}
        keys = super().from_tinylm(config) | {
            "layer_types": [names["linear" if kind.block.mixer == "lightning_attention" else "full"] for kind in kinds],
            **{
                f"{part}_{factor}_factor": getattr(config.block, field.removeprefix("block."))
                for factor, field in _FACTORS.items()
                for part in ("full_attn", "linear_attn", "mlp")
            },
        }
        if linear is not None:
            settings = linear.lightning_attention
            keys |= {
                "num_attention_heads": linear.lightning_attention_heads,
                "head_dim": settings.d_head,
                "block_size": settings.chunk_len,
            }
            if all(kind.block.mixer == "lightning_attention" for kind in kinds.kinds):
                keys["num_key_value_heads"] = (
                    linear.lightning_attention_heads
                )  # without effect, but transformers requires a number
        return keys


class MiniMaxM2Keys(key.LlamaLikeKeys, RopeKeys):
    """``MiniMaxM2Config``."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "full",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": True,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "block_sparse_moe.gate"},
        experts=MIXTRAL_EXPERTS,
        tensors=(Fused(("feed_forward.router.score_correction",), "block_sparse_moe.e_score_correction_bias"),),
    )
    aliases = {"num_experts": "num_local_experts"}
    ignored = (
        "router_jitter_noise",  # training
        "use_mtp",  # multi-token prediction layers, which are not loaded
        "num_mtp_modules",
        "mtp_transformer_layers",
    )

    vocab_size: key.VocabSize = 200064
    hidden_size: key.DModel = 3072
    intermediate_size: key.DFF = 1536
    num_hidden_layers: key.NLayers = 62
    num_attention_heads: key.NHeads = 48
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 196608
    rope_theta: Theta = 5e6
    partial_rotary_factor: RotaryFraction = 1.0
    rotary_dim: key.OptionalSize = None
    rms_norm_eps: key.NormEps = 1e-6
    num_local_experts: key.NExperts = 256
    num_experts_per_tok: key.TopK = 8
    attn_type_list: key.IntegerList = None
    use_qk_norm: bool = key.only(True, why="this family's code normalizes queries and keys")
    qk_norm_type: str = key.only("per_layer", why="this family's code normalizes queries and keys over all heads")
    scoring_func: str = key.only("sigmoid", why="this family's code weights experts with a sigmoid")
    use_routing_bias: bool = key.only(True, why="this family's code corrects the scores of experts")
    shared_intermediate_size: int = key.only(0, why="this family's code has no shared experts")

    def to_tinylm(self, to: Translation) -> None:
        """Map as Llama; ``rotary_dim`` is an older form of ``partial_rotary_factor``, which takes precedence."""
        super().to_tinylm(to)
        if self.attn_type_list and set(self.attn_type_list) != {1}:
            to.unsupported("attn_type_list", "this family's code has only softmax attention, which is 1")
        if self.rotary_dim is None or to.has_error("head_dim", "rotary_dim"):
            return
        block_key, _ = self.rope_block()
        if to.is_given("partial_rotary_factor") or to.is_given(f"{block_key}.partial_rotary_factor"):
            to.ignore("rotary_dim")
        else:
            d_head = self.head_dim or self.hidden_size // self.num_attention_heads
            to.put("position.rotary_fraction", self.rotary_dim / d_head, "rotary_dim")


_OF_EXPERTS = (
    "intermediate_size",
    "num_local_experts",
    "num_experts_per_tok",
    "routed_scaling_factor",
    "shared_intermediate_size",
)
_SPARSE = "minimax_m3_sparse"
_SHARED = "feed_forward.shared_experts"
_EXPERTS = "feed_forward.experts"


class SparseAttention(key.KeyBlock):
    """The object under ``sparse_attention_config``."""

    use_sparse_attention: bool | None = None
    sparse_attention_freq: key.IntegerList = None
    sparse_num_index_heads: key.OptionalSize = None
    sparse_index_dim: key.OptionalSize = None
    sparse_block_size: key.OptionalSize = None
    sparse_topk_blocks: key.OptionalSize = None
    sparse_local_block: key.OptionalCount = None


class MiniMaxM3TextKeys(key.LlamaLikeKeys, RopeKeys):
    """``MiniMaxM3VLTextConfig``, without its sparse attention: a shared expert, and gpt-oss's clamped activation."""

    constants = {
        **key.LLAMA_LIKE,
        "norm.zero_centered": True,
        "attention.qk_norm": "per_head",
        "feed_forward.activation": "quick_gelu",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": True,
        "feed_forward.n_shared_experts": 1,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "mlp.gate", f"{_SHARED}.down_proj": "mlp.shared_experts.down_proj"},
        fused=(GATE_UP, Fused((f"{_SHARED}.gate_proj", f"{_SHARED}.up_proj"), "mlp.shared_experts.gate_up_proj")),
        tensors=(
            Fused(("feed_forward.router.score_correction",), "mlp.gate.e_score_correction_bias"),
            Fused(
                (f"{_EXPERTS}.gate_proj.weight", f"{_EXPERTS}.up_proj.weight"),
                "mlp.experts.gate_up_proj",
                TensorLayout.stacked,
            ),
            Fused((f"{_EXPERTS}.down_proj.weight",), "mlp.experts.down_proj"),
        ),
    )
    ignored = (
        "router_jitter_noise",  # training
        "rotary_dim",  # this family's code reads partial_rotary_factor only
        *("index_n_heads", "index_head_dim", "index_block_size", "index_topk_blocks", "index_local_blocks"),
    )

    vocab_size: key.VocabSize = 200064
    hidden_size: key.DModel = 6144
    intermediate_size: Annotated[int, *key.fills("feed_forward.d_expert")] = 3072
    dense_intermediate_size: key.DFF = 12288
    shared_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 3072
    num_hidden_layers: key.NLayers = 60
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 524288
    rope_theta: Theta = 5e6
    partial_rotary_factor: RotaryFraction = 1.0
    rms_norm_eps: key.NormEps = 1e-6
    num_local_experts: key.NExperts = 128
    num_experts_per_tok: key.TopK = 4
    routed_scaling_factor: key.RoutedScale = 2.0
    hidden_act: str = key.only("silu", "swigluoai", why="this family's code hard-codes its activation")
    swiglu_limit: Annotated[float, *key.fills("feed_forward.clamp")] = 7.0
    swiglu_alpha: float = key.only(1.702, why="quick_gelu's slope is 1.702")
    mlp_layer_types: Annotated[key.LayerTypes, Field(examples=[["dense", "sparse"]])] = None
    moe_layer_freq: key.IntegerList = None  # an older form: 0 for a dense layer
    layer_types: Annotated[key.LayerTypes, Field(examples=[["full_attention"]])] = None
    sparse_attention_config: SparseAttention | None = None  # an older form, with a 1 for a sparse layer

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers that have experts, if none has sparse attention."""
        super().to_tinylm(to)
        self._refuse_sparse_attention(to)
        n_layers, types, place = self.num_hidden_layers, self.mlp_layer_types, "mlp_layer_types"
        if types is None and self.moe_layer_freq is not None:
            place, types = (
                "moe_layer_freq",
                ["sparse" if has_experts else "dense" for has_experts in self.moe_layer_freq],
            )
        if to.has_error("num_hidden_layers", place):
            return
        if types is not None:
            types = kinds_of_types(to, place, types, {name: name for name in ("dense", "sparse")}, n_layers)
        is_dense = [False] * n_layers if types is None else [each == "dense" for each in types]
        if is_dense:
            put_expert_layers(to, self.num_local_experts, "num_local_experts", is_dense, place)

    def _refuse_sparse_attention(self, to: Translation) -> None:
        older = self.sparse_attention_config or SparseAttention()
        place = "layer_types" if self.layer_types is not None else "sparse_attention_config"
        if _SPARSE in (self.layer_types or ()) or (self.layer_types is None and any(older.sparse_attention_freq or ())):
            to.unsupported(place, "tinylm does not support attention to blocks of keys that an indexer selects")
        elif self.layer_types is not None and not to.has_error("num_hidden_layers", "layer_types"):
            kinds_of_types(to, place, self.layer_types, {"full_attention": "full"}, self.num_hidden_layers)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        keys, experts = super().from_tinylm(config), expert_kind(config)
        keys["mlp_layer_types"] = ["dense" if dense else "sparse" for dense in dense_layers(config)]
        if experts.feed_forward.n_experts is None:  # the keys of experts may not be null
            return keys | {name: cls.model_fields[name].default for name in _OF_EXPERTS}
        sizes = {"num_local_experts": experts.feed_forward.n_experts}
        return keys | sizes | {"shared_intermediate_size": experts.d_shared_experts}
