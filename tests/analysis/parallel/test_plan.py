from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.accelerators import GIB, make_accelerator
from tests.python_calls import count_calls
from tests.random_configs import small_configs
from tinylm_cli.analysis.parallel.layouts import layout_mismatches, layouts
from tinylm_cli.analysis.parallel.plan import (
    MAX_LAYOUTS,
    MAX_STAGES,
    fastest_plan,
    n_searched_stages,
    plan,
    plan_bytes,
    plans,
    smallest_plan_bytes,
)
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.cli.plan_option import read_layout
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import Optimizer, Recompute
from tinylm_cli.reports.plan import Layout, ZeroStage

NODE = make_accelerator()

Run = tuple[ModelConfig, TrainingSetup]


def job(name: str, *, seq_len: int = 2048, n_gpus: int = 1) -> Run:
    return load_config(name).config, TrainingSetup(seq_len=seq_len, n_gpus=n_gpus)


def parts(found: Run, layout: Layout) -> dict[str, int]:
    return {part.name: part.part_bytes for part in plan(*found, layout).peak_stage.parts}


@given(
    config=small_configs(),
    optimizer=st.sampled_from(["adamw", "sgd", "adafactor", "muon", "adamw_8bit"]),
    recompute=st.sampled_from(["none", "selective", "full"]),
)
def test_one_gpu(config: ModelConfig, optimizer: Optimizer, recompute: Recompute) -> None:
    alone = plan(config, TrainingSetup(2, 9, optimizer=optimizer, recompute=recompute), Layout())
    whole = training_memory(config, TrainingSetup(batch_size=2, seq_len=9, optimizer=optimizer, recompute=recompute))
    assert alone.peak_stage.total_bytes == whole.total_bytes
    assert alone.traffic == ()
    assert alone.bubble == 0


@pytest.mark.parametrize(("zero", "ways"), [(0, (1, 1, 1)), (1, (1, 1, 64)), (2, (1, 64, 64)), (3, (64, 64, 64))])
def test_zero_memory(zero: ZeroStage, ways: tuple[int, int, int]) -> None:
    """Figure 1 there: 2 + 2 + 12 bytes a parameter, and which of them 64 replicas divide."""
    found = parts(job("llama-3-8b"), Layout(data=64, zero=zero))
    weights, gradients, optimizer = (width * 8_030_261_248 / n for width, n in zip((2, 2, 12), ways, strict=True))
    assert found["weights"] == pytest.approx(weights + 4 * 64, rel=1e-6), "rotary frequencies are everywhere"
    assert found["gradients"] == pytest.approx(gradients, rel=1e-6)
    assert found["master weights"] + found["optimizer state"] == pytest.approx(optimizer, rel=1e-6)
    assert ("gathered layers" in found) is (zero == 3)


@pytest.mark.parametrize(("expert", "copies"), [(8, 1), (2, 4)])
def test_zero_of_experts(expert: int, copies: int) -> None:
    """Eight replicas share the state of what all hold; of a routed expert there are fewer copies to share it."""
    found = parts(job("mixtral-8x7b"), Layout(data=8, expert=expert, zero=1))
    routed = 32 * 8 * 3 * 4096 * 14336
    shared = 46_702_792_704 - routed
    assert found["weights"] == pytest.approx(2 * (shared + routed / expert), rel=1e-6)
    state = found["master weights"] + found["optimizer state"]
    assert state == pytest.approx(12 * (shared / 8 + routed / expert / copies), rel=1e-6)


@pytest.mark.parametrize(("zero", "widths"), [(0, 4), (1, 4), (2, 4), (3, 6)])
def test_zero_traffic(zero: ZeroStage, widths: int) -> None:
    """Section 7 there: twice the parameters in 2 bytes for all stages but the last, and three times for that."""
    (sent,) = plan(*job("llama-3-8b"), Layout(data=64, zero=zero)).traffic
    assert sent.name == "data"
    assert sent.sent_bytes == 8_030_261_248 * widths * 63 // 64


def test_sequence_parallelism() -> None:
    """Korthikanti et al. 2022, equation 4: one GPU saves 1/t of all activations."""
    found = job("llama-3-8b")
    one, eight = (parts(found, Layout(tensor=tensor))["activations"] for tensor in (1, 8))
    assert eight == pytest.approx(one / 8, rel=0.02), "tables of positions are not divided"


def test_in_flight() -> None:
    found = job("llama-2-7b")
    first = plan(*found, Layout(pipeline=4, micro_batches=16)).peak_stage
    assert (first.stage, first.in_flight) == (0, 4)
    assert plan(*found, Layout(pipeline=4, micro_batches=16, schedule="gpipe")).peak_stage.in_flight == 16
    assert plan(*found, Layout(pipeline=4, micro_batches=2)).peak_stage.in_flight == 2
    turns = plan(*found, Layout(pipeline=4, micro_batches=16, virtual=2)).peak_stage
    assert turns.in_flight == 4 * (1 + 3 / 8), "Korthikanti et al. 2022, section 4.2.3: 1 + (p - 1) / (p · m) as many"


