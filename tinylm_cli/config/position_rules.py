"""Rules of position encodings: rotary dimensions are pairs, and each kind of RoPE scaling requires other fields."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from tinylm_cli.config.base import MAX_DIM, MAX_FACTOR
from tinylm_cli.config.dependencies import Problem, Values, defaults
from tinylm_cli.quantities import counted


def _sinusoidal_width_is_even(value: Values) -> Iterator[Problem]:
    d_model, n_heads = value["d_model"], value["n_heads"]
    if value["position.kind"] != "sinusoidal" or d_model % 2 == 0:
        return
    step = n_heads if n_heads % 2 == 0 else 2 * n_heads
    width = d_model + 1 if (d_model + 1) % n_heads == 0 or d_model % n_heads else (d_model // step + 1) * step
    wider = f"d_model: {width}, or " if width <= MAX_DIM else ""
    message = f"position.kind sinusoidal requires an even d_model, not {d_model}"
    remedy = f"write {wider}position.kind: learned"
    yield Problem("odd-sinusoidal-width", ("d_model", "position.kind"), message, remedy)


def _rotary_width_is_even(value: Values) -> Iterator[Problem]:
    width, rotated = _rotary_width(value), _rotated(value)
    is_proportional = value["position.proportional"] and value["attention.kind"] != "latent"
    is_even = (width if is_proportional else rotated) % 2 == 0
    if value["position.kind"] != "rope" or width == 0 or (is_even and rotated >= 2):
        return  # another rule reports a width of 0
    d_model, n_heads, fraction = value["d_model"], value["n_heads"], value["position.rotary_fraction"]
    fields: tuple[str, ...]
    if value["attention.kind"] == "latent":
        fields, reason = ("attention.d_rope",), f"attention.d_rope {width} is odd"
        remedy = f"write attention.d_rope: {_even_near(width)}"
    elif fraction < 1 and not (is_proportional and width % 2):
        fields = (
            "position.rotary_fraction",
            *(("attention.d_head",) if value["attention.d_head"] else ("d_model", "n_heads")),
        )
        reason = f"position.rotary_fraction {fraction:g} of {width} dimensions per head is {rotated}"
        remedy = _fractions_near(width, rotated)
    elif value["attention.d_head"] is not None:
        fields, reason = ("attention.d_head",), f"attention.d_head {width} is odd"
        remedy = f"write attention.d_head: {_even_near(width)}"
    else:
        fields, reason = ("d_model", "n_heads"), f"d_model {d_model} / n_heads {n_heads} is {width}, which is odd"
        widths = [even * n_heads for even in (width - 1, width + 1) if even and even * n_heads <= MAX_DIM]
        remedy = f"write d_model: {' or '.join(map(str, widths))}, or attention.d_head: {width + 1}"
    message = f"{reason}; RoPE rotates pairs of dimensions"
    yield Problem("odd-rotary-width", (*fields, "position.kind"), message, remedy)


def _rotary_width(value: Values) -> int:
    """Return the dimensions per head that RoPE applies to; 0 if n_heads does not divide d_model."""
    d_model, n_heads, d_head = value["d_model"], value["n_heads"], value["attention.d_head"]
    if value["attention.kind"] == "latent":
        return int(value["attention.d_rope"])
    return d_head or (0 if d_model % n_heads else d_model // n_heads)


def _rotated(value: Values) -> int:
    """Return the dimensions per head that RoPE rotates."""
    fraction = value["position.rotary_fraction"]
    return int(_rotary_width(value) * (1.0 if value["attention.kind"] == "latent" else fraction))


def _even_near(odd: int) -> str:
    return " or ".join(str(even) for even in (odd - 1, odd + 1) if 0 < even <= MAX_DIM)


def _fractions_near(width: int, rotated: int) -> str:
    """Propose fractions of ``width`` that are even, each with as few decimals as possible."""
    shares: list[str] = []
    for even in (rotated // 2 * 2, rotated // 2 * 2 + 2):
        for digits in range(1, 17) if 0 < even <= width else ():
            share = ceil(even / width * 10**digits) / 10**digits
            if int(width * share) == even and share <= 1:
                shares.append(f"{share:.{digits}f}")
                break
    return f"write position.rotary_fraction: {' or '.join(shares)}" if shares else "write position.kind: learned"


def _scaling_has_its_fields(value: Values) -> Iterator[Problem]:
    scaling, max_len = value["position.scaling"], value["max_len"]
    factor, original = value["position.scaling_factor"], value["position.original_max_len"]
    if value["position.kind"] != "rope":
        return
    if factor is None and scaling not in ("none", "longrope"):
        likely = max(max_len / original, 1.0) if original is not None else 8.0
        yield Problem(
            "needs-field",
            ("position.scaling", "position.scaling_factor"),
            f"position.scaling {scaling} requires position.scaling_factor, the factor of the context length",
            f"write position.scaling_factor: {min(likely, MAX_FACTOR):g}, or position.scaling: none",
        )
    if original is None and scaling not in ("none", "linear"):
        yield Problem(
            "needs-field",
            ("position.scaling", "position.original_max_len"),
            f"position.scaling {scaling} requires position.original_max_len, the context length before scaling",
            f"write position.original_max_len: {max(int(max_len / (factor or 1.0)), 1)},"
            " or the context length of pretraining",
        )


def _thresholds_are_ordered(value: Values) -> Iterator[Problem]:
    """The thresholds delimit a range of frequencies; they may be equal, as in Kimi K2 and Llama 4 Scout."""
    for scaling, low, high in (
        ("llama3", "position.low_freq_factor", "position.high_freq_factor"),
        ("yarn", "position.beta_slow", "position.beta_fast"),
    ):
        if value["position.scaling"] == scaling and value[low] > value[high]:
            message = f"{low} {value[low]:g} must not exceed {high} {value[high]:g}"
            remedy = f"write {low}: {defaults()[low]} and {high}: {defaults()[high]}"
            yield Problem("contradiction", (low, high), message, remedy)


def _longrope_has_a_factor_per_pair(value: Values) -> Iterator[Problem]:
    n_pairs, odd = divmod(_rotated(value), 2)
    if value["position.scaling"] != "longrope" or odd or not n_pairs:
        return  # another rule reports odd dimensions
    factors = {name: value[name] for name in ("position.short_factors", "position.long_factors")}
    missing = [name for name, given in factors.items() if given is None]
    wanted = counted(n_pairs, "number")
    if missing:
        yield Problem(
            "needs-field",
            ("position.scaling", *missing),
            f"position.scaling longrope requires {' and '.join(missing)}, one number per rotated pair ({n_pairs})",
            f"write {' and '.join(f'{name} as a list of {wanted}' for name in missing)}",
        )
    for name, given in factors.items():
        if given is not None and len(given) != n_pairs:
            message = f"{name} has {counted(len(given), 'number')}, but RoPE rotates {counted(n_pairs, 'pair')}"
            yield Problem("contradiction", (name, "position.scaling"), message, f"write {name} as a list of {wanted}")


POSITION_RULES = (
    _sinusoidal_width_is_even,
    _rotary_width_is_even,
    _scaling_has_its_fields,
    _thresholds_are_ordered,
    _longrope_has_a_factor_per_pair,
)
"""The rules, in the order in which they are evaluated."""
