"""The schema of a model config: eight sizes and switches, blocks for what varies, labels and a budget.

A config that names none of the blocks is exactly the course's model.
"""

# no deferred annotations, as in config.blocks

from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tinylm_cli.config.base import (
    MAX_N_LAYERS,
    MAX_VOCAB_SIZE,
    WITH_ATTENTION,
    Block,
    Dim,
    HeadCount,
    HiddenSize,
    Length,
    optional,
)
from tinylm_cli.config.blocks import BLOCKS, Embedding, Head, Norm, Position, ResidualBlock
from tinylm_cli.config.budget import Budget
from tinylm_cli.config.feed_forward import FeedForward
from tinylm_cli.config.field_types import ParameterCount, Prose, Title
from tinylm_cli.config.layer_rules import broken_rules_of_model
from tinylm_cli.config.layers import Layers
from tinylm_cli.config.loop import Loop
from tinylm_cli.config.mixers.attention import LATENT_D_VALUE, Attention
from tinylm_cli.config.mixers.gated_deltanet import GatedDeltaNet
from tinylm_cli.config.mixers.kimi_delta_attention import KimiDeltaAttention
from tinylm_cli.config.mixers.lightning_attention import LightningAttention
from tinylm_cli.config.mixers.mamba import DT_RANK_DIVISOR, Mamba
from tinylm_cli.config.mixers.mamba2 import EXPAND, Mamba2
from tinylm_cli.config.mixers.mlstm import Mlstm
from tinylm_cli.config.mixers.rg_lru import RgLru
from tinylm_cli.config.mixers.rwkv import Rwkv
from tinylm_cli.config.mixers.short_conv import ShortConv
from tinylm_cli.config.storage import Storage

LABELS = frozenset(
    {
        *("name", "description", "nominal_params"),
        *(f"budget.{name}" for name in Budget.model_fields),
        *(f"storage.{name}" for name in Storage.model_fields),
    }
)
"""Fields that do not change the model: its name, its nominal size, its budget and the storage of its weights."""


