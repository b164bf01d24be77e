"""GPT-2, and EleutherAI's GPT-J (RoPE, parallel blocks) and GPT-NeoX (also Pythia and GPT-NeoX Japanese)."""

import math
from collections.abc import Collection
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import put_layers
from tinylm_cli.interop.rope_scaling import RopeBlocks, RotaryFraction, Theta
from tinylm_cli.interop.tensor_names import BLOOM_LAYER, EMBEDDING, QKV, Fused, TensorLayout, TensorNames
from tinylm_cli.interop.translation import Translation

GPT2_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
"""The common names of GPT-2's keys, by ``attribute_map``."""


class GPT2LikeKeys(key.Keys):
    """The keys that GPT-2 and its descendants share."""

    vocab_size: key.VocabSize = 50257
    n_embd: key.DModel = 768
    n_inner: key.OptionalDFF = None
    n_layer: key.NLayers = 12
    n_head: key.NHeads = 12
    n_positions: key.MaxLen = 1024
    activation_function: key.Activation = "gelu_new"
    resid_pdrop: key.Dropout = 0.1
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True

    def to_tinylm(self, to: Translation) -> None:
        """Map the feed-forward width if ``n_inner`` is null: 4 · ``n_embd``."""
        if self.n_inner is None:
            to.put("d_ff", 4 * self.n_embd, "n_embd")


class GPT2Keys(GPT2LikeKeys):
    """``GPT2Config``."""

    constants = {"embedding.multiplier": 1.0, "position.kind": "learned"}
    tensor_names = TensorNames(
        top_level={
            EMBEDDING: "transformer.wte",
            "embedding.positional_encoding": "transformer.wpe",
            "ln_f": "transformer.ln_f",
            "lm_head": "lm_head",
        },
        prefix="transformer.h.{i}.",
        layer={
            "ln_1": "ln_1",
            "attention.o_proj": "attn.c_proj",
            "ln_2": "ln_2",
            "feed_forward.up_proj": "mlp.c_fc",
            "feed_forward.down_proj": "mlp.c_proj",
        },
        fused=(Fused(QKV, "attn.c_attn", TensorLayout.transposed),),
        matrices=TensorLayout.transposed,
        recomputed_suffixes=("attn.bias", "attn.masked_bias"),
    )
    aliases = GPT2_ALIASES
    ignored: ClassVar[Collection[str]] = (
        "n_ctx",
        "reorder_and_upcast_attn",
    )  # the second changes only the order of summation

    scale_attn_weights: bool | None = True
    scale_attn_by_inverse_layer_idx: bool = key.only(False, why="each layer would divide its scores by its index")

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.scale_attn_weights is False:
            to.put("attention.scale", 1.0, "scale_attn_weights")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return {"scale_attn_weights": config.attention.scale != 1}


class GPTJKeys(GPT2LikeKeys):
    """``GPTJConfig``."""

    constants = {
        "embedding.multiplier": 1.0,
        "position.kind": "rope",
        "position.pairing": "adjacent",
        "attention.bias": False,
        "block.parallel": True,
        "block.shared_norm": True,
        "head.bias": True,
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "transformer.wte", "ln_f": "transformer.ln_f", "lm_head": "lm_head"},
        prefix="transformer.h.{i}.",
        layer={
            "ln_1": "ln_1",
            **{f"attention.{part}_proj": f"attn.{part}_proj" for part in "qkv"},
            "attention.o_proj": "attn.out_proj",
            "feed_forward.up_proj": "mlp.fc_in",
            "feed_forward.down_proj": "mlp.fc_out",
        },
        recomputed_suffixes=("attn.bias", "attn.masked_bias", "attn.embed_positions"),
    )
    aliases = GPT2_ALIASES
    ignored = ("n_ctx",)

    vocab_size: key.VocabSize = 50400
    n_embd: key.DModel = 4096
    n_layer: key.NLayers = 28
    n_head: key.NHeads = 16
    n_positions: key.MaxLen = 2048
    resid_pdrop: key.Dropout = 0.0
    tie_word_embeddings: key.TieWeights = False
    rotary_dim: key.OptionalSize = 64
    rotary: bool = key.only(True, why="this family's code always rotates")
    scale_attn_weights: bool = key.only(True, why="this family's code always divides scores by √d_head")

    def to_tinylm(self, to: Translation) -> None:
        """Map the feed-forward width, and ``rotary_dim``, the number of rotated dimensions per head."""
        super().to_tinylm(to)
        d_head, rotated, place = self.n_embd // self.n_head, self.rotary_dim, "rotary_dim"
        if rotated is None:
            to.unsupported(place, "if it is null, this family's code computes RoPE over n_embd dimensions")
        elif rotated % 2:
            near = f"{rotated - 1} or {rotated + 1}" if rotated < d_head else str(rotated - 1)
            near = str(rotated + 1) if rotated == 1 else near
            message = f"rotary_dim {rotated} is odd, but RoPE rotates pairs of dimensions"
            to.contradiction(place, message, f"write {near}")
        elif d_head < 2:
            pass  # too few dimensions to rotate, which n_embd and n_head report
        elif rotated > d_head:
            message = f"rotary_dim {rotated} exceeds the head dimension, {d_head}"
            to.contradiction(place, message, f"write {d_head - d_head % 2} or less", "n_embd", "n_head")
        else:
            share = rotated / d_head
            share = share if int(d_head * share) == rotated else math.nextafter(share, 1)
            to.put("position.rotary_fraction", share, place)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return {"rotary_dim": int(config.d_head * config.position.rotary_fraction)}


