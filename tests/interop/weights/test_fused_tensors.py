"""Layouts of stored tensors: splitting inverts joining, and fused q/k/v lie where transformers reads them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.tensor_names import TensorLayout
from tinylm_cli.interop.tensor_pairs import stored_shape
from tinylm_cli.interop.weights.fused_tensors import LAYOUTS

CONFIG: ModelConfig = load_config("tiny", ["n_heads=4", "attention.n_kv_heads=2", "d_model=32"]).config
QKV: list[tuple[int, ...]] = [(32, 32), (16, 32), (16, 32)]
SHAPES: dict[TensorLayout, list[list[tuple[int, ...]]]] = {
    TensorLayout.plain: [[(6, 4)], [(6,)], QKV, [(32,), (16,), (16,)]],
    TensorLayout.transposed: [[(6, 4)], [(6,)], [(3, 6, 4)], QKV, [(32,), (16,), (16,)]],
    TensorLayout.by_group: [QKV, [(32,), (16,), (16,)]],
    TensorLayout.by_head: [[(32, 32), (32, 32)], [(32,), (32,)]],
    TensorLayout.by_key_head: [[(32, 8), (32, 8), (64, 8), (64, 8)], [(32, 8), (32, 8)]],
    TensorLayout.by_lightning_head: [[(32, 8)] * 3],
    TensorLayout.broadcast: [[(6,)]],
    TensorLayout.by_shard: [[(8, 6)] * 3],
    TensorLayout.swapped_halves: [[(32, 32)], [(16,)]],
    TensorLayout.stacked: [[(3, 6, 4), (3, 6, 4)]],
    TensorLayout.stacked_transposed: [[(3, 6, 4), (3, 6, 4)]],
    TensorLayout.flattened: [[(3, 6, 4)]],
    TensorLayout.by_mamba_head: [[(6, 4)], [(6,)]],
    TensorLayout.halves_in_turn: [[(6, 4)], [(6,)]],
    TensorLayout.one_row: [[(6,)]],
    TensorLayout.one_position: [[(6,)]],
    TensorLayout.flattened_transposed: [[(3, 6, 4)]],
    TensorLayout.alternating: [[(3, 6, 4), (3, 6, 4)], [(3, 6), (3, 6)]],
}


def tensors(shapes: list[tuple[int, ...]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("name", TensorLayout)
def test_split_inverts_join(name: TensorLayout) -> None:
    heads = {"mamba": {"n_heads": 2}, "gated_deltanet": {"n_key_heads": 16}, "lightning_attention": {"n_heads": 16}}
    blocks = {name: getattr(CONFIG, name).model_copy(update=fields) for name, fields in heads.items()}
    config = CONFIG.model_copy(update=blocks)
    layout = LAYOUTS[name]
    for shapes in SHAPES[name]:
        parts = tensors(shapes)
        stored = layout.join(parts, config)
        assert tuple(stored.shape) == stored_shape(name, shapes, config)
        assert all(map(torch.equal, parts, layout.split(stored, shapes, config)))


def test_fused_by_group() -> None:
    """Two groups of two query heads, each followed by its key and its value."""
    q, k, v = tensors(QKV)
    stored = LAYOUTS[TensorLayout.by_group].join([q, k, v], CONFIG)  # (64, 32)
    d = CONFIG.d_head
    assert torch.equal(stored[: 4 * d], torch.cat((q[: 2 * d], k[:d], v[:d])))
    assert torch.equal(stored[4 * d :], torch.cat((q[2 * d :], k[d:], v[d:])))


def test_halves_in_turn() -> None:
    (rows,) = tensors([(6,)])
    stored = LAYOUTS[TensorLayout.halves_in_turn].join([rows], CONFIG)
    assert torch.equal(stored, rows[[0, 3, 1, 4, 2, 5]])


def test_swapped_halves() -> None:
    (q,) = tensors([(32, 32)])
    stored = LAYOUTS[TensorLayout.swapped_halves].join([q], CONFIG)
    half = CONFIG.d_head // 2
    assert torch.equal(stored[:half], q[half : 2 * half])
    assert torch.equal(stored[half : 2 * half], q[:half])
