"""Tensor names of Hugging Face families: the record type, and the names that several families share.

Each table maps a tinylm module to a stored module, for its weight and, if present, its bias. ``{i}`` is the layer
index, ``{e}`` the expert index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from tinylm_cli.config.schema import ModelConfig

EMBEDDING = "embedding.token_embedding.embedding"
CODEGEN_SHARDS = 4
"""Accelerators that CodeGen was trained on, over which its code still splits the fused projection."""
QKV = ("attention.q_proj", "attention.k_proj", "attention.v_proj")


class TensorLayout(StrEnum):
    """How a stored tensor holds one or several model tensors; ``weights/fused_tensors.py`` converts both ways."""

    plain = "plain"
    """The model's tensor; several are concatenated along the output dimension."""
    transposed = "transposed"
    """Like ``plain``, but matrices are stored (in, out) instead of (out, in)."""
    by_group = "by_group"
    """Fused q/k/v, grouped by KV head: its queries, then its key, then its value."""
    by_head = "by_head"
    """Fused queries and gate of attention: of each head, its queries, then its gate."""
    by_key_head = "by_key_head"
    """Fused projections of gated DeltaNet: of each key head, its rows of every projection."""
    by_lightning_head = "by_lightning_head"
    """Fused projections of lightning attention: of each head, its queries, keys and values."""
    by_mamba_head = "by_mamba_head"
    """A tensor with rows for each head of Mamba, stored with the heads as its first dimension."""
    halves_in_turn = "halves_in_turn"
    """The rows of the first and of the second half in turn."""
    broadcast = "broadcast"
    """A vector with an element for each head, stored as (1, 1, heads, 1)."""
    by_shard = "by_shard"
    """Several projections in ``CODEGEN_SHARDS`` shards, each with a part of the rows of every projection."""
    swapped_halves = "swapped_halves"
    """The second half of each head before the first: rotating by an angle then is rotating by its negative."""
    stacked = "stacked"
    """Gate and up projections of all experts, concatenated along the output dimension of each expert."""
    stacked_transposed = "stacked_transposed"
    """Like ``stacked``, but the matrix of each expert is stored (in, out)."""
    flattened = "flattened"
    """The matrices of all experts below each other, as one matrix."""
    flattened_transposed = "flattened_transposed"
    """Like ``flattened``, but the matrix of each expert is transposed first, (in, out)."""
    one_row = "one_row"
    """A vector, stored as a matrix of one row."""
    one_position = "one_position"
    """A vector, stored as (1, 1, size), like one position of one sequence."""
    alternating = "alternating"
    """Gate and up projections of all experts, with interleaved rows, stored (in, out)."""


class Fused(NamedTuple):
    """One or several tinylm modules or tensors stored as one."""

    names: tuple[str, ...]  # The tinylm modules or tensors, in storage order.
    stored: str  # The stored module or tensor.
    layout: TensorLayout = TensorLayout.plain  # How they are stored.


class Split(NamedTuple):
    """A tinylm tensor stored as several, each with some of its rows."""

    name: str  # The tinylm tensor.
    stored: tuple[str, ...]  # The stored tensors, in the order of their rows.
    n_rows: Callable[[ModelConfig], Sequence[int]]  # Returns the rows of each.


class BlockNames(NamedTuple):
    """The tensor names of transformer blocks that layers share, each stored in the first layer that uses it."""

    prefix: str  # Name prefix of a block within that layer.
    modules: dict[str, str]  # Modules of a block.
    own_prefix: str  # Name prefix, within a layer that uses a block, of the layer's own modules.
    fused: tuple[Fused, ...] = ()  # Modules of a block that are stored as one module.
    projection: str = "linear"  # The projection of a layer, within the layer.
    # Adapters of a layer, and the list in its block with an entry for each layer that uses any block.
    adapters: dict[str, str] = {}  # noqa: RUF012 - read only


