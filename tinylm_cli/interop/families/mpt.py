"""MosaicML's MPT: ALiBi, and no biases, also in norms."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import EMBEDDING, QKV, Fused, TensorNames
from tinylm_cli.interop.translation import Translation

_NOT_READ = "this family's code does not read it"


class MptAttentionKeys(key.KeyBlock):
    """The object under ``attn_config``."""

    model_type: key.Text = None
    is_encoder_decoder: bool = key.only(False, why="tinylm models have no encoder")
    attn_type: str = key.only("multihead_attention", why=_NOT_READ)
    attn_pdrop: int = key.only(0, why="transformers reads an integer, and dropout is below 1")
    attn_impl: key.Text = None
    clip_qkv: Annotated[float | None, Field(ge=0, le=key.MAX_NUMBER, examples=[8.0])] = None
    softmax_scale: Annotated[float | None, *key.like("attention.scale")] = None
    prefix_lm: bool = key.only(False, why="tokens would attend to later tokens")
    qk_ln: bool = key.only(False, why=_NOT_READ)
    attn_uses_sequence_id: bool = key.only(False, why=_NOT_READ)
    alibi: bool = key.only(True, why="this family's code always uses ALiBi")
    alibi_bias_max: int = key.only(8, why="this family's code always uses 8")


class MptKeys(key.Keys):
    """``MptConfig``."""

    constants = {
        "dropout": 0.0,
        "embedding.multiplier": 1.0,
        "position.kind": "alibi",
        "norm.bias": False,
        "attention.bias": False,
        "feed_forward.bias": False,
        "feed_forward.activation": "gelu",
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "transformer.wte", "ln_f": "transformer.norm_f", "lm_head": "lm_head"},
        prefix="transformer.blocks.{i}.",
        layer={
            "ln_1": "norm_1",
            "attention.o_proj": "attn.out_proj",
            "ln_2": "norm_2",
            "feed_forward.up_proj": "ffn.up_proj",
            "feed_forward.down_proj": "ffn.down_proj",
        },
        fused=(Fused(QKV, "attn.Wqkv"),),
    )
    aliases = {"num_attention_heads": "n_heads", "hidden_size": "d_model", "num_hidden_layers": "n_layers"}
    ignored = (
        *("learned_pos_emb", "resid_pdrop", "emb_pdrop", "init_device", "embedding_fraction", "norm_type"),
        *("init_config", "verbose"),  # training
    )

    vocab_size: key.VocabSize = 50368
    d_model: key.DModel = 2048
    n_layers: key.NLayers = 24
    n_heads: key.NHeads = 16
    max_seq_len: key.MaxLen = 2048
    layer_norm_epsilon: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    expansion_ratio: int = key.only(4, why="this family's code always uses 4")
    no_bias: bool = key.only(True, why="this family's code has no biases")
    logit_scale: key.AnyValue = key.only(why="this family's code does not scale logits")
    attn_config: MptAttentionKeys | None = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the feed-forward width, 4 · ``d_model``, and the keys of ``attn_config``."""
        super().to_tinylm(to)
        to.put("d_ff", 4 * self.d_model, "d_model")
        attention = self.attn_config or MptAttentionKeys()
        to.put("attention.clip_qkv", attention.clip_qkv or None, "attn_config.clip_qkv")
        to.put("attention.scale", attention.softmax_scale, "attn_config.softmax_scale")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        attention = config.attention
        keys = {"clip_qkv": attention.clip_qkv, "softmax_scale": attention.scale}
        return super().from_tinylm(config) | {"attn_config": keys}
