"""What each family of Hugging Face calls the tensors that tinylm has, and how it stores them.

A table pairs modules, ours first; a pair stands for the module's weight and its bias, as far as our model has them.
``{i}`` is a layer, ``{e}`` an expert.
"""

from __future__ import annotations

from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.weights.layouts import (
    ALTERNATING,
    BY_GROUP,
    CONCATENATED,
    CONCATENATED_TRANSPOSED,
    SAME,
    TRANSPOSED,
    Layout,
)

EMBEDDING = "embedding.token_embedding.embedding"
QKV = ("attention.q_proj", "attention.k_proj", "attention.v_proj")


class Fused(NamedTuple):
    """Several modules of ours stored as one.

    Attributes:
        ours: Our modules, in the order they are stored.
        stored: The module they are stored as.
        weight: How the weights lie in it.
        bias: How the biases do.
    """

    ours: tuple[str, ...]
    stored: str
    weight: Layout
    bias: Layout


class Names(NamedTuple):
    """The names of one family.

    Attributes:
        outside: Modules outside the layers.
        prefix: What stands before the name of a layer's module.
        layer: Modules of a layer.
        fused: Modules of a layer that are stored as one.
        experts: Modules of a layer that are stored expert by expert.
        exact: Tensors of a layer by their whole names, for those whose names follow no rule.
        stacked: Tensors of a layer that are stored for all experts at once, and how.
        transposed: Whether the matrices of a layer are stored (in, out).
    """

    outside: dict[str, str]
    prefix: str
    layer: dict[str, str]
    fused: tuple[Fused, ...] = ()
    experts: dict[str, str] = {}  # noqa: RUF012 - read only
    exact: dict[str, str] = {}  # noqa: RUF012
    stacked: tuple[tuple[tuple[str, ...], str, Layout], ...] = ()
    transposed: bool = False

    def but(self, *, outside: dict[str, str] | None = None, layer: dict[str, str] | None = None) -> Names:
        """Return the names of a family that differs in some modules."""
        return self._replace(outside=self.outside | (outside or {}), layer=self.layer | (layer or {}))


