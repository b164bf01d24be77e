"""A model in the words of a family: what a config says beside the model is no part of it."""

from __future__ import annotations

from tinylm_cli.interop.choice import choose
from tinylm_cli.interop.export import express
from tinylm_cli.interop.load import load_config

BUDGET = ("budget.max_params=1K", "budget.seq_len=8", "budget.nominal_tolerance=0.01")


def test_a_budget_is_no_part_of_the_model() -> None:
    assert express(load_config("gpt2", BUDGET).config) == express(load_config("gpt2").config)
    plain, held = (choose(load_config("tiny", changes).config) for changes in ((), BUDGET))
    assert (held.expressed, held.changes) == (plain.expressed, plain.changes)
