"""Rules between fields, and the evaluation of all rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isqrt
from typing import Any

from tinylm_cli.config.blocks import MAX_DIM, MAX_N_HEADS
from tinylm_cli.config.dependencies import REQUIREMENTS, Problem, Rule, satisfying_values, unmet_requirements
from tinylm_cli.config.rope_rules import ROPE_RULES
from tinylm_cli.quantities import counted


def _heads_divide_model(n_heads: int, d_model: int, d_head: int | None, kind: str) -> Problem | None:
    if d_model % n_heads == 0 or d_head is not None or kind == "latent":
        return None
    if n_heads > d_model:
        message = f"n_heads {n_heads} exceeds d_model {d_model}: each head needs at least one dimension"
    else:
        message = f"d_model {d_model} is not divisible by n_heads {n_heads}"
    heads = f"n_heads: {divisors_near(d_model, n_heads)}"
    step = n_heads if n_heads % 2 == 0 else 2 * n_heads  # an even width suits every position encoding
    multiples = (max(d_model // step * step, step), (d_model // step + 1) * step)
    widths = sorted({width for width in multiples if width <= MAX_DIM})
    return Problem(
        "heads-do-not-divide",
        ("n_heads", "d_model"),
        message,
        f"write {heads}, or d_model: {' or '.join(map(str, widths))}",
    )


def _kv_heads_divide_heads(n_kv_heads: int | None, n_heads: int, attention: str) -> Problem | None:
    if n_kv_heads is None or attention != "multi_head" or n_heads % n_kv_heads == 0:
        return None
    if n_kv_heads > n_heads:
        message = f"attention.n_kv_heads {n_kv_heads} exceeds n_heads {n_heads}"
        proposal = str(n_heads)
    else:
        message = f"n_heads {n_heads} is not divisible by attention.n_kv_heads {n_kv_heads}"
        proposal = divisors_near(n_heads, n_kv_heads)
    return Problem(
        "kv-heads-do-not-divide",
        ("attention.n_kv_heads", "n_heads"),
        message,
        f"write attention.n_kv_heads: {proposal}, or leave attention.n_kv_heads out",
    )


def _enough_experts(top_k: int, n_experts: int | None) -> Problem | None:
    if n_experts is None or top_k <= n_experts:
        return None
    return Problem(
        "top-k-above-experts",
        ("feed_forward.top_k", "feed_forward.n_experts"),
        f"feed_forward.top_k {top_k} exceeds feed_forward.n_experts {n_experts}",
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
            f"feed_forward.n_experts {n_experts} is not divisible by feed_forward.n_groups {n_groups}",
            f"write feed_forward.n_groups: {divisors_near(n_experts, n_groups)}",
        )
    chosen = ("feed_forward.top_k_groups", "feed_forward.n_groups")
    if top_k_groups > n_groups:
        message = f"feed_forward.top_k_groups {top_k_groups} exceeds feed_forward.n_groups {n_groups}"
        return Problem("expert-groups", chosen, message, f"write feed_forward.top_k_groups: {n_groups}")
    size = n_experts // n_groups
    held = size * top_k_groups
    if held < top_k <= n_experts:
        groups = f"{counted(top_k_groups, 'group')} of {size}"
        return Problem(
            "expert-groups",
            ("feed_forward.top_k", *chosen),
            f"feed_forward.top_k {top_k} exceeds the {counted(held, 'expert')} of the {groups} selected",
            f"write feed_forward.top_k_groups: {-(-top_k // size)}, or feed_forward.top_k: {held}",
        )
    return None


def _dense_layers_exist(n_dense_layers: int, n_layers: int, n_experts: int | None) -> Problem | None:
    if n_experts is None or n_dense_layers < n_layers:
        return None
    return Problem(
        "contradiction",
        ("feed_forward.n_dense_layers", "n_layers", "feed_forward.n_experts"),
        f"feed_forward.n_dense_layers {n_dense_layers} leaves no layer with experts: n_layers is {n_layers}",
        f"write feed_forward.n_dense_layers: {n_layers - 1}, or leave feed_forward.n_experts out",
    )


def _latent_attention_rotates(attention: str, kind: str, fraction: float) -> Problem | None:
    if attention != "latent" or (kind == "rope" and fraction == 1):
        return None
    if kind == "rope":
        return Problem(
            "contradiction",
            ("position.rotary_fraction", "attention.kind"),
            f"position.rotary_fraction {fraction:g} has no effect: latent attention rotates attention.d_rope",
            "leave position.rotary_fraction out, or write attention.kind: multi_head",
        )
    message = "attention.kind latent requires position.kind rope: attention.d_rope dimensions rotate"
    remedy = "write position.kind: rope, or attention.kind: multi_head"
    return Problem("contradiction", ("attention.kind", "position.kind"), message, remedy)


def _norm_bias_fits(bias: bool | None, kind: str, weight: bool) -> Problem | None:  # noqa: FBT001
    if not bias or (kind == "layernorm" and weight):
        return None
    wrong = {"norm.kind": ("rmsnorm", "layernorm")} if kind == "rmsnorm" else {}
    wrong |= {} if weight else {"norm.weight": ("false", "true")}
    return Problem(
        "contradiction",
        ("norm.bias", *wrong),
        f"norm.bias true requires {' and '.join(f'{name} {fits}' for name, (_, fits) in wrong.items())}",
        f"leave norm.bias out, or write {' and '.join(f'{name}: {fits}' for name, (_, fits) in wrong.items())}",
    )


def _parallel_is_pre_norm(parallel: bool, placement: str) -> Problem | None:  # noqa: FBT001
    if not parallel or placement == "pre":
        return None
    return Problem(
        "contradiction",
        ("block.parallel", "norm.placement"),
        "block.parallel true requires norm.placement pre",
        "write norm.placement: pre, or leave block.parallel out",
    )


def _window_has_a_layer(window: int | None, pattern: str) -> Problem | None:
    if window is None or "L" in pattern:
        return None
    message = f"attention.window {window} has no effect: attention.window_pattern {pattern} has no local layer (L)"
    remedy = "leave attention.window out, or write attention.window_pattern: LG"
    return Problem("contradiction", ("attention.window_pattern", "attention.window"), message, remedy)


def _budget_is_within_reach(seq_len: int | None, max_len: int) -> Problem | None:
    if seq_len is None or seq_len <= max_len:
        return None
    message = f"budget.seq_len {seq_len} exceeds max_len {max_len}"
    remedy = f"write budget.seq_len: {max_len}, or max_len: {seq_len}"
    return Problem("contradiction", ("budget.seq_len", "max_len"), message, remedy)


def divisors_near(whole: int, wanted: int) -> str:
    """Return the divisors of ``whole`` next to ``wanted``, as text: ``4 or 8``."""
    divisors = {d for n in range(1, isqrt(whole) + 1) if whole % n == 0 for d in (n, whole // n)}
    below = max(n for n in divisors if n < wanted)
    above = min((n for n in divisors if wanted < n <= min(4 * wanted, MAX_N_HEADS)), default=None)
    return str(below) + (f" or {above}" if above else "")


RULES = (
    Rule(("n_heads", "d_model", "attention.d_head", "attention.kind"), _heads_divide_model),
    Rule(("attention.n_kv_heads", "n_heads", "attention.kind"), _kv_heads_divide_heads),
    Rule(("feed_forward.top_k", "feed_forward.n_experts"), _enough_experts),
    Rule(
        ("feed_forward.n_groups", "feed_forward.top_k_groups", "feed_forward.n_experts", "feed_forward.top_k"),
        _groups_hold_experts,
    ),
    Rule(("feed_forward.n_dense_layers", "n_layers", "feed_forward.n_experts"), _dense_layers_exist),
    Rule(("attention.kind", "position.kind", "position.rotary_fraction"), _latent_attention_rotates),
    Rule(("norm.bias", "norm.kind", "norm.weight"), _norm_bias_fits),
    Rule(("block.parallel", "norm.placement"), _parallel_is_pre_norm),
    Rule(("attention.window", "attention.window_pattern"), _window_has_a_layer),
    Rule(("budget.seq_len", "max_len"), _budget_is_within_reach),
    *ROPE_RULES,
)


def broken_rules(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each broken rule whose fields are all among ``values`` (dotted name to valid value)."""
    for rule in RULES:
        if all(field in values for field in rule.fields):
            problem = rule.check(*(values[field] for field in rule.fields))
            if problem is not None:
                yield problem
    for name in REQUIREMENTS:
        if name in values and (needs := unmet_requirements(name, values)):
            written = " and ".join(f"{field}: {value}" for field, value in satisfying_values(needs, values).items())
            yield Problem(
                "without-effect",
                (name, *(need.field for need in needs)),
                f"{name} has no effect unless {' and '.join(need.condition for need in needs)}",
                f"leave {name} out, or write {written}",
            )
