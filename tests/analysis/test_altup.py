"""The costs of AltUp and LAuReL, by hand, and the measured peak of a training step with them."""

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

N, D, R, LAYERS = 4, 64, 8, 3
RMSNORM = {"norm": {"kind": "rmsnorm"}}
SILU = {"gated": True, "activation": "silu"}


def make(**fields: Any) -> ModelConfig:
    sizes = {"vocab_size": 300, "d_model": D, "n_heads": 4, "n_layers": LAYERS, "d_ff": 64, "max_len": 64}
    block = {"block": {"altup_streams": N}}
    return ModelConfig.model_validate({**sizes, "dropout": 0.0, "position": {"kind": "rope"}, **block, **fields})


def test_params_and_flops() -> None:
    """A router, coefficients of all predictions and of the corrections; projections before and after the layers."""
    config = make(block={"altup_streams": N, "laurel_rank": R})
    projections = 2 * (N - 1) * D * D
    router, prediction, correction = N * D, N * N * N, N * N
    table = tensor_table(config)
    assert component_params(table, "altup") == LAYERS * (router + prediction + correction) + projections
    assert component_params(table, "laurel") == LAYERS * 2 * R * D
    report = analyze_flops(config, TrainingSetup(1, 10))
    found = {part.name: part.forward_flops for part in report.components}
    mixed = N * N * D  # the weighted sums of the streams
    assert found["altup"] == 2 * 10 * (LAYERS * (2 * router + prediction + correction + mixed) + projections)
    assert found["laurel"] == 2 * 10 * LAYERS * 2 * R * D


@pytest.mark.parametrize(
    ("batch_size", "seq_len", "recompute", "fields"),
    [
        (2, 64, "none", RMSNORM),
        (4, 64, "full", RMSNORM),
        (4, 64, "full", {**RMSNORM, "d_ff": 512}),
        (4, 32, "none", {"feed_forward": SILU, "block": {"altup_streams": 2}}),
        (4, 64, "full", {"d_ff": 32, "block": {"altup_streams": 8}}),
        (8, 64, "none", {"vocab_size": 4, "n_layers": 1, "d_ff": 32, "block": {"altup_streams": 24}}),
        (16, 64, "none", {"vocab_size": 4, "n_layers": 1, "d_ff": 16, "n_heads": 1, "block": {"altup_streams": 2}}),
        (4, 64, "full", {**RMSNORM, "d_ff": 32, "embedding": {"d_per_layer": 16}}),
        (8, 64, "full", {**RMSNORM, "d_ff": 32, "embedding": {"d_per_layer": 256}}),
        (4, 64, "none", {**RMSNORM, "d_ff": 32, "block": {"laurel_rank": 256}}),
        (4, 64, "full", {**RMSNORM, "d_ff": 512, "feed_forward": {**SILU, "activation_sparsity": 0.9}, "block": {}}),
    ],
)
def test_peak_of_a_training_step(batch_size: int, seq_len: int, recompute: Recompute, fields: dict[str, Any]) -> None:
    config, setup = make(**fields), step_setup(batch_size, seq_len, recompute)
    assert training_memory(config, setup).peak_bytes == pytest.approx(measured_peak(config, setup), rel=0.02)
