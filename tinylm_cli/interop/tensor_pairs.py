"""Pair model tensors with the tensors that a family stores: renamed, transposed, stacked over experts, or fused.

``weights/fused_tensors.py`` converts the values of each layout; here are only names and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from tinylm_cli.config.layer_kinds import layer_pattern, shared_blocks
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.tensor_names import BlockNames, Fused, Split, TensorLayout, TensorNames

Shape = tuple[int, ...]


def _plain_shape(shapes: Sequence[Shape]) -> Shape:
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _transposed_shape(shapes: Sequence[Shape]) -> Shape:
    shape = _plain_shape(shapes)
    return shape if len(shape) < 2 else (*shape[:-2], shape[-1], shape[-2])


def _alternating_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E, D, 2F) for two weights of (E, F, D), and (E, 2F) for two biases of (E, F)."""
    experts, d_hidden, *rest = shapes[0]
    return (experts, *rest, 2 * d_hidden)


def _stacked_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E, 2F, D) for two weights of (E, F, D)."""
    experts, _, d_model = shapes[0]
    return (experts, sum(shape[1] for shape in shapes), d_model)


def _flattened_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E·F, D) for a weight of (E, F, D)."""
    experts, d_out, d_in = shapes[0]
    return (experts * d_out, d_in)


def _flattened_transposed_shape(shapes: Sequence[Shape]) -> Shape:
    """Return (E·F, D) for a weight of (E, D, F)."""
    experts, d_out, d_in = shapes[0]
    return (experts * d_in, d_out)


_STORED_SHAPES: dict[TensorLayout, Callable[[Sequence[Shape]], Shape]] = {
    TensorLayout.transposed: _transposed_shape,
    TensorLayout.broadcast: lambda shapes: (1, 1, *shapes[0], 1),
    TensorLayout.stacked: _stacked_shape,
    TensorLayout.stacked_transposed: lambda shapes: _transposed_shape([_stacked_shape(shapes)]),
    TensorLayout.flattened: _flattened_shape,
    TensorLayout.flattened_transposed: _flattened_transposed_shape,
    TensorLayout.one_row: lambda shapes: (1, *shapes[0]),
    TensorLayout.one_position: lambda shapes: (1, 1, *shapes[0]),
    TensorLayout.alternating: _alternating_shape,
}
"""The shape of the stored tensor, for layouts other than those that only permute or concatenate rows."""


def stored_shape(layout: TensorLayout, shapes: Sequence[Shape], config: ModelConfig) -> Shape:
    """Return the shape of the stored tensor that holds model tensors of these shapes."""
    if layout == TensorLayout.by_mamba_head:
        n_heads = config.mamba.n_heads
        return (n_heads, shapes[0][0] // n_heads, *shapes[0][1:])
    return _STORED_SHAPES.get(layout, _plain_shape)(shapes)


class Part(NamedTuple):
    """A tensor of the model, its slice for one expert, or some of its rows."""

    name: str  # Full name of the tensor.
    selection: int | slice | None  # Index or rows along its first dimension; None for the full tensor.
    shape: Shape  # Shape of the tensor, or of the slice.


class Pair(NamedTuple):
    """A stored tensor and the model tensors that it holds."""

    stored: str  # Name of the stored tensor.
    parts: tuple[Part, ...]  # The model tensors, in storage order.
    layout: TensorLayout  # How they are fused.
    stored_shape: Shape  # Shape of the stored tensor.


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
        shape = stored_shape(tensors.layout, [part.shape for part in parts], config)
        yield Pair(prefix + tensors.stored, parts, tensors.layout, shape)


def _split_rows(
    split: Split, shapes: Mapping[str, Shape], config: ModelConfig, block: str, prefix: str
) -> Iterator[Pair]:
    name = block + split.name
    if name in shapes:
        ends = list(accumulate(split.n_rows(config)))
        for stored, start, end in zip(split.stored, [0, *ends], ends, strict=False):
            part = Part(name, slice(start, end), (end - start, *shapes[name][1:]))
            yield Pair(prefix + stored, (part,), TensorLayout.plain, part.shape)


def _each_expert(module: str, stored: str, shapes: Mapping[str, Shape]) -> Iterator[Pair]:
    for kind in ("weight", "bias"):
        name = f"{module}.{kind}"
        if name in shapes:
            n_experts, *rest = shapes[name]
            for expert in range(n_experts):
                part = Part(name, expert, tuple(rest))
                yield Pair(f"{stored.format(e=expert)}.{kind}", (part,), TensorLayout.plain, part.shape)
