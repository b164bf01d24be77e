"""A model's tensors paired with the tensors a family stores: renamed, transposed, stacked by expert, or fused.

Query, key and value projections, and gate and up projections, are fused in one stored tensor by several families. Each
layout splits on import and joins on export, so that what goes in comes out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.tensor_names import TensorLayout, TensorNames

Shape = tuple[int, ...]


class Layout(Protocol):
    """A way to store one or several tensors as one."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the stored tensor that holds tensors of ours of these shapes."""

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:
        """Return our tensors, of these shapes, out of the stored one."""

    def join(self, ours: Sequence[Tensor], config: ModelConfig) -> Tensor:
        """Return what is stored for our tensors."""


class Same:
    """One tensor, as it is."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the only shape."""
        return shapes[0]

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the stored tensor."""
        return (stored,)

    def join(self, ours: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return the only tensor."""
        return ours[0]


class Transposed:
    """One matrix, (in, out) where ours is (out, in); of a stack, each."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape with its last two dimensions swapped."""
        return (*shapes[0][:-2], shapes[0][-1], shapes[0][-2])

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the stored matrix, transposed."""
        return (stored.transpose(-1, -2),)

    def join(self, ours: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return our matrix, transposed."""
        return ours[0].transpose(-1, -2)


class Concatenated:
    """Several tensors, one after the other along the first dimension of ours.

    Args:
        transposed: Whether the matrix they make is then stored (in, out).
    """

    def __init__(self, *, transposed: bool = False) -> None:
        self.transposed = transposed

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape with the sum of the first dimensions."""
        whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        return whole[::-1] if self.transposed else whole

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the parts."""
        whole = stored.t() if self.transposed else stored
        return tuple(whole.split_with_sizes([shape[0] for shape in shapes]))

    def join(self, ours: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return the parts in one."""
        whole = torch.cat(tuple(ours))
        return whole.t() if self.transposed else whole


class ByGroup:
    """Queries, keys and values, group by group of heads: each group's queries, then its key, then its value."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape with the sum of the first dimensions."""
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:
        """Return queries, keys and values, each head by head."""
        groups = torch.unflatten(stored, 0, (config.n_kv_heads, -1, config.d_head))  # (G, H/G + 2, K, ...)
        parts = (groups[:, :-2], groups[:, -2:-1], groups[:, -1:])
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    def join(self, ours: Sequence[Tensor], config: ModelConfig) -> Tensor:
        """Return them group by group."""
        heads = [torch.unflatten(part, 0, (config.n_kv_heads, -1, config.d_head)) for part in ours]  # (G, h, K, ...)
        return torch.cat(heads, dim=1).flatten(0, 2)


class Alternating:
    """A gate and its partner for each expert, row by row in turn, the matrices of ours then stored (in, out)."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return (E, D, 2F) for two of (E, F, D), and (E, 2F) for two of (E, F)."""
        experts, width, *rest = shapes[0]
        return (experts, *rest, 2 * width)

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the gate and its partner."""
        parts = (stored[..., 0::2], stored[..., 1::2])
        return tuple(part.transpose(1, 2) if part.dim() == 3 else part for part in parts)

    def join(self, ours: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return both in one."""
        parts = [part.transpose(1, 2) if part.dim() == 3 else part for part in ours]
        return torch.stack(parts, dim=-1).flatten(-2)


LAYOUTS: dict[TensorLayout, Layout] = {
    TensorLayout.same: Same(),
    TensorLayout.transposed: Transposed(),
    TensorLayout.concatenated: Concatenated(),
    TensorLayout.concatenated_transposed: Concatenated(transposed=True),
    TensorLayout.by_group: ByGroup(),
    TensorLayout.alternating: Alternating(),
}


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
