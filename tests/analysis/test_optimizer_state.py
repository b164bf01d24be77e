"""Bytes of optimizer state, compared with hand-computed values; tests/model compares them with torch's optimizers."""

from __future__ import annotations

from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig


def test_smallest_8bit_tensor() -> None:
    """As in bitsandbytes: a tensor of 4,096 elements is the smallest whose moments are kept in 8 bits."""
    config = ModelConfig(vocab_size=8, d_model=64, n_heads=1, n_layers=1, d_ff=8)
    table = tensor_table(config)
    sizes = [tensor.elements for section in table for tensor in section.tensors if tensor.tied_to is None]
    assert (max(sizes), sizes.count(64 * 64)) == (4096, 4), "the projections of attention"
    projections, others = 4 * 4096, total_params(table) - 4 * 4096
    codebooks = 2 * 256 * 4
    assert optimizer_bytes(table, "adamw_8bit", 2) == 2 * (projections + 4 * 2 * 4) + 2 * others * 4 + codebooks
