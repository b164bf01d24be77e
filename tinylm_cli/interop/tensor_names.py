"""What tensors are called: how a family's names are written down, and those that several families share.

A table pairs modules, ours first; a pair stands for the module's weight and its bias, as far as our model has them.
``{i}`` is a layer, ``{e}`` an expert.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

EMBEDDING = "embedding.token_embedding.embedding"
QKV = ("attention.q_proj", "attention.k_proj", "attention.v_proj")


class TensorLayout(StrEnum):
    """How tensors of ours lie in a stored one; ``interop/weights/fused_tensors.py`` moves them both ways."""

    same = "same"
    transposed = "transposed"
    concatenated = "concatenated"
    concatenated_transposed = "concatenated_transposed"
    by_group = "by_group"
    alternating = "alternating"


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
    weight: TensorLayout
    bias: TensorLayout


class TensorNames(NamedTuple):
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
        roots: Other beginnings of names, in files where the model is a part of something larger: each a table from a
            beginning to what stands in its place.
        skipped: Beginnings of the names of the other parts, which are left out.
        derived: Ends of the names of buffers that some files hold and every library works out again: causal masks and
            rotary frequencies.
    """

    outside: dict[str, str]
    prefix: str
    layer: dict[str, str]
    fused: tuple[Fused, ...] = ()
    experts: dict[str, str] = {}  # noqa: RUF012 - read only
    exact: dict[str, str] = {}  # noqa: RUF012
    stacked: tuple[tuple[tuple[str, ...], str, TensorLayout], ...] = ()
    transposed: bool = False
    roots: tuple[dict[str, str], ...] = ()
    skipped: tuple[str, ...] = ()
    derived: tuple[str, ...] = ("rotary_emb.inv_freq",)

    @property
    def heads(self) -> frozenset[str]:
        """What the head is called, where a file holds it again beside the table that it is tied to."""
        head = f"{self.outside['lm_head']}.weight"
        return frozenset([head, *(under(root, head) for root in self.roots)])

    def is_derived(self, name: str) -> bool:
        """Return whether ``name`` is that of a buffer that is worked out again."""
        return any(f".{name}".endswith(f".{end}") for end in self.derived)

    def but(
        self, *, outside: dict[str, str] | None = None, layer: dict[str, str] | None = None, **others: Any
    ) -> TensorNames:
        """Return the names of a family that differs in some modules, and in ``others``, attributes as a whole."""
        return self._replace(outside=self.outside | (outside or {}), layer=self.layer | (layer or {}), **others)


def under(root: dict[str, str], name: str) -> str:
    """Return ``name`` in a file whose names begin as ``root`` says."""
    return next((theirs + name.removeprefix(ours) for ours, theirs in root.items() if name.startswith(ours)), name)


def mlp(ours: str, stored: str) -> dict[str, str]:
    """Return the names of a gated network's three modules."""
    return {f"{ours}.{part}": f"{stored}.{part}" for part in ("gate_proj", "up_proj", "down_proj")}


PROJECTIONS = {f"attention.{part}_proj": f"self_attn.{part}_proj" for part in "qkvo"}

LLAMA_NAMES = TensorNames(
    outside={EMBEDDING: "model.embed_tokens", "ln_f": "model.norm", "lm_head": "lm_head"},
    prefix="model.layers.{i}.",
    layer={
        **PROJECTIONS,
        "attention.q_norm": "self_attn.q_norm",
        "attention.k_norm": "self_attn.k_norm",
        "ln_1": "input_layernorm",
        "ln_2": "post_attention_layernorm",
        **mlp("feed_forward", "mlp"),
    },
)
POST_NORM_NAMES = LLAMA_NAMES.but(
    layer={"post_ln_1": "post_attention_layernorm", "post_ln_2": "post_feedforward_layernorm"}
)
EXPERT_NAMES = LLAMA_NAMES.but(
    layer={"feed_forward.router": "mlp.gate"}, experts=mlp("feed_forward.experts", "mlp.experts.{e}")
)
DENSE = {"feed_forward.up_proj": "mlp.dense_h_to_4h", "feed_forward.down_proj": "mlp.dense_4h_to_h"}
BLOOM_NAMES = TensorNames(
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
        **DENSE,
    },
    fused=(Fused(QKV, "self_attention.query_key_value", TensorLayout.by_group, TensorLayout.by_group),),
)
