"""Broken rules of a config given by its changes to the defaults."""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.amounts import read_amount
from tinylm_cli.config.dependencies import Problem
from tinylm_cli.config.fields import fields
from tinylm_cli.config.rules import broken_rules

Values = dict[str, Any]

DEFAULTS: Values = {name: field.example if field.required else field.default for name, field in fields().items()}
LATENT = {"attention.kind": "latent", "position.kind": "rope"}
ROPE = {"position.kind": "rope"}
EXPERTS = {"feed_forward.n_experts": 8}
LONGROPE = {**ROPE, "position.scaling": "longrope", "position.original_max_len": 64}


def problems(changes: Values) -> list[Problem]:
    """Return the broken rules."""
    return list(broken_rules({**DEFAULTS, **changes}))


def single_problem(changes: Values) -> Problem:
    """Return the only broken rule."""
    (problem,) = problems(changes)
    return problem


def parse_value(text: str) -> Any:
    """Return the value that a remedy writes."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    amount = read_amount(text, "count")
    return amount or (int(text) if text.isdigit() else float(text) if text[0].isdigit() else text)
