"""A config beside weights: it may say more about them, but not make another model of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Here = Callable[..., Any]

COMMANDS = ["build", "forward", "generate", "check"]


@pytest.fixture(autouse=True)
def saved(here: Here, folder: Path) -> Path:
    assert here("build", "--config", "toy.yaml", "--save", "model").code == 0
    return folder / "model"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("n_heads=4", "n_heads is 2 there, not 4"),
        ("feed_forward.activation=relu", "feed_forward.activation is gelu there, not relu"),
        ("position.kind=none", "position.kind is sinusoidal there, not none"),
        ("norm.eps=1e-6", "norm.eps is 1.0e-5 there, not 1.0e-6"),
        ("n_layers=2", "n_layers is 3 there, not 2"),
    ],
    ids=lambda value: value.partition("=")[0],
)
def test_another_model_is_refused_even_where_its_shapes_fit(command: str, change: str, told: str, here: Here) -> None:
    for config in ([], ["--config", "toy.yaml"]):
        result = here(command, *config, "--weights", "model", "--set", change, columns=400)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"error: the weights in model are of another model: {told}\n  = help: leave out")


def test_every_field_that_differs_is_named(here: Here) -> None:
    changes = ("--set", "n_heads=4", "--set", "norm.eps=0.1", "--set", "attention.bias=false")
    result = here("forward", "--weights", "model", *changes, columns=400)
    assert "n_heads is 2 there, not 4; norm.eps is 1.0e-5 there, not 0.1; attention.bias is true there" in result.err


@pytest.mark.parametrize(
    "change", ["dropout=0.3", "nominal_params=9K", "budget.max_params=1K", "max_len=64", "n_heads=2"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_changes_nothing_may_differ(command: str, change: str, here: Here) -> None:
    assert here(command, "--weights", "model", "--set", change).code == 0


def test_a_longer_window_may_be_asked_for_unless_positions_are_learned(here: Here) -> None:
    words = ("--random", "1x40", "--set", "max_len=40")
    assert here("forward", "--weights", "model", *words).code == 0
    here("build", "--config", "toy.yaml", "--set", "position.kind=learned", "--save", "learned")
    result = here("forward", "--weights", "learned", *words, columns=200)
    assert "max_len is 32 there, not 40" in result.err


def test_a_folder_without_a_config_has_nothing_to_compare(here: Here, saved: Path) -> None:
    (saved / "config.yaml").unlink()
    assert here("forward", "--config", "toy.yaml", "--weights", "model", "--set", "norm.eps=1e-6").code == 0
