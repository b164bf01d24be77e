"""What a search makes of its goals: the order, the front, and what is in the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import le
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.budget_check import budget_claims, measure
from tinylm_cli.analysis.design.design import Plan, analyze_design
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.goals import (
    DECODE_RATE,
    FITS,
    Goal,
    bound_of,
    compute_budget,
    compute_goal,
    memory_goal,
)
from tinylm_cli.analysis.design.published_sizes import Member
from tinylm_cli.analysis.design.ranking import front
from tinylm_cli.analysis.design.search_space import Space
from tinylm_cli.analysis.design.to_config import written
from tinylm_cli.analysis.estimate import estimate
from tinylm_cli.analysis.figures import figure
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.config.budget import Budget
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.design import Design, DesignReport, Purpose, Sizes
from tinylm_cli.reports.memory import Optimizer

PUBLISHED = {
    "gpt2": "gpt2",
    "llama-3-8b": "llama",
    "qwen3-0.6b": "qwen3",
    "gemma-2-2b": "gemma2",
    "mixtral-8x7b": "mixtral",
    "qwen3-30b-a3b": "qwen3-moe",
}


def space_of(family: str) -> Space:
    template = FAMILIES[family]
    return Space(template, template.config.vocab_size, template.config.max_len, template.config.tie_weights)


def found(family: str, *goals: Goal, top: int = 10, front_only: bool = False) -> DesignReport:
    return analyze_design(space_of(family), goals, top=top, tolerance=0.02, front_only=front_only)


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_published_model_comes_first_for_its_own_size(model: str) -> None:
    config = load_config(model).config
    params = figure("total_params", config)
    best = found(PUBLISHED[model], Goal("total_params", params, 0.02)).designs[0]
    assert best.figures["total_params"] == params
    ours = ModelConfig.model_validate(best.config)
    if config.feed_forward.d_expert is not None:  # said there by a field of its own
        feed_forward = ours.feed_forward.model_copy(update={"d_expert": ours.d_ff})
        ours = ours.model_copy(update={"d_ff": config.d_ff, "feed_forward": feed_forward})
    stated = {"nominal_params": None, "dropout": 0.0}
    assert ours.model_copy(update=stated) == config.model_copy(update=stated)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_design_has_the_figures_that_are_told_of_it(family: str) -> None:
    report = found(family, Goal("total_params", 3 * 10**9, 0.02), Goal("kv_cache_bytes", 2**34))
    assert report.designs
    assert report.matches >= len(report.designs)
    for rank, design in enumerate(report.designs, 1):
        assert design.rank == rank
        config = ModelConfig.model_validate(design.config)
        assert {name: figure(name, config) for name in design.figures} == design.figures
        assert all(aim.least <= design.figures[aim.figure] <= (aim.most or 0) for aim in report.aims)
        assert design.error == pytest.approx(design.figures["total_params"] / 3e9 - 1)
        asked = Budget(nominal_tolerance=0.02, max_kv_bytes=2**34)
        assert written(design, report) == config.model_copy(update={"nominal_params": 3 * 10**9, "budget": asked})


@pytest.mark.parametrize(("family", "params"), [("course", 125_000_000), ("gpt2", 500_000_000)])
def test_the_order_is_the_one_that_is_documented(family: str, params: int) -> None:
    """Written out again from docs/design.md, on what is reported of each design."""

    def factors(one: float, other: float) -> float:
        return abs(math.log2(one / other))

    designs = found(family, Goal("total_params", params, 0.02), top=400).designs
    small, large = near = _members_around(family, params)
    keys = []
    for design in designs:
        size = design.sizes
        total = design.figures["total_params"]
        share = 0 if small is large else math.log(total / small.params) / math.log(large.params / small.params)
        low, high = (_proportions(each.sizes) for each in near)
        usual = [a ** (1 - share) * b**share for a, b in zip(low, high, strict=True)]
        strange = sum(map(factors, _proportions(size), usual))
        wasted = sum(
            factors(math.ceil(each / step) * step, each)
            for each, step in ((size.d_model, 128), (size.d_ff, 128), (size.n_kv_heads, 2))
        )
        distance = abs(design.error)
        keys.append((int(distance * 100), round(strange + wasted, 6), distance, size.n_layers))
    assert keys == sorted(keys)
    assert len({key[:2] for key in keys}) > 50
    assert len({key[0] for key in keys}) == 2


def _proportions(of: Sizes) -> tuple[float, ...]:
    span = of.n_heads * of.d_head / of.d_model
    return of.d_model / of.n_layers, of.d_ff / of.d_model, of.d_head, of.n_heads / of.n_kv_heads, span


def _members_around(family: str, params: int) -> tuple[Member, Member]:
    members = FAMILIES[family].members
    smaller = [each for each in members if each.params <= params]
    return smaller[-1], next((each for each in members if each.params > params), smaller[-1])


def test_limits_alone_ask_for_the_most_parameters_within_them() -> None:
    report = found("llama", Goal("kv_cache_bytes", 2**30), Goal("weights_bytes", 16 * 10**9))
    (most,) = [aim for aim in report.aims if aim.origin == "room"]
    assert 0.95 * 8e9 < most.wanted <= 8e9
    assert all(0.98 * most.wanted <= each.figures["total_params"] <= most.wanted for each in report.designs)
    config = written(report.designs[0], report)
    assert config.nominal_params is None
    assert config.budget == Budget(max_kv_bytes=2**30)


def test_active_parameters_are_a_target_of_their_own() -> None:
    report = found("mixtral", Goal("active_params", 2 * 10**9, 0.02))
    for design in report.designs:
        assert abs(design.figures["active_params"] / 2e9 - 1) <= 0.02
        assert design.figures["total_params"] > 2 * design.figures["active_params"]


@given(st.lists(st.tuples(*(st.integers(0, 4) for _ in range(4))), max_size=30))
def test_the_front_is_what_no_other_beats(figures: list[tuple[int, ...]]) -> None:
    def beats(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return a[0] >= b[0] and all(x <= y for x, y in zip(a[1:], b[1:], strict=True)) and a != b

    assert front(figures) == {each for each in figures if not any(beats(other, each) for other in figures)}


def test_only_the_front_when_that_is_asked_for() -> None:
    goal = Goal("total_params", 8 * 10**9, 0.002)
    report = found("llama", goal, top=1000, front_only=True)
    assert 0 < len(report.designs) == report.front < report.matches
    whole = found("llama", goal, top=10**6)
    assert report.designs == tuple(each for each in whole.designs if each.on_front)


class TestGpu:
    """What fits there, and how fast it is, is what an estimate says of it."""

    @staticmethod
    def found(
        purpose: Purpose, *goals: Goal, gpu: str = "rtx-4090", top: int = 5, **conditions: Any
    ) -> tuple[Space, DesignReport]:
        accelerator = load_hardware(gpu)
        setups = Setups.of(**conditions)
        space = replace(space_of("llama"), setups=setups, accelerator=accelerator)
        asked = [*goals, memory_goal(accelerator, purpose)]
        return space, analyze_design(space, asked, top=top, tolerance=0.02, plan=Plan(purpose, utilization=0.3))

    @pytest.mark.parametrize("recompute", ["none", "full"])
    @pytest.mark.parametrize(("purpose", "fits"), FITS.items())
    def test_the_largest_that_fits(self, purpose: Purpose, fits: str, recompute: str) -> None:
        space, report = self.found(purpose, batch_size=4, seq_len=1024, recompute=recompute)
        capacity = load_hardware("rtx-4090").capacity_bytes
        assert (report.accelerator, report.capacity_bytes, report.purpose) == ("rtx-4090", capacity, purpose)
        for design in report.designs:
            config = ModelConfig.model_validate(design.config)
            setups = space.setups.changed(utilization=0.3)
            costs = estimate(LoadedConfig("one", "one", config, {}), setups, space.accelerator)
            assert costs.serving_time is not None
            assert costs.training_time is not None
            held = {"training": costs.training.peak_bytes, "serving": costs.inference.total_bytes}[purpose]
            assert 0.9 * capacity < held == design.figures[fits] <= capacity
            assert design.decode_tokens_per_second == costs.serving_time.decode_tokens_per_second
            trained = costs.training_time.tokens_per_second if purpose == "training" else None
            assert design.train_tokens_per_second == trained

    def test_a_floor_of_speed_is_kept_to(self) -> None:
        _, without = self.found("serving", batch_size=8, seq_len=2048)
        slow = max(each.decode_tokens_per_second or 0 for each in without.designs)
        _, report = self.found("serving", Goal(DECODE_RATE, 5 * slow), batch_size=8, seq_len=2048)
        speeds = [each.decode_tokens_per_second or 0 for each in report.designs]
        assert min(speeds) >= 5 * slow
        assert min(speeds) < 5.5 * slow, "the largest there are hardly go faster"

    def test_a_floor_that_nothing_reaches_names_the_fastest(self) -> None:
        _, report = self.found("serving", Goal(DECODE_RATE, 1e9), Goal("total_params", 10**9, 0.02), seq_len=128)
        (obstacle,) = report.obstacles
        assert (obstacle.aim.figure, obstacle.aim.most, obstacle.alone) == (DECODE_RATE, None, True)
        assert 1000 < obstacle.nearest < 1e9
        again = Goal(DECODE_RATE, obstacle.nearest)
        assert self.found("serving", again, seq_len=128)[1].matches
        assert not self.found("serving", Goal(DECODE_RATE, obstacle.nearest * 1.0001), seq_len=128)[1].matches

    def test_what_does_not_fit_names_the_least_there_is(self) -> None:
        _, report = self.found("training", Goal("total_params", 8 * 10**9, 0.02), seq_len=1024)
        size, memory = report.obstacles
        assert (size.aim.figure, memory.aim.figure) == ("total_params", "train_bytes_per_gpu")
        assert memory.nearest > load_hardware("rtx-4090").capacity_bytes
        assert not memory.alone

    def test_the_front_is_over_the_time_of_a_step(self) -> None:
        size = Goal("total_params", 3 * 10**9, 0.004)
        _, report = self.found("serving", size, gpu="h100-sxm", seq_len=1024, batch_size=512, top=10**6)
        by_time, by_bytes = (
            _front(report.designs, speed)
            for speed in (
                lambda each: -each.decode_tokens_per_second,
                lambda each: each.figures["decode_read_bytes_per_token"],
            )
        )
        assert by_time != by_bytes, "or this would tell nothing"
        assert {each.rank for each in report.designs if each.on_front} == by_time
        assert len(report.designs) == report.matches > report.front == len(by_time)


def _front(designs: Sequence[Design], speed: Callable[[Design], float]) -> set[int]:
    """Return the ranks of those that no other beats, written out anew."""

    def costs(each: Design) -> tuple[float, ...]:
        figures = each.figures
        return -figures["total_params"], figures["forward_flops_per_token"], figures["kv_cache_bytes"], speed(each)

    all_costs = {each.rank: costs(each) for each in designs}

    def is_beaten(one: tuple[float, ...]) -> bool:
        return any(other != one and all(map(le, other, one)) for other in all_costs.values())

    return {rank for rank, one in all_costs.items() if not is_beaten(one)}


class TestCompute:
    def test_is_spent_on_twenty_tokens_a_parameter(self) -> None:
        budget = compute_budget(10**21, None)
        assert budget.params == 2_886_751_345
        assert budget.tokens_per_param == pytest.approx(20)
        assert budget.tokens == pytest.approx(20 * budget.params)
        assert 0.999 < 6 * budget.params * budget.tokens / 10**21 <= 1

    def test_or_on_the_tokens_that_are_given(self) -> None:
        budget = compute_budget(6 * 10**20, 10**11)
        assert (budget.params, budget.tokens, budget.tokens_per_param) == (10**9, 10**11, 100)
        assert compute_budget(5, 10).params == 1

    @pytest.mark.parametrize(("family", "name"), [("llama", "total_params"), ("mixtral", "active_params")])
    def test_aims_at_the_size_that_a_token_uses(self, family: str, name: str) -> None:
        space, budget = space_of(family), compute_budget(10**21, None)
        goals = [compute_goal(budget, space.family, 0.01)]
        report = analyze_design(space, goals, top=5, tolerance=0.01, plan=Plan(compute=budget))
        assert report.compute == budget
        assert [(aim.figure, aim.origin) for aim in report.aims] == [(name, "compute")]
        for design in report.designs:
            active = design.figures["active_params"]
            assert abs(active / budget.params - 1) <= 0.01
            assert design.budget_tokens == 10**21 // (6 * active)
            assert written(design, report).nominal_params is None


@given(st.integers(1, 10**6), st.floats(1e-6, 1e12))
def test_the_longest_step_that_is_fast_enough(batch_size: int, rate: float) -> None:
    seconds = bound_of(Goal(DECODE_RATE, rate).aim(), batch_size).most
    assert seconds is not None
    assert batch_size / seconds >= rate > batch_size / math.nextafter(seconds, math.inf)


class TestWritten:
    """What is written down holds of the model, measured as validation measures it."""

    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_limits_and_conditions(self, optimizer: Optimizer) -> None:
        setups = Setups.of(batch_size=2, seq_len=512, dtype="float32", optimizer=optimizer)
        space = replace(space_of("llama"), setups=setups)
        goals = [Goal("active_params", 10**9, 0.02), Goal("train_bytes_per_gpu", 2**35), Goal("serve_bytes", 2**34)]
        report = analyze_design(space, goals, top=3, tolerance=0.02)
        for design in report.designs:
            config = written(design, report)
            plain = optimizer == "adamw"
            memory = Budget(max_train_bytes_per_gpu=2**35, batch_size=2, seq_len=512, dtype="float32")
            expected = memory if plain else Budget()
            assert config.budget == expected.model_copy(update={"max_active_params": 1_020_000_000})
            assert all(measure(config, claim).holds for claim in budget_claims(config))

    def test_the_memory_of_the_gpu_is_a_limit_too(self) -> None:
        gpu = load_hardware("l4")
        space = replace(space_of("llama"), setups=Setups.of(seq_len=256), accelerator=gpu)
        goals = [Goal("train_bytes_per_gpu", 10**12), memory_goal(gpu, "training")]
        report = analyze_design(space, goals, top=1, tolerance=0.02, plan=Plan("training"))
        budget = written(report.designs[0], report).budget
        assert budget == Budget(max_train_bytes_per_gpu=gpu.capacity_bytes, seq_len=256)


class TestNothingFound:
    def test_a_size_that_the_grid_does_not_have(self) -> None:
        report = found("course", Goal("total_params", 10**15, 0.02), Goal("kv_cache_bytes", 2**40))
        assert (report.designs, report.matches, report.front) == ((), 0, 0)
        (obstacle,) = report.obstacles
        assert obstacle.alone
        largest = obstacle.sizes
        assert (largest.d_model, largest.n_layers, largest.d_ff) == (16384, 128, 5 * 16384)

    def test_a_limit_that_the_smallest_breaks(self) -> None:
        report = found("course", Goal("kv_cache_bytes", 2))
        (obstacle,) = report.obstacles
        assert obstacle.alone
        assert obstacle.nearest == 2 * 2 * 128 * 1024 * 2

    def test_a_limit_that_a_size_breaks_is_told_with_what_comes_nearest(self) -> None:
        goals = Goal("total_params", 8 * 10**9, 0.02), Goal("kv_cache_bytes", 2**26), Goal("weights_bytes", 2**40)
        report = found("llama", *goals)
        size, cache = report.obstacles
        assert not size.alone
        assert not cache.alone
        assert (size.aim.figure, cache.aim.figure) == ("total_params", "kv_cache_bytes")
        assert found("llama", Goal("total_params", size.nearest, 0.0), *goals[1:]).matches
        assert not found("llama", Goal("total_params", size.nearest + 1, 0.0), *goals[1:]).matches
        assert found("llama", goals[0], Goal("kv_cache_bytes", cache.nearest)).matches
        assert not found("llama", goals[0], Goal("kv_cache_bytes", cache.nearest - 1)).matches
