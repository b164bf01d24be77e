"""What a search makes of its goals: the order, the front, and what is in the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.design.analyse import Goal, analyse_design, designed
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.rank import front
from tinylm_cli.analysis.design.space import Space
from tinylm_cli.analysis.figures import figure
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.design import DesignReport

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
    return analyse_design(space_of(family), goals, top=top, tolerance=0.02, front_only=front_only)


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
        assert all(aim.least <= design.figures[aim.figure] <= aim.most for aim in report.aims)
        assert design.error == pytest.approx(design.figures["total_params"] / 3e9 - 1)
        assert designed(design, report.aims) == config.model_copy(update={"nominal_params": 3 * 10**9})


def test_the_order_is_the_one_that_is_documented() -> None:
    designs = found("course", Goal("total_params", 125_000_000, 0.02), top=1000).designs
    keys = []
    for design in designs:
        sizes = design.sizes
        ragged = (sizes.d_model % 128 != 0) + (sizes.d_ff % 128 != 0) + sizes.n_kv_heads % 2
        keys.append((int(abs(design.error) * 100), ragged))
    assert keys == sorted(keys)
    assert len(set(keys)) > 3


def test_limits_alone_ask_for_the_most_parameters_within_them() -> None:
    report = found("llama", Goal("kv_cache_bytes", 2**30), Goal("weights_bytes", 16 * 10**9))
    (most,) = [aim for aim in report.aims if not aim.chosen]
    assert 0.95 * 8e9 < most.wanted <= 8e9
    assert all(0.98 * most.wanted <= each.figures["total_params"] <= most.wanted for each in report.designs)
    assert designed(report.designs[0], report.aims).nominal_params is None


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
    goal = Goal("total_params", 8 * 10**9, 0.02)
    report = found("llama", goal, top=1000, front_only=True)
    assert 0 < len(report.designs) == report.front < report.matches
    whole = found("llama", goal, top=10**6)
    assert report.designs == tuple(each for each in whole.designs if each.on_front)


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
