"""Liquid AI's LFM2, dense or with experts: gated short convolutions in most layers, attention in the others."""

from collections.abc import Sequence
from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import expert_kind, n_leading_dense, put_expert_layers
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.tensor_names import EMBEDDING, PROJECTIONS, Fused, TensorNames
from tinylm_cli.interop.translation import Translation

_KINDS = {"conv": {"block.mixer": "short_conv"}, "full": {}}
_NAMES = {"conv": "conv", "full_attention": "full"}

LFM2_NAMES = TensorNames(
    top_level={EMBEDDING: "model.embed_tokens", "ln_f": "model.embedding_norm", "lm_head": "lm_head"},
    prefix="model.layers.{i}.",
    layer={
        **PROJECTIONS,
        "attention.o_proj": "self_attn.out_proj",
        "attention.q_norm": "self_attn.q_layernorm",
        "attention.k_norm": "self_attn.k_layernorm",
        "short_conv.in_proj": "conv.in_proj",
        "short_conv.conv": "conv.conv",
        "short_conv.out_proj": "conv.out_proj",
        "ln_1": "operator_norm",
        "ln_2": "ffn_norm",
        "feed_forward.gate_proj": "feed_forward.w1",
        "feed_forward.up_proj": "feed_forward.w3",
        "feed_forward.down_proj": "feed_forward.w2",
    },
)


class _ConvLayerKeys(key.LlamaLikeKeys, RopeKeys):
    """The keys that ``Lfm2Config`` and ``Lfm2MoeConfig`` share."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head"}
    tensor_names = LFM2_NAMES
    aliases = {"tie_embedding": "tie_word_embeddings"}

    vocab_size: key.VocabSize = 65536
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = None
    hidden_act: key.Activation = key.only("silu", why="this family's code has SiLU")
    max_position_embeddings: key.MaxLen = 128_000
    tie_word_embeddings: key.TieWeights = True
    rope_theta: Theta = 1e6
    norm_eps: key.NormEps = 1e-5
    conv_bias: bool = False
    conv_L_cache: key.OptionalSize = 3  # noqa: N815 - the family's key
    layer_types: key.LayerTypes = None

    def put_types(self, to: Translation, listed: str, types: Sequence[str]) -> None:
        """Set the kinds of layers, for the type of each layer under the key ``listed``."""
        names = kinds_of_types(to, listed, types, _NAMES, self.num_hidden_layers)
        if "conv" in names:
            to.put("short_conv.kernel_size", self.conv_L_cache, "conv_L_cache")
            to.put("short_conv.bias", self.conv_bias, "conv_bias")
        put_layers(to, names, _KINDS, listed)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        kinds = list(layer_pattern(config))
        conv = next((kind.short_conv for kind in kinds if kind.block.mixer == "short_conv"), config.short_conv)
        return super().from_tinylm(config) | {
            "layer_types": ["conv" if kind.block.mixer == "short_conv" else "full_attention" for kind in kinds],
            "conv_L_cache": conv.kernel_size,
            "conv_bias": conv.bias,
        }


class Lfm2Keys(_ConvLayerKeys):
    """``Lfm2Config``: by default, all layers have attention."""

    aliases = {**_ConvLayerKeys.aliases, "block_ff_dim": "intermediate_size"}
    # transformers does not read them
    ignored = (
        *("block_dim", "block_mlp_init_scale", "block_norm_eps", "block_out_init_scale", "block_use_swiglu"),
        *("block_use_xavier_init", "conv_dim", "conv_dim_out", "conv_use_xavier_init", "num_heads", "use_pos_enc"),
    )

    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 12288
    block_multiple_of: key.OptionalSize = 256
    block_ffn_dim_multiplier: key.Number = 1.0
    block_auto_adjust_ff_dim: bool = True
    full_attn_idxs: key.IntegerList = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the kinds of layers, and d_ff, which is 2/3 of ``intermediate_size``, rounded up to a multiple."""
        super().to_tinylm(to)
        if self.block_auto_adjust_ff_dim and not to.has_error("intermediate_size"):
            multiple, share = self.block_multiple_of or 1, self.block_ffn_dim_multiplier
            d_ff = int(2 * self.intermediate_size / 3)
            if share is not None:
                d_ff = -(-int(share * d_ff) // multiple) * multiple
            to.put("d_ff", d_ff, "intermediate_size")
        if to.has_error("num_hidden_layers", "layer_types", "full_attn_idxs"):
            return
        n_layers, listed = self.num_hidden_layers, "layer_types"
        types = self.layer_types
        if types is None:
            listed = "full_attn_idxs"
            full = range(n_layers) if self.full_attn_idxs is None else self.full_attn_idxs
            types = ["full_attention" if layer in full else "conv" for layer in range(n_layers)]
        self.put_types(to, listed, types)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"block_auto_adjust_ff_dim": False}


class Lfm2MoeKeys(_ConvLayerKeys):
    """``Lfm2MoeConfig``: the first layers have no experts."""

    constants = {**_ConvLayerKeys.constants, "feed_forward.router": "sigmoid"}
    tensor_names = _ConvLayerKeys.tensor_names.override(
        layer={"feed_forward.router": "feed_forward.gate"},
        experts={
            "feed_forward.experts.gate_proj": "feed_forward.experts.{e}.w1",
            "feed_forward.experts.up_proj": "feed_forward.experts.{e}.w3",
            "feed_forward.experts.down_proj": "feed_forward.experts.{e}.w2",
        },
        tensors=(Fused(("feed_forward.router.score_correction",), "feed_forward.expert_bias"),),
    )
    aliases = {**_ConvLayerKeys.aliases, "num_local_experts": "num_experts"}

    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 7168
    num_hidden_layers: key.NLayers = 32
    num_dense_layers: key.Count = 2
    num_experts: key.NExperts = 32
    num_experts_per_tok: key.TopK = 4
    moe_intermediate_size: key.DExpert = 1792
    use_expert_bias: Annotated[bool, *key.fills("feed_forward.score_correction")] = True
    norm_topk_prob: key.Renormalize = True
    routed_scaling_factor: key.RoutedScale = 1.0

    def to_tinylm(self, to: Translation) -> None:
        """Map the kinds of layers, and those that have experts."""
        super().to_tinylm(to)
        if self.layer_types is None:
            to.missing("layer_types", "this family's code has no default", "list conv or full_attention for each layer")
        elif not to.has_error("num_hidden_layers", "layer_types"):
            self.put_types(to, "layer_types", self.layer_types)
        if not to.has_error("num_hidden_layers", "layer_types", "num_dense_layers"):
            is_dense = [layer < self.num_dense_layers for layer in range(self.num_hidden_layers)]
            put_expert_layers(to, self.num_experts, "num_experts", is_dense, "num_dense_layers")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {
            "num_experts": expert_kind(config).feed_forward.n_experts,
            "num_dense_layers": n_leading_dense(config),
        }