class ModelConfig(Block):
    """A decoder-only transformer language model.

    Raises:
        pydantic.ValidationError: If a field is missing, unknown, of the wrong type or out of bounds, or if fields
            contradict each other; the message names every field involved.
    """

    name: Title | None = optional("my-model", "Name of the model in every report; default: the file's name.")
    description: Prose | None = optional("A baseline.", "A note for readers; no effect on the model.")

    vocab_size: int = Field(
        ge=1,
        le=MAX_VOCAB_SIZE,
        examples=[256],
        description="Vocabulary size: rows of the embedding table and of the LM head.",
    )
    d_model: Dim = Field(examples=[128], description="Hidden size: the width of the residual stream.")
    n_heads: HeadCount = Field(
        examples=[4], description="Attention heads per layer; must divide d_model unless attention.d_head is set."
    )
    n_layers: int = Field(ge=1, le=MAX_N_LAYERS, examples=[4], description="Transformer layers.")
    d_ff: HiddenSize = Field(
        examples=[512], description="Hidden size of the feed-forward network, usually 4 × d_model."
    )
    max_len: Length = Field(1024, description="Context length in tokens.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout probability in training; 0 disables dropout.")
    tie_weights: bool = Field(
        True,
        description="Tie the LM head to the token embedding, which saves vocab_size × d_model parameters; if"
        " head.kind is not lm, the default is false, and true is an error.",
    )

    embedding: Embedding = Field(Embedding.model_construct(), description="The token embedding.")
    position: Position = Field(Position.model_construct(), description="The position encoding.")
    norm: Norm = Field(Norm.model_construct(), description="The norms of each layer and the final norm.")
    attention: Attention = Field(Attention.model_construct(), description="Causal self-attention.")
    short_conv: ShortConv = Field(ShortConv.model_construct(), description="Gated short convolution.")
    mamba: Mamba = Field(Mamba.model_construct(), description="Mamba, a selective state-space model.")
    mamba2: Mamba2 = Field(Mamba2.model_construct(), description="Mamba-2, a state-space model.")
    gated_deltanet: GatedDeltaNet = Field(
        GatedDeltaNet.model_construct(), description="Gated DeltaNet, a linear attention."
    )
    kimi_delta_attention: KimiDeltaAttention = Field(
        KimiDeltaAttention.model_construct(), description="Kimi delta attention, a linear attention."
    )
    lightning_attention: LightningAttention = Field(
        LightningAttention.model_construct(), description="Lightning attention, a linear attention."
    )
    mlstm: Mlstm = Field(Mlstm.model_construct(), description="mLSTM, a linear attention.")
    rg_lru: RgLru = Field(RgLru.model_construct(), description="RG-LRU, a gated linear recurrence.")
    rwkv: Rwkv = Field(Rwkv.model_construct(), description="RWKV-4's time mixing, a linear attention.")
    feed_forward: FeedForward = Field(
        FeedForward.model_construct(), description="The feed-forward network (MLP), or a mixture of experts."
    )
    block: ResidualBlock = Field(
        ResidualBlock.model_construct(), description="The parts of a layer and their residual connections."
    )
    loop: Loop = Field(Loop.model_construct(), description="Layers that run several times for each token.")
    head: Head = Field(Head.model_construct(), description="The head: the LM head, a classification head, or none.")
    layers: Layers = Field(Layers.model_construct(), description="Layers that differ: their kinds and their order.")

    storage: Storage = Field(
        Storage.model_construct(),
        description="How a checkpoint stores the weights, which serving uses; no effect on the model.",
    )

    nominal_params: ParameterCount | None = optional(
        "125M", "Nominal size, e.g. 125M; reports compare it with the exact count."
    )
    budget: Budget = Field(
        Budget.model_construct(),
        description="Limits on the cost of the model, which validation checks; no effect on the model.",
    )

    def __hash__(self) -> int:
        """Return a hash of all fields, computed once: caches look a config up thousands of times."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, name) for name in type(self).model_fields))

    def __copy__(self) -> Self:
        """Return a copy without the cached hash, because ``model_copy`` changes fields of it."""
        copied = super().__copy__()
        copied.__dict__.pop("_hash", None)
        return copied

    @property
    def d_head(self) -> int:
        """Query and key dimensions per head; in latent attention, d_nope + d_rope."""
        if self.attention.kind == "latent":
            return self.attention.d_nope + self.attention.d_rope
        return self.attention.d_head or self.d_model // self.n_heads

    @property
    def d_attention_input(self) -> int:
        """Dimensions that attention reads: in a shared block, hidden states and token embeddings, concatenated."""
        return 2 * self.d_model if self.block.has_shared_block else self.d_model

    @property
    def d_value(self) -> int:
        """Value dimensions of a head; in differential attention, the dimensions of two KV heads."""
        return 2 * self.d_head if self.attention.differential else self.d_value_per_kv_head

    @property
    def d_value_per_kv_head(self) -> int:
        """Value dimensions of a KV head."""
        latent = self.attention.kind == "latent"
        return self.attention.d_value or (LATENT_D_VALUE if latent else self.d_head)

    @property
    def n_kv_heads(self) -> int:
        """KV heads."""
        return self.attention.n_kv_heads or self.n_heads

    @property
    def attention_top_k(self) -> int:
        """Experts of attention that a token selects, each of n_kv_heads heads."""
        return self.n_heads // self.n_kv_heads

    @property
    def mamba_d_inner(self) -> int:
        """Inner dimensions of a Mamba layer."""
        return self.mamba.d_inner or EXPAND * self.d_model

    @property
    def mamba_dt_rank(self) -> int:
        """Rank of the step size of a Mamba layer."""
        return self.mamba.dt_rank or -(-self.d_model // DT_RANK_DIVISOR)

    @property
    def rg_lru_d_inner(self) -> int:
        """Inner dimensions of an RG-LRU layer."""
        return self.rg_lru.d_inner or self.d_model

    @property
    def rwkv_d_inner(self) -> int:
        """Inner dimensions of an RWKV layer."""
        return self.rwkv.d_inner or self.d_model

    @property
    def mamba2_heads(self) -> int:
        """Heads of a Mamba-2 layer, which together have n_heads × d_head dimensions."""
        return self.mamba2.n_heads or EXPAND * self.d_model // self.mamba2.d_head

    @property
    def gated_deltanet_key_heads(self) -> int:
        """Query and key heads of a gated DeltaNet layer."""
        return self.gated_deltanet.n_key_heads or self.d_model // self.gated_deltanet.d_key

    @property
    def gated_deltanet_value_heads(self) -> int:
        """Value heads of a gated DeltaNet layer."""
        return self.gated_deltanet.n_value_heads or self.gated_deltanet_key_heads

    @property
    def kimi_delta_attention_heads(self) -> int:
        """Heads of a layer of Kimi delta attention."""
        return self.kimi_delta_attention.n_heads or self.d_model // self.kimi_delta_attention.d_head

    @property
    def lightning_attention_heads(self) -> int:
        """Heads of a layer of lightning attention."""
        return self.lightning_attention.n_heads or self.d_model // self.lightning_attention.d_head

    @property
    def mlstm_heads(self) -> int:
        """Heads of an mLSTM layer."""
        return self.mlstm.n_heads or self.d_model // self.mlstm.d_value

    @property
    def per_layer_rows(self) -> int:
        """Rows of the table of per-layer embeddings."""
        return self.embedding.per_layer_vocab_size or self.vocab_size

    @property
    def embedding_rows(self) -> int:
        """Rows of the token embedding and of an LM head: vocab_size for each codebook."""
        return self.embedding.n_codebooks * self.vocab_size

    def tokens_shape(self, batch_size: int, seq_len: int) -> tuple[int, ...]:
        """Return the shape of token ids: (B, T), or (B, T, C) with several codebooks."""
        n_codebooks = self.embedding.n_codebooks
        return (batch_size, seq_len) if n_codebooks == 1 else (batch_size, seq_len, n_codebooks)

    @property
    def d_expert(self) -> int:
        """Hidden size of one expert."""
        return self.feed_forward.d_expert or self.d_ff

    @property
    def d_routed(self) -> int:
        """Width of the vectors that routed experts read and write."""
        return self.feed_forward.d_latent or self.d_model

    @property
    def d_shared_experts(self) -> int:
        """Hidden size of the network of all shared experts; 0 without them."""
        return self.feed_forward.n_shared_experts * (self.feed_forward.d_shared_expert or self.d_expert)

    @property
    def has_lm_head(self) -> bool:
        """Whether the model predicts next tokens."""
        return self.head.kind == "lm"

    @property
    def n_outputs(self) -> int:
        """Outputs of the head at each position: logits of each codebook, scores of n_labels, or 0 without a head."""
        if self.has_lm_head:
            return self.embedding_rows
        return 0 if self.head.kind == "none" else self.head.n_labels

    @model_validator(mode="before")
    @classmethod
    def _untied_without_lm_head(cls, values: Any) -> Any:
        """Set tie_weights, if absent, to false in a model without an LM head."""
        if not isinstance(values, dict) or "tie_weights" in values:
            return values
        head = values.get("head")
        kind = head.get("kind") if isinstance(head, dict) else getattr(head, "kind", None)
        return values if kind in (None, "lm") else {**values, "tie_weights": False}

    @model_validator(mode="before")
    @classmethod
    def _sizes_without_use(cls, values: Any) -> Any:
        """Set n_heads and d_ff, if absent, to 1 in a model without attention or without feed-forward networks."""
        if not isinstance(values, dict):
            return values
        absent = [name for name, block, needed in _USED_BY if name not in values and not _uses(values, block, needed)]
        return {**values, **dict.fromkeys(absent, 1)}

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        problems = list(broken_rules_of_model(flatten(self.model_dump())))
        if problems:
            text = "; ".join(f"{problem.message} ({problem.help})" for problem in problems)
            raise PydanticCustomError("fields_disagree", "{text}", {"text": text})
        return self


_USED_BY: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("n_heads", "mixer", WITH_ATTENTION),
    ("d_ff", "feed_forward", (True,)),
)
"""The sizes that a model needs only if a field of ``block`` has one of some values; the first is its default."""


def _uses(values: dict[str, Any], field: str, needed: tuple[object, ...]) -> bool:
    """Return whether the layers of a config, or of one of its kinds, have one of the ``needed`` values of a field."""
    layers = values.get("layers")
    kinds = layers.get("kinds") if isinstance(layers, dict) else None
    own = list(kinds.values()) if isinstance(kinds, dict) else []
    blocks = [each.get("block") for each in (values, *own) if isinstance(each, dict)]
    found = [block[field] for block in blocks if isinstance(block, dict) and field in block]
    is_default = not (isinstance(blocks[0], dict) and field in blocks[0])
    return is_default or any(value in needed for value in found)


def flatten(values: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"norm": {"eps": 1e-5}, …}`` as ``{"norm.eps": 1e-5, …}``, one level deep, in the same order."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if (key in BLOCKS or key == "layers") and isinstance(value, dict):
            flat.update({f"{key}.{inner}": inner_value for inner, inner_value in value.items()})
        else:
            flat[key] = value
    return flat


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a config file; it omits the rules between fields, which ``tinylm validate`` checks."""
    schema = ModelConfig.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "required": [name for name in schema["required"] if name not in dict(each[:2] for each in _USED_BY)],
        "allOf": [
            {
                "if": {"properties": {"block": {"properties": {field: {"enum": list(needed)}}}}},
                "then": {"required": [name]},
            }
            for name, field, needed in _USED_BY
        ],
        "title": "tinylm model config",
        "description": "A decoder-only transformer language model.",
    }
