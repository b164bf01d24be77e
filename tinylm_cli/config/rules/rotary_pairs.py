"""Positions that come in pairs of dimensions: a sine with a cosine, and two that rotate together."""

from __future__ import annotations

from math import ceil

from tinylm_cli.config.base import MAX_DIM
from tinylm_cli.config.rules.rule import Problem, Rule

HEAD = ("d_model", "n_heads", "attention.d_head", "attention.kind", "attention.d_rope")
"""What the width of a head follows from, in the order that functions here take it."""


def _sinusoidal_needs_pairs(d_model: int, kind: str, n_heads: int) -> Problem | None:
    if kind != "sinusoidal" or d_model % 2 == 0:
        return None
    step = n_heads if n_heads % 2 == 0 else 2 * n_heads
    width = d_model + 1 if (d_model + 1) % n_heads == 0 or d_model % n_heads else (d_model // step + 1) * step
    wider = f"d_model: {width}, or " if width <= MAX_DIM else ""
    return Problem(
        "odd-sinusoidal-width",
        ("d_model", "position.kind"),
        f"d_model {d_model} is odd, and position.kind sinusoidal pairs each sine with a cosine",
        f"write {wider}position.kind: learned",
    )


def _rotary_needs_pairs(
    kind: str, fraction: float, d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int
) -> Problem | None:
    width = rotary_width(d_model, n_heads, d_head, attention, d_rope)
    share = 1.0 if attention == "latent" else fraction
    rotated = int(width * share)
    if kind != "rope" or width == 0 or (rotated % 2 == 0 and rotated > 0):
        return None  # a width of 0 is another rule's to tell
    names: tuple[str, ...]
    pairs = "rotation turns pairs of dimensions"
    if attention == "latent":
        names, message = ("attention.d_rope",), f"attention.d_rope {width} is odd, and {pairs}"
        remedy = f"write attention.d_rope: {_even_near(width)}"
    elif share < 1:
        names = ("position.rotary_fraction", *(("attention.d_head",) if d_head else ("d_model", "n_heads")))
        message = f"position.rotary_fraction {share:g} of {width} dimensions per head is {rotated}, and {pairs}"
        remedy = _fractions_near(width, rotated)
    elif d_head is not None:
        names, message = ("attention.d_head",), f"attention.d_head {width} is odd, and {pairs}"
        remedy = f"write attention.d_head: {_even_near(width)}"
    else:
        names = ("d_model", "n_heads")
        message = f"d_model {d_model} / n_heads {n_heads} is {width}, an odd number, and {pairs}"
        widths = [even * n_heads for even in (width - 1, width + 1) if even and even * n_heads <= MAX_DIM]
        remedy = f"write d_model: {' or '.join(map(str, widths))}, or attention.d_head: {width + 1}"
    return Problem("odd-rotary-width", (*names, "position.kind"), message, remedy)


def pairs(fraction: float, d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int) -> int:
    """Return how many pairs of dimensions rotate; 0 where their number is odd, which is another rule's to tell."""
    width = rotary_width(d_model, n_heads, d_head, attention, d_rope)
    rotated = int(width * (1.0 if attention == "latent" else fraction))
    return 0 if rotated % 2 else rotated // 2


def rotary_width(d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int) -> int:
    """Return the dimensions of a head that rotation has to do with; 0 where heads do not divide the model."""
    if attention == "latent":
        return d_rope
    return d_head or (0 if d_model % n_heads else d_model // n_heads)


def _even_near(odd: int) -> str:
    return " or ".join(str(even) for even in (odd - 1, odd + 1) if 0 < even <= MAX_DIM)


def _fractions_near(width: int, rotated: int) -> str:
    """Propose shares of ``width`` that are even numbers of dimensions, each with as few decimals as say it."""
    shares: list[str] = []
    for even in (rotated // 2 * 2, rotated // 2 * 2 + 2):
        if not 0 < even <= width:
            continue
        for digits in range(1, 17):
            share = ceil(even / width * 10**digits) / 10**digits
            if int(width * share) == even and share <= 1:
                shares.append(f"{share:.{digits}f}")
                break
    return f"write position.rotary_fraction: {' or '.join(shares)}" if shares else "write position.kind: learned"


RULES = (
    Rule(("d_model", "position.kind", "n_heads"), _sinusoidal_needs_pairs),
    Rule(("position.kind", "position.rotary_fraction", *HEAD), _rotary_needs_pairs),
)
