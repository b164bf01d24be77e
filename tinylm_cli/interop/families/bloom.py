"""BLOOM: ALiBi, and a norm on the token vectors."""

from __future__ import annotations

from tinylm_cli.interop.family import Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.tensor_names import BLOOM_NAMES


def _inner_width(read: Reader) -> None:
    """The feed-forward part is always four times the width."""
    read.put("d_ff", 4 * (read.integer("hidden_size") or 1), "hidden_size")


BLOOM = Family(
    model_type="bloom",
    architecture="BloomForCausalLM",
    title="BLOOM",
    always={
        "embedding.multiplier": 1.0,
        "embedding.norm": True,
        "position.kind": "alibi",
        "feed_forward.activation": "gelu_tanh",
    },
    fields={
        **usual(
            vocab_size=250880, hidden_size=64, hidden_dropout=0.0, layer_norm_epsilon=1e-5, tie_word_embeddings=True
        ),
        "n_head": ("n_heads", 8),
        "n_layer": ("n_layers", 2),
        "seq_length": ("max_len", 2048),  # no bound in transformers: the length it was trained on
    },
    musts={
        "apply_residual_connection_post_layernorm": Must((False,), "each sum would start from the normed vector"),
    },
    ignored=frozenset(
        [
            "slow_but_exact", "attention_softmax_in_fp32", "masked_softmax_fusion", "bias_dropout_fusion",
            "skip_bias_add", "skip_bias_add_qkv", "offset_alibi",
        ]
    ),
    compute=(_inner_width,),
    aliases={"n_embed": "hidden_size", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"},
    names=BLOOM_NAMES,
    write=(),
)  # fmt: skip
