"""Heads: as many as divide the model, and of keys and values as many as divide those."""

from __future__ import annotations

from tinylm_cli.config.base import MAX_DIM
from tinylm_cli.config.rules.rule import Problem, Rule, divisors_near
from tinylm_cli.quantities import counted


def _heads_divide_model(n_heads: int, d_model: int, d_head: int | None, kind: str) -> Problem | None:
    remainder = d_model % n_heads
    if remainder == 0 or d_head is not None or kind == "latent":
        return None
    if n_heads > d_model:
        message = f"n_heads {n_heads} is larger than d_model {d_model}: each head needs at least one dimension"
    else:
        left = f"{counted(remainder, 'dimension')} {'is' if remainder == 1 else 'are'}"
        message = f"d_model {d_model} is not divisible by n_heads {n_heads}: {left} left over"
    heads = f"n_heads: {divisors_near(d_model, n_heads)}"
    step = n_heads if n_heads % 2 == 0 else 2 * n_heads  # even widths suit every kind of position
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
        message = f"attention.n_kv_heads {n_kv_heads} is larger than n_heads {n_heads}"
        proposal = str(n_heads)
    else:
        message = f"n_heads {n_heads} is not a multiple of attention.n_kv_heads {n_kv_heads}: groups would differ"
        proposal = divisors_near(n_heads, n_kv_heads)
    return Problem(
        "kv-heads-do-not-divide",
        ("attention.n_kv_heads", "n_heads"),
        message,
        f"write attention.n_kv_heads: {proposal}, or leave attention.n_kv_heads out",
    )


RULES = (
    Rule(("n_heads", "d_model", "attention.d_head", "attention.kind"), _heads_divide_model),
    Rule(("attention.n_kv_heads", "n_heads", "attention.kind"), _kv_heads_divide_heads),
)
