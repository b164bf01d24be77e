"""Budgets and assertions: measured values and suggested fixes."""

from __future__ import annotations

import re
import typing

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.random_configs import small_configs
from tinylm_cli.analysis.budget_check import ASSERTABLE, LIMITS, budget_conditions, failures, layers_that_fit, measure
from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.setups import SHARED_FIELDS, TrainingSetup
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.assertion import ASSERT, RELATIONS, Condition, read_assertions
from tinylm_cli.config.base import MAX_N_LAYERS
from tinylm_cli.config.budget import Budget
from tinylm_cli.config.choices import DType
from tinylm_cli.config.layer_kinds import valid_layer_counts
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Diagnostic
from tinylm_cli.interop.load import load_config


def _claims(*texts: str) -> tuple[Condition, ...]:
    return read_assertions(texts, ASSERTABLE)


def _failures(loaded: LoadedConfig, *conditions: Condition) -> list[Diagnostic]:
    return list(failures(loaded, conditions, [measure(loaded.config, condition) for condition in conditions]))


def test_every_budget_limit_has_a_figure() -> None:
    limits = {name for name in Budget.model_fields if name.startswith("max_")}
    assert limits == set(LIMITS)
    assert set(LIMITS.values()) <= set(FIGURES)
    assert set(Budget.model_fields) - limits - {"nominal_tolerance"} == set(SHARED_FIELDS)
    assert set(typing.get_args(DType)) == set(DTYPE_BYTES)


@given(small_configs(), st.sampled_from(list(FIGURES)), st.sampled_from(list(RELATIONS)), st.integers(-1, 1))
def test_condition_follows_its_operator(config: ModelConfig, name: str, relation: str, step: int) -> None:
    value = figure(name, config)
    found = measure(config, Condition(ASSERT, "", name, relation, value + step))
    assert (found.value, found.bound, found.unit) == (value, value + step, FIGURES[name].unit)
    assert found.holds == (relation in {-1: (">", ">=", "!="), 0: ("<=", ">=", "=="), 1: ("<", "<=", "!=")}[step])


def test_figure_compared_with_figure() -> None:
    (condition,) = _claims("active_params < total_params")
    assert measure(load_config("mixtral-8x7b").config, condition).holds
    found = measure(load_config("gpt2").config, condition)
    assert (found.holds, found.value, found.bound) == (False, 124_439_808, 124_439_808)


def test_budget_sets_seq_len_and_batch_size() -> None:
    (condition,) = _claims("kv_cache_bytes < 1GiB")
    assert measure(load_config("base").config, condition).value == 2 * 12 * 768 * 1024 * 2
    changes = ("budget.batch_size=3", "budget.seq_len=10", "budget.dtype=float32")
    assert measure(load_config("base", changes).config, condition).value == 3 * 2 * 12 * 768 * 10 * 4


def test_training_budget_limits_the_peak() -> None:
    loaded = load_config("tiny", ("budget.max_train_bytes_per_gpu=1MB", "budget.batch_size=3", "budget.seq_len=10"))
    (condition,) = budget_conditions(loaded.config)
    peak = training_memory(loaded.config, TrainingSetup(batch_size=3, seq_len=10)).peak_bytes
    assert (condition.text, measure(loaded.config, condition).value) == ("train_bytes_per_gpu <= 1MB", peak)
    (told,) = _failures(loaded, condition)
    assert told.message.startswith(f"train_bytes_per_gpu {peak:,} ")
    assert "exceeds budget.max_train_bytes_per_gpu 1MB by" in told.message


def test_nominal_error() -> None:
    (condition,) = _claims("nominal_error < 30%")
    found = {name: measure(load_config(name).config, condition) for name in ("tiny", "base")}
    assert found["tiny"].value == pytest.approx(826_112 / 500_000 - 1)
    assert found["base"].value == pytest.approx(1 - 92_736_000 / 125_000_000)
    assert [each.holds for each in found.values()] == [False, True]
    nameless = load_config("base", ("nominal_params=null",))
    assert (measure(nameless.config, condition).value, measure(nameless.config, condition).holds) == (None, False)
    (told,) = _failures(nameless, condition)
    assert told.message == "nominal_error < 30% cannot be evaluated: the config has no nominal_params"
    assert told.help == "write nominal_params: 92736000"


