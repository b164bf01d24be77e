"""Rules that tie several fields together.

Each rule is a plain function over the values of the fields it names, so that the same rule speaks when a config is
built in Python and when a file is diagnosed with some of its other fields broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isqrt
from typing import Any, NamedTuple

from tinylm_cli.config.blocks import MAX_DIM, MAX_N_HEADS
from tinylm_cli.config.needs import NEEDS, unmet_need


class Problem(NamedTuple):
    """A broken rule: the stable code, the fields involved (the first is where to point), what is wrong, the remedy."""

    code: str
    fields: tuple[str, ...]
    message: str
    help: str


class Rule(NamedTuple):
    """A condition over the dotted ``fields``, which ``check`` receives in that order."""

    fields: tuple[str, ...]
    check: Callable[..., Problem | None]


def broken_rules(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each broken rule whose fields are all among ``values`` (dotted name to valid value)."""
    for rule in RULES:
        if all(field in values for field in rule.fields):
            problem = rule.check(*(values[field] for field in rule.fields))
            if problem is not None:
                yield problem
    for name in NEEDS:
        if name in values and (need := unmet_need(name, values)) is not None:
            yield Problem(
                "without-effect",
                (name, need.field),
                f"{name} has no effect: it is for {need.words}",
                f"leave {name} out, or write {need.field}: {need.example}",
            )


