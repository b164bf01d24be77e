"""The runs of looped layers, their costs compared with those of a model without a loop, and a measured peak."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import decode_flops, forward_flops, train_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes, read_cache_bytes
from tinylm_cli.analysis.layer_kinds import LayerSet, group_layers, layer_runs, n_layer_runs
from tinylm_cli.analysis.loop import loop_parts, n_runs, pass_of, passes
from tinylm_cli.analysis.parallel.communication import traffic
from tinylm_cli.analysis.parallel.layouts import ZERO_STAGES, layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_layer_kinds
from tinylm_cli.analysis.param_formulas import explain_params
from tinylm_cli.analysis.params import total_params, weights_bytes
from tinylm_cli.analysis.roofline import decode_weights
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import Recompute
from tinylm_cli.reports.plan import Layout

D, BF16 = 64, 2
ENDS = {"n_prelude_layers": 1, "n_coda_layers": 2}
ONE_MODULE = {"n_loops": 3, **ENDS, "inject": True}
TWO_MODULES = {"n_loops": 2, "n_low_layers": 2, "n_low_loops": 3}


def make(n_layers: int, loop: dict[str, Any], **fields: Any) -> ModelConfig:
    sizes = {"vocab_size": 300, "d_model": D, "n_heads": 4, "d_ff": 128, "max_len": 64, "dropout": 0.0}
    norm = {"kind": "rmsnorm", "weight": False}
    values = {**sizes, "n_layers": n_layers, "position": {"kind": "rope"}, "norm": norm, "loop": loop, **fields}
    return ModelConfig.model_validate(values)


def test_runs() -> None:
    """Prelude, three passes of the core, coda; and three low-level passes before each high-level one."""
    one, two = make(5, ONE_MODULE), make(5, TWO_MODULES)
    assert [(part.layers, part.n_passes) for part in loop_parts(one)] == [
        (range(1), 1), (range(1, 3), 3), (range(3, 5), 1),
    ]  # fmt: skip
    order = list(chain.from_iterable(each.layers for each in passes(one)))
    assert order == [0, 1, 2, 1, 2, 1, 2, 3, 4]
    low, high = [0, 1], [2, 3, 4]
    assert list(chain.from_iterable(each.layers for each in passes(two))) == 2 * (3 * low + high)
    for config in (one, two, make(5, {})):
        runs = list(chain.from_iterable(each.runs for each in passes(config)))
        assert runs == list(range(n_runs(config)))
    assert [each.n_later for each in passes(two)] == [5, 4, 3, 1, 2, 1, 0, 0]
    assert pass_of(two, 6).layers == range(2, 5)


def test_runs_of_sets_of_layers() -> None:
    config = make(5, ONE_MODULE)
    first_two = LayerSet.union([LayerSet.of(0), LayerSet.of(1)])
    assert list(layer_runs(config, first_two)) == [0, 1, 3, 5]
    assert list(layer_runs(config, first_two, last_only=True)) == [0, 5]
    assert n_layer_runs(config, first_two) == 4
    assert [(group.name, list(group.layers), group.n_runs) for group in group_layers(config, None)] == [
        ("", [0, 3, 4], 3), ("3 passes", [1, 2], 6),
    ]  # fmt: skip


@pytest.mark.parametrize("loop", [ONE_MODULE, TWO_MODULES])
def test_costs_of_the_unrolled_model(loop: dict[str, Any]) -> None:
    """A pass costs as much as layers of its own would, except for parameters, which count once."""
    config, once = make(5, loop), make(5, {})
    unrolled = make(n_runs(config), {})
    assert total_params(tensor_table(config)) == total_params(tensor_table(once))
    assert forward_flops(config, batch_size=2, seq_len=10) == forward_flops(unrolled, batch_size=2, seq_len=10)
    assert decode_flops(config, context_len=10) == decode_flops(unrolled, context_len=10)
    for recompute in ("none", "selective", "full"):
        steps = [train_flops(each, batch_size=1, seq_len=10, recompute=recompute) for each in (config, unrolled)]
        assert steps[0] == steps[1]
    cached = [kv_cache_bytes(each, batch_size=2, seq_len=10, dtype="bfloat16") for each in (config, unrolled)]
    assert cached[0] == cached[1]
    read = [read_cache_bytes(each, seq_len=10, dtype="bfloat16") for each in (config, unrolled)]
    assert read[0] == read[1]
    assert cache_shape(config, "int8").token_bytes == cache_shape(unrolled, "int8").token_bytes
    assert decode_weights(config, "bfloat16") == decode_weights(unrolled, "bfloat16")
    setup = TrainingSetup(batch_size=2, seq_len=10)
    saved = [activation_bytes(each, setup).saved_bytes for each in (config, unrolled)]
    # each norm between passes saves its input, and a statistic of each vector in float32
    n_norms = sum(part.n_passes for part in loop_parts(config) if part.n_passes > 1) - 1 + (loop is ONE_MODULE)
    assert saved[0] - saved[1] == n_norms * 2 * 10 * (D * BF16 + 4)
    assert sum(count for count, _ in stage_layer_kinds(config, Layout(), 0)) == n_runs(config)


def test_first_low_level_state() -> None:
    """A vector in the dtype of the model."""
    assert weights_bytes(make(5, TWO_MODULES), "bfloat16") - weights_bytes(make(5, {}), "bfloat16") == D * BF16


def test_no_pipeline() -> None:
    config, layout = make(4, {"n_loops": 2}), Layout(pipeline=2, micro_batches=2)
    assert [each.config_field for each in layout_mismatches(config, TrainingSetup(), layout)] == ["loop.n_loops"]


def test_traffic_of_weights() -> None:
    """ZeRO 3 gathers the weights of a looped layer in each pass; the gradients are reduced once."""
    config, once = make(5, ONE_MODULE), make(5, {})
    setup, layer = TrainingSetup(batch_size=1, seq_len=10), 4 * D * D + 4 * D + 2 * D * 128 + D + 128
    for zero in ZERO_STAGES:
        layout, gathers = Layout(data=4, zero=zero), 2 if zero == 3 else 0
        sent = [traffic(each, setup, layout, 0, None)[0].sent_bytes for each in (config, once)]
        assert sent[0] - sent[1] == gathers * 2 * 2 * layer * BF16 * 3 // 4, "two layers, two more passes"


def test_explanation() -> None:
    loop = ["n_layers=5", *(f"loop.{name}={value}" for name, value in TWO_MODULES.items())]
    explanation = explain_params(load_config("tiny", loop)).explanation
    assert explanation is not None
    assert [(each.layers, each.n_passes) for each in explanation.loops] == [("0..1", 6), ("2..4", 2)]


def test_many_layers() -> None:
    config = make(100_000, {"n_loops": 64, "n_low_layers": 40_000, "n_low_loops": 64})
    assert n_runs(config) == 64 * (64 * 40_000 + 60_000)
    assert training_memory(config, TrainingSetup(batch_size=1, seq_len=64)).peak_bytes > 0


@pytest.mark.parametrize(("fields", "recompute"), [({}, "none"), ({"d_ff": 512, "norm": {"kind": "rmsnorm"}}, "full")])
@pytest.mark.parametrize("loop", [ONE_MODULE, TWO_MODULES, {"n_loops": 3}])
def test_peak_of_a_training_step(loop: dict[str, Any], fields: dict[str, Any], recompute: Recompute) -> None:
    """In the last but one pass, all weights have gradients, and most tensors are still saved."""
    config, setup = make(5, loop, **fields), step_setup(4, 64, recompute)
    assert training_memory(config, setup).peak_bytes == pytest.approx(measured_peak(config, setup), rel=0.03)
