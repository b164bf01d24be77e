"""The search, the ranking and the report of ``tinylm design``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from operator import le
from typing import Any

import pytest

from tests.analysis.design.spaces import space_of
from tinylm_cli.analysis.design.constraints import (
    DECODE_RATE,
    FITS,
    at_most,
    compute_budget,
    compute_target,
    decodes_at_least,
    fits,
    within,
)
from tinylm_cli.analysis.design.families import FAMILIES, PublishedModel
from tinylm_cli.analysis.design.find_designs import DesignRequest, find_designs
from tinylm_cli.analysis.design.search_space import SearchSpace
from tinylm_cli.analysis.design.to_config import to_config
from tinylm_cli.analysis.estimate import estimate
from tinylm_cli.analysis.figures import figure
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.config.budget import Budget
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import Purpose
from tinylm_cli.reports.constraint import Constraint, Sizes
from tinylm_cli.reports.design import Design, DesignReport
from tinylm_cli.reports.plan import Layout

PUBLISHED = {
    "gpt2": "gpt2",
    "llama-3-8b": "llama",
    "qwen3-0.6b": "qwen3",
    "gemma-2-2b": "gemma2",
    "mixtral-8x7b": "mixtral",
    "qwen3-30b-a3b": "qwen3-moe",
    "qwen3.5-35b-a3b": "qwen3.5-moe",
    "nemotron-h-8b": "nemotron-h",
    "granite-4.0-h-micro": "granite-4-h",
    "granite-4.0-h-small": "granite-4-h-moe",
    "jamba-v0.1": "jamba",
}


def found(family: str, *constraints: Constraint, top: int = 10, front_only: bool = False) -> DesignReport:
    return find_designs(DesignRequest(space_of(family), constraints, top=top, front_only=front_only))


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_model_ranks_first(model: str) -> None:
    config = load_config(model).config
    params = figure("total_params", config)
    best = found(PUBLISHED[model], within("total_params", params, 0.02)).designs[0]
    assert best.figures["total_params"] == params
    ours = ModelConfig.model_validate(best.config)
    if config.feed_forward.d_expert is not None:  # which that config states in a field of its own
        feed_forward = ours.feed_forward.model_copy(update={"d_expert": ours.d_ff})
        ours = ours.model_copy(update={"d_ff": config.d_ff, "feed_forward": feed_forward})
    stated = {"nominal_params": None, "dropout": 0.0}
    assert ours.model_copy(update=stated) == config.model_copy(update=stated)


@pytest.mark.parametrize("family", FAMILIES)
def test_figures(family: str) -> None:
    report = found(family, within("total_params", 3 * 10**9, 0.02), at_most("kv_cache_bytes", 2**34))
    assert report.designs
    assert report.matches >= len(report.designs)
    for rank, design in enumerate(report.designs, 1):
        assert design.rank == rank
        config = ModelConfig.model_validate(design.config)
        assert {name: figure(name, config) for name in design.figures} == design.figures
        assert all(each.distance(design.figures[each.figure]) == 0 for each in report.constraints)
        assert design.deviation == pytest.approx(design.figures["total_params"] / 3e9 - 1)
        asked = Budget(nominal_tolerance=0.02, max_kv_bytes=2**34)
        assert to_config(design, report) == config.model_copy(update={"nominal_params": 3 * 10**9, "budget": asked})


@pytest.mark.parametrize(("family", "params"), [("course", 125_000_000), ("gpt2", 500_000_000)])
def test_documented_order(family: str, params: int) -> None:
    """The order of docs/design.md, computed independently from the report."""

    def factors(one: float, other: float) -> float:
        return abs(math.log2(one / other))

    designs = found(family, within("total_params", params, 0.02), top=400).designs
    small, large = near = _published_around(family, params)
    keys = []
    for design in designs:
        size = design.sizes
        total = design.figures["total_params"]
        share = 0 if small is large else math.log(total / small.params) / math.log(large.params / small.params)
        low, high = (_proportions(each.sizes) for each in near)
        usual = [a ** (1 - share) * b**share for a, b in zip(low, high, strict=True)]
        unusual = sum(map(factors, _proportions(size), usual))
        wasted = sum(
            factors(math.ceil(each / step) * step, each)
            for each, step in ((size.d_model, 128), (size.d_ff, 128), (size.n_kv_heads, 2))
        )
        distance = abs(design.deviation)
        keys.append((int(distance * 100), round(unusual + wasted, 6), distance, size.n_layers))
    assert keys == sorted(keys)
    assert len({key[:2] for key in keys}) > 50
    assert len({key[0] for key in keys}) == 2


def _proportions(of: Sizes) -> tuple[float, ...]:
    span = of.n_heads * of.d_head / of.d_model
    return of.d_model / of.n_layers, of.d_ff / of.d_model, of.d_head, of.n_heads / of.n_kv_heads, span


def _published_around(family: str, params: int) -> tuple[PublishedModel, PublishedModel]:
    published = FAMILIES[family].published_sizes
    smaller = [each for each in published if each.params <= params]
    return smaller[-1], next((each for each in published if each.params > params), smaller[-1])


def test_largest_within_bounds() -> None:
    report = found("llama", at_most("kv_cache_bytes", 2**30), at_most("weights_bytes", 16 * 10**9))
    (most,) = [each for each in report.constraints if each.origin == "largest"]
    assert 0.95 * 8e9 < most.value <= 8e9
    assert all(0.98 * most.value <= each.figures["total_params"] <= most.value for each in report.designs)
    config = to_config(report.designs[0], report)
    assert config.nominal_params is None
    assert config.budget == Budget(max_kv_bytes=2**30)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_target_among_bounds(order: tuple[int, ...]) -> None:
    """A target replaces the largest model within the bounds, in any order of the constraints."""
    three = within("total_params", 10**9, 0.02), at_most("kv_cache_bytes", 2**30), at_most("weights_bytes", 2 * 10**9)
    given = tuple(three[index] for index in order)
    report = found("llama", *given, top=1)
    assert report.constraints == given
    assert report.matches == found("llama", *three, top=1).matches > 0


def test_ten_designs() -> None:
    report = find_designs(DesignRequest(space_of("llama"), (within("total_params", 10**9, 0.02),)))
    assert len(report.designs) == 10 < report.matches


def test_active_params() -> None:
    report = found("mixtral", within("active_params", 2 * 10**9, 0.02))
    assert report.designs
    for design in report.designs:
        assert abs(design.figures["active_params"] / 2e9 - 1) <= 0.02
        assert design.figures["total_params"] > 2 * design.figures["active_params"]


def test_front_only() -> None:
    target = within("total_params", 8 * 10**9, 0.002)
    report = found("llama", target, top=1000, front_only=True)
    assert 0 < len(report.designs) == report.pareto_front < report.matches
    whole = found("llama", target, top=10**6)
    assert report.designs == tuple(each for each in whole.designs if each.on_pareto_front)


def test_progress() -> None:
    seen: list[tuple[str, int, int]] = []
    request = DesignRequest(space_of("course"), (within("total_params", 125_000_000, 0.02),))
    report = find_designs(request, lambda *step: seen.append(step))
    searching = [(done, total) for stage, done, total in seen if stage == "searching"]
    assert searching == sorted(searching)
    assert searching[-1] == (report.candidates, report.candidates)
    assert len(searching) > 50
    assert seen[-1] == ("computing figures", len(report.designs) - 1, len(report.designs))


class TestGpu:
    """A design fits and is as fast as an estimate of it says."""

    @staticmethod
    def found(
        purpose: Purpose, *constraints: Constraint, gpu: str = "rtx-4090", top: int = 5, recompute: Any = "none",
        **shared: Any,
    ) -> tuple[SearchSpace, DesignReport]:  # fmt: skip
        accelerator = load_hardware(gpu)
        setups = Setups.of(**shared)
        setups = setups._replace(training=setups.training._replace(utilization=0.3, recompute=recompute))
        space = replace(space_of("llama"), setups=setups, accelerator=accelerator)
        asked = (*constraints, fits(accelerator, purpose))
        return space, find_designs(DesignRequest(space, asked, top=top, purpose=purpose))

    @pytest.mark.parametrize("recompute", ["none", "full"])
    @pytest.mark.parametrize(("purpose", "limited"), FITS.items())
    def test_largest_that_fits(self, purpose: Purpose, limited: str, recompute: str) -> None:
        space, report = self.found(purpose, batch_size=4, seq_len=1024, recompute=recompute)
        capacity = load_hardware("rtx-4090").capacity_bytes
        assert (report.accelerator, report.capacity_bytes, report.purpose) == ("rtx-4090", capacity, purpose)
        for design in report.designs:
            config = ModelConfig.model_validate(design.config)
            costs = estimate(LoadedConfig("one", "one", config, {}), space.setups, space.accelerator)
            assert costs.serving is not None
            assert costs.serving.time is not None
            assert costs.training is not None
            assert costs.training.time is not None
            training, serving = costs.training.memory.peak_bytes, costs.serving.memory.total_bytes
            held = {"training": training, "serving": serving}[purpose]
            assert 0.9 * capacity < held == design.figures[limited] <= capacity
            assert design.decode_tokens_per_second == costs.serving.time.decode_tokens_per_second
            trained = costs.training.time.tokens_per_second if purpose == "training" else None
            assert design.train_tokens_per_second == trained

    def test_min_decode_rate(self) -> None:
        _, without = self.found("serving", batch_size=8, seq_len=2048)
        slow = max(each.decode_tokens_per_second or 0 for each in without.designs)
        _, report = self.found("serving", decodes_at_least(5 * slow), batch_size=8, seq_len=2048)
        rates = [each.decode_tokens_per_second or 0 for each in report.designs]
        assert min(rates) >= 5 * slow
        assert min(rates) < 5.5 * slow, "the largest models are hardly faster than asked"

    def test_unreachable_decode_rate(self) -> None:
        _, report = self.found("serving", decodes_at_least(1e9), within("total_params", 10**9, 0.02), seq_len=128)
        (failure,) = report.failures
        assert (failure.constraint.figure, failure.constraint.upper, failure.alone) == (DECODE_RATE, None, True)
        assert 1000 < failure.nearest < 1e9
        assert self.found("serving", decodes_at_least(failure.nearest), seq_len=128)[1].matches
        assert not self.found("serving", decodes_at_least(failure.nearest * 1.0001), seq_len=128)[1].matches

    def test_too_large(self) -> None:
        _, report = self.found("training", within("total_params", 8 * 10**9, 0.005), seq_len=1024)
        size, memory = report.failures
        assert (size.constraint.figure, memory.constraint.figure) == ("total_params", "train_bytes_per_gpu")
        assert memory.nearest > load_hardware("rtx-4090").capacity_bytes
        assert not memory.alone

    def test_front_over_decode_time(self) -> None:
        size = within("total_params", 3 * 10**9, 0.004)
        _, report = self.found("serving", size, gpu="h100-sxm", seq_len=1024, batch_size=512, top=10**6)
        by_time, by_bytes = (
            _front(report.designs, speed)
            for speed in (
                lambda each: -each.decode_tokens_per_second,
                lambda each: each.figures["decode_read_bytes_per_token"],
            )
        )
        assert by_time != by_bytes, "or this would test nothing"
        assert {each.rank for each in report.designs if each.on_pareto_front} == by_time
        assert len(report.designs) == report.matches > report.pareto_front == len(by_time)


def _front(designs: Sequence[Design], speed: Callable[[Design], float]) -> set[int]:
    """Return the ranks of the designs that no other dominates, computed independently."""

    def costs(each: Design) -> tuple[float, ...]:
        figures = each.figures
        return -figures["total_params"], figures["forward_flops_per_token"], figures["kv_cache_bytes"], speed(each)

    all_costs = {each.rank: costs(each) for each in designs}

    def is_dominated(one: tuple[float, ...]) -> bool:
        return any(other != one and all(map(le, other, one)) for other in all_costs.values())

    return {rank for rank, one in all_costs.items() if not is_dominated(one)}


class TestSeveralGpus:
    """Designs for a node of 8 H100s shard over it, and fit as planned."""

    @staticmethod
    def found(*constraints: Constraint, layout: Layout, top: int = 50, gpu: str = "h100-sxm") -> DesignReport:
        space = space_of("llama")
        setups = Setups.of(seq_len=2048)
        training = setups.training._replace(n_gpus=layout.n_gpus, layout=layout, recompute="full")
        accelerator = load_hardware(gpu)
        space = replace(space, setups=setups._replace(training=training), accelerator=accelerator)
        asked = (*constraints, fits(accelerator, "training"))
        return find_designs(DesignRequest(space, asked, top=top, purpose="training"))

    @pytest.mark.parametrize("params", [28 * 10**8, 8 * 10**9])
    def test_shards_evenly(self, params: int) -> None:
        alone = found("llama", within("total_params", params, 0.02)).designs[0].sizes
        report = self.found(within("total_params", params, 0.005), layout=Layout(tensor=8))
        assert len(report.designs) == 50
        for design in report.designs:
            sizes = design.sizes
            assert (sizes.n_heads % 8, sizes.n_kv_heads % 8, sizes.d_ff % 8) == (0, 0, 0)
        if params == 28 * 10**8:
            assert (alone.n_heads, alone.n_kv_heads) == (21, 7), "or this would test nothing"

    def test_pipeline_stages(self) -> None:
        report = self.found(within("total_params", 8 * 10**9, 0.005), layout=Layout(tensor=2, pipeline=4))
        assert len(report.designs) == 50
        assert {each.sizes.n_layers % 4 for each in report.designs} == {0}

    @pytest.mark.parametrize(("layout", "params"), [(Layout(data=2, tensor=4, zero=1), 8), (Layout(tensor=2), 2)])
    def test_memory_as_planned(self, layout: Layout, params: int) -> None:
        target, capacity = within("total_params", params * 10**9, 0.001), load_hardware("h100-sxm").capacity_bytes
        report = self.found(target, layout=layout, top=3)
        assert report.designs
        for design in report.designs:
            config = ModelConfig.model_validate(design.config)
            setups = Setups.of(seq_len=2048)
            training = setups.training._replace(n_gpus=layout.n_gpus, layout=layout, recompute="full")
            setups = setups._replace(training=training)
            costs = estimate(LoadedConfig("one", "one", config, {}), setups, load_hardware("h100-sxm"))
            assert costs.training is not None
            plan = costs.training.plan
            assert plan is not None
            assert design.figures["train_bytes_per_gpu"] == plan.peak_stage.total_bytes <= capacity
            assert plan.step_seconds is not None
            assert design.train_tokens_per_second == plan.tokens_per_step / plan.step_seconds

    def test_largest_that_fits(self) -> None:
        """Without a target, the largest models that fit on the node; no larger one does."""
        largest = self.found(layout=Layout(tensor=4, pipeline=2), top=1)
        target = next(each.value for each in largest.constraints if each.origin == "largest")
        assert largest.designs[0].figures["total_params"] <= target
        for params, matches in ((target, True), (1.001 * target, False)):
            wanted = within("total_params", params, 0.0005)
            assert bool(self.found(wanted, layout=Layout(tensor=4, pipeline=2)).matches) == matches

    @pytest.mark.parametrize("layout", [Layout(tensor=2), Layout(tensor=2, pipeline=2)])
    def test_too_large_for_all(self, layout: Layout) -> None:
        report = self.found(within("total_params", 8 * 10**9, 0.0005), layout=layout, gpu="l4")
        (failure,) = [each for each in report.failures if each.constraint.origin == "gpu_memory"]
        assert (failure.constraint.figure, failure.alone) == ("train_bytes_per_gpu", False)
        assert failure.nearest > load_hardware("l4").capacity_bytes


def test_mixed_pipeline_stages_need_a_target() -> None:
    layout, gpu = Layout(pipeline=8), load_hardware("h100")
    space = replace(space_of("qwen3.5"), setups=Setups.of(n_gpus=8, layout=layout), accelerator=gpu)
    with pytest.raises(AnalysisError, match="different kinds of layers can only be searched for a given size"):
        find_designs(DesignRequest(space, (fits(gpu, "training"),), purpose="training"))


def test_decode_rate_needs_a_gpu() -> None:
    with pytest.raises(AnalysisError, match="a decode throughput needs a GPU"):
        found("llama", decodes_at_least(100), within("total_params", 10**9, 0.02))


class TestCompute:
    def test_optimal(self) -> None:
        budget = compute_budget(10**21, None)
        assert budget.params == 2_886_751_345
        assert budget.tokens_per_param == pytest.approx(20)
        assert budget.tokens == pytest.approx(20 * budget.params)
        assert 0.999 < 6 * budget.params * budget.tokens / 10**21 <= 1

    def test_given_tokens(self) -> None:
        budget = compute_budget(6 * 10**20, 10**11)
        assert (budget.params, budget.tokens, budget.tokens_per_param) == (10**9, 10**11, 100)
        assert compute_budget(5, 10).params == 1

    @pytest.mark.parametrize(("family", "name"), [("llama", "total_params"), ("mixtral", "active_params")])
    def test_target(self, family: str, name: str) -> None:
        space, budget = space_of(family), compute_budget(10**21, None)
        target = compute_target(budget, space.family, 0.01)
        report = find_designs(DesignRequest(space, (target,), top=5, tolerance=0.01, compute=budget))
        assert report.compute == budget
        assert [(each.figure, each.origin) for each in report.constraints] == [(name, "compute_budget")]
        assert report.designs
        for design in report.designs:
            active = design.figures["active_params"]
            assert abs(active / budget.params - 1) <= 0.01
            assert design.train_tokens == 10**21 // (6 * active)
            assert to_config(design, report).nominal_params is None
