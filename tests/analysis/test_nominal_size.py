"""Changes that reach a nominal size are valid, exact and minimal."""

from __future__ import annotations

import math
import time
from itertools import product
from unittest.mock import Mock

import pytest

from tinylm_cli.analysis.nominal_size import FACTOR, MATCH_TOLERANCE, nearest_changes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config

STEPS = {"n_layers": 1, "d_model": 8, "d_ff": 64, "vocab_size": 8}


def with_values(config: ModelConfig, **values: int) -> ModelConfig:
    return ModelConfig.model_validate({**config.model_dump(), **values})


def distance(config: ModelConfig, values: dict[str, int]) -> float:
    return sum(abs(math.log(value / getattr(config, field))) for field, value in values.items())


@pytest.mark.parametrize("name", ["tiny", "base"])
def test_changes_reach_the_nominal_size(name: str) -> None:
    config = load_config(name).config
    changes = nearest_changes(config)
    assert changes
    assert [len(change.values) for change in changes] == sorted(len(change.values) for change in changes)
    for change in changes:
        total = total_params(tensor_table(with_values(config, **change.values)))
        assert total == change.total_params
        assert change.nominal_error == total / (config.nominal_params or 0) - 1
        assert abs(change.nominal_error) <= MATCH_TOLERANCE


@pytest.mark.parametrize("nominal", [500_000, 700_000, 1_500_000])
def test_changes_are_the_smallest(nominal: int) -> None:
    """Against every value on the same grid, each counted."""
    config = with_values(load_config("tiny").config, nominal_params=nominal)
    values = {
        field: range(-(-getattr(config, field) // (FACTOR * step)) * step, FACTOR * getattr(config, field) + 1, step)
        for field, step in STEPS.items()
    }

    def is_true(change: dict[str, int]) -> bool:
        copy = config.model_copy(update=change)
        return abs(total_params(tensor_table(copy)) / nominal - 1) <= MATCH_TOLERANCE

    best: dict[tuple[str, ...], float] = {}
    for first, second in (("d_model", "d_model"), ("d_ff", "d_ff"), ("n_layers", "d_ff"), ("d_model", "n_layers")):
        for pair in product(values[first], values[second]):
            change = {first: pair[0], second: pair[1]}
            unchanged = any(value == getattr(config, field) for field, value in change.items())
            if not unchanged and (first != second or pair[0] == pair[1]) and is_true(change):
                key = tuple(sorted(change))
                best[key] = min(best.get(key, math.inf), distance(config, change))
    found = {tuple(sorted(each.values)): distance(config, dict(each.values)) for each in nearest_changes(config)}
    alone = min((size for key, size in best.items() if len(key) == 1), default=math.inf)
    assert min((size for key, size in found.items() if len(key) == 1), default=math.inf) == pytest.approx(alone)
    checked = found.keys() & best.keys()
    assert checked
    for key in checked:
        assert found[key] == pytest.approx(best[key])


def test_exact_or_missing_nominal_size() -> None:
    for name in ("small", "medium", "gpt2"):
        assert nearest_changes(load_config(name).config) == ()
    assert nearest_changes(load_config("tiny", ["n_layers=3"]).config) == ()


@pytest.mark.parametrize(
    ("name", "overrides", "d_model"),
    [
        ("base", ["n_heads=48", "d_model=6144"], 6240),  # a multiple of 2 * n_heads
        ("deepseek-v2-lite", ["d_model=512"], 520),  # latent heads do not divide d_model, so only of 8
    ],
)
def test_steps_of_d_model(name: str, overrides: list[str], d_model: int) -> None:
    reached = total_params(tensor_table(load_config(name, [*overrides, f"d_model={d_model}"]).config))
    config = load_config(name, [*overrides, f"nominal_params={reached * 126 // 125}"]).config
    assert {"d_model": d_model} in [change.values for change in nearest_changes(config)]


def test_experts() -> None:
    config = load_config("deepseek-v2-lite", ["nominal_params=20B"]).config
    changes = nearest_changes(config)
    assert any("feed_forward.n_experts" in change.values for change in changes)
    assert not any("d_head" in field for change in changes for field in change.values)


def test_huge_sizes_take_no_longer() -> None:
    sizes = ("vocab_size=100000000", "d_model=1048576", "n_heads=8", "n_layers=100000", "d_ff=16777216")
    config = load_config("base", [*sizes, "nominal_params=900000T"]).config
    began = time.perf_counter()
    changes = nearest_changes(config)
    assert time.perf_counter() - began < 5
    assert all(abs(change.nominal_error) <= MATCH_TOLERANCE for change in changes)
    assert changes


HEADS_BY_WIDTH = ["gated_deltanet.n_key_heads=null", "gated_deltanet.n_value_heads=null", "nominal_params=36B"]
"""Heads of 128 dimensions fill d_model, so that the count of other widths is not a polynomial in it."""


@pytest.mark.parametrize(
    ("name", "changes"),
    [("tiny", []), ("base", []), ("qwen3.5-35b-a3b", HEADS_BY_WIDTH)],
    ids=["tiny", "base", "heads by width"],
)
def test_few_configs_are_counted(name: str, changes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three counts determine the others: of some 700 pairs of sizes that are compared, few are counted."""
    counted = Mock(wraps=total_params)
    monkeypatch.setattr("tinylm_cli.analysis.nominal_size.total_params", counted)
    assert nearest_changes(load_config(name, changes).config)
    assert counted.call_count < 200


def test_size_out_of_reach() -> None:
    assert nearest_changes(load_config("tiny", ["nominal_params=1T"]).config) == ()