class GPTNeoXKeys(RopeBlocks):
    """``GPTNeoXConfig``."""

    constants = {"embedding.multiplier": 1.0, "position.kind": "rope"}
    tensor_names = TensorNames(
        top_level={EMBEDDING: "gpt_neox.embed_in", "ln_f": "gpt_neox.final_layer_norm", "lm_head": "embed_out"},
        prefix="gpt_neox.layers.{i}.",
        layer={**BLOOM_LAYER, "attention.o_proj": "attention.dense"},
        fused=(Fused(QKV, "attention.query_key_value", TensorLayout.by_group),),
        recomputed_suffixes=("attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"),
    )

    theta_key: ClassVar[str] = "rotary_emb_base"
    fraction_key: ClassVar[str] = "rotary_pct"

    vocab_size: key.VocabSize = 50432
    hidden_size: key.DModel = 6144
    num_hidden_layers: key.NLayers = 44
    num_attention_heads: key.NHeads = 64
    intermediate_size: key.DFF = 24576
    hidden_act: key.Activation = "gelu"
    hidden_dropout: key.Dropout = 0.0
    layer_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = True
    use_parallel_residual: Annotated[bool, *key.fills("block.parallel")] = True
    rotary_emb_base: Theta = 10_000.0
    rotary_pct: RotaryFraction = 0.25


class GPTNeoXJapaneseKeys(RopeBlocks):
    """``GPTNeoXJapaneseConfig``: only the output projection of the last layer has a bias."""

    constants = {
        "embedding.multiplier": 1.0,
        "position.kind": "rope",
        "attention.bias": False,
        "feed_forward.bias": False,
    }
    tensor_names = GPTNeoXKeys.tensor_names._replace(
        top_level={
            EMBEDDING: "gpt_neox_japanese.embed_in",
            "ln_f": "gpt_neox_japanese.final_layer_norm",
            "lm_head": "embed_out",
        },
        prefix="gpt_neox_japanese.layers.{i}.",
        layer=BLOOM_LAYER,
        tensors=(
            Fused(("attention.o_proj.weight",), "attention.dense.weight"),
            Fused(("attention.o_proj.bias",), "attention.dense_bias"),
        ),
    )

    theta_key: ClassVar[str] = "rotary_emb_base"
    fraction_key: ClassVar[str] = "rotary_pct"

    vocab_size: key.VocabSize = 32000
    hidden_size: key.DModel = 2560
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    intermediate_multiple_size: Annotated[int, Field(ge=1, le=key.MAX_NUMBER, examples=[4])] = 4
    hidden_act: key.Activation = "gelu"
    hidden_dropout: key.Dropout = 0.0
    layer_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    rotary_emb_base: Theta = 10_000.0
    rotary_pct: RotaryFraction = 1.0

    def to_tinylm(self, to: Translation) -> None:
        """Map the feed-forward width, a multiple of ``hidden_size``, and the bias of the last layer."""
        super().to_tinylm(to)
        to.put("d_ff", self.hidden_size * self.intermediate_multiple_size, "intermediate_multiple_size", "hidden_size")
        if not to.has_error("num_hidden_layers"):
            names = [*["other"] * (self.num_hidden_layers - 1), "last"]
            put_layers(to, names, {"other": {}, "last": {"attention.out_bias": True}}, "num_hidden_layers")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"intermediate_multiple_size": max(config.d_ff // config.d_model, 1)}
