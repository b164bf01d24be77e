"""The costs of several codebooks, by hand, and the measured peak of a training step with them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.flops import decode_flops, forward_flops, prefill_flops
from tinylm_cli.analysis.params import component_params, tying_savings
from tinylm_cli.analysis.roofline import decode_weights
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.choices import Recompute

C, V, D, LAYERS = 4, 300, 64, 2
RMSNORM = {"norm": {"kind": "rmsnorm"}}


def make(n_codebooks: int = C, **fields: Any) -> ModelConfig:
    sizes = {"vocab_size": V, "d_model": D, "n_heads": 4, "n_layers": LAYERS, "d_ff": 64, "max_len": 64}
    embedding = {"embedding": {"n_codebooks": n_codebooks}}
    return ModelConfig.model_validate({**sizes, "dropout": 0.0, "position": {"kind": "rope"}, **embedding, **fields})


@pytest.mark.parametrize("tied", [True, False])
def test_differences_from_one_codebook(tied: bool) -> None:
    """A table and a head for each codebook; a position looks up all, and is multiplied by all heads."""
    many, one = (make(n, tie_weights=tied, head={"bias": True}) for n in (C, 1))
    table = tensor_table(many)
    assert component_params(table, "token_embedding") == C * V * D
    assert component_params(table, "lm_head") == C * V + (0 if tied else C * V * D)
    assert tying_savings(table, "float32").saved.params == (C * V * D if tied else 0)
    heads = 2 * (C - 1) * V * D
    for count, n_positions in ((forward_flops, 10), (prefill_flops, 1)):
        assert count(many, batch_size=3, seq_len=10) - count(one, batch_size=3, seq_len=10) == 3 * n_positions * heads
    assert decode_flops(many, context_len=10) - decode_flops(one, context_len=10) == heads
    read = [decode_weights(config, "float32").dense_bytes for config in (many, one)]
    assert read[0] - read[1] == 4 * (C - 1) * V * (D + 1)


@pytest.mark.parametrize(
    ("batch_size", "seq_len", "recompute", "fields"),
    [
        (2, 64, "none", {}),
        (4, 64, "full", RMSNORM),
        (4, 64, "full", {"tie_weights": False}),
        (1, 4, "none", {"n_codebooks": 16, "vocab_size": 500}),
        (1, 4, "none", {"n_codebooks": 16, "vocab_size": 500, "tie_weights": False}),
        (8, 64, "full", {"n_codebooks": 64, "vocab_size": 8, "head": {"kind": "token_classification"}}),
        (8, 64, "full", {"n_codebooks": 64, "vocab_size": 8, "block": {"altup_streams": 2}}),
        (2, 32, "none", {"vocab_size": 1000, "head": {"n_mtp_layers": 2}}),
        (2, 32, "none", {"d_ff": 2048, "head": {"logit_softcap": 30.0}}),
    ],
)
def test_peak_of_a_training_step(batch_size: int, seq_len: int, recompute: Recompute, fields: dict[str, Any]) -> None:
    """At the loss, in a layer, and at the gradient of the tables, which is computed for each codebook."""
    config, setup = make(**fields), step_setup(batch_size, seq_len, recompute)
    assert training_memory(config, setup).peak_bytes == pytest.approx(measured_peak(config, setup), rel=0.005)
