"""Rooflines: properties that hold for any machine and any model."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.roofline import (
    DecodeStep,
    ReadWeights,
    decode_weights,
    peak_flops,
    serving_time,
    training_time,
)
from tinylm_cli.analysis.setups import TYPICAL_UTILIZATION, ServingSetup, TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.hardware import load_accelerators, load_hardware
from tinylm_cli.errors import UsageError
from tinylm_cli.interop.load import load_config

H100 = load_hardware("h100-sxm")

accelerators = st.sampled_from(list(load_accelerators().values()))
flops = st.integers(1, 10**15)
sizes = st.integers(1, 10**13)


@st.composite
def _weights(draw: st.DrawFn) -> ReadWeights:
    if draw(st.booleans()):
        return ReadWeights(draw(sizes))
    routed, of_attention = [draw(st.integers(1, 512)) for _ in range(2)]
    experts = draw(sizes), routed, draw(st.integers(1, routed))
    attention_experts = draw(st.integers(0, 10**13)), of_attention, draw(st.integers(1, of_attention))
    return ReadWeights(draw(sizes), *experts, *attention_experts)


steps = st.builds(DecodeStep, _weights(), flops, st.integers(0, 10**11))

USUAL = {"accelerator": H100, "dtype": "float16", "prefill_tokens": 512}


def serve(step: DecodeStep, *, batch_size: int = 1, **changes: Any) -> Any:
    given = {
        "prompt_tokens": 512,
        "prefill_flops": 512 * batch_size * step.flops_per_sequence,
        "prefill_cache_bytes": 0,
        "context_tokens": 1024,
    }
    on, dtype, tokens = (changes.pop(name, usual) for name, usual in USUAL.items())
    setup = ServingSetup(batch_size, dtype=dtype, prefill_tokens=tokens)
    return serving_time(on, setup, step, **{**given, **changes})


def test_training_by_hand() -> None:
    time = training_time(
        H100,
        TrainingSetup(n_gpus=8, train_tokens=20 * 10**9, usd_per_gpu_hour=2.0),
        train_flops_per_token=6 * 10**9,
    )
    assert time.train_flops == 120 * 10**18
    assert time.seconds == pytest.approx(120e18 / (8 * 989.4e12 * 0.4))
    assert time.gpu_hours == pytest.approx(time.seconds * 8 / 3600)
    assert time.usd == pytest.approx(2 * time.gpu_hours)
    assert time.tokens_per_second == pytest.approx(20e9 / time.seconds)
    assert (time.utilization, TYPICAL_UTILIZATION) == (0.4, 0.4)
    assert (time.accelerator, time.peak_flops_per_second) == ("h100-sxm", 989_400_000_000_000)


def test_published_training_runs() -> None:
    """Llama 3.1 405B, 15.6T tokens, by its model card took 30.84 million H100 hours, restarts and all."""
    time = training_time(
        H100, TrainingSetup(n_gpus=16_384, train_tokens=156 * 10**11), train_flops_per_token=6 * 405 * 10**9
    )
    assert time.train_flops == pytest.approx(3.8e25, rel=0.01), "as the paper says"
    assert 0.8 * 30.84e6 < time.gpu_hours < 30.84e6
    assert time.usd is None


@given(accelerators, st.integers(1, 10**5), st.integers(1, 100), flops, st.integers(1, 10**14), st.floats(0.01, 1))
def test_more_gpus_take_the_same_gpu_hours(
    on: Any, n_gpus: int, more: int, per_token: int, tokens: int, utilization: float
) -> None:
    def time(n: int) -> Any:
        setup = TrainingSetup(dtype="float16", n_gpus=n, train_tokens=tokens, utilization=utilization)
        return training_time(on, setup, train_flops_per_token=per_token)

    few, many = time(n_gpus), time(n_gpus + more)
    assert many.seconds < few.seconds
    assert many.tokens_per_second > few.tokens_per_second
    assert many.gpu_hours == few.gpu_hours
    assert few.seconds * few.tokens_per_second == pytest.approx(tokens)


@given(flops, st.integers(1, 10**14), st.floats(0.01, 0.99))
def test_a_higher_utilization_is_faster(per_token: int, tokens: int, utilization: float) -> None:
    setup = TrainingSetup(n_gpus=4, train_tokens=tokens)
    slow, fast = (
        training_time(H100, setup._replace(utilization=share), train_flops_per_token=per_token)
        for share in (utilization, 1.0)
    )
    assert fast.seconds == pytest.approx(slow.seconds * utilization)


def test_unsupported_dtype_of_gpu() -> None:
    with pytest.raises(UsageError, match="v100-16gb does not support bfloat16 matmuls") as raised:
        peak_flops(load_hardware("v100"), "bfloat16")
    assert raised.value.help == "use one of its dtypes: float32 or float16"
    with pytest.raises(UsageError, match="h100-sxm does not support float64 matmuls"):
        peak_flops(H100, "float64")


def test_each_prefill_chunk_reads_the_weights() -> None:
    step = DecodeStep(ReadWeights(10**9), 10**9, 0)
    for piece, passes in ((512, 2), (1000, 2), (200, 2 * 3), (1, 2 * 512)):
        time = serve(step, batch_size=2, prefill_tokens=piece, prefill_cache_bytes=7)
        assert time.prefill.moved_bytes == passes * 10**9 + 7


def test_serving_by_hand() -> None:
    step = DecodeStep(ReadWeights(16 * 10**9), 16 * 10**9, 128 * 10**6)
    time = serve(step, batch_size=4, prefill_flops=10**14, prefill_cache_bytes=10**9, dtype="bfloat16")
    assert time.prefill.seconds == time.prefill.compute_seconds == pytest.approx(1e14 / 989.4e12)
    assert time.prefill.moved_bytes == 4 * 16 * 10**9 + 10**9, "each prompt by itself"
    assert time.prefill_tokens_per_second == pytest.approx(4 * 512 / time.prefill.seconds)
    assert time.decode.moved_bytes == 16 * 10**9 + 4 * 128 * 10**6
    assert time.decode.seconds == time.decode.memory_seconds == pytest.approx(16.512e9 / 3.35e12)
    assert (time.prefill.bound, time.decode.bound) == ("compute", "memory")
    assert time.balance_flops_per_byte == pytest.approx(295.3, abs=0.1)
    assert time.decode_tokens_per_second == 4 * time.sequence_tokens_per_second
    # weights · balance / (FLOPs - cache · balance) has no positive value here
    assert time.compute_bound_batch_size is None
    without = serve(step._replace(cache_bytes_per_sequence=0), dtype="bfloat16")
    assert without.compute_bound_batch_size == 296, "the balance, at one FLOP a byte and sequence"


@given(steps, st.integers(1, 4096), accelerators)
def test_compute_bound_or_memory_bound(step: DecodeStep, batch: int, on: Any) -> None:
    time = serve(step, batch_size=batch, accelerator=on)
    for each in (time.prefill, time.decode):
        assert each.seconds == max(each.compute_seconds, each.memory_seconds)
        assert each.seconds == getattr(each, f"{each.bound}_seconds") or each.compute_seconds == pytest.approx(
            each.memory_seconds
        )
        above = Fraction(each.flops, each.moved_bytes) >= Fraction(
            time.peak_flops_per_second, time.memory_bytes_per_second
        )
        assert each.bound == ("compute" if above else "memory")


@given(steps, st.integers(1, 4096), st.integers(0, 10**9), st.integers(0, 10**9))
def test_decoding_never_gets_faster_with_context(step: DecodeStep, batch: int, cache: int, work: int) -> None:
    longer = step._replace(
        cache_bytes_per_sequence=step.cache_bytes_per_sequence + cache,
        flops_per_sequence=step.flops_per_sequence + work,
    )
    assert serve(longer, batch_size=batch).decode.seconds >= serve(step, batch_size=batch).decode.seconds


@given(steps, st.integers(1, 4096), st.integers(1, 64))
def test_larger_batches_decode_more_per_second(step: DecodeStep, batch: int, more: int) -> None:
    small, large = serve(step, batch_size=batch), serve(step, batch_size=batch + more)
    assert large.decode.seconds >= small.decode.seconds
    if step.weights.dense_bytes > 10**6:  # beyond what rounding bytes of experts can turn
        assert large.decode_tokens_per_second >= small.decode_tokens_per_second * (1 - 1e-6)


@given(steps, accelerators)
def test_compute_bound_batch(step: DecodeStep, on: Any) -> None:
    turn = serve(step, accelerator=on).compute_bound_batch_size
    if turn is None:
        assert serve(step, batch_size=10**9, accelerator=on).decode.bound == "memory"
        return
    assert serve(step, batch_size=turn, accelerator=on).decode.bound == "compute"
    if turn > 1:
        assert serve(step, batch_size=turn - 1, accelerator=on).decode.bound == "memory"


def test_slow_cache() -> None:
    """Then no batch outweighs the time to read the weights."""
    peak, bandwidth = peak_flops(H100, "bfloat16"), H100.memory_bytes_per_second
    step = DecodeStep(ReadWeights(1), peak, bandwidth)
    assert serve(step, dtype="bfloat16").compute_bound_batch_size is None
    step = step._replace(flops_per_sequence=peak + 1)
    assert serve(step, dtype="bfloat16").compute_bound_batch_size == -(-peak // bandwidth)


@given(_weights(), st.integers(1, 10**4))
def test_experts_read_by_a_batch(weights: ReadWeights, tokens: int) -> None:
    weights = weights._replace(attention_expert_bytes=0)
    read = weights.read_bytes(tokens) - weights.dense_bytes
    assert weights.read_bytes(tokens) <= weights.read_bytes(tokens + 1)
    assert read <= weights.expert_bytes
    assert read <= tokens * weights.expert_bytes * weights.top_k / weights.n_experts + 1
    spared = (1 - Fraction(weights.top_k, weights.n_experts)) ** tokens
    assert read == pytest.approx(float(weights.expert_bytes * (1 - spared)), rel=1e-9, abs=1)


def test_experts_read_by_one_token() -> None:
    assert ReadWeights(5, 800, 8, 2).read_bytes(1) == 5 + 200
    assert ReadWeights(5, 800, 8, 2).read_bytes(2) == 5 + 350, "two tokens meet 3.5 of 8 on average"
    assert ReadWeights(5, 800, 8, 8).read_bytes(1) == 805


@pytest.mark.parametrize(
    ("name", "looked_up"),
    [
        ("tiny", 0),  # the head reads the table that is looked up
        ("gpt2", 1024 * 768),
        ("llama-3-8b", 128_256 * 4096),
        ("mixtral-8x7b", 32_000 * 4096),
        ("qwen3-30b-a3b", 151_936 * 2048),
        ("deepseek-v2-lite", 102_400 * 2048),
    ],
)
def test_decode_reads(name: str, looked_up: int) -> None:
    config = load_config(name).config
    weights = decode_weights(config, "bfloat16")
    assert weights.dense_bytes + weights.expert_bytes == 2 * (total_params(tensor_table(config)) - looked_up)
    one_token = sum(
        section.repeats * tensor.active_params for section in tensor_table(config) for tensor in section.tensors
    )
    assert weights.read_bytes(1) == 2 * (one_token - looked_up)
    assert bool(weights.expert_bytes) == (config.feed_forward.n_experts is not None)
