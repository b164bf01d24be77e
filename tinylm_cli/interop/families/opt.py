"""OPT by Meta: the GPT-3 architecture, with learned positions with an offset of 2."""

# no deferred annotations, as in config.blocks

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.tensor_names import EMBEDDING, PROJECTIONS, TensorNames
from tinylm_cli.interop.translation import Translation


class OPTKeys(key.Keys):
    """``OPTConfig``."""

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
    do_layer_norm_before: Annotated[
        bool, *key.only(True, why="the norms would follow each residual sum, and there would be no final norm")
    ] = True
    remove_final_layer_norm: Annotated[bool, *key.only(False, why="the model would have no final norm")] = False
    word_embed_proj_dim: key.OptionalSize = None


def _embedding_width(keys: OPTKeys, to: Translation) -> None:
    """Report an embedding width other than d_model, which needs input and output projections."""
    if keys.word_embed_proj_dim not in (None, keys.hidden_size):
        to.unsupported("word_embed_proj_dim", "embeddings narrower than the model need input and output projections")


def _keys(config: ModelConfig) -> dict[str, Any]:
    return {"word_embed_proj_dim": config.d_model, "do_layer_norm_before": True}


OPT = Family(
    model_type="opt",
    architecture="OPTForCausalLM",
    title="OPT",
    keys=OPTKeys,
    constants={"embedding.multiplier": 1.0, "position.kind": "learned", "position.offset": 2},
    to_tinylm=_embedding_width,
    from_tinylm=_keys,
    aliases={"_remove_final_layer_norm": "remove_final_layer_norm"},
    tensor_names=TensorNames(
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
            "feed_forward.up_proj": "fc1",
            "feed_forward.down_proj": "fc2",
        },
    ),
)
