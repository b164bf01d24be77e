"""Pair model tensors with the tensors that a family stores: renamed, transposed, stacked over experts, or fused.

Several families fuse the query, key and value projections, or the gate and up projections, in one stored tensor. Each
layout splits on import and joins on export; the two are exact inverses.
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
        """Return the shape of the stored tensor that holds tensors of these shapes."""

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:
        """Return the model's tensors, of these shapes, from the stored one."""

    def join(self, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:
        """Return the stored tensor that holds these model tensors."""


class Same:
    """One tensor, unchanged."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the only shape."""
        return shapes[0]

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the stored tensor."""
        return (stored,)

    def join(self, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return the only tensor."""
        return parts[0]


class Transposed:
    """One matrix stored (in, out) instead of (out, in), or a stack of them."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape with its last two dimensions swapped."""
        return (*shapes[0][:-2], shapes[0][-1], shapes[0][-2])

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the stored matrix, transposed."""
        return (stored.transpose(-1, -2),)

    def join(self, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return the model's matrix, transposed."""
        return parts[0].transpose(-1, -2)


class Concatenated:
    """Several tensors, concatenated along the output dimension.

    Args:
        transposed: Whether the concatenated matrix is stored (in, out).
    """

    def __init__(self, *, transposed: bool = False) -> None:
        self.transposed = transposed

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape with the sum of the output dimensions."""
        whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        return whole[::-1] if self.transposed else whole

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return the parts."""
        whole = stored.t() if self.transposed else stored
        return tuple(whole.split_with_sizes([shape[0] for shape in shapes]))

    def join(self, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return the concatenation."""
        whole = torch.cat(tuple(parts))
        return whole.t() if self.transposed else whole


class ByGroup:
    """Fused q/k/v, grouped by KV head: its queries, then its key, then its value."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape with the sum of the output dimensions."""
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:
        """Return the query, key and value projections."""
        groups = torch.unflatten(stored, 0, (config.n_kv_heads, -1, config.d_head))  # (G, H/G + 2, K, ...)
        parts = (groups[:, :-2], groups[:, -2:-1], groups[:, -1:])
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    def join(self, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:
        """Return the fused projection."""
        heads = [torch.unflatten(part, 0, (config.n_kv_heads, -1, config.d_head)) for part in parts]  # (G, h, K, ...)
        return torch.cat(heads, dim=1).flatten(0, 2)


class Alternating:
    """Gate and up projections of all experts with interleaved rows, stored (in, out)."""

    def stored_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return (E, D, 2F) for two weights of (E, F, D), and (E, 2F) for two biases of (E, F)."""
        experts, width, *rest = shapes[0]
        return (experts, *rest, 2 * width)

    def split(self, stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return gate and up."""
        parts = (stored[..., 0::2], stored[..., 1::2])
        return tuple(part.transpose(1, 2) if part.dim() == 3 else part for part in parts)

    def join(self, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:  # noqa: ARG002
        """Return gate and up, interleaved."""
        columns = [part.transpose(1, 2) if part.dim() == 3 else part for part in parts]
        return torch.stack(columns, dim=-1).flatten(-2)


LAYOUTS: dict[TensorLayout, Layout] = {
    TensorLayout.same: Same(),
    TensorLayout.transposed: Transposed(),
    TensorLayout.concatenated: Concatenated(),
    TensorLayout.concatenated_transposed: Concatenated(transposed=True),
    TensorLayout.by_group: ByGroup(),
    TensorLayout.alternating: Alternating(),
}


class Part(NamedTuple):
    """A tensor of the model, or its slice for one expert.

    Attributes:
        name: Full name of the tensor.
        expert: Index along its first dimension, or None for the full tensor.
        shape: Shape of the tensor, or of the slice.
    """

    name: str
    expert: int | None
    shape: Shape


class Pair(NamedTuple):
    """A stored tensor and the model tensors that it holds.

    Attributes:
        stored: Name of the stored tensor.
        parts: The model tensors, in storage order.
        layout: How they are fused.
    """

    stored: str
    parts: tuple[Part, ...]
    layout: Layout

    @property
    def stored_shape(self) -> Shape:
        """Shape of the stored tensor."""
        return self.layout.stored_shape([part.shape for part in self.parts])


def tensor_pairs(config: ModelConfig, names: TensorNames, shapes: Mapping[str, Shape]) -> Iterator[Pair]:
    """Yield a pair for every tensor of a checkpoint of this family and model.

    Args:
        config: The model's config.
        names: The family's tensor names.
        shapes: Shape of each model tensor by full name; a tied tensor under its first name only.
    """
    matrix = TensorLayout.transposed if names.transposed else TensorLayout.same
    fused = {module for each in names.fused for module in each.modules}
    for module, stored in names.top_level.items():
        yield from _module(module, stored, shapes, TensorLayout.same)
    for layer in range(config.n_layers):
        block, prefix = f"blocks.{layer}.", names.prefix.format(i=layer)
        for module, stored in names.layer.items():
            if module not in fused:
                yield from _module(block + module, prefix + stored, shapes, matrix)
        for each in names.fused:
            for kind, layout in (("weight", each.weight), ("bias", each.bias)):
                tensors = [f"{block}{module}.{kind}" for module in each.modules]
                yield from _tensors(tensors, f"{prefix}{each.stored}.{kind}", shapes, layout)
        for tensor, stored in names.exact.items():
            yield from _tensors([block + tensor], prefix + stored, shapes, TensorLayout.same)
        for several, stored, layout in names.stacked:
            yield from _tensors([block + tensor for tensor in several], prefix + stored, shapes, layout)
        for module, stored in names.experts.items():
            yield from _each_expert(block + module, prefix + stored, shapes)


def _module(module: str, stored: str, shapes: Mapping[str, Shape], layout: TensorLayout) -> Iterator[Pair]:
    for kind in ("weight", "bias"):
        name = f"{module}.{kind}"
        is_vector = len(shapes.get(name, ())) < 2
        yield from _tensors([name], f"{stored}.{kind}", shapes, TensorLayout.same if is_vector else layout)


def _tensors(names: list[str], stored: str, shapes: Mapping[str, Shape], layout: TensorLayout) -> Iterator[Pair]:
    if all(name in shapes for name in names):
        yield Pair(stored, tuple(Part(name, None, shapes[name]) for name in names), LAYOUTS[layout])


def _each_expert(module: str, stored: str, shapes: Mapping[str, Shape]) -> Iterator[Pair]:
    for kind in ("weight", "bias"):
        name = f"{module}.{kind}"
        if name in shapes:
            n_experts, *rest = shapes[name]
            for expert in range(n_experts):
                part = Part(name, expert, tuple(rest))
                yield Pair(f"{stored.format(e=expert)}.{kind}", (part,), LAYOUTS[TensorLayout.same])
