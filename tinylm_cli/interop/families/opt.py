"""OPT, GPT-3's shape as Meta trained it: learned positions, two rows further down their table."""

from __future__ import annotations

from tinylm_cli.interop.family import Family, Must, usual
from tinylm_cli.interop.reader import Reader


def _embedding_width(read: Reader) -> None:
    """Token vectors of another width than the model's would need projections in and out."""
    width = read.integer("word_embed_proj_dim")
    if width is not None and width != read.value("d_model"):
        read.unsupported("word_embed_proj_dim", "token vectors narrower than the model need projections in and out")


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
)  # fmt: skip