class TensorNames(NamedTuple):
    """The tensor names of one family."""

    top_level: dict[str, str]  # Modules outside the layers.
    prefix: str  # Name prefix of the modules of a layer.
    layer: dict[str, str]  # Modules of a layer.
    fused: tuple[Fused, ...] = ()  # Modules of a layer that are stored as one module.
    # Modules of a layer with one stored module per expert.
    experts: dict[str, str] = {}  # noqa: RUF012 - read only
    # Tensors of a layer that are not the weight or bias of a stored module, such as attention sinks.
    tensors: tuple[Fused, ...] = ()
    # Layers that are stored as one; ``{s}`` in the name of a module is the index of a layer among them.
    n_sublayers: int = 1
    # Returns the shapes of tensors that checkpoints may store, and the code of the family requires, but does not use.
    unused: Callable[[ModelConfig], dict[str, tuple[int, ...]]] | None = None
    # Tensors outside the layers that are not the weight or bias of a stored module.
    top_level_tensors: dict[str, str] = {}  # noqa: RUF012 - read only
    splits: tuple[Split, ...] = ()  # Tensors of a layer that are stored as several.
    # Name prefix of the layers of a low-level module; ``prefix`` is then the high-level module's. Both count from 0.
    low_prefix: str = ""
    block: BlockNames | None = None  # The names of shared transformer blocks.
    # Scalars of a layer that checkpoints store and the code of the family does not train, with the value that the
    # tinylm model has in its code.
    constants: dict[str, float] = {}  # noqa: RUF012 - read only
    matrices: TensorLayout = TensorLayout.plain  # Layout of the weights of ``layer``.
    # Parts of stored names mapped to the spelling of some checkpoints.
    other_spellings: dict[str, str] = {}  # noqa: RUF012 - read only
    # Name prefixes mapped to those in checkpoints of a larger (e.g. multimodal) model.
    prefix_maps: tuple[dict[str, str], ...] = ()
    skipped_prefixes: tuple[str, ...] = ()  # Name prefixes of the larger model's other parts, which are not loaded.
    # Name suffixes of buffers that are recomputed even if the checkpoint stores them, such as causal masks and RoPE
    # frequencies.
    recomputed_suffixes: tuple[str, ...] = ("rotary_emb.inv_freq",)

    def unused_tensors(self, config: ModelConfig) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor that the code of the family requires, but does not use, by full name."""
        return {} if self.unused is None else self.unused(config)

    @property
    def lm_heads(self) -> frozenset[str]:
        """Names of the LM head, which some checkpoints store although it is tied to the embedding."""
        head = f"{self.top_level['lm_head']}.weight"
        return frozenset([head, *(replace_prefix(prefix_map, head) for prefix_map in self.prefix_maps)])

    def is_recomputed(self, name: str) -> bool:
        """Return whether ``name`` is a buffer that is recomputed."""
        return any(f".{name}".endswith(f".{end}") for end in self.recomputed_suffixes)

    def override(
        self, *, top_level: dict[str, str] | None = None, layer: dict[str, str] | None = None, **others: Any
    ) -> TensorNames:
        """Return a copy with some modules renamed or added, and the attributes ``others`` replaced."""
        return self._replace(top_level=self.top_level | (top_level or {}), layer=self.layer | (layer or {}), **others)


def replace_prefix(prefix_map: dict[str, str], name: str) -> str:
    """Return ``name`` with its prefix replaced according to ``prefix_map``."""
    return next((new + name.removeprefix(old) for old, new in prefix_map.items() if name.startswith(old)), name)


def mlp(module: str, stored: str) -> dict[str, str]:
    """Return the names of the three projections of a gated feed-forward network."""
    return {f"{module}.{part}": f"{stored}.{part}" for part in ("gate_proj", "up_proj", "down_proj")}


GATE_UP = Fused(("feed_forward.gate_proj", "feed_forward.up_proj"), "mlp.gate_up_proj")
PROJECTIONS = {f"attention.{part}_proj": f"self_attn.{part}_proj" for part in "qkvo"}

LLAMA_NAMES = TensorNames(
    top_level={EMBEDDING: "model.embed_tokens", "ln_f": "model.norm", "lm_head": "lm_head"},
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
POST_NORM_NAMES = LLAMA_NAMES.override(
    layer={"post_ln_1": "post_attention_layernorm", "post_ln_2": "post_feedforward_layernorm"}
)
EXPERT_NAMES = LLAMA_NAMES.override(
    layer={"feed_forward.router": "mlp.gate"}, experts=mlp("feed_forward.experts", "mlp.experts.{e}")
)
ROUTED_EXPERT_NAMES = EXPERT_NAMES.override(
    layer=mlp("feed_forward.shared_experts", "mlp.shared_experts"),
    tensors=(Fused(("feed_forward.router.score_correction",), "mlp.gate.e_score_correction_bias"),),  # router bias
)
MIXTRAL_EXPERTS = {
    "feed_forward.experts.gate_proj": "block_sparse_moe.experts.{e}.w1",
    "feed_forward.experts.up_proj": "block_sparse_moe.experts.{e}.w3",
    "feed_forward.experts.down_proj": "block_sparse_moe.experts.{e}.w2",
}
BLOOM_LAYER = {
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
    "feed_forward.up_proj": "mlp.dense_h_to_4h",
    "feed_forward.down_proj": "mlp.dense_4h_to_h",
}
"""Modules of a layer outside its attention, as in Megatron-LM; BLOOM, Falcon and GPT-NeoX share them."""

BLOOM_NAMES = TensorNames(
    top_level={
        EMBEDDING: "transformer.word_embeddings",
        "embedding.norm": "transformer.word_embeddings_layernorm",
        "ln_f": "transformer.ln_f",
        "lm_head": "lm_head",
    },
    prefix="transformer.h.{i}.",
    layer={**BLOOM_LAYER, "attention.o_proj": "self_attention.dense"},
    fused=(Fused(QKV, "self_attention.query_key_value", TensorLayout.by_group),),
)
