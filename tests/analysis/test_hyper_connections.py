"""The costs of hyper-connections, by hand, and the measured peak of a training step with them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.flops import analyze_flops
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.choices import Recompute

N, D, LAYERS = 4, 64, 4


def make(**fields: Any) -> ModelConfig:
    sizes = {"vocab_size": 300, "d_model": D, "n_heads": 4, "n_layers": LAYERS, "d_ff": 64, "max_len": 64}
    block = {"block": {"hyper_streams": N}}
    return ModelConfig.model_validate({**sizes, "dropout": 0.0, "position": {"kind": "rope"}, **block, **fields})


def test_params_and_flops() -> None:
    """A projection to 2n weights in front of each sub-layer, and to n at the end, from n · D elements."""
    config = make()
    matrices = LAYERS * 2 * (2 * N) * (N * D) + N * (N * D)
    vectors = LAYERS * 2 * (2 * N + 2) + N + 1
    assert component_params(tensor_table(config), "hyper_connections") == matrices + vectors
    report = analyze_flops(config, TrainingSetup(1, 10))
    found = {part.name: part.forward_flops for part in report.components}
    assert found["hyper_connections"] == 2 * 10 * matrices


@pytest.mark.parametrize(
    ("batch_size", "seq_len", "recompute", "fields"),
    [
        (2, 64, "none", {"norm": {"kind": "rmsnorm"}}),
        (4, 64, "full", {"norm": {"kind": "rmsnorm"}}),
        (4, 32, "none", {"feed_forward": {"gated": True}, "block": {"hyper_streams": 2}}),
        (2, 64, "none", {"d_ff": 16, "block": {"hyper_streams": 8}}),
    ],
)
def test_peak_of_a_training_step(batch_size: int, seq_len: int, recompute: Recompute, fields: dict[str, Any]) -> None:
    config, setup = make(**fields), step_setup(batch_size, seq_len, recompute)
    assert training_memory(config, setup).peak_bytes == pytest.approx(measured_peak(config, setup), rel=0.03)