@pytest.mark.parametrize(
    ("asserted", "message", "help_"),
    [
        (
            "total_params < 80M",
            "total_params < 80M does not hold: total_params is 92,736,000, over by 12,736,000 (15.9%)",
            "n_layers: 10 satisfies all conditions",
        ),
        (
            "total_params >= 100M",
            "total_params >= 100M does not hold: total_params is 92,736,000, short by 7,264,000 (7.26%)",
            "n_layers: 14 satisfies all conditions",
        ),
        (
            "total_params <= 0",
            "total_params <= 0 does not hold: total_params is 92,736,000, over by 92,736,000",
            "",
        ),
        (
            "total_params < 1",
            "total_params < 1 does not hold: total_params is 92,736,000, over by 92,735,999 (9,273,599,900%)",
            "",
        ),
        (
            "total_params < 92736000",
            "total_params < 92736000 does not hold: total_params is 92,736,000",
            "n_layers: 11 satisfies all conditions",
        ),
        (
            "total_params > 92736000",
            "total_params > 92736000 does not hold: total_params is 92,736,000",
            "n_layers: 13 satisfies all conditions",
        ),
        (
            "kv_cache_bytes == 0",
            "kv_cache_bytes == 0 does not hold: kv_cache_bytes is 37,748,736 (36MiB), over by 37,748,736",
            "",
        ),
        (
            "total_params < 46368000",
            "total_params < 46368000 does not hold: total_params is 92,736,000, over by 46,368,000 (100%)",
            "n_layers: 5 satisfies all conditions",
        ),
        (
            "nominal_error <= 0",
            "nominal_error <= 0 does not hold: nominal_error is 25.8%, over by 25.8%",
            "write nominal_params: 92736000",
        ),
        (
            "total_params != 92736000",
            "total_params != 92736000 does not hold: total_params is 92,736,000",
            "",
        ),
        (
            "kv_cache_bytes < 1kB",
            "kv_cache_bytes < 1kB does not hold:"
            " kv_cache_bytes is 37,748,736 (37.7MB), over by 37,747,736 (3,774,774%)",
            "",
        ),
        (
            "nominal_error < 5%",
            "nominal_error < 5% does not hold: nominal_error is 25.8%, over by 20.8%",
            "write nominal_params: 92736000",
        ),
        (
            "active_params < non_embedding_params",
            "active_params < non_embedding_params does not hold:"
            " active_params is 92,736,000, over by 7,680,000 (9.03%)",
            "",
        ),
    ],
)
def test_messages(asserted: str, message: str, help_: str) -> None:
    (found,) = _failures(load_config("base"), *_claims(asserted))
    assert (found.code, found.source, found.span, found.message, found.help) == (
        "failed-assertion", "base", None, message, help_
    )  # fmt: skip


def test_remedy_satisfies_every_condition() -> None:
    asked = _claims("total_params < 80M", "active_params < 70M", "total_params < 200M")
    assert [found.help for found in _failures(load_config("base"), *asked)] == [
        "n_layers: 8 satisfies all conditions"
    ] * 2
    torn = _claims("total_params < 80M", "non_embedding_params > 90M", "kv_cache_bytes < 1kB")
    assert [found.help for found in _failures(load_config("base"), *torn)] == [
        "n_layers: 10 satisfies this condition, but not all others",
        "n_layers: 13 satisfies this condition, but not all others",
        "",
    ]


@pytest.mark.parametrize("limit", ["1kB", "1KiB", "0.1MB", "0.0001GiB"])
def test_stated_requirement_is_sufficient(limit: str) -> None:
    loaded = load_config("base", [f"budget.max_kv_bytes={limit}"])
    (told,) = _failures(loaded, *budget_conditions(loaded.config))
    need = told.help.removeprefix("no value of n_layers is enough; this model needs max_kv_bytes: ")
    (condition,) = budget_conditions(load_config("base", [f"budget.max_kv_bytes={need}"]).config)
    assert measure(loaded.config, condition).holds
    assert condition.bound < 1.01 * 37_748_736  # type: ignore[operator]


def test_diagnostic_points_at_the_budget() -> None:
    changes = ("budget.max_params=80M", "budget.max_kv_bytes=1kB")
    loaded = load_config("base", changes)
    for found, field in zip(
        _failures(loaded, *budget_conditions(loaded.config)), ("max_params", "max_kv_bytes"), strict=True
    ):
        assert (found.code, found.source, found.span, found.field) == ("over-budget", "base", None, f"budget.{field}")
        assert field in found.message


@given(small_configs(), st.sampled_from(list(FIGURES)), st.integers(1, 60), st.sampled_from(["<", "<=", ">", ">="]))
def test_layers_that_fit_are_the_nearest(config: ModelConfig, name: str, layers: int, relation: str) -> None:
    valid = valid_layer_counts(config, MAX_N_LAYERS)
    assume(layers in valid)
    condition = Condition(ASSERT, "", name, relation, figure(name, config.model_copy(update={"n_layers": layers})))
    fitting = layers_that_fit(config, [condition])
    if fitting is None:
        ends = [config, *(config.model_copy(update={"n_layers": n}) for n in (valid[0], valid[-1]))]
        assert measure(config, condition).holds or not any(measure(each, condition).holds for each in ends)
        return
    nearer = fitting + (valid.step if fitting < config.n_layers else -valid.step)
    holds = [measure(config.model_copy(update={"n_layers": n}), condition).holds for n in (fitting, nearer)]
    assert holds == [True, nearer == config.n_layers and measure(config, condition).holds]
    assert ModelConfig.model_validate(config.model_dump() | {"n_layers": fitting})


def test_long_assertions_are_clipped() -> None:
    (found,) = _failures(load_config("tiny"), *_claims(f"total_params{' ' * 500}< 1"))
    assert re.match("total_params +… does not hold", found.message)
    assert len(found.message) < 160


@pytest.mark.parametrize(("tolerance", "share"), [(0.02, 50), (0.1, 10), (0.0, None)])
def test_edge_of_the_tolerance(tolerance: float, share: int | None) -> None:
    total = figure("total_params", load_config("llama-3-8b").config)
    nominal = next(
        n for n in range(int(total / (1 + tolerance)) - 2, total + 1) if n + (n // share if share else 0) == total
    )
    config = load_config("llama-3-8b", (f"nominal_params={nominal}", f"budget.nominal_tolerance={tolerance}")).config
    (condition,) = budget_conditions(config)
    assert measure(config, condition).holds
    beyond = config.model_copy(update={"nominal_params": nominal - 2})
    assert not measure(beyond, condition).holds
