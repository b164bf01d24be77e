"""The block ``layers``: named kinds of layers, and the order in which the layers of a model follow each other."""

# no deferred annotations, as in config.blocks

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import PydanticCustomError

from tinylm_cli.config.base import KIND_NAME, Block, HeadCount, HiddenSize, optional
from tinylm_cli.config.blocks import Norm, Position, ResidualBlock
from tinylm_cli.config.feed_forward import FeedForward
from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.mixers.attention import Attention
from tinylm_cli.config.mixers.gated_deltanet import GatedDeltaNet
from tinylm_cli.config.mixers.kimi_delta_attention import KimiDeltaAttention
from tinylm_cli.config.mixers.lightning_attention import LightningAttention
from tinylm_cli.config.mixers.mamba import Mamba
from tinylm_cli.config.mixers.mamba2 import Mamba2
from tinylm_cli.config.mixers.mlstm import Mlstm
from tinylm_cli.config.mixers.rg_lru import RgLru
from tinylm_cli.config.mixers.rwkv import Rwkv
from tinylm_cli.config.mixers.short_conv import ShortConv

MAX_SEQUENCE = 4096
"""Maximum number of layers that a sequence of kinds lists."""

MAX_KINDS = 64

_ITEM = rf"(?:[1-9][0-9]{{0,3}} +)?{KIND_NAME}"
_ITEMS = rf"{_ITEM}(?: *, *{_ITEM})*"
_PART = rf"(?:[1-9][0-9]{{0,3}} +)?(?:{KIND_NAME}|\( *{_ITEMS} *\))"
_SEQUENCE = rf"{_PART}(?: *, *{_PART})*"
_TOKENS = re.compile(rf"(?:([0-9]+) +)?(?:({KIND_NAME})|\(([^()]*)\))")


def read_sequence(text: str) -> tuple[str, ...]:
    """Return the kind of each layer of a valid sequence, such as ``3 linear, full`` or ``2 (linear, full), linear``."""
    return tuple(name for repeats, items in _parts(text) for count, name in items * repeats for _ in range(count))


