"""Bytes of optimizer state, compared with torch's optimizers and with hand-computed values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.scaled import scaled_down
from benchmarks.torch_memory import OPTIMIZERS, TrainingSteps, random_batch
from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM

DENSE, MIXTURE = ("tiny", "pythia-160m"), "mixtral-8x7b"


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        *((name, optimizer) for name in DENSE for optimizer in OPTIMIZERS),
        *((MIXTURE, optimizer) for optimizer in OPTIMIZERS if optimizer != "muon"),
    ],
)
def test_state_equals_torch(name: str, optimizer: Any) -> None:
    config = scaled_down(load_config(name).config)
    steps = TrainingSteps(TinyTransformerLM.from_config(config), OPTIMIZERS[optimizer], recompute=False)
    steps.run_step(*random_batch(config, 1, 8))
    states = [state for each in steps.optimizers for state in each.state.values()]
    kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
    width = torch.float32.itemsize
    assert optimizer_bytes(tensor_table(config), optimizer, width) == sum(value.nbytes for value in kept)


@pytest.mark.skipif("muon" not in OPTIMIZERS, reason="this torch has no Muon")
def test_muon_rejects_experts() -> None:
    """So its state for expert tensors cannot be measured."""
    with pytest.raises(ValueError, match="2D parameters"):
        OPTIMIZERS["muon"](TinyTransformerLM.from_config(scaled_down(load_config(MIXTURE).config)))


def test_smallest_8bit_tensor() -> None:
    """As in bitsandbytes: a tensor of 4,096 elements is the smallest whose moments are kept in 8 bits."""
    config = ModelConfig(vocab_size=8, d_model=64, n_heads=1, n_layers=1, d_ff=8)
    table = tensor_table(config)
    sizes = [tensor.elements for section in table for tensor in section.tensors if tensor.tied_to is None]
    assert (max(sizes), sizes.count(64 * 64)) == (4096, 4), "the projections of attention"
    projections, others = 4 * 4096, total_params(table) - 4 * 4096
    codebooks = 2 * 256 * 4
    assert optimizer_bytes(table, "adamw_8bit", 2) == 2 * (projections + 4 * 2 * 4) + 2 * others * 4 + codebooks
