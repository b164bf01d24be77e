"""Sets of layers, and groups of layers with equal cost, counted without iterating over layers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import NamedTuple

from tinylm_cli.analysis.loop import loop_parts, passes
from tinylm_cli.config.blocks import Position
from tinylm_cli.config.layer_kinds import LayerPattern, layer_pattern, shortest_period
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.quantities import index_ranges

MAX_LISTED_RANGES = 16
"""Ranges of layers whose steps are compared before a list of more is shortened."""

MAX_RUN_ENDS = 32
"""Maximum number of ends of runs in a period that a search for a peak tries."""


@dataclass(frozen=True)
class RepeatedLayers:
    """The layers of a range that are at certain offsets of a period.

    Attributes:
        start: First layer of the range.
        stop: Layer after the range.
        period: Length of the period.
        offsets: Ascending offsets, each below the period.
        origin: A layer at which a period begins, at most ``start``.
    """

    start: int
    stop: int
    period: int
    offsets: tuple[int, ...]
    origin: int

    def __len__(self) -> int:
        """Return the number of layers."""
        return self._rank(self.stop) - self._rank(self.start)

    def __iter__(self) -> Iterator[int]:
        """Yield the layers in order."""
        return map(self._layer, range(self._rank(self.start), self._rank(self.stop)))

    def __contains__(self, layer: int) -> bool:
        """Return whether ``layer`` is one of the layers."""
        return self.start <= layer < self.stop and (layer - self.origin) % self.period in self.offsets

    @property
    def first(self) -> int:
        """The first layer; there must be one."""
        return self._layer(self._rank(self.start))

    @property
    def last(self) -> int:
        """The last layer; there must be one."""
        return self._layer(self._rank(self.stop) - 1)

    def run_ends(self) -> set[int]:
        """Return the first and the last layer of each run of consecutive layers, in the first and the last period.

        Of a long period with many runs, returns only the first and the last layer.
        """
        ends = [each for each in self.offsets if each - 1 not in self.offsets or each + 1 not in self.offsets]
        found = {self.first, self.last}
        if len(self.offsets) < self.period and len(ends) <= MAX_RUN_ENDS:
            for offset in ends:
                one = replace(self, offsets=(offset,))
                found |= {one.first, one.last} if len(one) else set()
        return found

    def shifted(self, by: int) -> RepeatedLayers:
        """Return the layers with ``by`` added to their indices."""
        return replace(self, start=self.start + by, stop=self.stop + by, origin=self.origin + by)

    def within(self, layers: range) -> RepeatedLayers:
        """Return those of the layers that are in a range."""
        start, stop = max(self.start, layers.start), min(self.stop, layers.stop)
        return RepeatedLayers(start, max(start, stop), self.period, self.offsets, self.origin)

    def count(self, layers: range) -> int:
        """Return how many of the layers are in a range."""
        start, stop = max(self.start, layers.start), min(self.stop, layers.stop)
        return self._rank(stop) - self._rank(start) if start < stop else 0

    def _rank(self, layer: int) -> int:
        """Return how many layers from the origin on, and before ``layer``, are at one of the offsets."""
        if self.period == 1:
            return layer - self.origin
        periods, offset = divmod(layer - self.origin, self.period)
        return periods * len(self.offsets) + bisect_left(self.offsets, offset)

    def _layer(self, rank: int) -> int:
        """Return the layer with ``rank`` layers before it; the inverse of :meth:`_rank`."""
        periods, index = divmod(rank, len(self.offsets))
        return self.origin + periods * self.period + self.offsets[index]


@dataclass(frozen=True)
class LayerSet:
    """Layers in ascending order, kept in space that does not depend on their number."""

    parts: tuple[RepeatedLayers, ...]  # in order, none of them empty

    def __len__(self) -> int:
        """Return the number of layers."""
        return self._length

    @cached_property
    def _length(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[int]:
        """Yield the layers in order."""
        return chain.from_iterable(self.parts)

    def __contains__(self, layer: int) -> bool:
        """Return whether ``layer`` is one of the layers."""
        return any(layer in part for part in self.parts)

    @property
    def first(self) -> int:
        """The first layer; there must be one."""
        return self.parts[0].first

    @property
    def last(self) -> int:
        """The last layer; there must be one."""
        return self.parts[-1].last

    def text(self) -> str:
        """Return the layers as ranges: ``0..5``; many are shortened to ``0..4, 6..10, …, 24..25``."""
        ranges = list(islice(self._ranges(), MAX_LISTED_RANGES + 1))
        are_cut = len(ranges) > MAX_LISTED_RANGES
        if are_cut:
            start = self.last
            while start - 1 in self:
                start -= 1
            ranges[-1] = range(start, self.last + 1)
        return index_ranges(ranges, are_cut=are_cut)

    def within(self, layers: range) -> LayerSet:
        """Return those of the layers that are in a range."""
        parts = (part.within(layers) for part in self.parts)
        return LayerSet(tuple(part for part in parts if len(part)))

    def count(self, layers: range) -> int:
        """Return how many of the layers are in a range."""
        return sum(part.count(layers) for part in self.parts)

    @classmethod
    def of(cls, layer: int) -> LayerSet:
        """Return one layer."""
        return cls((RepeatedLayers(layer, layer + 1, 1, (0,), layer),))

    @classmethod
    def union(cls, sets: Iterable[LayerSet]) -> LayerSet:
        """Return the union of disjoint sets of layers of one pattern."""
        offsets: dict[tuple[int, int, int, int], list[int]] = {}
        for part in chain.from_iterable(layers.parts for layers in sets):
            offsets.setdefault((part.start, part.stop, part.period, part.origin), []).extend(part.offsets)
        parts = [RepeatedLayers(*key[:3], tuple(sorted(found)), key[3]) for key, found in sorted(offsets.items())]
        return cls(tuple(parts))

    def _ranges(self) -> Iterator[range]:
        """Yield the maximal ranges of consecutive layers."""
        current = range(0)
        for part in self.parts:
            whole = len(part.offsets) == part.period
            for layers in (range(part.start, part.stop),) if whole else (range(n, n + 1) for n in part):
                if current and layers.start == current.stop:
                    current = range(current.start, layers.stop)
                    continue
                if current:
                    yield current
                current = layers
        yield current


class LayerGroup(NamedTuple):
    """Layers with equal cost."""

    number: int  # its position among the groups of the model
    config: ModelConfig  # the config of each of them
    name: str  # its kinds, or else what only some layers of the model have; empty if all layers cost the same
    layers: LayerSet
    n_passes: int = 1  # how often each of them runs in one forward pass

    @property
    def n_runs(self) -> int:
        """How often they run in one forward pass, all together."""
        return len(self.layers) * self.n_passes


@lru_cache(maxsize=4096)
def group_layers(config: ModelConfig, seq_len: int | None, layers: range | None = None) -> tuple[LayerGroup, ...]:
    """Return the groups of layers with equal cost, in the order in which they first occur.

    Args:
        config: A validated config.
        seq_len: T; a window of T or more counts as no window. None: longer than any window.
        layers: Consecutive layers to group; all of them when None.
    """
    groups = _groups_by_passes(config, seq_len)
    if layers is None:
        return groups
    found = (group._replace(layers=group.layers.within(layers)) for group in groups)
    return tuple(sorted((group for group in found if len(group.layers)), key=lambda group: group.layers.first))


def n_layer_runs(config: ModelConfig, layers: LayerSet) -> int:
    """Return how often some layers run in one forward pass, all together."""
    return sum(layers.count(part.layers) * part.n_passes for part in loop_parts(config))


def layer_runs(config: ModelConfig, layers: LayerSet, *, last_only: bool = False) -> LayerSet:
    """Return the runs of some layers, as :func:`passes` numbers them; with ``last_only``, of their last pass."""
    if config.loop.n_loops is None:
        return layers
    parts = []
    for each in passes(config):
        if not (last_only and each.n_later):
            shift = each.first_run - each.layers.start
            parts += [part.shifted(shift) for part in layers.within(each.layers).parts]
    return LayerSet(tuple(parts))


def kind_names(config: ModelConfig, layers: LayerSet) -> str:
    """Return the names of the kinds of ``layers``, which must contain all layers of a kind or none of them."""
    if not config.layers.kinds:
        return ""
    return " and ".join(group.name for group in _groups(config, None) if group.layers.first in layers)


def groups_within(config: ModelConfig, layers: LayerSet) -> list[LayerGroup]:
    """Return the groups of ``layers``, which must contain all layers of a kind in their range or none of them."""
    groups = group_layers(config, None, range(layers.first, layers.last + 1))
    return [group for group in groups if group.layers.first in layers]


def cost_stretches(config: ModelConfig, seq_len: int) -> Iterator[tuple[range, int]]:
    """Yield the ranges of layers whose costs repeat with a period, and the period of each."""
    pattern = layer_pattern(config)
    costs = [_cost_fields(kind_config, seq_len) for kind_config in pattern.kinds]
    for layers, cycle in pattern.stretches:
        yield layers, len(shortest_period(tuple(costs[kind] for kind in cycle)))


@lru_cache(maxsize=256)
def _groups_by_passes(config: ModelConfig, seq_len: int | None) -> tuple[LayerGroup, ...]:
    """Return the groups of layers with equal cost that run equally often."""
    groups = _groups(config, seq_len)
    if config.loop.n_loops is None:
        return groups
    found: list[LayerGroup] = []
    for n_passes in dict.fromkeys(each.n_passes for each in loop_parts(config)):
        ranges = [each.layers for each in loop_parts(config) if each.n_passes == n_passes]
        passes = (f"{n_passes} passes",) if n_passes > 1 else ()
        for group in groups:
            parts = tuple(part for layers in ranges for part in group.layers.within(layers).parts)
            if parts:
                name = ", ".join((group.name, *passes) if group.name else passes)
                found.append(LayerGroup(0, group.config, name, LayerSet(parts), n_passes))
    found.sort(key=lambda group: group.layers.first)
    return tuple(group._replace(number=number) for number, group in enumerate(found))


@lru_cache(maxsize=256)
def _groups(config: ModelConfig, seq_len: int | None) -> tuple[LayerGroup, ...]:
    pattern = layer_pattern(config)
    kinds_by_cost: dict[ModelConfig, set[int]] = {}
    for kind, kind_config in enumerate(pattern.kinds):
        kinds_by_cost.setdefault(_cost_fields(kind_config, seq_len), set()).add(kind)
    if config.layers.kinds and len(kinds_by_cost) > 1:
        names = [" and ".join(pattern.names[kind] for kind in sorted(kinds)) for kinds in kinds_by_cost.values()]
    else:
        names = list(_names(tuple(kinds_by_cost)))
    return tuple(
        LayerGroup(number, group_config, name, _layers_of(pattern, kinds))
        for number, ((group_config, kinds), name) in enumerate(zip(kinds_by_cost.items(), names, strict=True))
    )


def _cost_fields(config: ModelConfig, seq_len: int | None) -> ModelConfig:
    """Return the config of a kind of layers without the fields that do not change the cost of a layer."""
    attention, position = config.attention, config.position
    if attention.window is not None and seq_len is not None and attention.window >= seq_len:
        attention = attention.model_copy(update={"window": None, "chunked": False})
    rope = {name: getattr(position, name) for name in ("rotary_fraction", "proportional")}
    position = Position(kind=position.kind, **rope)  # no bases, no scaling
    return config.model_copy(update={"attention": attention, "position": position})


def _names(configs: tuple[ModelConfig, ...]) -> Iterator[str]:
    """Yield the properties of each config that only some of the configs have: ``window 4096, experts``."""
    windows = {(config.attention.window, config.attention.chunked) for config in configs}
    with_experts = {config.feed_forward.n_experts is not None for config in configs}
    for config in configs:
        window, experts = config.attention.window, config.feed_forward.n_experts
        local = f"chunks of {window}" if config.attention.chunked else f"window {window}"
        parts = ["full attention" if window is None else local] if len(windows) > 1 else []
        parts += ["dense" if experts is None else "experts"] if len(with_experts) > 1 else []
        yield ", ".join(parts)


def _layers_of(pattern: LayerPattern, kinds: set[int]) -> LayerSet:
    """Return all layers of some kinds."""
    parts = []
    for layers, cycle in pattern.stretches:
        offsets = tuple(offset for offset, kind in enumerate(cycle) if kind in kinds)
        if offsets:
            parts.append(RepeatedLayers(layers.start, layers.stop, len(cycle), offsets, layers.start))
    return LayerSet(tuple(parts))