def _parts(text: str) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Yield each part of a sequence: how often it repeats, and its counts and names."""
    for count, name, group in _TOKENS.findall(text):
        if name:
            yield 1, [(int(count or 1), name)]
        else:
            yield int(count or 1), [(int(inner or 1), kind) for inner, kind, _ in _TOKENS.findall(group)]


def _checked_sequence(text: str) -> str:
    length = sum(repeats * sum(count for count, _ in items) for repeats, items in _parts(text))
    if length > MAX_SEQUENCE:
        raise PydanticCustomError("sequence_length", "lists {n} layers", {"n": length})
    return text


Sequence = Annotated[
    str,
    Field(max_length=65_536, pattern=f"^{_SEQUENCE}$"),
    AfterValidator(_checked_sequence),
    FieldType("sequence", f"text that lists at most {MAX_SEQUENCE:,} layers, such as 3 local, full"),
]


class LayerKind(Block):
    """The fields in which a kind of layers differs from the rest of the config.

    Only the fields that are set count: a field that is set to its default differs from one that is not set, which has
    the value of the rest of the config.
    """

    n_heads: HeadCount = Field(1, examples=[4], description="Attention heads of these layers.")
    d_ff: HiddenSize = Field(1, examples=[512], description="Hidden size of their feed-forward network.")
    position: Position = Field(Position.model_construct(), description="Fields of position that differ.")
    norm: Norm = Field(Norm.model_construct(), description="Fields of norm that differ.")
    attention: Attention = Field(Attention.model_construct(), description="Fields of attention that differ.")
    short_conv: ShortConv = Field(ShortConv.model_construct(), description="Fields of short_conv that differ.")
    mamba: Mamba = Field(Mamba.model_construct(), description="Fields of mamba that differ.")
    mamba2: Mamba2 = Field(Mamba2.model_construct(), description="Fields of mamba2 that differ.")
    gated_deltanet: GatedDeltaNet = Field(
        GatedDeltaNet.model_construct(), description="Fields of gated_deltanet that differ."
    )
    kimi_delta_attention: KimiDeltaAttention = Field(
        KimiDeltaAttention.model_construct(), description="Fields of kimi_delta_attention that differ."
    )
    lightning_attention: LightningAttention = Field(
        LightningAttention.model_construct(), description="Fields of lightning_attention that differ."
    )
    mlstm: Mlstm = Field(Mlstm.model_construct(), description="Fields of mlstm that differ.")
    rg_lru: RgLru = Field(RgLru.model_construct(), description="Fields of rg_lru that differ.")
    rwkv: Rwkv = Field(Rwkv.model_construct(), description="Fields of rwkv that differ.")
    feed_forward: FeedForward = Field(FeedForward.model_construct(), description="Fields of feed_forward that differ.")
    block: ResidualBlock = Field(ResidualBlock.model_construct(), description="Fields of block that differ.")

    def overrides(self) -> dict[str, Any]:
        """Return the fields that are set, by dotted name."""
        given: dict[str, Any] = {}
        for name in sorted(self.model_fields_set):
            value = getattr(self, name)
            if isinstance(value, Block):
                given |= {f"{name}.{inner}": getattr(value, inner) for inner in sorted(value.model_fields_set)}
            else:
                given[name] = value
        return given

    def __eq__(self, other: object) -> bool:
        """Return whether the same fields are set to the same values."""
        return isinstance(other, LayerKind) and self.overrides() == other.overrides()

    def __hash__(self) -> int:
        """Return a hash of the fields that are set."""
        return hash(tuple(self.overrides().items()))

    def __repr_args__(self) -> list[tuple[str, Any]]:
        """Return the fields that are set, for ``repr``."""
        return list(self.overrides().items())

    @model_serializer(mode="wrap")
    def _dump_overrides(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = {}
        for name, value in dump(self).items():
            if name in self.model_fields_set:
                block = getattr(self, name)
                is_block = isinstance(block, Block)
                given = block.model_fields_set if is_block else ()
                dumped[name] = {inner: value[inner] for inner in value if inner in given} if is_block else value
        return dumped


class Layers(Block):
    """Layers that differ: named kinds, and the order in which they follow each other."""

    pattern: Sequence | None = optional(
        "3 local, full",
        "Kinds of the layers in order, with counts and brackets; repeated over the layers that first and last leave.",
    )
    first: Sequence | None = optional("3 dense", "Kinds of the first layers, before the pattern.")
    last: Sequence | None = optional("2 local", "Kinds of the last layers, after the pattern.")
    kinds: Annotated[
        dict[Annotated[str, Field(pattern=f"^{KIND_NAME}$")], LayerKind],
        Field(max_length=MAX_KINDS),
        FieldType("kinds", f"a mapping of at most {MAX_KINDS} names to the fields of their layers"),
    ] = Field(
        {},
        examples=[{"local": {}, "full": {}}],
        description="The fields of each kind that differ from those of the config, such as local: {attention:"
        " {window: 1024}}; null removes an optional field, such as n_experts.",
    )

    def __hash__(self) -> int:
        """Return a hash; the order of the kinds does not matter."""
        return hash((self.first, self.pattern, self.last, frozenset(self.kinds.items())))

    @property
    def names(self) -> set[str]:
        """The kinds that the sequences list."""
        return {name for text in (self.first, self.pattern, self.last) if text for name in read_sequence(text)}


def flatten_kinds(kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that all kinds set, by full name such as ``layers.kinds.full.norm.eps``; {} for no fields."""
    flat: dict[str, Any] = {}
    for name, overrides in overrides_by_kind(kinds).items():
        kind = f"layers.kinds.{name}"
        flat |= {f"{kind}.{field}": value for field, value in overrides.items()} or {kind: {}}
    return flat


def overrides_by_kind(kinds: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fields that each kind sets, by dotted name, from the value of ``layers.kinds`` as plain data."""
    return {name: LayerKind.model_validate(kind).overrides() for name, kind in kinds.items()}