def _mlp(ours: str, stored: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{stored}.{part}" for part in ("gate_proj", "up_proj", "down_proj")}


_PROJECTIONS = {f"attention.{part}_proj": f"self_attn.{part}_proj" for part in "qkvo"}

LLAMA = Names(
    outside={EMBEDDING: "model.embed_tokens", "ln_f": "model.norm", "lm_head": "lm_head"},
    prefix="model.layers.{i}.",
    layer={
        **_PROJECTIONS,
        "attention.q_norm": "self_attn.q_norm",
        "attention.k_norm": "self_attn.k_norm",
        "ln_1": "input_layernorm",
        "ln_2": "post_attention_layernorm",
        **_mlp("feed_forward", "mlp"),
    },
)
OLMO2 = LLAMA.but(layer={"post_ln_1": "post_attention_layernorm", "post_ln_2": "post_feedforward_layernorm"})
GEMMA2 = OLMO2.but(layer={"ln_2": "pre_feedforward_layernorm"})
QWEN3_MOE = LLAMA.but(layer={"feed_forward.router": "mlp.gate"})._replace(
    experts=_mlp("feed_forward.experts", "mlp.experts.{e}")
)
MIXTRAL = LLAMA.but(layer={"feed_forward.router": "block_sparse_moe.gate"})._replace(
    experts={
        "feed_forward.experts.gate_proj": "block_sparse_moe.experts.{e}.w1",
        "feed_forward.experts.up_proj": "block_sparse_moe.experts.{e}.w3",
        "feed_forward.experts.down_proj": "block_sparse_moe.experts.{e}.w2",
    }
)
DEEPSEEK = QWEN3_MOE.but(
    layer={
        **{f"attention.{part}_proj": f"self_attn.{part}_proj" for part in ("q_a", "q_b", "kv_b")},
        "attention.kv_a_proj": "self_attn.kv_a_proj_with_mqa",
        "attention.q_a_norm": "self_attn.q_a_layernorm",
        "attention.kv_a_norm": "self_attn.kv_a_layernorm",
        **_mlp("feed_forward.shared_experts", "mlp.shared_experts"),
    }
)._replace(exact={"feed_forward.router.score_correction": "mlp.gate.e_score_correction_bias"})
GPT_OSS = LLAMA.but(layer={"feed_forward.router": "mlp.router"})._replace(
    exact={"attention.sinks": "self_attn.sinks"},
    stacked=tuple(
        (tuple(f"feed_forward.experts.{part}.{kind}" for part in parts), f"mlp.experts.{stored}{suffix}", layout)
        for parts, stored, of_weight in (
            (("gate_proj", "up_proj"), "gate_up_proj", ALTERNATING),
            (("down_proj",), "down_proj", TRANSPOSED),
        )
        for kind, suffix, layout in (
            ("weight", "", of_weight),
            ("bias", "_bias", SAME if of_weight is TRANSPOSED else of_weight),
        )
    ),
)
PHI3 = LLAMA._replace(
    layer={ours: stored for ours, stored in LLAMA.layer.items() if "_norm" not in ours},
    fused=(
        Fused(QKV, "self_attn.qkv_proj", CONCATENATED, CONCATENATED),
        Fused(("feed_forward.gate_proj", "feed_forward.up_proj"), "mlp.gate_up_proj", CONCATENATED, CONCATENATED),
    ),
)
PHI = LLAMA.but(
    outside={"ln_f": "model.final_layernorm"},
    layer={
        "attention.o_proj": "self_attn.dense",
        "attention.q_norm": "self_attn.q_layernorm",
        "attention.k_norm": "self_attn.k_layernorm",
        "feed_forward.up_proj": "mlp.fc1",
        "feed_forward.down_proj": "mlp.fc2",
    },
)
STARCODER2 = LLAMA.but(layer={"feed_forward.up_proj": "mlp.c_fc", "feed_forward.down_proj": "mlp.c_proj"})
OPT = Names(
    outside={
        EMBEDDING: "model.decoder.embed_tokens",
        "embedding.positional_encoding": "model.decoder.embed_positions",
        "ln_f": "model.decoder.final_layer_norm",
        "lm_head": "lm_head",
    },
    prefix="model.decoder.layers.{i}.",
    layer={
        **_PROJECTIONS,
        "attention.o_proj": "self_attn.out_proj",
        "ln_1": "self_attn_layer_norm",
        "ln_2": "final_layer_norm",
        "feed_forward.up_proj": "fc1",
        "feed_forward.down_proj": "fc2",
    },
)
GPT2 = Names(
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
    fused=(Fused(QKV, "attn.c_attn", CONCATENATED_TRANSPOSED, CONCATENATED),),
    transposed=True,
)
GPTJ = Names(
    outside={EMBEDDING: "transformer.wte", "ln_f": "transformer.ln_f", "lm_head": "lm_head"},
    prefix="transformer.h.{i}.",
    layer={
        "ln_1": "ln_1",
        **{f"attention.{part}_proj": f"attn.{part}_proj" for part in "qkv"},
        "attention.o_proj": "attn.out_proj",
        "feed_forward.up_proj": "mlp.fc_in",
        "feed_forward.down_proj": "mlp.fc_out",
    },
)
_DENSE = {"feed_forward.up_proj": "mlp.dense_h_to_4h", "feed_forward.down_proj": "mlp.dense_4h_to_h"}
GPT_NEOX = Names(
    outside={EMBEDDING: "gpt_neox.embed_in", "ln_f": "gpt_neox.final_layer_norm", "lm_head": "embed_out"},
    prefix="gpt_neox.layers.{i}.",
    layer={
        "ln_1": "input_layernorm",
        "attention.o_proj": "attention.dense",
        "ln_2": "post_attention_layernorm",
        **_DENSE,
    },
    fused=(Fused(QKV, "attention.query_key_value", BY_GROUP, BY_GROUP),),
)
BLOOM = Names(
    outside={
        EMBEDDING: "transformer.word_embeddings",
        "embedding.norm": "transformer.word_embeddings_layernorm",
        "ln_f": "transformer.ln_f",
        "lm_head": "lm_head",
    },
    prefix="transformer.h.{i}.",
    layer={
        "ln_1": "input_layernorm",
        "attention.o_proj": "self_attention.dense",
        "ln_2": "post_attention_layernorm",
        **_DENSE,
    },
    fused=(Fused(QKV, "self_attention.query_key_value", BY_GROUP, BY_GROUP),),
)
FALCON = BLOOM
FALCON_TWO_NORMS = BLOOM.but(layer={"ln_1": "ln_attn", "ln_2": "ln_mlp"})

FAMILIES: dict[str, Names] = {
    "bloom": BLOOM,
    "deepseek_v2": DEEPSEEK,
    "deepseek_v3": DEEPSEEK,
    "falcon": FALCON,
    "gemma": LLAMA,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA2,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "gpt_oss": GPT_OSS,
    "gptj": GPTJ,
    "llama": LLAMA,
    "mistral": LLAMA,
    "mixtral": MIXTRAL,
    "olmo": LLAMA,
    "olmo2": OLMO2,
    "olmoe": QWEN3_MOE,
    "opt": OPT,
    "phi": PHI,
    "phi3": PHI3,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "qwen3_moe": QWEN3_MOE,
    "stablelm": LLAMA,
    "starcoder2": STARCODER2,
}


def names_of(family: str, config: ModelConfig) -> Names:
    """Return the names of ``family``, of which Falcon has two sets: one for blocks with a norm for each sub-layer.

    Raises:
        WeightsError: If only its configs are known.
    """
    if family not in FAMILIES:
        raise WeightsError(
            f"weights of {family} are not read", help="import its config alone, or the weights of its text model"
        )
    if family == "falcon" and config.block.parallel and not config.block.shared_norm:
        return FALCON_TWO_NORMS
    return FAMILIES[family]
