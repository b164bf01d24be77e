"""Keys and values for later layers: for how long they are held, and the peak of a training step with them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.shared_kv import SharedKVSpan, most_held_elements, pending_gradient_elements, shared_kv
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import Recompute

KINDS = {
    "local": {"attention": {"window": 4}},
    "full": {},
    "reuse": {"attention": {"window": 4, "kv_from": "local"}},
    "reuse-full": {"attention": {"kv_from": "full", "n_kv_heads": 2}},
}


def make(order: str, n_layers: int, **fields: Any) -> ModelConfig:
    kinds = {name: KINDS[name] for name in KINDS if name in order.replace(",", "").split()}
    sizes = {"vocab_size": 40, "d_model": 64, "n_heads": 4, "d_ff": 64, "max_len": 64, "dropout": 0.0}
    return ModelConfig.model_validate(
        {
            **sizes,
            "n_layers": n_layers,
            "position": {"kind": "rope"},
            "attention": {"n_kv_heads": 2},
            "layers": {"first": order, "kinds": kinds},
            **fields,
        }
    )


def test_spans() -> None:
    config = make("local, full, local, 2 reuse, reuse-full, reuse", 7)
    elements = 2 * 2 * 16  # 2 × G × K
    assert shared_kv(config) == (SharedKVSpan(1, 5, elements), SharedKVSpan(2, 6, elements))
    assert most_held_elements(config) == 2 * elements
    # in the backward pass, gradients wait from a reader to the source, itself included
    assert [pending_gradient_elements(config, layer) // elements for layer in range(7)] == [0, 1, 2, 2, 2, 1, 0]
    one_by_one = make("local, reuse, local, reuse", 4)
    assert most_held_elements(one_by_one) == elements
    assert [pending_gradient_elements(one_by_one, layer) // elements for layer in range(4)] == [1, 0, 1, 0]


def test_without_sharing() -> None:
    config = load_config("tiny").config
    assert (shared_kv(config), most_held_elements(config), pending_gradient_elements(config, 0)) == ((), 0, 0)


def test_full_recomputation_keeps_them() -> None:
    """Besides layer inputs, keys and values of both sources are saved: B × T × 2·G·K × itemsize bytes each."""
    config = make("local, full, local, 2 reuse, reuse-full, reuse", 7)
    report = activation_bytes(config, TrainingSetup(batch_size=3, seq_len=8, dtype="float32", recompute="full"))
    (kept,) = (part for part in report.outside if part.name == "shared keys and values")
    assert kept.saved_bytes == kept.tensor_parallel_bytes == 2 * 3 * 8 * (2 * 2 * 16) * 4
    assert all(layer.layer_bytes == 3 * 8 * 64 * 4 for layer in report.layers)


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize(
    ("batch_size", "seq_len", "order", "fields"),
    [
        (2, 64, "local, full, 2 reuse, reuse-full", {"vocab_size": 300}),
        (4, 32, "local, full, 2 reuse, reuse-full", {"norm": {"kind": "rmsnorm"}}),
        (4, 64, "full, reuse-full, reuse-full, full, reuse-full", {"feed_forward": {"gated": True}}),
        (1, 16, "full, reuse-full, full, reuse-full, full", {}),
    ],
)
def test_peak_of_a_training_step(
    batch_size: int, seq_len: int, order: str, fields: dict[str, Any], recompute: Recompute
) -> None:
    config = make(order, 5, **fields)
    setup = step_setup(batch_size, seq_len, recompute)
    measured = measured_peak(config, setup)
    assert training_memory(config, setup).peak_bytes == pytest.approx(measured, rel=0.02)
