"""OPT by Meta: the GPT-3 architecture, with learned positions with an offset of 2."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.tensor_names import EMBEDDING, PROJECTIONS, TensorNames
from tinylm_cli.interop.translation import Translation


class OPTKeys(key.Keys):
    """``OPTConfig``."""

    constants = {"embedding.multiplier": 1.0, "position.kind": "learned", "position.offset": 2}
    tensor_names = TensorNames(
        top_level={
            EMBEDDING: "model.decoder.embed_tokens",
            "embedding.positional_encoding": "model.decoder.embed_positions",
            "ln_f": "model.decoder.final_layer_norm",
            "lm_head": "lm_head",
        },
        prefix="model.decoder.layers.{i}.",
        layer={
            **PROJECTIONS,
            "attention.o_proj": "self_attn.out_proj",
            "ln_1": "self_attn_layer_norm",
            "ln_2": "final_layer_norm",
            "post_ln_1": "self_attn_layer_norm",
            "post_ln_2": "final_layer_norm",
            "feed_forward.up_proj": "fc1",
            "feed_forward.down_proj": "fc2",
        },
    )
    aliases = {"_remove_final_layer_norm": "remove_final_layer_norm"}

    vocab_size: key.VocabSize = 50272
    hidden_size: key.DModel = 768
    ffn_dim: key.DFF = 3072
    num_hidden_layers: key.NLayers = 12
    num_attention_heads: key.NHeads = 12
    max_position_embeddings: key.MaxLen = 2048
    activation_function: key.Activation = "relu"
    dropout: key.Dropout = 0.1
    tie_word_embeddings: key.TieWeights = True
    enable_bias: key.AllBiases = True
    layer_norm_elementwise_affine: Annotated[bool, *key.fills("norm.weight")] = True
    do_layer_norm_before: bool = True
    remove_final_layer_norm: bool = key.only(False, why="the model would have no final norm")
    word_embed_proj_dim: key.OptionalSize = None

    def to_tinylm(self, to: Translation) -> None:
        """Map norm placement, and report an embedding width other than d_model, which needs projections."""
        if not self.do_layer_norm_before:
            to.put("norm.placement", "post_residual", "do_layer_norm_before")
        if self.word_embed_proj_dim not in (None, self.hidden_size):
            why = "embeddings narrower than the model need input and output projections"
            to.unsupported("word_embed_proj_dim", why)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return {"word_embed_proj_dim": config.d_model, "do_layer_norm_before": config.norm.precedes_sublayers}
