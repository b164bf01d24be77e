"""Time of a training step, compared with hand-computed values."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.accelerators import GB, make_accelerator
from tests.random_configs import small_configs
from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.plan import plan
from tinylm_cli.analysis.parallel.step_time import stage_flops
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import Recompute
from tinylm_cli.reports.plan import Layout, Plan

PEAK, EFFICIENCY = 1000 * 10**12, 0.5
NODE = make_accelerator(10**12, peak=PEAK)
LLAMA, SETUP = load_config("llama-3-8b").config, TrainingSetup(1, 2048, kernel_efficiency=EFFICIENCY)
LAYER = 3 * (2 * 2048 * 218_103_808 + 2 * 32 * 256 * (2048 * 2049 // 2))
HEAD = 3 * 2 * 2048 * 525_336_576
"""Operations of one layer and of the head, forward and twice that backward, on 2,048 tokens: docs/costs.md, by hand."""
SECOND = 1000e12 * 0.5


def made(
    layout: Layout, setup: TrainingSetup = SETUP, accelerator: Accelerator = NODE, config: ModelConfig = LLAMA
) -> Plan:
    return plan(config, setup, layout, accelerator)


def seconds(
    layout: Layout, setup: TrainingSetup = SETUP, accelerator: Accelerator = NODE, config: ModelConfig = LLAMA
) -> float:
    found = made(layout, setup, accelerator, config).step_seconds
    assert found is not None
    return found


def test_one_gpu() -> None:
    found = made(Layout(micro_batches=3))
    assert found.step_seconds == pytest.approx(3 * (32 * LAYER + HEAD) / SECOND)
    assert found.utilization == pytest.approx(0.5), "of what a kernel reaches nothing is lost"


def test_recomputation() -> None:
    again = made(Layout(), SETUP._replace(recompute="full"))
    assert again.step_seconds == pytest.approx((32 * LAYER * 4 / 3 + HEAD) / SECOND)
    assert again.utilization == pytest.approx(0.5 * (32 * LAYER + HEAD) / (32 * LAYER * 4 / 3 + HEAD))


def test_two_nodes() -> None:
    """Twice 15/16 of 2 bytes for each parameter, at 8 · 50 GB/s, once a step."""
    reducing = 2 * 2 * 8_030_261_248 * 15 / 16 / (400 * GB)
    assert seconds(Layout(data=16, micro_batches=4)) == pytest.approx(4 * (32 * LAYER + HEAD) / SECOND + reducing)


def test_slowest_stage() -> None:
    """Eight stages of four layers: the last has the head, so the step is 16 of its passes and one of all others."""
    found = made(Layout(pipeline=8, micro_batches=16))
    stream = 2048 * 4096 * 2
    inner, first, last = 4 * LAYER / SECOND, 4 * LAYER / SECOND, (4 * LAYER + HEAD) / SECOND
    inner, first, last = inner + 2 * stream / (450 * GB), first + stream / (450 * GB), last + stream / (450 * GB)
    assert found.step_seconds == pytest.approx(16 * last + 6 * inner + first)
    assert found.slowest_stage == 7
    assert found.imbalance == pytest.approx((4 * LAYER + HEAD) / ((32 * LAYER + HEAD) / 8))
    work = 16 * (32 * LAYER + HEAD) / 8
    assert found.bubble == pytest.approx(1 - work / (16 * (4 * LAYER + HEAD) + 28 * LAYER))


@pytest.mark.parametrize(
    ("name", "pipeline", "seq_len", "times"),
    [("llama-3-8b", 8, 8192, 1.43), ("gemma-2-2b", 13, 8192, 3.4), ("gpt2", 12, 1024, 4.2)],
)
def test_large_head(name: str, pipeline: int, seq_len: int, times: float) -> None:
    found = plan(load_config(name).config, TrainingSetup(1, seq_len), Layout(pipeline=pipeline, micro_batches=pipeline))
    assert found.imbalance == pytest.approx(times, rel=0.02)
    assert found.slowest_stage == pipeline - 1


def test_bubble() -> None:
    """Narayanan et al. 2021, section 2.2: (p - 1) / (p - 1 + m), and with v chunks (p - 1) / v in place of p - 1."""
    tiny_head = load_config("llama-3-8b", ["vocab_size=2"]).config
    for virtual in (1, 2, 4):
        found = plan(tiny_head, SETUP, Layout(pipeline=4, micro_batches=12, virtual=virtual))
        assert found.bubble == pytest.approx(3 / virtual / (3 / virtual + 12), rel=1e-3)


@pytest.mark.parametrize("pipeline", [1, 2, 4])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("name", ["gpt2", "gemma-2-2b", "mixtral-8x7b", "deepseek-v2-lite"])
def test_stage_flops(name: str, recompute: Recompute, pipeline: int) -> None:
    config = load_config(name, ["n_layers=12"]).config
    setup, layout = TrainingSetup(2, 512, recompute=recompute), Layout(pipeline=pipeline)
    whole = train_flops(config, batch_size=2, seq_len=512, recompute=recompute)
    assert sum(stage_flops(config, setup, layout, stage) for stage in range(pipeline)) == whole


@given(
    small_configs(), st.sampled_from([1, 2, 16]), st.sampled_from([1, 2]), st.booleans(),
    st.sampled_from(["link", "peer", "network", "peak"]), st.integers(2, 100),
)  # fmt: skip
def test_monotonic(config: ModelConfig, data: int, context: int, staged: bool, rate: str, times: int) -> None:
    layout = Layout(data, 1, config.n_layers if staged else 1, context, micro_batches=2)
    setup = SETUP._replace(seq_len=8)
    assume(not layout_mismatches(config, setup, layout))
    rates = {"peak": PEAK, "link": 450 * GB, "peer": 450 * GB, "network": 50 * GB}
    faster = make_accelerator(**{**rates, rate: times * rates[rate]})
    assert seconds(layout, setup, faster, config) <= seconds(layout, setup, config=config)
    assert 0 < (made(layout, setup, config=config).utilization or 0) <= EFFICIENCY * (1 + 1e-12)


def test_utilization() -> None:
    found = made(Layout(data=4, tensor=4, zero=1, micro_batches=8))
    assert found.step_seconds is not None
    useful = (32 * LAYER + HEAD) * found.tokens_per_step / 2048
    assert found.utilization == pytest.approx(useful / found.step_seconds / (16 * 1000e12))
    assert 0.3 < (found.utilization or 0) < 0.5
