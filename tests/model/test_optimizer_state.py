"""What torch's own optimizers keep after a step, against the closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.footprint import OPTIMIZERS, Steps, ids
from benchmarks.scaled import scaled_down
from tinylm_cli.analysis.optimizers import optimizer_bytes
from tinylm_cli.analysis.table import tensor_table
from tinylm_cli.config.loader import load_config
from tinylm_cli.model import TinyTransformerLM


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["tiny", "pythia-160m", "mixtral-8x7b"])
def test_the_state_is_what_torch_keeps(name: str, optimizer: Any) -> None:
    config = scaled_down(load_config(name).config)
    if optimizer == "muon" and config.feed_forward.n_experts is not None:
        pytest.skip("torch's Muon takes no stacks of matrices")
    steps = Steps(TinyTransformerLM.from_config(config), OPTIMIZERS[optimizer], recompute=False)
    steps.take(*ids(config, 1, 8))
    states = [state for each in steps.optimizers for state in each.state.values()]
    kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
    width = torch.float32.itemsize
    assert optimizer_bytes(tensor_table(config), optimizer, width) == sum(value.nbytes for value in kept)
