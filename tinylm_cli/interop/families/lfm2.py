"""Liquid AI's LFM2: gated short convolutions in most layers, attention in the others."""

from typing import Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.tensor_names import EMBEDDING, PROJECTIONS, TensorNames
from tinylm_cli.interop.translation import Translation

_KINDS = {"conv": {"block.mixer": "short_conv"}, "full": {}}
_NAMES = {"conv": "conv", "full_attention": "full"}


class Lfm2Keys(key.LlamaLikeKeys, RopeKeys):
    """``Lfm2Config``: by default, all layers have attention."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head"}
    tensor_names = TensorNames(
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
    aliases = {"block_ff_dim": "intermediate_size", "tie_embedding": "tie_word_embeddings"}
    # transformers does not read them
    ignored = (
        *("block_dim", "block_mlp_init_scale", "block_norm_eps", "block_out_init_scale", "block_use_swiglu"),
        *("block_use_xavier_init", "conv_dim", "conv_dim_out", "conv_use_xavier_init", "num_heads", "use_pos_enc"),
    )

    vocab_size: key.VocabSize = 65536
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 12288
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
    block_multiple_of: key.OptionalSize = 256
    block_ffn_dim_multiplier: key.Number = 1.0
    block_auto_adjust_ff_dim: bool = True
    full_attn_idxs: key.IntegerList = None
    layer_types: key.LayerTypes = None

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
        names = kinds_of_types(to, listed, types, _NAMES, n_layers)
        if "conv" in names:
            to.put("short_conv.kernel_size", self.conv_L_cache, "conv_L_cache")
            to.put("short_conv.bias", self.conv_bias, "conv_bias")
        put_layers(to, names, _KINDS, listed)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        kinds = [kind.block.mixer for kind in layer_pattern(config)]
        return super().from_tinylm(config) | {
            "layer_types": ["conv" if mixer == "short_conv" else "full_attention" for mixer in kinds],
            "conv_L_cache": config.short_conv.kernel_size,
            "conv_bias": config.short_conv.bias,
            "block_auto_adjust_ff_dim": False,
        }
