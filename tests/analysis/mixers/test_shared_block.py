"""A shared transformer block: counted once, computed and cached in each layer, and the peak of training."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import matmul_groups
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.mixers import mixer_of
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.parallel.communication import SHARED_BLOCK_COLLECTIVES, SUBLAYER_COLLECTIVES, traffic
from tinylm_cli.analysis.params import component_params, total_params
from tinylm_cli.analysis.roofline import decode_weights
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import Section, tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.choices import Recompute
from tinylm_cli.reports.plan import Layout

D, H, G, K, F = 64, 4, 2, 32, 96
KINDS: dict[str, Any] = {
    "alone": {"block": {"mixer": "mamba2", "feed_forward": False}},
    "first": {"block": {"mixer": "shared_block_mamba2", "shared_block": "a"}},
    "second": {"block": {"mixer": "shared_block_mamba2", "shared_block": "b"}},
}


def make(order: str, n_layers: int, **fields: Any) -> ModelConfig:
    sizes = {"vocab_size": 40, "d_model": D, "n_heads": H, "d_ff": F, "max_len": 64, "dropout": 0.0}
    return ModelConfig.model_validate(
        {
            **sizes,
            "n_layers": n_layers,
            "position": {"kind": "rope"},
            "attention": {"n_kv_heads": G, "d_head": K, "bias": False},
            "mamba2": {"d_head": 16, "d_state": 8},
            "feed_forward": {"bias": False},
            "layers": {"first": order, "kinds": {name: KINDS[name] for name in KINDS if name in order}},
            **fields,
        }
    )


ALONE = make("alone", 1, attention={}, position={}, feed_forward={})
ORDER = "alone, first, second, alone, first, second, first"
ATTENTION = 2 * D * (H + 2 * G) * K + H * K * D  # q, k and v read 2·D dimensions; o
NETWORK = 2 * D * F


def blocks(config: ModelConfig) -> list[Section]:
    return [section for section in tensor_table(config) if section.shared_block is not None]


def kind_of(config: ModelConfig) -> ModelConfig:
    (kind,) = layer_pattern(config).kinds
    return kind


def test_weights_exist_once() -> None:
    config = make(ORDER, 7)
    table = tensor_table(config)
    assert [(each.shared_block, each.repeats, list(each.layers or ())) for each in blocks(config)] == [
        (0, 1, [1, 4, 6]),
        (1, 1, [2, 5]),
    ]
    assert component_params(table, "attention") == 2 * ATTENTION
    assert component_params(table, "feed_forward") == 2 * NETWORK + 5 * D * D  # and a projection in each layer
    one = make(ORDER.replace("second", "first"), 7)
    in_norms = 2 * (2 * D + D)  # weights and biases of the norms before attention and the network
    assert total_params(table) - total_params(tensor_table(one)) == ATTENTION + NETWORK + in_norms


def test_adapters_belong_to_layers() -> None:
    """Of q, k and v with rank 3, and of gate and up with rank 5, in each of five layers."""
    config = make(ORDER, 7)
    attention = config.attention.model_copy(update={"adapter_rank": 3})
    feed_forward = config.feed_forward.model_copy(update={"adapter_rank": 5, "gated": True})
    adapted = ModelConfig.model_validate(
        {**config.model_dump(exclude_unset=True), "attention": attention, "feed_forward": feed_forward}
    )
    of_attention, of_network = 3 * (3 * 2 * D + (H + 2 * G) * K), 5 * (D + 2 * F)
    for component, added in (("attention", of_attention), ("feed_forward", of_network)):
        in_blocks = 2 * D * F if component == "feed_forward" else 0  # the gates of both blocks
        plain, found = (component_params(tensor_table(each), component) for each in (config, adapted))  # type: ignore[arg-type]
        assert found - plain == 5 * added + in_blocks
    plain_flops, found_flops = (
        sum(group.flops for group in matmul_groups(each, seq_len=8)) for each in (config, adapted)
    )
    assert found_flops - plain_flops == 5 * 2 * 8 * (of_attention + of_network + D * F)


def test_each_layer_computes_and_caches() -> None:
    config = make(ORDER, 7)
    groups = {group.name: group for group in matmul_groups(config, seq_len=8)}
    assert groups["shared_blocks.0 in blocks.{1, 4, 6} first"].flops == 3 * 2 * 8 * (ATTENTION + NETWORK)
    assert groups["shared_blocks.1 in blocks.{2, 5} second"].flops == 2 * 2 * 8 * (ATTENTION + NETWORK)
    sizes = {"batch_size": 3, "seq_len": 8, "dtype": "bfloat16"}
    keys_and_values = 5 * 3 * 8 * 2 * G * K * 2  # of five layers, in bytes
    assert kv_cache_bytes(config, **sizes) - 7 * kv_cache_bytes(ALONE, **sizes) == keys_and_values  # type: ignore[arg-type]


def test_decoding_reads_the_weights_in_each_layer() -> None:
    twice, once = (make(order, 3) for order in ("alone, first, first", "alone, alone, first"))
    in_norms = 2 * (2 * D + D)
    further = decode_weights(twice, "float32").dense_bytes - decode_weights(once, "float32").dense_bytes
    assert further == 4 * (ATTENTION + NETWORK + in_norms + D * D)


def test_full_recompute() -> None:
    report = activation_bytes(make(ORDER, 7), TrainingSetup(batch_size=3, seq_len=8, dtype="float32", recompute="full"))
    assert [layer.layer_bytes for layer in report.layers] == 3 * [3 * 8 * D * 4]


@pytest.mark.parametrize(("recompute", "again"), [("none", 0), ("full", 1)])
def test_tensor_parallelism_gathers_embeddings(recompute: Recompute, again: int) -> None:
    setup = TrainingSetup(batch_size=2, seq_len=8, dtype="float32", recompute=recompute, n_gpus=2)
    sent = []
    for config in (ALONE, make("first", 1)):
        of_tensor = {each.name: each for each in traffic(config, setup, Layout(tensor=2), 0, None)}["tensor"]
        sent.append(of_tensor.sent_bytes)
    per_collective = 2 * 8 * D * 4 // 2
    sublayers = 2 * (SUBLAYER_COLLECTIVES + 2 * again)
    assert sent[1] - sent[0] == (sublayers + SHARED_BLOCK_COLLECTIVES + again) * per_collective


def test_gradient_of_the_embeddings() -> None:
    """Below the block that reads them last, a sum; below a single one, also a part of the gradient of both inputs."""
    setup = TrainingSetup(batch_size=2, seq_len=8, dtype="float32")
    working = []
    for order in ("3 alone, first", "2 alone, 2 first", "alone, 3 first"):
        config = make(order, 4)
        phases = training_timeline(ForwardPass(config, setup), tensor_table(config), step_bytes=0)
        working.append([phase.working_bytes for phase in phases if phase.name == "backward"][-1])
    residual_stream = 2 * 8 * D * 4
    assert working[0] - residual_stream == working[1] == working[2]


def test_prefill() -> None:
    """While the layer's own mixer runs, the output of the block and its sum with x are held."""
    tokens, element_bytes = 3 * 8, 2
    run = InferencePass(3, 8, 8, element_bytes, "flash")
    vectors = tokens * D * element_bytes
    found, alone = ([*mixer_of(each).prefill_bytes(each, run)] for each in map(kind_of, (make("first", 1), ALONE)))
    assert found[0] == vectors + 2 * 2 * vectors, "x, and beside the embeddings, before and after the norm"
    assert found[-len(alone) :] == [2 * vectors + point for point in alone]


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize(
    "order",
    [
        "4 alone, first",
        "first, 4 alone",
        "alone, first, 2 alone, second",
        "2 first, 3 alone",
        "4 first, alone",
        "second, first, second, first, alone",
    ],
)
def test_peak_of_a_training_step(order: str, recompute: Recompute) -> None:
    """With small states, whose gradients are estimated from above."""
    check_peak(make(order, 5, mamba2={"n_heads": 1, "d_head": 8, "d_state": 1}, d_ff=1024), recompute)


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize("gated", [True, False])
def test_peak_with_adapters(recompute: Recompute, *, gated: bool) -> None:
    network = {"gated": gated, "adapter_rank": 16}
    attention = {"n_kv_heads": 4, "d_head": 32, "adapter_rank": 16}
    fields = {"attention": attention, "feed_forward": network, "d_ff": 1024}
    config = make("alone, 4 first", 5, mamba2={"n_heads": 1, "d_head": 8, "d_state": 1}, **fields)
    check_peak(config, recompute, tolerance=0.04)


def check_peak(config: ModelConfig, recompute: Recompute, tolerance: float = 0.02) -> None:
    setup = step_setup(4, 64, recompute)
    measured = measured_peak(config, setup)
    assert training_memory(config, setup).peak_bytes == pytest.approx(measured, rel=tolerance)
