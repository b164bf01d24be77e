"""Experts: as many as are chosen from, in groups alike, in a layer at least."""

from __future__ import annotations

from tinylm_cli.config.rules.rule import Problem, Rule, divisors_near
from tinylm_cli.quantities import counted


def _enough_experts(top_k: int, n_experts: int | None) -> Problem | None:
    if n_experts is None or top_k <= n_experts:
        return None
    return Problem(
        "top-k-above-experts",
        ("feed_forward.top_k", "feed_forward.n_experts"),
        f"feed_forward.top_k {top_k} is more than the {n_experts} of feed_forward.n_experts",
        f"write feed_forward.top_k: {n_experts}, or feed_forward.n_experts: {top_k}",
    )


def _groups_hold_experts(n_groups: int, top_k_groups: int, n_experts: int | None, top_k: int) -> Problem | None:
    if n_experts is None or n_groups == 1:
        return None
    fields = ("feed_forward.n_groups", "feed_forward.n_experts")
    if n_experts % n_groups:
        return Problem(
            "expert-groups",
            fields,
            f"feed_forward.n_experts {n_experts} is not a multiple of feed_forward.n_groups {n_groups}",
            f"write feed_forward.n_groups: {divisors_near(n_experts, n_groups)}",
        )
    chosen = ("feed_forward.top_k_groups", "feed_forward.n_groups")
    if top_k_groups > n_groups:
        message = f"feed_forward.top_k_groups {top_k_groups} is more than the {n_groups} of feed_forward.n_groups"
        return Problem("expert-groups", chosen, message, f"write feed_forward.top_k_groups: {n_groups}")
    size = n_experts // n_groups
    held = size * top_k_groups
    if held < top_k <= n_experts:
        groups = f"{counted(top_k_groups, 'group')} of {size}"
        return Problem(
            "expert-groups",
            ("feed_forward.top_k", *chosen),
            f"feed_forward.top_k {top_k} is more than the {counted(held, 'expert')} in {groups} that are chosen from",
            f"write feed_forward.top_k_groups: {-(-top_k // size)}, or feed_forward.top_k: {held}",
        )
    return None


def _dense_layers_exist(n_dense_layers: int, n_layers: int, n_experts: int | None) -> Problem | None:
    if n_experts is None or n_dense_layers < n_layers:
        return None
    return Problem(
        "contradiction",
        ("feed_forward.n_dense_layers", "n_layers", "feed_forward.n_experts"),
        f"feed_forward.n_dense_layers {n_dense_layers} leaves none of the {counted(n_layers, 'layer')} for the experts",
        f"write feed_forward.n_dense_layers: {n_layers - 1}, or leave feed_forward.n_experts out",
    )


RULES = (
    Rule(("feed_forward.top_k", "feed_forward.n_experts"), _enough_experts),
    Rule(
        ("feed_forward.n_groups", "feed_forward.top_k_groups", "feed_forward.n_experts", "feed_forward.top_k"),
        _groups_hold_experts,
    ),
    Rule(("feed_forward.n_dense_layers", "n_layers", "feed_forward.n_experts"), _dense_layers_exist),
)