@given(config=small_configs(), data=st.integers(1, 4), zero=st.sampled_from([0, 1, 2]))
def test_more_replicas(config: ModelConfig, data: int, zero: ZeroStage) -> None:
    found = (config, TrainingSetup(1, 8))
    fewer, more = (plan(*found, Layout(data=n, zero=zero)).peak_stage.total_bytes for n in (data, 2 * data))
    assert more <= fewer


def test_fitting_plans() -> None:
    config, setup = job("llama-3-8b", n_gpus=16)
    ranked, smallest, n_fitting, count = plans(config, setup, NODE)
    assert 0 < len(ranked) == n_fitting < count
    assert smallest.peak_stage.total_bytes == smallest_plan_bytes(config, setup, 8)
    assert smallest in ranked
    for each in ranked:
        layout = each.layout
        assert each.fits
        assert prod((layout.data, layout.tensor, layout.pipeline, layout.context)) == layout.n_gpus == 16
        assert not layout_mismatches(config, setup, layout)
    costs = [each.step_seconds / each.tokens_per_step for each in ranked if each.step_seconds]
    assert costs == sorted(costs)
    assert {each.tokens_per_step for each in ranked} == {2**22}


@given(config=small_configs(), gpus=st.sampled_from([2, 4, 6, 8]), times=st.sampled_from([0.9, 1, 1.2, 10]))
def test_fastest_plan(config: ModelConfig, gpus: int, times: float) -> None:
    """The search that stops early finds the first plan of the full ranking, or the smallest if none fits."""
    setup = TrainingSetup(1, 8, n_gpus=gpus)
    accelerator = make_accelerator(int(smallest_plan_bytes(config, setup, 8) * times))
    assert fastest_plan(config, setup, accelerator) == plans(config, setup, accelerator).best


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "gemma-2-2b"])
def test_fastest_plan_of_many(name: str) -> None:
    run = (*job(name, n_gpus=96), load_hardware("h100"))
    found = fastest_plan(*run)
    assert found == plans(*run).best
    assert count_calls(partial(fastest_plan, *run)) < count_calls(partial(plans, *run)) / 4


def test_ranked_plans() -> None:
    """A search returns the fastest plans, and counts all."""
    run = (*job("llama-3-8b", n_gpus=16), NODE)
    every, few = plans(*run), plans(*run, most=3)
    assert len(every.fitting) > 3
    assert few == (every.fitting[:3], every.smallest, every.n_fitting, every.tried)


@given(config=small_configs(), gpus=st.sampled_from([1, 2, 4, 6, 8]), passes=st.sampled_from([1, 3]))
def test_smallest_plan_bytes(config: ModelConfig, gpus: int, passes: int) -> None:
    setup = TrainingSetup(passes, 8, n_gpus=gpus)
    smallest = plans(config, setup, NODE).smallest
    assert smallest_plan_bytes(config, setup, 8) == smallest.peak_stage.total_bytes
    assert plan_bytes(config, setup, smallest.layout) == smallest.peak_stage.total_bytes


def test_nothing_fits() -> None:
    run = job("llama-3-8b", seq_len=8192, n_gpus=2)
    fitting, smallest, n_fitting, count = plans(*run, make_accelerator(GIB))
    assert (fitting, smallest.fits, n_fitting, count) == ((), False, 0, 10)
    assert smallest.layout == Layout(tensor=2, micro_batches=512)


