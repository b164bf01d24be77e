"""Pair model tensors with the tensors that a family stores: renamed, transposed, stacked over experts, or fused.

Several families fuse the query, key and value projections, or the gate and up projections, in one stored tensor. Each
layout splits on import and joins on export; the two are exact inverses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.layer_kinds import layer_pattern, shared_blocks
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.tensor_names import CODEGEN_SHARDS, BlockNames, Fused, Split, TensorLayout, TensorNames

Shape = tuple[int, ...]


class Layout(NamedTuple):
    """A way to store one or several tensors as one."""

    # Returns the shape of the stored tensor that holds tensors of these shapes.
    stored_shape: Callable[[Sequence[Shape]], Shape]
    # Returns the model's tensors, of these shapes, from the stored one.
    split: Callable[[Tensor, Sequence[Shape], ModelConfig], Sequence[Tensor]]
    join: Callable[[Sequence[Tensor], ModelConfig], Tensor]  # Returns the stored tensor that holds these model tensors.


def _plain_shape(shapes: Sequence[Shape]) -> Shape:
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _split(stored: Tensor, shapes: Sequence[Shape], _: ModelConfig) -> Sequence[Tensor]:
    return stored.split_with_sizes([shape[0] for shape in shapes])


def _join(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def _transposed_shape(shapes: Sequence[Shape]) -> Shape:
    shape = _plain_shape(shapes)
    return shape if len(shape) < 2 else (*shape[:-2], shape[-1], shape[-2])


def _transpose(tensor: Tensor) -> Tensor:
    """Transpose a matrix, or each of a stack; return a vector unchanged."""
    return tensor.mT if tensor.dim() > 1 else tensor


def _interleaved(groups: Callable[[ModelConfig], int]) -> Layout:
    """Return the layout of tensors in groups: for each group, its rows of every tensor."""

    def split(stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> Sequence[Tensor]:
        n = groups(config)
        rows = torch.unflatten(stored, 0, (n, -1))  # (n, rows of a group, ...)
        parts = rows.split_with_sizes([shape[0] // n for shape in shapes], dim=1)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def join(parts: Sequence[Tensor], config: ModelConfig) -> Tensor:
        return torch.cat([torch.unflatten(part, 0, (groups(config), -1)) for part in parts], dim=1).flatten(0, 1)

    return Layout(_plain_shape, split, join)


def _swap_halves(tensor: Tensor, config: ModelConfig) -> Tensor:
    """Swap the halves of each head, of size K/2; the inverse of itself."""
    return torch.unflatten(tensor, 0, (-1, 2, config.d_head // 2)).flip(1).flatten(0, 2)


def _alternating_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E, D, 2F) for two weights of (E, F, D), and (E, 2F) for two biases of (E, F)."""
    experts, d_hidden, *rest = shapes[0]
    return (experts, *rest, 2 * d_hidden)


def _split_alternating(stored: Tensor, _: Sequence[Shape], __: ModelConfig) -> Sequence[Tensor]:
    return [stored[..., start::2].transpose(1, -1) for start in (0, 1)]


def _join_alternating(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return torch.stack([part.transpose(1, -1) for part in parts], dim=-1).flatten(-2)


def _stacked_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E, 2F, D) for two weights of (E, F, D)."""
    experts, _, d_model = shapes[0]
    return (experts, sum(shape[1] for shape in shapes), d_model)


def _split_stacked(stored: Tensor, shapes: Sequence[Shape], _: ModelConfig) -> Sequence[Tensor]:
    return stored.split_with_sizes([shape[1] for shape in shapes], dim=1)


def _join_stacked(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return torch.cat(tuple(parts), dim=1)


def _flattened_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E·F, D) for a weight of (E, F, D)."""
    experts, d_out, d_in = shapes[0]
    return (experts * d_out, d_in)


