"""All rules, and which of them some values break."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tinylm_cli.config.dependencies import NEEDS, met_by, unmet_needs
from tinylm_cli.config.rules import budget, experts, heads, layer_parts, rope_scaling, rotary_pairs
from tinylm_cli.config.rules.rule import Problem

RULES = (*heads.RULES, *rotary_pairs.RULES, *experts.RULES, *layer_parts.RULES, *rope_scaling.RULES, *budget.RULES)


def broken_rules(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each broken rule whose fields are all among ``values`` (dotted name to valid value)."""
    for rule in RULES:
        if all(field in values for field in rule.fields):
            problem = rule.check(*(values[field] for field in rule.fields))
            if problem is not None:
                yield problem
    for name in NEEDS:
        if name in values and (needs := unmet_needs(name, values)):
            written = " and ".join(f"{field}: {value}" for field, value in met_by(needs, values).items())
            yield Problem(
                "without-effect",
                (name, *(need.field for need in needs)),
                f"{name} has no effect: it is for {' and '.join(need.words for need in needs)}",
                f"leave {name} out, or write {written}",
            )
