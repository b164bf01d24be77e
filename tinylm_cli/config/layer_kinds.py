"""The kinds of layers in a model: one config for each kind, and the pattern in which they follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from tinylm_cli.config.blocks import EXPERTS, FeedForward, Position
from tinylm_cli.config.dependencies import REQUIREMENTS, defaults
from tinylm_cli.config.schema import ModelConfig


class Stretch(NamedTuple):
    """Consecutive layers whose kinds repeat with a period."""

    layers: range
    cycle: tuple[int, ...]  # the kind of each layer of one period, from the first layer on: indices of the kinds


@dataclass(frozen=True, eq=False)
class LayerPattern:
    """The config of each layer; layers with equal configs are of one kind.

    The config of a kind describes a model all of whose layers are of that kind: its fields are those that the layers
    have, and none of them selects layers, as ``attention.window_pattern`` does.

    Attributes:
        kinds: The config of each kind, in the order in which the kinds first occur.
        stretches: The layers in order, at most one stretch for each part of the pattern.
    """

    kinds: tuple[ModelConfig, ...]
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


T = TypeVar("T")

LOCAL, GLOBAL = "L", "G"
"""Letters of ``attention.window_pattern``."""

_Kind = tuple[str, bool]
"""The letter of a layer in the window pattern, and whether it is dense in a model with experts."""


@lru_cache(maxsize=256)
def layer_pattern(config: ModelConfig) -> LayerPattern:
    """Return the config of each layer of a model, in time and memory that do not depend on the number of layers."""
    attention, feed_forward = config.attention, config.feed_forward
    letters = LOCAL if attention.window is None else attention.window_pattern
    n_dense = min(feed_forward.n_dense_layers, config.n_layers) if feed_forward.n_experts is not None else 0
    stretches = []
    for layers, is_dense in ((range(n_dense), True), (range(n_dense, config.n_layers), False)):
        if layers:
            start = layers.start % len(letters)
            cycle = (letters[start:] + letters[:start])[: len(layers)]
            stretches.append((layers, shortest_period(tuple((letter, is_dense) for letter in cycle))))
    used = dict.fromkeys(kind for _, cycle in stretches for kind in cycle)
    indices = {kind: index for index, kind in enumerate(used)}
    return LayerPattern(
        kinds=tuple(_kind_config(config, letter, is_dense=is_dense) for letter, is_dense in used),
        stretches=tuple(Stretch(layers, tuple(indices[kind] for kind in cycle)) for layers, cycle in stretches),
    )


def least_layers(config: ModelConfig) -> int:
    """Return the least n_layers that is valid: leading dense layers are followed by one with experts."""
    return config.feed_forward.n_dense_layers + 1 if config.feed_forward.n_experts is not None else 1


def shortest_period(cycle: tuple[T, ...]) -> tuple[T, ...]:
    """Return the shortest sequence whose repetition is ``cycle``."""
    lengths = (length for length in range(1, len(cycle) + 1) if len(cycle) % length == 0)
    return next(cycle[:length] for length in lengths if cycle[:length] * (len(cycle) // length) == cycle)


def _kind_config(config: ModelConfig, letter: str, *, is_dense: bool) -> ModelConfig:
    """Return the config of the layers with this letter of the window pattern, dense or not."""
    attention, position, feed_forward = config.attention, config.position, config.feed_forward
    local_theta = position.local_theta
    if letter == GLOBAL:
        attention = attention.model_copy(update={"window": None})
    elif local_theta is not None:  # RoPE scaling does not affect layers with another theta
        rope = {name: getattr(position, name) for name in ("kind", "rotary_fraction", "pairing")}
        position = Position(theta=local_theta, **rope)
    if is_dense:
        feed_forward = FeedForward(**{name: value for name, value in feed_forward if not _needs_experts(name)})
    update = {
        "attention": attention.model_copy(update={"window_pattern": defaults()["attention.window_pattern"]}),
        "position": position.model_copy(update={"local_theta": None}),
        "feed_forward": feed_forward.model_copy(update={"n_dense_layers": 0}),
    }
    return config.model_copy(update=update)


def _needs_experts(name: str) -> bool:
    return name == "n_experts" or EXPERTS in REQUIREMENTS.get(f"feed_forward.{name}", ())
