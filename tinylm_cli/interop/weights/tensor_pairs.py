"""A model's tensors paired with those a family stores, name by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.tensor_names import TensorLayout, TensorNames
from tinylm_cli.interop.weights.tensor_layouts import LAYOUTS, Layout, Shape


class Slot(NamedTuple):
    """A tensor of ours, or what it holds for one expert.

    Attributes:
        name: Full name of the tensor.
        expert: Index along its first dimension, or None for the whole.
        shape: Shape of the whole, or of that part.
    """

    name: str
    expert: int | None
    shape: Shape


class Pair(NamedTuple):
    """A stored tensor and the tensors of ours that it holds.

    Attributes:
        stored: Its name.
        ours: What it holds, in order.
        layout: How they lie in it.
    """

    stored: str
    ours: tuple[Slot, ...]
    layout: Layout

    @property
    def stored_shape(self) -> Shape:
        """Shape of the stored tensor."""
        return self.layout.stored_shape([slot.shape for slot in self.ours])


def pairs(config: ModelConfig, names: TensorNames, shapes: Mapping[str, Shape]) -> Iterator[Pair]:
    """Yield a pair for every tensor that a family stores for a model.

    Args:
        config: What the model is.
        names: What the family calls its tensors.
        shapes: Shape of each tensor of ours by full name; a tied one under its first name only.
    """
    for ours, stored in names.outside.items():
        yield from _module(ours, stored, shapes, TensorLayout.same)
    for layer in range(config.n_layers):
        block, prefix = f"blocks.{layer}.", names.prefix.format(i=layer)
        for ours, stored in names.layer.items():
            fused = any(ours in each.ours for each in names.fused)
            if not fused:
                yield from _module(
                    block + ours,
                    prefix + stored,
                    shapes,
                    TensorLayout.transposed if names.transposed else TensorLayout.same,
                )
        for fused_modules in names.fused:
            for kind, lie in (("weight", fused_modules.weight), ("bias", fused_modules.bias)):
                found = [f"{block}{ours}.{kind}" for ours in fused_modules.ours]
                yield from _whole(found, f"{prefix}{fused_modules.stored}.{kind}", shapes, lie)
        for ours, stored in names.exact.items():
            yield from _whole([block + ours], prefix + stored, shapes, TensorLayout.same)
        for several, stored, lie in names.stacked:
            yield from _whole([block + ours for ours in several], prefix + stored, shapes, lie)
        for ours, stored in names.experts.items():
            yield from _of_each_expert(block + ours, prefix + stored, shapes)


def _module(ours: str, stored: str, shapes: Mapping[str, Shape], lie: TensorLayout) -> Iterator[Pair]:
    for kind in ("weight", "bias"):
        name = f"{ours}.{kind}"
        flat = len(shapes.get(name, ())) < 2
        yield from _whole([name], f"{stored}.{kind}", shapes, TensorLayout.same if flat else lie)


def _whole(ours: list[str], stored: str, shapes: Mapping[str, Shape], lie: TensorLayout) -> Iterator[Pair]:
    if all(name in shapes for name in ours):
        yield Pair(stored, tuple(Slot(name, None, shapes[name]) for name in ours), LAYOUTS[lie])


def _of_each_expert(ours: str, stored: str, shapes: Mapping[str, Shape]) -> Iterator[Pair]:
    for kind in ("weight", "bias"):
        name = f"{ours}.{kind}"
        if name in shapes:
            experts, *rest = shapes[name]
            for expert in range(experts):
                yield Pair(
                    f"{stored.format(e=expert)}.{kind}", (Slot(name, expert, tuple(rest)),), LAYOUTS[TensorLayout.same]
                )
