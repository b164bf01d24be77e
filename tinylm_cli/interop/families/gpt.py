"""GPT-2 and its descendants at EleutherAI: GPT-J, which adds rotation, and GPT-NeoX, the shape of Pythia."""

from __future__ import annotations

import math

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys, scaling_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.shared_keys import d_head, inner_width
from tinylm_cli.interop.tensor_names import DENSE, EMBEDDING, QKV, Fused, Names, TensorLayout

_GPT_NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


_inner_width = inner_width("n_inner", "n_embd")


def _score_scale(read: Reader) -> None:
    """Scores are not divided by √d_head where ``scale_attn_weights`` is false."""
    if read.flag("scale_attn_weights") is False:
        read.put("attention.scale", 1.0, "scale_attn_weights")


_GPT2_NAMES = Names(
    outside={
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
    fused=(Fused(QKV, "attn.c_attn", TensorLayout.concatenated_transposed, TensorLayout.concatenated),),
    transposed=True,
    derived=("attn.bias", "attn.masked_bias"),
)


def _gpt2_keys(config: ModelConfig) -> Keys:
    return {"n_inner": config.d_ff, "scale_attn_weights": config.attention.scale != 1}


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
    names=_GPT2_NAMES,
    write=(_gpt2_keys,),
)


def _rotary_dims(read: Reader) -> None:
    """``rotary_dim`` counts dimensions of each head."""
    width = d_head(read)
    rotated = read.integer("rotary_dim", least=2)
    if rotated is None:
        read.unsupported("rotary_dim", "without it this family's code rotates by the whole model's width")
        return
    if rotated % 2:
        near = f"{rotated - 1} or {rotated + 1}" if rotated < width else str(rotated - 1)
        message = f"rotary_dim {rotated} is odd, and dimensions rotate in pairs"
        read.contradiction("rotary_dim", message, f"write {near}")
        return
    if rotated > width:
        read.contradiction(
            "rotary_dim",
            f"rotary_dim {rotated} is more than the width of a head, {width}",
            f"write {width} or less",
        )
        return
    share = rotated / width
    if int(width * share) < rotated:
        share = math.nextafter(share, 1.0)
    read.put("position.rotary_fraction", share, "rotary_dim")


_GPTJ_NAMES = Names(
    outside={EMBEDDING: "transformer.wte", "ln_f": "transformer.ln_f", "lm_head": "lm_head"},
    prefix="transformer.h.{i}.",
    layer={
        "ln_1": "ln_1",
        **{f"attention.{part}_proj": f"attn.{part}_proj" for part in "qkv"},
        "attention.o_proj": "attn.out_proj",
        "feed_forward.up_proj": "mlp.fc_in",
        "feed_forward.down_proj": "mlp.fc_out",
    },
    derived=("attn.bias", "attn.masked_bias", "attn.embed_positions"),
)


def _gptj_keys(config: ModelConfig) -> Keys:
    return {"n_inner": config.d_ff, "rotary_dim": int(config.d_head * config.position.rotary_fraction)}


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
    names=_GPTJ_NAMES,
    write=(_gptj_keys,),
)


_GPT_NEOX_NAMES = Names(
    outside={EMBEDDING: "gpt_neox.embed_in", "ln_f": "gpt_neox.final_layer_norm", "lm_head": "embed_out"},
    prefix="gpt_neox.layers.{i}.",
    layer={
        "ln_1": "input_layernorm",
        "attention.o_proj": "attention.dense",
        "ln_2": "post_attention_layernorm",
        **DENSE,
    },
    fused=(Fused(QKV, "attention.query_key_value", TensorLayout.by_group, TensorLayout.by_group),),
    derived=("attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"),
)


def _gpt_neox_keys(config: ModelConfig) -> Keys:
    return {
        "rotary_emb_base": config.position.theta,
        "rotary_pct": config.position.rotary_fraction,
        "rope_scaling": scaling_keys(config),
    }


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
    names=_GPT_NEOX_NAMES,
    write=(_gpt_neox_keys,),
)  # fmt: skip
