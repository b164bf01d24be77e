"""Falcon, in its two forms: the 7B, multi-query with one norm; and the 40B and 180B, the "new decoder architecture"."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys, rope_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.shared_keys import inner_width
from tinylm_cli.interop.tensor_names import BLOOM_NAMES, Names


def _form(read: Reader) -> None:
    """Heads of keys and values, and how the two sub-layers join, by form."""
    new = read.flag("new_decoder_architecture") is True
    parallel, norms = read.flag("parallel_attn") is True, read.integer("num_ln_in_parallel_attn")
    multi_query, n_kv_heads = read.flag("multi_query") is True, read.integer("num_kv_heads")
    if new:
        read.put("attention.n_kv_heads", n_kv_heads, "num_kv_heads")
        if not parallel:
            read.unsupported("parallel_attn", "the new decoder architecture is always parallel")
        read.put("block.parallel", True, "new_decoder_architecture")
        read.put("block.shared_norm", norms == 1, "num_ln_in_parallel_attn", "new_decoder_architecture")
        if norms not in (None, 1, 2):
            read.unsupported("num_ln_in_parallel_attn", "there are 1 or 2 norms")
        return
    if multi_query:
        read.put("attention.n_kv_heads", 1, "multi_query")
    read.put("block.parallel", parallel, "parallel_attn")
    if parallel:
        read.put("block.shared_norm", True, "parallel_attn")
        if norms not in (None, 1):
            read.unsupported("num_ln_in_parallel_attn", "only the new decoder architecture has two")


_TWO_NORMS = BLOOM_NAMES.but(layer={"ln_1": "ln_attn", "ln_2": "ln_mlp"})


def _names(config: ModelConfig) -> Names:
    """Blocks with a norm for each part have other names for them."""
    return _TWO_NORMS if config.block.parallel and not config.block.shared_norm else BLOOM_NAMES


def _keys(config: ModelConfig) -> Keys:
    new = config.block.parallel and (not config.block.shared_norm or config.n_kv_heads not in (1, config.n_heads))
    return {
        **rope_keys(config),
        "alibi": False,
        "ffn_hidden_size": config.d_ff,
        "new_decoder_architecture": new,
        "parallel_attn": config.block.parallel,
        "multi_query": config.n_kv_heads == 1 and not new,
        "num_kv_heads": config.n_kv_heads,
        "num_ln_in_parallel_attn": (1 if config.block.shared_norm else 2) if new else None,
    }


FALCON = Family(
    model_type="falcon",
    architecture="FalconForCausalLM",
    title="Falcon",
    always={"embedding.multiplier": 1.0, "position.kind": "rope"},
    fields={
        **usual(
            vocab_size=65024, hidden_size=4544, num_hidden_layers=32, num_attention_heads=71,
            max_position_embeddings=2048, hidden_dropout=0.0, layer_norm_epsilon=1e-5, tie_word_embeddings=True,
        ),
        "activation": ("feed_forward.activation", "gelu"),
        "bias": ("attention.bias", "feed_forward.bias", False),
    },
    musts={
        "alibi": Must((False,), "Falcon divides its ALiBi biases by √d_head and rounds them to bfloat16"),
        "apply_residual_connection_post_layernorm": Must((False,), "each sum would start from the normed vector"),
    },
    defaults={"new_decoder_architecture": False, "parallel_attn": True, "multi_query": True},
    compute=(inner_width("ffn_hidden_size"), _form, rope()),
    aliases={"n_embed": "hidden_size"},
    names=_names,
    write=(_keys,),
)  # fmt: skip
