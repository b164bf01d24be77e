"""Convert the values of model tensors to and from the layouts in which families store them.

Several families fuse the query, key and value projections, or the gate and up projections, in one stored tensor. Each
layout splits on import and joins on export; the two are exact inverses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.tensor_names import CODEGEN_SHARDS, TensorLayout
from tinylm_cli.interop.tensor_pairs import Shape


class LayoutFunctions(NamedTuple):
    """A way to store one or several tensors as one."""

    # Returns the model's tensors, of these shapes, from the stored one.
    split: Callable[[Tensor, Sequence[Shape], ModelConfig], Sequence[Tensor]]
    join: Callable[[Sequence[Tensor], ModelConfig], Tensor]  # Returns the stored tensor that holds these model tensors.


def _split(stored: Tensor, shapes: Sequence[Shape], _: ModelConfig) -> Sequence[Tensor]:
    return stored.split_with_sizes([shape[0] for shape in shapes])


def _join(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def _transpose(tensor: Tensor) -> Tensor:
    """Transpose a matrix, or each of a stack; return a vector unchanged."""
    return tensor.mT if tensor.dim() > 1 else tensor


def _interleaved(groups: Callable[[ModelConfig], int]) -> LayoutFunctions:
    """Return the layout of tensors in groups: for each group, its rows of every tensor."""

    def split(stored: Tensor, shapes: Sequence[Shape], config: ModelConfig) -> Sequence[Tensor]:
        n = groups(config)
        rows = torch.unflatten(stored, 0, (n, -1))  # (n, rows of a group, ...)
        parts = rows.split_with_sizes([shape[0] // n for shape in shapes], dim=1)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def join(parts: Sequence[Tensor], config: ModelConfig) -> Tensor:
        return torch.cat([torch.unflatten(part, 0, (groups(config), -1)) for part in parts], dim=1).flatten(0, 1)

    return LayoutFunctions(split, join)


def _swap_halves(tensor: Tensor, config: ModelConfig) -> Tensor:
    """Swap the halves of each head, of size K/2; the inverse of itself."""
    return torch.unflatten(tensor, 0, (-1, 2, config.d_head // 2)).flip(1).flatten(0, 2)


def _split_alternating(stored: Tensor, _: Sequence[Shape], __: ModelConfig) -> Sequence[Tensor]:
    return [stored[..., start::2].transpose(1, -1) for start in (0, 1)]


def _join_alternating(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return torch.stack([part.transpose(1, -1) for part in parts], dim=-1).flatten(-2)


def _split_stacked(stored: Tensor, shapes: Sequence[Shape], _: ModelConfig) -> Sequence[Tensor]:
    return stored.split_with_sizes([shape[1] for shape in shapes], dim=1)


def _join_stacked(parts: Sequence[Tensor], _: ModelConfig) -> Tensor:
    return torch.cat(tuple(parts), dim=1)


LAYOUTS = {
    TensorLayout.plain: LayoutFunctions(_split, _join),
    TensorLayout.transposed: LayoutFunctions(
        lambda stored, shapes, config: _split(_transpose(stored), shapes, config),
        lambda parts, config: _transpose(_join(parts, config)),
    ),
    TensorLayout.by_group: _interleaved(lambda config: config.n_kv_heads),
    TensorLayout.by_head: _interleaved(lambda config: config.n_heads),
    TensorLayout.by_key_head: _interleaved(lambda config: config.gated_deltanet_key_heads),
    TensorLayout.by_lightning_head: _interleaved(lambda config: config.lightning_attention_heads),
    TensorLayout.by_shard: _interleaved(lambda _: CODEGEN_SHARDS),
    TensorLayout.by_mamba_head: LayoutFunctions(
        lambda stored, _, __: [stored.flatten(0, 1)],
        lambda parts, config: torch.unflatten(parts[0], 0, (config.mamba.n_heads, -1)),
    ),
    TensorLayout.halves_in_turn: LayoutFunctions(
        lambda stored, _, __: [torch.cat((stored[0::2], stored[1::2]))],
        lambda parts, _: torch.stack(parts[0].chunk(2), dim=1).flatten(0, 1),
    ),
    TensorLayout.broadcast: LayoutFunctions(
        lambda stored, shapes, _: [stored.view(shapes[0])],
        lambda parts, _: parts[0][None, None, :, None],
    ),
    TensorLayout.swapped_halves: LayoutFunctions(
        lambda stored, _, config: [_swap_halves(stored, config)],
        lambda parts, config: _swap_halves(parts[0], config),
    ),
    TensorLayout.stacked: LayoutFunctions(_split_stacked, _join_stacked),
    TensorLayout.stacked_transposed: LayoutFunctions(
        lambda stored, shapes, config: _split_stacked(_transpose(stored), shapes, config),
        lambda parts, config: _transpose(_join_stacked(parts, config)),
    ),
    TensorLayout.flattened: LayoutFunctions(
        lambda stored, shapes, _: [stored.view(shapes[0])],
        lambda parts, _: parts[0].flatten(0, 1),
    ),
    TensorLayout.flattened_transposed: LayoutFunctions(
        lambda stored, shapes, _: [torch.unflatten(stored, 0, (shapes[0][0], -1)).mT],
        lambda parts, _: parts[0].mT.flatten(0, 1),
    ),
    TensorLayout.one_row: LayoutFunctions(
        lambda stored, _, __: [stored[0]],
        lambda parts, _: parts[0][None],
    ),
    TensorLayout.one_position: LayoutFunctions(
        lambda stored, _, __: [stored[0, 0]],
        lambda parts, _: parts[0][None, None],
    ),
    TensorLayout.alternating: LayoutFunctions(_split_alternating, _join_alternating),
}
"""How each layout is split on import and joined on export."""
