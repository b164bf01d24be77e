"""GPT-2 and its descendants at EleutherAI: GPT-J, which adds rotation, and GPT-NeoX, the shape of Pythia."""

from __future__ import annotations

import math

from tinylm_cli.interop.family import Family, Must, usual
from tinylm_cli.interop.parts import d_head, rope
from tinylm_cli.interop.reader import Reader

_GPT_NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def _inner_width(read: Reader) -> None:
    """``n_inner`` is four times the width unless it is given."""
    width, inner = read.integer("n_embd"), read.integer("n_inner", least=0)
    read.put("d_ff", 4 * (width or 1) if inner is None else inner, "n_inner" if read.has("n_inner") else "n_embd")


def _score_scale(read: Reader) -> None:
    """Scores are not divided by √d_head where ``scale_attn_weights`` is false."""
    if read.flag("scale_attn_weights") is False:
        read.put("attention.scale", 1.0, "scale_attn_weights")


GPT2 = Family(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    title="GPT-2",
    always={"embedding.multiplier": 1.0, "position.kind": "learned"},
    fields={
        "vocab_size": ("vocab_size", 50257),
        "n_embd": ("d_model", 768),
        "n_head": ("n_heads", 12),
        "n_layer": ("n_layers", 12),
        "n_positions": ("max_len", 1024),
        "activation_function": ("feed_forward.activation", "gelu_new"),
        **usual(resid_pdrop=0.1, layer_norm_epsilon=1e-5, tie_word_embeddings=True),
    },
    musts={
        "scale_attn_by_inverse_layer_idx": Must((False,), "each layer would scale its scores by its own number"),
    },
    ignored=frozenset(["n_ctx", "reorder_and_upcast_attn"]),  # the second orders the same sums differently
    compute=(_inner_width, _score_scale),
    aliases=_GPT_NAMES,
)


def _rotary_dims(read: Reader) -> None:
    """``rotary_dim`` counts dimensions of each head."""
    width = d_head(read)
    rotated = read.integer("rotary_dim", least=2)
    if rotated is None:
        read.unsupported("rotary_dim", "without it this family's code rotates by the whole model's width")
        return
    if rotated > width:
        read.contradiction(
            "rotary_dim",
            f"rotary_dim {rotated} is more than the {width} dimensions of a head",
            f"write {width} or less",
        )
        return
    share = rotated / width
    if int(width * share) < rotated:
        share = math.nextafter(share, 1.0)
    read.put("position.rotary_fraction", share, "rotary_dim")


GPTJ = Family(
    model_type="gptj",
    architecture="GPTJForCausalLM",
    title="GPT-J",
    always={
        "embedding.multiplier": 1.0,
        "position.kind": "rope",
        "position.pairing": "adjacent",
        "attention.bias": False,
        "block.parallel": True,
        "block.shared_norm": True,
        "head.bias": True,
    },
    fields={
        "vocab_size": ("vocab_size", 50400),
        "n_embd": ("d_model", 4096),
        "n_head": ("n_heads", 16),
        "n_layer": ("n_layers", 28),
        "n_positions": ("max_len", 2048),
        "activation_function": ("feed_forward.activation", "gelu_new"),
        **usual(resid_pdrop=0.0, layer_norm_epsilon=1e-5, tie_word_embeddings=False),
    },
    musts={
        "rotary": Must((True,), "this family's code always rotates"),
        "scale_attn_weights": Must((True,), "this family's code always divides scores by √d_head"),
    },
    ignored=frozenset(["n_ctx"]),
    defaults={"rotary_dim": 64},
    compute=(_inner_width, _rotary_dims),
    aliases=_GPT_NAMES,
)


GPT_NEOX = Family(
    model_type="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    title="GPT-NeoX and Pythia",
    always={"embedding.multiplier": 1.0, "position.kind": "rope"},
    fields={
        **usual(
            vocab_size=50432, hidden_size=6144, num_hidden_layers=44, num_attention_heads=64, intermediate_size=24576,
            max_position_embeddings=2048, hidden_act="gelu", hidden_dropout=0.0, layer_norm_eps=1e-5,
            tie_word_embeddings=False, attention_bias=True,
        ),
        "use_parallel_residual": ("block.parallel", True),
    },
    compute=(rope(theta_key="rotary_emb_base", fraction=0.25, fraction_key="rotary_pct"),),
)  # fmt: skip
