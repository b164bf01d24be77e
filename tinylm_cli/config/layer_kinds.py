"""The kinds of layers in a model: one config for each kind, and the pattern in which they follow each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from tinylm_cli.config.blocks import BLOCKS, Position
from tinylm_cli.config.dependencies import REQUIREMENTS, apply_overrides, defaults
from tinylm_cli.config.feed_forward import FeedForward
from tinylm_cli.config.layers import Layers, read_sequence
from tinylm_cli.config.requirements import EXPERTS
from tinylm_cli.config.schema import ModelConfig, flatten


class Stretch(NamedTuple):
    """Consecutive layers whose kinds repeat with a period."""

    layers: range
    cycle: tuple[int, ...]  # the kind of each layer of one period, from the first layer on: indices of the kinds


@dataclass(frozen=True, eq=False)
class LayerPattern:
    """The config of each layer; layers with equal configs are of one kind.

    The config of a kind describes a model with layers of that kind only: it has the fields of these layers, and no
    field that selects layers, such as ``attention.window_pattern``. Only ``attention.kv_from`` refers to another kind,
    by its name in ``names``.

    Attributes:
        kinds: The config of each kind, in the order in which the kinds first occur.
        names: The name that ``layers.kinds`` gives each kind; empty for a config without names.
        stretches: The layers in order, at most one stretch for each part of the pattern.
    """

    kinds: tuple[ModelConfig, ...]
    names: tuple[str, ...]
    stretches: tuple[Stretch, ...]

    def __iter__(self) -> Iterator[ModelConfig]:
        """Yield the config of each layer in order."""
        for layers, cycle in self.stretches:
            configs = [self.kinds[kind] for kind in cycle]
            for index in range(len(layers)):
                yield configs[index % len(cycle)]

    def kind(self, layer: int) -> int:
        """Return the kind of ``layer`` as an index into ``kinds``."""
        stretch = next(stretch for stretch in self.stretches if layer in stretch.layers)
        return stretch.cycle[(layer - stretch.layers.start) % len(stretch.cycle)]


def mtp_layer(config: ModelConfig) -> ModelConfig:
    """Return the config of the layer in each multi-token prediction module: the config of the last layer."""
    pattern = layer_pattern(config)
    return pattern.kinds[pattern.kind(config.n_layers - 1)]


@lru_cache(maxsize=256)
def without_mtp(config: ModelConfig) -> ModelConfig:
    """Return the config without its multi-token prediction modules: inference does not run them."""
    if not config.head.n_mtp_layers:
        return config
    return config.model_copy(update={"head": config.head.model_copy(update={"n_mtp_layers": 0})})


T = TypeVar("T")

LOCAL, GLOBAL = "L", "G"
"""Letters of ``attention.window_pattern``."""

_Kind = tuple[str, bool]
"""The letter of a layer in the window pattern, and whether it is dense in a model with experts."""


@lru_cache(maxsize=256)
def layer_pattern(config: ModelConfig) -> LayerPattern:
    """Return the config of each layer of a model, in time and memory that do not depend on the number of layers."""
    if config.layers.kinds:
        return _named_pattern(config)
    attention, feed_forward = config.attention, config.feed_forward
    letters = LOCAL if attention.window is None else attention.window_pattern
    n_dense = min(feed_forward.n_dense_layers, config.n_layers) if feed_forward.n_experts is not None else 0
    sequences = []
    for layers, is_dense in ((range(n_dense), True), (range(n_dense, config.n_layers), False)):
        start = layers.start % len(letters)
        cycle = (letters[start:] + letters[:start])[: len(layers)]
        sequences.append((layers, tuple((letter, is_dense) for letter in cycle)))
    kinds = {kind: _kind_config(config, kind[0], is_dense=kind[1]) for _, cycle in sequences for kind in cycle}
    return _pattern(sequences, kinds, dict.fromkeys(kinds, ""))


def _named_pattern(config: ModelConfig) -> LayerPattern:
    """Return the pattern of a config with the block ``layers``."""
    first, cycle, last = (
        read_sequence(text or "") for text in (config.layers.first, config.layers.pattern, config.layers.last)
    )
    stop = config.n_layers - len(last)
    sequences = [
        (range(len(first)), first),
        (range(len(first), stop), cycle),
        (range(stop, config.n_layers), last),
    ]
    names = dict.fromkeys(name for _, sequence in sequences for name in sequence)
    kinds = {name: _named_kind_config(config, name) for name in names}
    return _pattern(sequences, kinds, {name: name for name in names})


@lru_cache(maxsize=256)
def kv_sources(config: ModelConfig) -> Mapping[int, int]:
    """Return the layer whose keys and values each layer with ``attention.kv_from`` attends to, in order."""
    pattern = layer_pattern(config)
    read = {kind.attention.kv_from for kind in pattern.kinds}
    found: dict[int, int] = {}
    if read == {None}:
        return found
    latest: dict[str, int] = {}
    for layer in range(config.n_layers):
        index = pattern.kind(layer)
        source = pattern.kinds[index].attention.kv_from
        if source is not None:
            found[layer] = latest[source]
        elif pattern.names[index] in read:
            latest[pattern.names[index]] = layer
    return found


@lru_cache(maxsize=256)
def index_sources(config: ModelConfig) -> Mapping[int, int]:
    """Return the layer whose selected positions each layer with ``attention.index_shared`` attends to, in order."""
    pattern = layer_pattern(config)
    found: dict[int, int] = {}
    if not any(kind.attention.index_shared for kind in pattern.kinds):
        return found
    latest = 0
    for layer in range(config.n_layers):
        kind = pattern.kinds[pattern.kind(layer)]
        if kind.attention.index_shared:
            found[layer] = latest
        elif "attention" in kind.block.mixers and kind.attention.has_indexer:
            latest = layer
    return found


class LayerRead(NamedTuple):
    """What a layer computes and later layers read, besides hidden states."""

    field: str  # the dotted field that says so
    what: str  # in words, to follow "whose"
    source: int  # the layer that computes it
    last_reader: int


@lru_cache(maxsize=256)
def layer_reads(config: ModelConfig) -> tuple[LayerRead, ...]:
    """Return what layers read of earlier layers, in the order of the sources of each field."""
    found: dict[tuple[str, int], LayerRead] = {}
    for field, what, sources in (
        ("attention.kv_from", "keys and values", kv_sources(config)),
        ("attention.index_shared", "selected positions", index_sources(config)),
        ("feed_forward.shortcut", "experts' output", _shortcut_sources(config)),
    ):
        for layer, source in sources.items():
            found[field, source] = LayerRead(field, what, source, layer)
    return tuple(found.values())


def _shortcut_sources(config: ModelConfig) -> Mapping[int, int]:
    """Return the layer whose experts add to the output of each layer after it."""
    pattern = layer_pattern(config)
    if not any(kind.feed_forward.shortcut for kind in pattern.kinds):
        return {}
    with_shortcut = (each for each in range(config.n_layers) if pattern.kinds[pattern.kind(each)].feed_forward.shortcut)
    return {layer + 1: layer for layer in with_shortcut}


@lru_cache(maxsize=256)
def shared_blocks(config: ModelConfig) -> Mapping[str, ModelConfig]:
    """Return the name of each shared transformer block, and the config of the first kind of layers that uses it."""
    found: dict[str, ModelConfig] = {}
    for kind in layer_pattern(config).kinds:
        if kind.block.has_shared_block:
            found.setdefault(kind.block.shared_block, kind)
    return found


def _pattern(
    sequences: Iterable[tuple[range, tuple[T, ...]]], configs: Mapping[T, ModelConfig], names: Mapping[T, str]
) -> LayerPattern:
    """Return the pattern of ranges of layers; a sequence of kinds repeats over each range."""
    indices: dict[ModelConfig, int] = {}
    first_names: list[str] = []
    for kind, kind_config in configs.items():
        if kind_config not in indices:
            indices[kind_config] = len(indices)
            first_names.append(names[kind])
    index_of = {kind: indices[kind_config] for kind, kind_config in configs.items()}
    stretches = (
        Stretch(layers, shortest_period(tuple(index_of[kind] for kind in cycle)))
        for layers, cycle in sequences
        if layers
    )
    return LayerPattern(kinds=tuple(indices), names=tuple(first_names), stretches=tuple(stretches))


def valid_layer_counts(config: ModelConfig, most: int) -> range:
    """Return the values of n_layers up to ``most`` that are valid with the other fields of the config.

    A pattern of named kinds repeats a whole number of times. Leading dense layers are followed by one with experts. A
    loop has a layer between prelude and coda, or one in each of its modules.
    """
    layers, loop = config.layers, config.loop
    least = 1 if loop.n_loops is None else loop.n_prelude_layers + (loop.n_low_layers or 0) + 1 + loop.n_coda_layers
    if layers.kinds:
        ends = len(read_sequence(layers.first or "")) + len(read_sequence(layers.last or ""))
        period = len(read_sequence(layers.pattern or ""))
        if not period:
            return range(ends, ends + 1)
        return range(ends + period * max(1, -(-(least - ends) // period)), most + 1, period)
    n_dense_layers = config.feed_forward.n_dense_layers if config.feed_forward.n_experts is not None else 0
    return range(max(n_dense_layers + 1, least), most + 1)


def shortest_period(cycle: tuple[T, ...]) -> tuple[T, ...]:
    """Return the shortest sequence whose repetition is ``cycle``."""
    lengths = (length for length in range(1, len(cycle) + 1) if len(cycle) % length == 0)
    return next(cycle[:length] for length in lengths if cycle[:length] * (len(cycle) // length) == cycle)


def repeated_prefix(kinds: Sequence[T]) -> Sequence[T]:
    """Return the shortest prefix of ``kinds`` whose repetition, perhaps cut short, gives ``kinds``."""
    # the longest proper prefix that is also a suffix, by Knuth, Morris and Pratt 1977
    border = [0] * len(kinds)
    for i in range(1, len(kinds)):
        k = border[i - 1]
        while k and kinds[i] != kinds[k]:
            k = border[k - 1]
        border[i] = k + 1 if kinds[i] == kinds[k] else 0
    return kinds[: len(kinds) - border[-1]]


def _kind_config(config: ModelConfig, letter: str, *, is_dense: bool) -> ModelConfig:
    """Return the config of the layers with this letter of the window pattern, dense or not."""
    attention, position, feed_forward = config.attention, config.position, config.feed_forward
    local_theta = position.local_theta
    if letter == GLOBAL:
        attention = attention.model_copy(update={"window": None, "chunked": False})
    elif local_theta is not None:  # RoPE scaling does not affect layers with another theta
        rope = {name: getattr(position, name) for name in ("kind", "rotary_fraction", "proportional", "pairing")}
        position = Position(theta=local_theta, **rope)
    if is_dense:
        feed_forward = FeedForward(**{name: value for name, value in feed_forward if not _needs_experts(name)})
    update = {
        "attention": attention.model_copy(update={"window_pattern": defaults()["attention.window_pattern"]}),
        "position": position.model_copy(update={"local_theta": None}),
        "feed_forward": feed_forward.model_copy(update={"n_dense_layers": 0}),
    }
    return config.model_copy(update=update)


def _named_kind_config(config: ModelConfig, name: str) -> ModelConfig:
    """Return the config of the layers of the kind ``name`` of the block ``layers``."""
    values = apply_overrides(flatten(config.model_dump()), config.layers.kinds[name].overrides())
    update: dict[str, Any] = {key: values[key] for key in ("n_heads", "d_ff")}
    for block in BLOCKS:
        part = getattr(config, block)
        update[block] = part.model_copy(update={inner: values[f"{block}.{inner}"] for inner in type(part).model_fields})
    return config.model_copy(update={**update, "layers": Layers()})


def _needs_experts(name: str) -> bool:
    return name == "n_experts" or EXPERTS in REQUIREMENTS.get(f"feed_forward.{name}", ())
