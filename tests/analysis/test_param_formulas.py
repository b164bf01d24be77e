"""Formulas of parameter counts: the text of each evaluates to its count."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from tests.random_configs import small_configs
from tinylm_cli.analysis.param_formulas import component_formulas, explain_params
from tinylm_cli.analysis.params import active_params, total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.presets import gallery, presets
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config


def value(formula: str) -> int:
    """Evaluate a formula as a reader would: words name the number before them."""
    arithmetic = re.sub(r",| (layers?|modules?|blocks?|experts?|per|token)\b", "", formula).replace("×", "*")
    assert re.fullmatch(r"[0-9 +*()]+", arithmetic), formula
    found: int = eval(arithmetic)
    return found


def hold(config: ModelConfig) -> None:
    table = tensor_table(config)
    formulas = list(component_formulas(table))
    for each in formulas:
        assert value(each.formula) == each.params
        assert value(each.active_formula) == each.active_params
    assert sum(each.params for each in formulas) == total_params(table)
    assert sum(each.active_params for each in formulas) == active_params(table)


@pytest.mark.parametrize("name", [*presets(), *gallery()])
def test_published_models(name: str) -> None:
    hold(load_config(name).config)


@given(small_configs())
@settings(max_examples=80)
def test_any_architecture(config: ModelConfig) -> None:
    hold(config)


def formula(name: str, component: str, *changes: str) -> str:
    found = component_formulas(tensor_table(load_config(name, changes).config))
    return next(each.formula for each in found if each.component == component)


@pytest.mark.parametrize(
    ("name", "component", "expected"),
    [
        ("base", "attention", "12 layers × 4 × (768 × 768 + 768)"),
        ("base", "norm", "12 layers × 2 × (768 + 768) + (768 + 768)"),
        ("base", "lm_head", "0"),
        ("gpt2", "position", "1024 × 768"),
        ("llama-3-8b", "attention", "32 layers × (2 × 4096 × 4096 + 2 × 1024 × 4096)"),
        ("llama-3-8b", "lm_head", "128256 × 4096"),
        ("deepseek-v2-lite", "attention", "27 layers × (3072 × 2048 + 576 × 2048 + 4096 × 512 + 2048 × 2048)"),
        ("deepseek-v2-lite", "feed_forward", "1 layer × 3 × 10944 × 2048"),
        ("deepseek-v2-lite", "experts", "26 layers × (64 experts × 3 × 1408 × 2048 + 3 × 2816 × 2048)"),
    ],
)
def test_formulas(name: str, component: str, expected: str) -> None:
    assert formula(name, component) == expected


def test_final_norm_is_not_merged() -> None:
    changes = ("block.parallel=true", "block.shared_norm=true", "norm.kind=rmsnorm")
    assert formula("tiny", "norm", *changes) == "4 layers × 128 + 128"


def test_tied_head_names_its_owner() -> None:
    explanation = explain_params(load_config("tiny")).explanation
    assert explanation is not None
    head = explanation.formulas[-1]
    assert (head.component, head.params, head.tied_to, head.modules) == ("lm_head", 0, "token_embedding", ("lm_head",))