def _flattened_transposed_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E·F, D) for a weight of (E, D, F)."""
    experts, d_out, d_in = shapes[0]
    return (experts * d_in, d_out)


LAYOUTS = {
    TensorLayout.plain: Layout(_plain_shape, _split, _join),
    TensorLayout.transposed: Layout(
        _transposed_shape,
        lambda stored, shapes, config: _split(_transpose(stored), shapes, config),
        lambda parts, config: _transpose(_join(parts, config)),
    ),
    TensorLayout.by_group: _interleaved(lambda config: config.n_kv_heads),
    TensorLayout.by_head: _interleaved(lambda config: config.n_heads),
    TensorLayout.by_key_head: _interleaved(lambda config: config.gated_deltanet.n_key_heads),
    TensorLayout.by_lightning_head: _interleaved(lambda config: config.lightning_attention.n_heads),
    TensorLayout.by_shard: _interleaved(lambda _: CODEGEN_SHARDS),
    TensorLayout.halves_in_turn: Layout(
        _plain_shape,
        lambda stored, _, __: [torch.cat((stored[0::2], stored[1::2]))],
        lambda parts, _: torch.stack(parts[0].chunk(2), dim=1).flatten(0, 1),
    ),
    TensorLayout.broadcast: Layout(
        lambda shapes: (1, 1, *shapes[0], 1),
        lambda stored, shapes, _: [stored.view(shapes[0])],
        lambda parts, _: parts[0][None, None, :, None],
    ),
    TensorLayout.swapped_halves: Layout(
        _plain_shape,
        lambda stored, _, config: [_swap_halves(stored, config)],
        lambda parts, config: _swap_halves(parts[0], config),
    ),
    TensorLayout.stacked: Layout(_stacked_shape, _split_stacked, _join_stacked),
    TensorLayout.stacked_transposed: Layout(
        lambda shapes: _transposed_shape([_stacked_shape(shapes)]),
        lambda stored, shapes, config: _split_stacked(_transpose(stored), shapes, config),
        lambda parts, config: _transpose(_join_stacked(parts, config)),
    ),
    TensorLayout.flattened: Layout(
        _flattened_shape,
        lambda stored, shapes, _: [stored.view(shapes[0])],
        lambda parts, _: parts[0].flatten(0, 1),
    ),
    TensorLayout.flattened_transposed: Layout(
        _flattened_transposed_shape,
        lambda stored, shapes, _: [torch.unflatten(stored, 0, (shapes[0][0], -1)).mT],
        lambda parts, _: parts[0].mT.flatten(0, 1),
    ),
    TensorLayout.one_row: Layout(
        lambda shapes: (1, *shapes[0]),
        lambda stored, _, __: [stored[0]],
        lambda parts, _: parts[0][None],
    ),
    TensorLayout.one_position: Layout(
        lambda shapes: (1, 1, *shapes[0]),
        lambda stored, _, __: [stored[0, 0]],
        lambda parts, _: parts[0][None, None],
    ),
    TensorLayout.alternating: Layout(_alternating_shape, _split_alternating, _join_alternating),
}


def _by_mamba_head(n_heads: int) -> Layout:
    """Return the layout of tensors whose first dimension is split into heads and rows of a head."""
    return Layout(
        lambda shapes: (n_heads, shapes[0][0] // n_heads, *shapes[0][1:]),
        lambda stored, _, __: [stored.flatten(0, 1)],
        lambda parts, _: torch.unflatten(parts[0], 0, (n_heads, -1)),
    )


def layout_of(kind: TensorLayout, config: ModelConfig) -> Layout:
    """Return a layout; one of them has the heads of the model in its shape."""
    return _by_mamba_head(config.mamba.n_heads) if kind == TensorLayout.by_mamba_head else LAYOUTS[kind]


class Part(NamedTuple):
    """A tensor of the model, its slice for one expert, or some of its rows."""

    name: str  # Full name of the tensor.
    selection: int | slice | None  # Index or rows along its first dimension; None for the full tensor.
    shape: Shape  # Shape of the tensor, or of the slice.


class Pair(NamedTuple):
    """A stored tensor and the model tensors that it holds."""

    stored: str  # Name of the stored tensor.
    parts: tuple[Part, ...]  # The model tensors, in storage order.
    layout: Layout  # How they are fused.

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
    fused = {module for each in names.fused for module in each.names}
    for module, stored in names.top_level.items():
        yield from _modules(Fused((module,), stored), shapes, config)
    for tensor, stored in names.top_level_tensors.items():
        yield from _tensors(Fused((tensor,), stored), shapes, config, "", "")
    users = _users(config) if names.block is not None else {}
    for layer in range(config.n_layers):
        index, sublayer = divmod(layer, names.n_sublayers)
        block, prefix = f"blocks.{layer}.", _layer_prefix(config, names, index)
        if names.block is not None and layer in users:
            yield from _with_block(names.block, shapes, config, layer, users, names.prefix)
            prefix += names.block.own_prefix
        single = (Fused((name,), stored, names.matrices) for name, stored in names.layer.items() if name not in fused)
        for modules in (*single, *names.fused):
            stored = modules.stored.replace("{s}", str(sublayer))
            yield from _modules(modules._replace(stored=stored), shapes, config, block, prefix)
        for tensors in names.tensors:
            yield from _tensors(tensors, shapes, config, block, prefix)
        for split in names.splits:
            yield from _split_rows(split, shapes, config, block, prefix)
        for module, stored in names.experts.items():
            yield from _each_expert(block + module, prefix + stored, shapes)


def _layer_prefix(config: ModelConfig, names: TensorNames, layer: int) -> str:
    """Return the name prefix of the modules of a layer, which may belong to a module of a hierarchical loop."""
    n_low = config.loop.n_low_layers
    if not names.low_prefix or n_low is None:
        return names.prefix.format(i=layer)
    return names.low_prefix.format(i=layer) if layer < n_low else names.prefix.format(i=layer - n_low)


def _users(config: ModelConfig) -> dict[int, int]:
    """Return the index of the shared block of each layer that uses one, in order."""
    pattern, blocks = layer_pattern(config), list(shared_blocks(config))
    return {
        layer: blocks.index(kind.block.shared_block)
        for layer, kind in enumerate(pattern)
        if kind.block.has_shared_block
    }


def _with_block(
    names: BlockNames,
    shapes: Mapping[str, Shape],
    config: ModelConfig,
    layer: int,
    users: Mapping[int, int],
    layer_prefix: str,
) -> Iterator[Pair]:
    """Yield the pairs of a layer's projection and adapters and, in the first layer that uses it, of a shared block.

    Args:
        names: The names of shared blocks.
        shapes: As for :func:`tensor_pairs`.
        config: As for :func:`tensor_pairs`.
        layer: The index of the layer.
        users: The index of the shared block of each layer that uses one.
        layer_prefix: Name prefix of the modules of a layer.
    """
    prefix, index = layer_prefix.format(i=layer), users[layer]
    first = next(other for other, used in users.items() if used == index)
    of_block = layer_prefix.format(i=first) + names.prefix
    yield from _modules(Fused(("shared_projection",), names.projection), shapes, config, f"blocks.{layer}.", prefix)
    use = list(users).index(layer)
    for adapter, stored in names.adapters.items():
        for number, part in enumerate(("lora_A", "lora_B")):
            modules = Fused((f"adapters.{adapter}.{part}",), f"{stored}.{use}.{number}")
            yield from _modules(modules, shapes, config, f"blocks.{layer}.", of_block)
    if layer == first:
        for modules in (*(Fused((name,), stored) for name, stored in names.modules.items()), *names.fused):
            yield from _modules(modules, shapes, config, f"shared_blocks.{index}.", of_block)


def constant_tensors(config: ModelConfig, names: TensorNames) -> dict[str, float]:
    """Return the value of each scalar that a checkpoint of this family and model stores as a constant, by full name."""
    prefixes = [_layer_prefix(config, names, layer) for layer in range(config.n_layers)] if names.constants else []
    return {prefix + name: value for prefix in prefixes for name, value in names.constants.items()}


def base_prefix(pairs: Sequence[Pair]) -> str:
    """Return the name, with its dot, of the module around all tensors but the head."""
    first, *_ = pairs
    name, dot, _ = first.stored.partition(".")
    return name + dot


def without_base(pairs: Sequence[Pair]) -> list[Pair]:
    """Return pairs without the name of the module around all but the head, as a model without a head stores them."""
    base = base_prefix(pairs)
    return [pair._replace(stored=pair.stored.removeprefix(base)) for pair in pairs]


def _modules(
    modules: Fused, shapes: Mapping[str, Shape], config: ModelConfig, block: str = "", prefix: str = ""
) -> Iterator[Pair]:
    for kind in ("weight", "bias"):
        names = tuple(f"{name}.{kind}" for name in modules.names)
        yield from _tensors(Fused(names, f"{modules.stored}.{kind}", modules.layout), shapes, config, block, prefix)


def _tensors(
    tensors: Fused, shapes: Mapping[str, Shape], config: ModelConfig, block: str, prefix: str
) -> Iterator[Pair]:
    names = [block + name for name in tensors.names]
    if all(name in shapes for name in names):
        parts = tuple(Part(name, None, shapes[name]) for name in names)
        yield Pair(prefix + tensors.stored, parts, layout_of(tensors.layout, config))


def _split_rows(
    split: Split, shapes: Mapping[str, Shape], config: ModelConfig, block: str, prefix: str
) -> Iterator[Pair]:
    name = block + split.name
    if name in shapes:
        ends = list(accumulate(split.n_rows(config)))
        for stored, start, end in zip(split.stored, [0, *ends], ends, strict=False):
            part = Part(name, slice(start, end), (end - start, *shapes[name][1:]))
            yield Pair(prefix + stored, (part,), LAYOUTS[TensorLayout.plain])


def _each_expert(module: str, stored: str, shapes: Mapping[str, Shape]) -> Iterator[Pair]:
    for kind in ("weight", "bias"):
        name = f"{module}.{kind}"
        if name in shapes:
            n_experts, *rest = shapes[name]
            for expert in range(n_experts):
                part = Part(name, expert, tuple(rest))
                yield Pair(f"{stored.format(e=expert)}.{kind}", (part,), LAYOUTS[TensorLayout.plain])