def _heads_divide_model(n_heads: int, d_model: int, d_head: int | None, kind: str) -> Problem | None:
    remainder = d_model % n_heads
    if remainder == 0 or d_head is not None or kind == "latent":
        return None
    if n_heads > d_model:
        message = f"n_heads {n_heads} is larger than d_model {d_model}: each head needs at least one dimension"
    else:
        message = f"d_model {d_model} is not divisible by n_heads {n_heads}: {remainder} dimensions are left over"
    heads = f"n_heads: {_divisors_near(d_model, n_heads)}"
    step = n_heads if n_heads % 2 == 0 else 2 * n_heads  # even widths suit every kind of position
    multiples = (max(d_model // step * step, step), (d_model // step + 1) * step)
    widths = sorted({width for width in multiples if width <= MAX_DIM})
    return Problem(
        "heads-do-not-divide",
        ("n_heads", "d_model"),
        message,
        f"write {heads}, or d_model: {' or '.join(map(str, widths))}",
    )


def _kv_heads_divide_heads(n_kv_heads: int | None, n_heads: int) -> Problem | None:
    if n_kv_heads is None or n_heads % n_kv_heads == 0:
        return None
    if n_kv_heads > n_heads:
        message = f"attention.n_kv_heads {n_kv_heads} is larger than n_heads {n_heads}"
        remedy = f"write n_kv_heads: {n_heads}, or leave it out"
    else:
        message = f"n_heads {n_heads} is not a multiple of attention.n_kv_heads {n_kv_heads}: groups would differ"
        remedy = f"write n_kv_heads: {_divisors_near(n_heads, n_kv_heads)}"
    return Problem("kv-heads-do-not-divide", ("attention.n_kv_heads", "n_heads"), message, remedy)


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
    if kind != "rope":
        return None
    if attention == "latent":
        if d_rope % 2 == 0:
            return None
        message = f"attention.d_rope {d_rope} is odd, and rotation turns pairs of dimensions"
        return Problem(
            "odd-rotary-width", ("attention.d_rope", "position.kind"), message, f"write d_rope: {d_rope + 1}"
        )
    width = d_head or d_model // n_heads
    rotated = int(width * fraction)
    if rotated % 2 == 0 and rotated > 0:
        return None
    message = f"{rotated} of {width} dimensions per head would rotate, and rotation turns pairs of them"
    names = ("attention.d_head",) if d_head is not None else ("d_model", "n_heads")
    if fraction == 1:
        remedy = (
            f"write d_head: {width + 1}" if d_head is not None else "choose d_model and n_heads with an even quotient"
        )
        return Problem("odd-rotary-width", (*names, "position.kind"), message, remedy)
    even = max(rotated // 2 * 2, 2)
    remedy = f"write rotary_fraction: {min(even / width, 1.0):.6g}" if width >= 2 else "write position.kind: learned"
    return Problem("odd-rotary-width", ("position.rotary_fraction", *names), message, remedy)


def _enough_experts(top_k: int, n_experts: int | None) -> Problem | None:
    if n_experts is None or top_k <= n_experts:
        return None
    return Problem(
        "top-k-above-experts",
        ("feed_forward.top_k", "feed_forward.n_experts"),
        f"feed_forward.top_k {top_k} is more than the {n_experts} of feed_forward.n_experts",
        f"write top_k: {n_experts}, or n_experts: {top_k}",
    )


def _groups_hold_experts(n_groups: int, top_k_groups: int, n_experts: int | None, top_k: int) -> Problem | None:
    if n_experts is None or n_groups == 1:
        return None
    fields = ("feed_forward.n_groups", "feed_forward.n_experts")
    if n_experts % n_groups:
        message = f"feed_forward.n_experts {n_experts} is not a multiple of feed_forward.n_groups {n_groups}"
        return Problem("expert-groups", fields, message, f"write n_groups: {_divisors_near(n_experts, n_groups)}")
    chosen = ("feed_forward.top_k_groups", "feed_forward.n_groups")
    if top_k_groups > n_groups:
        message = f"feed_forward.top_k_groups {top_k_groups} is more than the {n_groups} of feed_forward.n_groups"
        return Problem("expert-groups", chosen, message, f"write top_k_groups: {n_groups}")
    if top_k > n_experts // n_groups * top_k_groups:
        held = n_experts // n_groups * top_k_groups
        message = f"feed_forward.top_k {top_k} is more than the {held} experts of the groups chosen"
        return Problem("expert-groups", ("feed_forward.top_k", *chosen), message, f"write top_k: {held}")
    return None


def _dense_layers_exist(n_dense_layers: int, n_layers: int, n_experts: int | None) -> Problem | None:
    if n_experts is None or n_dense_layers < n_layers:
        return None
    return Problem(
        "contradiction",
        ("feed_forward.n_dense_layers", "n_layers"),
        f"feed_forward.n_dense_layers {n_dense_layers} leaves no layer of the {n_layers} with experts",
        f"write n_dense_layers: {n_layers - 1}, or leave n_experts out",
    )


def _latent_attention_rotates(attention: str, kind: str, fraction: float) -> Problem | None:
    if attention != "latent" or (kind == "rope" and fraction == 1):
        return None
    if kind == "rope":
        message = "attention.kind latent says by d_rope what rotates, and position.rotary_fraction says it again"
        return Problem(
            "contradiction", ("position.rotary_fraction", "attention.kind"), message, "leave rotary_fraction out"
        )
    message = f"attention.kind latent rotates d_rope dimensions of each head, and position.kind is {kind}"
    return Problem("contradiction", ("attention.kind", "position.kind"), message, "write position.kind: rope")


def _norm_bias_fits(bias: bool | None, kind: str, weight: bool) -> Problem | None:  # noqa: FBT001
    if not bias or (kind == "layernorm" and weight):
        return None
    other = ("norm.kind", kind) if kind == "rmsnorm" else ("norm.weight", "false")
    message = f"norm.bias true does not go with {other[0]} {other[1]}"
    return Problem("contradiction", ("norm.bias", other[0]), message, "leave norm.bias out")


def _parallel_is_pre_norm(parallel: bool, placement: str) -> Problem | None:  # noqa: FBT001
    if not parallel or placement == "pre":
        return None
    return Problem(
        "contradiction",
        ("block.parallel", "norm.placement"),
        f"block.parallel true feeds both sub-layers from the norms before them, and norm.placement is {placement}",
        "write norm.placement: pre, or leave parallel out",
    )


def _scaling_has_its_length(scaling: str, original_max_len: int | None) -> Problem | None:
    if original_max_len is not None or scaling in ("none", "linear"):
        return None
    return Problem(
        "needs-field",
        ("position.scaling", "position.original_max_len"),
        f"position.scaling {scaling} needs position.original_max_len, the length it stretches from",
        "add original_max_len: 8192, or the model's own",
    )


def _wavelengths_are_ordered(low: float, high: float, scaling: str) -> Problem | None:
    if scaling != "llama3" or low < high:
        return None
    message = f"position.low_freq_factor {low:g} must be below position.high_freq_factor {high:g}"
    fields = ("position.low_freq_factor", "position.high_freq_factor")
    return Problem("contradiction", fields, message, "write low_freq_factor: 1.0 and high_freq_factor: 4.0")


def _longrope_has_its_factors(
    scaling: str,
    short: tuple[float, ...] | None,
    long: tuple[float, ...] | None,
    fraction: float,
    d_model: int,
    n_heads: int,
    d_head: int | None,
    attention: str,
    d_rope: int,
) -> Problem | None:
    if scaling != "longrope":
        return None
    rotated = d_rope if attention == "latent" else int((d_head or d_model // n_heads) * fraction)
    for name, factors in (("position.short_factors", short), ("position.long_factors", long)):
        if factors is None:
            message = f"position.scaling longrope needs {name}"
            return Problem("needs-field", ("position.scaling", name), message, f"add a list of {rotated // 2} numbers")
        if len(factors) != rotated // 2:
            message = f"{name} has {len(factors)} numbers, and {rotated} rotated dimensions make {rotated // 2} pairs"
            return Problem("contradiction", (name, "position.scaling"), message, f"give it {rotated // 2} numbers")
    return None


def _divisors_near(whole: int, wanted: int) -> str:
    """Return the divisors of ``whole`` just below and just above ``wanted``, as words."""
    divisors = {d for n in range(1, isqrt(whole) + 1) if whole % n == 0 for d in (n, whole // n)}
    below = max(n for n in divisors if n < wanted)
    above = min((n for n in divisors if wanted < n <= min(4 * wanted, MAX_N_HEADS)), default=None)
    return str(below) + (f" or {above}" if above else "")


_HEAD = ("d_model", "n_heads", "attention.d_head", "attention.kind", "attention.d_rope")

RULES = (
    Rule(("n_heads", "d_model", "attention.d_head", "attention.kind"), _heads_divide_model),
    Rule(("attention.n_kv_heads", "n_heads"), _kv_heads_divide_heads),
    Rule(("d_model", "position.kind", "n_heads"), _sinusoidal_needs_pairs),
    Rule(("position.kind", "position.rotary_fraction", *_HEAD), _rotary_needs_pairs),
    Rule(("feed_forward.top_k", "feed_forward.n_experts"), _enough_experts),
    Rule(
        ("feed_forward.n_groups", "feed_forward.top_k_groups", "feed_forward.n_experts", "feed_forward.top_k"),
        _groups_hold_experts,
    ),
    Rule(("feed_forward.n_dense_layers", "n_layers", "feed_forward.n_experts"), _dense_layers_exist),
    Rule(("attention.kind", "position.kind", "position.rotary_fraction"), _latent_attention_rotates),
    Rule(("norm.bias", "norm.kind", "norm.weight"), _norm_bias_fits),
    Rule(("block.parallel", "norm.placement"), _parallel_is_pre_norm),
    Rule(("position.scaling", "position.original_max_len"), _scaling_has_its_length),
    Rule(("position.low_freq_factor", "position.high_freq_factor", "position.scaling"), _wavelengths_are_ordered),
    Rule(
        (
            "position.scaling",
            "position.short_factors",
            "position.long_factors",
            "position.rotary_fraction",
            *_HEAD,
        ),
        _longrope_has_its_factors,
    ),
)