@pytest.mark.parametrize(
    ("layout", "typed"),
    [
        (Layout(), "dp=1"),
        (Layout(data=8), "dp=8"),
        (Layout(data=8, zero=3), "zero=3"),
        (Layout(2, 8, 2, 1, 2, 1, 16, "gpipe"), "tp=8,pp=2,ep=2,zero=1,mb=16,schedule=gpipe"),
    ],
)
def test_layout_text(layout: Layout, typed: str) -> None:
    assert layout.spec == typed
    assert read_layout(typed, layout.n_gpus, None, None) == layout


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("llama-3-8b", Layout(tensor=3), "tensor parallelism 3 does not divide n_heads 32"),
        ("llama-3-8b", Layout(tensor=16), "tensor parallelism 16 does not divide attention.n_kv_heads 8"),
        ("llama-3-8b", Layout(pipeline=5), "pipeline parallelism 5 does not divide n_layers 32"),
        ("llama-3-8b", Layout(context=3), "context parallelism 3 does not divide seq_len 2048"),
        ("llama-3-8b", Layout(data=2, expert=2), "expert parallelism 2 needs a mixture of experts"),
        ("mixtral-8x7b", Layout(data=3, expert=3), "expert parallelism 3 does not divide feed_forward.n_experts 8"),
        ("mixtral-8x7b", Layout(data=2, expert=4), "does not divide the 2 GPUs"),
    ],
)
def test_mismatches(name: str, layout: Layout, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        plan(*job(name), layout)


def test_nearby_divisors() -> None:
    """The divisors of the size up to four times the degree; the four largest."""
    with pytest.raises(AnalysisError) as raised:
        plan(*job("llama-3-8b"), Layout(context=12))
    assert raised.value.help == "nearby divisors: 4, 8, 16, 32"


WINDOWS = ("attention.window=64", "attention.window_pattern=LLLLLGLLG")
EXPERTS = ("feed_forward.n_experts=4", "feed_forward.n_dense_layers=5")


@pytest.mark.parametrize("changes", [(), WINDOWS, (*WINDOWS, *EXPERTS)], ids=["equal", "windows", "experts"])
@pytest.mark.parametrize("layout", [Layout(pipeline=8), Layout(pipeline=8, virtual=4), Layout(data=8, zero=3)])
def test_work_of_deep_models(changes: tuple[str, ...], layout: Layout) -> None:
    """Planning 98,496 layers calls as many functions as planning 288."""
    layout = replace(layout, micro_batches=64)
    configs = [load_config("tiny", [f"n_layers={n}", *changes]).config for n in (288, 98_496)]
    calls = [count_calls(partial(plan, config, TrainingSetup(1, 128), layout, NODE)) for config in configs]
    assert calls[1] <= 1.1 * calls[0]


@pytest.mark.parametrize("changes", [(), WINDOWS, (*WINDOWS, *EXPERTS)], ids=["equal", "windows", "experts"])
def test_work_of_many_stages(changes: tuple[str, ...]) -> None:
    """Planning 49,152 stages calls as many functions as planning 48."""
    config, setup = load_config("tiny", ["n_layers=98304", *changes]).config, TrainingSetup(1, 128)
    few_and_many = [Layout(pipeline=stages, micro_batches=stages) for stages in (48, 49_152)]
    calls = [count_calls(partial(plan, config, setup, layout, NODE)) for layout in few_and_many]
    assert calls[1] <= 1.1 * calls[0]


def test_too_many_layouts() -> None:
    """720,720 GPUs, and a model whose layers, length and experts have as many divisors."""
    sizes = ["n_layers=83160", "max_len=720720", "d_model=128", "n_heads=8", "feed_forward.n_experts=55440"]
    config, setup = load_config("tiny", sizes).config, TrainingSetup(n_gpus=720_720)
    with pytest.raises(AnalysisError, match=f"more than {MAX_LAYOUTS:,} layouts"):
        plans(config, setup, NODE)
    with pytest.raises(AnalysisError, match=f"more than {MAX_LAYOUTS:,} layouts"):
        smallest_plan_bytes(config, setup, 8)


def test_too_many_stages() -> None:
    """Without a flash kernel, each stage of a long pattern has its own number of windows."""
    pattern = "".join(Random(1).choices("LG", k=509))
    windows = ["n_layers=100000", "attention.window=16", f"attention.window_pattern={pattern}"]
    config = load_config("tiny", windows).config
    setup = TrainingSetup(n_gpus=1_000_000, attention_kernel="math")
    with pytest.raises(AnalysisError, match=f"different stages of this model; at most {MAX_STAGES:,} are searched"):
        plans(config, setup, NODE)
    assert n_searched_stages(config, setup, 8) == MAX_STAGES + 1
    assert n_searched_stages(config, setup._replace(attention_kernel="flash"), 8) < MAX_STAGES


def test_many_kinds() -> None:
    """The memory of a stage takes longer with many kinds of layers, so that fewer stages are searched."""
    kinds = ", ".join(f"k{n}: {{attention: {{window: {16 + n}}}}}" for n in range(24))
    pattern = ", ".join(f"k{n}" for n in Random(1).choices(range(24), k=100))
    layers = ["n_layers=600", f"layers.kinds={{{kinds}}}", f"layers.pattern={pattern}"]
    config, setup = load_config("llama-3-8b", layers).config, TrainingSetup(n_gpus=64, attention_kernel="math")
    with pytest.raises(AnalysisError, match=r"whose kinds of layers take as long as [\d,]+ of one kind; at most 5,000"):
        plans(config, setup, NODE)
    assert n_searched_stages(config, setup, 8) == MAX_STAGES + 1
    few = load_config("llama-3-8b", ["n_layers=600"]).config
    assert n_searched_stages(few, setup, 8) < 200


def test_work_of_the_smallest_plan() -> None:
    """Layouts that need more than another are left before their activations are computed."""
    config, setup = job("mixtral-8x7b", n_gpus=512)
    shorter = setup._replace(seq_len=1024)  # equally many layouts, and nothing cached
    searched = count_calls(partial(smallest_plan_bytes, config, setup, 8))
    every = count_calls(lambda: [plan_bytes(config, shorter, layout) for layout in layouts(config, shorter, 8)])
    assert searched < every / 2
