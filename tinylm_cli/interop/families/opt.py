"""OPT, GPT-3's shape as Meta trained it: learned positions, two rows further down their table."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys
from tinylm_cli.interop.tensor_names import EMBEDDING, PROJECTIONS, Names


def _embedding_width(read: Reader) -> None:
    """Token vectors of another width than the model's would need projections in and out."""
    width = read.integer("word_embed_proj_dim")
    if width is not None and width != read.value("d_model"):
        read.unsupported("word_embed_proj_dim", "token vectors narrower than the model need projections in and out")


_NAMES = Names(
    outside={
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
)


def _keys(config: ModelConfig) -> Keys:
    return {"word_embed_proj_dim": config.d_model, "do_layer_norm_before": True}


OPT = Family(
    model_type="opt",
    architecture="OPTForCausalLM",
    title="OPT",
    always={"embedding.multiplier": 1.0, "position.kind": "learned", "position.offset": 2},
    fields={
        **usual(
            vocab_size=50272, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
            max_position_embeddings=2048, tie_word_embeddings=True,
        ),
        "ffn_dim": ("d_ff", 3072),
        "dropout": ("dropout", 0.1),
        "activation_function": ("feed_forward.activation", "relu"),
        "enable_bias": ("attention.bias", "feed_forward.bias", True),
        "layer_norm_elementwise_affine": ("norm.weight", True),
    },
    musts={
        "do_layer_norm_before": Must((True,), "its norms would stand after each sum and there would be no final one"),
        "_remove_final_layer_norm": Must((False,), "there would be no norm before the head"),
    },
    compute=(_embedding_width,),
    names=_NAMES,
    write=(_keys,),
)  # fmt: skip
