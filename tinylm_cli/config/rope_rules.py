"""Rules of position encodings: rotary dimensions are pairs, and each kind of RoPE scaling requires other fields."""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import Any

from tinylm_cli.config.blocks import MAX_DIM, MAX_FACTOR
from tinylm_cli.config.dependencies import Problem, Rule
from tinylm_cli.quantities import counted

HEAD = ("d_model", "n_heads", "attention.d_head", "attention.kind", "attention.d_rope")
"""The fields that determine the width of a head, in the argument order of the functions here."""


def _sinusoidal_needs_pairs(d_model: int, kind: str, n_heads: int) -> Problem | None:
    if kind != "sinusoidal" or d_model % 2 == 0:
        return None
    step = n_heads if n_heads % 2 == 0 else 2 * n_heads
    width = d_model + 1 if (d_model + 1) % n_heads == 0 or d_model % n_heads else (d_model // step + 1) * step
    wider = f"d_model: {width}, or " if width <= MAX_DIM else ""
    return Problem(
        "odd-sinusoidal-width",
        ("d_model", "position.kind"),
        f"position.kind sinusoidal requires an even d_model, not {d_model}",
        f"write {wider}position.kind: learned",
    )


def _rotary_needs_pairs(
    kind: str, fraction: float, d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int
) -> Problem | None:
    width = rotary_width(d_model, n_heads, d_head, attention, d_rope)
    share = 1.0 if attention == "latent" else fraction
    rotated = int(width * share)
    if kind != "rope" or width == 0 or (rotated % 2 == 0 and rotated > 0):
        return None  # another rule reports a width of 0
    names: tuple[str, ...]
    pairs = "RoPE rotates pairs of dimensions"
    if attention == "latent":
        names, message = ("attention.d_rope",), f"attention.d_rope {width} is odd; {pairs}"
        remedy = f"write attention.d_rope: {_even_near(width)}"
    elif share < 1:
        names = ("position.rotary_fraction", *(("attention.d_head",) if d_head else ("d_model", "n_heads")))
        message = f"position.rotary_fraction {share:g} of {width} dimensions per head is {rotated}; {pairs}"
        remedy = _fractions_near(width, rotated)
    elif d_head is not None:
        names, message = ("attention.d_head",), f"attention.d_head {width} is odd; {pairs}"
        remedy = f"write attention.d_head: {_even_near(width)}"
    else:
        names = ("d_model", "n_heads")
        message = f"d_model {d_model} / n_heads {n_heads} is {width}, which is odd; {pairs}"
        widths = [even * n_heads for even in (width - 1, width + 1) if even and even * n_heads <= MAX_DIM]
        remedy = f"write d_model: {' or '.join(map(str, widths))}, or attention.d_head: {width + 1}"
    return Problem("odd-rotary-width", (*names, "position.kind"), message, remedy)


def pairs(fraction: float, d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int) -> int:
    """Return the number of rotary pairs; 0 if the dimensions are odd, which another rule reports."""
    width = rotary_width(d_model, n_heads, d_head, attention, d_rope)
    rotated = int(width * (1.0 if attention == "latent" else fraction))
    return 0 if rotated % 2 else rotated // 2


def rotary_width(d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int) -> int:
    """Return the dimensions per head that RoPE applies to; 0 if n_heads does not divide d_model."""
    if attention == "latent":
        return d_rope
    return d_head or (0 if d_model % n_heads else d_model // n_heads)


def _even_near(odd: int) -> str:
    return " or ".join(str(even) for even in (odd - 1, odd + 1) if 0 < even <= MAX_DIM)


def _fractions_near(width: int, rotated: int) -> str:
    """Propose fractions of ``width`` that are even, each with as few decimals as possible."""
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


def _scaling_has_its_factor(
    kind: str, scaling: str, scaling_factor: float | None, original_max_len: int | None, max_len: int
) -> Problem | None:
    if kind != "rope" or scaling_factor is not None or scaling in ("none", "longrope"):
        return None
    factor = max(max_len / original_max_len, 1.0) if original_max_len is not None else 8.0
    return Problem(
        "needs-field",
        ("position.scaling", "position.scaling_factor"),
        f"position.scaling {scaling} requires position.scaling_factor, by which it extends the context length",
        f"write position.scaling_factor: {min(factor, MAX_FACTOR):g}, or position.scaling: none",
    )


def _scaling_has_its_length(
    kind: str, scaling: str, original_max_len: int | None, scaling_factor: float | None, max_len: int
) -> Problem | None:
    if kind != "rope" or original_max_len is not None or scaling in ("none", "linear"):
        return None
    return Problem(
        "needs-field",
        ("position.scaling", "position.original_max_len"),
        f"position.scaling {scaling} requires position.original_max_len, the context length before scaling",
        f"write position.original_max_len: {max(int(max_len / (scaling_factor or 1.0)), 1)},"
        " or the context length of pretraining",
    )


def _wavelengths_are_ordered(low: float, high: float, scaling: str) -> Problem | None:
    if scaling != "llama3" or low < high:
        return None
    return Problem(
        "contradiction",
        ("position.low_freq_factor", "position.high_freq_factor"),
        f"position.low_freq_factor {low:g} must be below position.high_freq_factor {high:g}",
        "write position.low_freq_factor: 1.0 and position.high_freq_factor: 4.0",
    )


def _turns_are_ordered(slow: float, fast: float, scaling: str) -> Problem | None:
    if scaling != "yarn" or slow < fast:
        return None
    return Problem(
        "contradiction",
        ("position.beta_slow", "position.beta_fast"),
        f"position.beta_slow {slow:g} must be below position.beta_fast {fast:g}",
        "write position.beta_slow: 1.0 and position.beta_fast: 32.0",
    )


def _longrope_has_its_factors(
    scaling: str, short: tuple[float, ...] | None, long: tuple[float, ...] | None, fraction: float, *head: Any
) -> Problem | None:
    factors = {"position.short_factors": short, "position.long_factors": long}
    missing = [name for name, given in factors.items() if given is None]
    n_pairs = pairs(fraction, *head)
    if scaling != "longrope" or not missing or not n_pairs:
        return None
    wanted = counted(n_pairs, "number")
    return Problem(
        "needs-field",
        ("position.scaling", *missing),
        f"position.scaling longrope requires {' and '.join(missing)}, one number per rotated pair ({n_pairs})",
        f"write {' and '.join(f'{name} as a list of {wanted}' for name in missing)}",
    )


def _factors_fit(
    name: str, scaling: str, factors: tuple[float, ...] | None, fraction: float, *head: Any
) -> Problem | None:
    n_pairs = pairs(fraction, *head)
    if scaling != "longrope" or factors is None or not n_pairs or len(factors) == n_pairs:
        return None
    turning = f"{counted(n_pairs, 'pair')} of dimensions {'rotate' if n_pairs > 1 else 'rotates'}"
    return Problem(
        "contradiction",
        (name, "position.scaling"),
        f"{name} has {counted(len(factors), 'number')}, but {turning}",
        f"write {name} as a list of {counted(n_pairs, 'number')}",
    )


ROPE_RULES = (
    Rule(("d_model", "position.kind", "n_heads"), _sinusoidal_needs_pairs),
    Rule(("position.kind", "position.rotary_fraction", *HEAD), _rotary_needs_pairs),
    Rule(
        ("position.kind", "position.scaling", "position.scaling_factor", "position.original_max_len", "max_len"),
        _scaling_has_its_factor,
    ),
    Rule(
        ("position.kind", "position.scaling", "position.original_max_len", "position.scaling_factor", "max_len"),
        _scaling_has_its_length,
    ),
    Rule(("position.low_freq_factor", "position.high_freq_factor", "position.scaling"), _wavelengths_are_ordered),
    Rule(("position.beta_slow", "position.beta_fast", "position.scaling"), _turns_are_ordered),
    Rule(
        ("position.scaling", "position.short_factors", "position.long_factors", "position.rotary_fraction", *HEAD),
        _longrope_has_its_factors,
    ),
    *(
        Rule(("position.scaling", name, "position.rotary_fraction", *HEAD), partial(_factors_fit, name))
        for name in ("position.short_factors", "position.long_factors")
    ),
)
