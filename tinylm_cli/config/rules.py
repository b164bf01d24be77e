"""Rules that tie several fields together.

Each rule is a plain function over the values of the fields it names, so that the same rule speaks when a config is
built in Python and when a file is diagnosed with some of its other fields broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import ceil, isqrt
from typing import Any, NamedTuple

from tinylm_cli.config.blocks import MAX_DIM, MAX_N_HEADS
from tinylm_cli.config.needs import NEEDS, met_by, unmet_needs


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
        if name in values and (needs := unmet_needs(name, values)):
            written = " and ".join(f"{field}: {value}" for field, value in met_by(needs, values).items())
            yield Problem(
                "without-effect",
                (name, *(need.field for need in needs)),
                f"{name} has no effect: it is for {' and '.join(need.words for need in needs)}",
                f"leave {name} out, or write {written}",
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


def _kv_heads_divide_heads(n_kv_heads: int | None, n_heads: int, attention: str) -> Problem | None:
    if n_kv_heads is None or attention != "multi_head" or n_heads % n_kv_heads == 0:
        return None
    if n_kv_heads > n_heads:
        message = f"attention.n_kv_heads {n_kv_heads} is larger than n_heads {n_heads}"
        proposal = str(n_heads)
    else:
        message = f"n_heads {n_heads} is not a multiple of attention.n_kv_heads {n_kv_heads}: groups would differ"
        proposal = _divisors_near(n_heads, n_kv_heads)
    return Problem(
        "kv-heads-do-not-divide",
        ("attention.n_kv_heads", "n_heads"),
        message,
        f"write attention.n_kv_heads: {proposal}, or leave attention.n_kv_heads out",
    )


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
    width = _rotary_width(d_model, n_heads, d_head, attention, d_rope)
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


def _rotary_width(d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int) -> int:
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
            f"write feed_forward.n_groups: {_divisors_near(n_experts, n_groups)}",
        )
    chosen = ("feed_forward.top_k_groups", "feed_forward.n_groups")
    if top_k_groups > n_groups:
        message = f"feed_forward.top_k_groups {top_k_groups} is more than the {n_groups} of feed_forward.n_groups"
        return Problem("expert-groups", chosen, message, f"write feed_forward.top_k_groups: {n_groups}")
    size = n_experts // n_groups
    held = size * top_k_groups
    if held < top_k <= n_experts:
        groups = f"{top_k_groups} group{'s' if top_k_groups > 1 else ''} of {size}"
        return Problem(
            "expert-groups",
            ("feed_forward.top_k", *chosen),
            f"feed_forward.top_k {top_k} is more than the {held} experts in {groups} that are chosen from",
            f"write feed_forward.top_k_groups: {-(-top_k // size)}, or feed_forward.top_k: {held}",
        )
    return None


def _dense_layers_exist(n_dense_layers: int, n_layers: int, n_experts: int | None) -> Problem | None:
    if n_experts is None or n_dense_layers < n_layers:
        return None
    return Problem(
        "contradiction",
        ("feed_forward.n_dense_layers", "n_layers", "feed_forward.n_experts"),
        f"feed_forward.n_dense_layers {n_dense_layers} leaves none of the {n_layers} layers for the experts",
        f"write feed_forward.n_dense_layers: {n_layers - 1}, or leave feed_forward.n_experts out",
    )


def _latent_attention_rotates(attention: str, kind: str, fraction: float) -> Problem | None:
    if attention != "latent" or (kind == "rope" and fraction == 1):
        return None
    if kind == "rope":
        return Problem(
            "contradiction",
            ("position.rotary_fraction", "attention.kind"),
            f"position.rotary_fraction {fraction:g} has no say in latent attention, where attention.d_rope rotates",
            "leave position.rotary_fraction out, or write attention.kind: multi_head",
        )
    message = "attention.kind latent needs positions that rotate attention.d_rope dimensions of each head"
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
        f"norm.bias true does not go with {' and '.join(f'{name} {is_}' for name, (is_, _) in wrong.items())}",
        f"leave norm.bias out, or write {' and '.join(f'{name}: {fits}' for name, (_, fits) in wrong.items())}",
    )


def _parallel_is_pre_norm(parallel: bool, placement: str) -> Problem | None:  # noqa: FBT001
    if not parallel or placement == "pre":
        return None
    return Problem(
        "contradiction",
        ("block.parallel", "norm.placement"),
        "block.parallel true feeds both sub-layers from norms before them, where norm.placement must be pre",
        "write norm.placement: pre, or leave block.parallel out",
    )


def _window_has_a_layer(window: int | None, pattern: str) -> Problem | None:
    if window is None or "L" in pattern:
        return None
    message = f"attention.window {window} is for local layers, and attention.window_pattern {pattern} has no L"
    remedy = "leave attention.window out, or write attention.window_pattern: LG"
    return Problem("contradiction", ("attention.window_pattern", "attention.window"), message, remedy)


def _scaling_has_its_length(
    scaling: str, original_max_len: int | None, scaling_factor: float, max_len: int
) -> Problem | None:
    if original_max_len is not None or scaling in ("none", "linear"):
        return None
    return Problem(
        "needs-field",
        ("position.scaling", "position.original_max_len"),
        f"position.scaling {scaling} needs position.original_max_len, the length it stretches from",
        f"write position.original_max_len: {max(int(max_len / scaling_factor), 1)},"
        " or as many tokens as it was first trained on",
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
    pairs = _pairs(fraction, *head)
    if scaling != "longrope" or not missing or not pairs:
        return None
    return Problem(
        "needs-field",
        ("position.scaling", *missing),
        f"position.scaling longrope needs {' and '.join(missing)}, a number for each of {pairs} rotated pairs",
        f"write {' and '.join(f'{name} as a list of {_numbers(pairs)}' for name in missing)}",
    )


def _factors_fit(
    name: str, scaling: str, factors: tuple[float, ...] | None, fraction: float, *head: Any
) -> Problem | None:
    pairs = _pairs(fraction, *head)
    if scaling != "longrope" or factors is None or not pairs or len(factors) == pairs:
        return None
    return Problem(
        "contradiction",
        (name, "position.scaling"),
        f"{name} has {_numbers(len(factors))}, and the {2 * pairs} dimensions that rotate make {pairs} pairs",
        f"write {name} as a list of {_numbers(pairs)}",
    )


def _budget_is_within_reach(seq_len: int | None, max_len: int) -> Problem | None:
    if seq_len is None or seq_len <= max_len:
        return None
    message = f"budget.seq_len {seq_len} is more than max_len {max_len}, the longest sequence the model can read"
    remedy = f"write budget.seq_len: {max_len}, or max_len: {seq_len}"
    return Problem("contradiction", ("budget.seq_len", "max_len"), message, remedy)


def _pairs(fraction: float, d_model: int, n_heads: int, d_head: int | None, attention: str, d_rope: int) -> int:
    """Return how many pairs of dimensions rotate; 0 where their number is odd, which is another rule's to tell."""
    width = _rotary_width(d_model, n_heads, d_head, attention, d_rope)
    rotated = int(width * (1.0 if attention == "latent" else fraction))
    return 0 if rotated % 2 else rotated // 2


def _numbers(count: int) -> str:
    return f"{count} number{'' if count == 1 else 's'}"


def _divisors_near(whole: int, wanted: int) -> str:
    """Return the divisors of ``whole`` just below and just above ``wanted``, as words."""
    divisors = {d for n in range(1, isqrt(whole) + 1) if whole % n == 0 for d in (n, whole // n)}
    below = max(n for n in divisors if n < wanted)
    above = min((n for n in divisors if wanted < n <= min(4 * wanted, MAX_N_HEADS)), default=None)
    return str(below) + (f" or {above}" if above else "")


_HEAD = ("d_model", "n_heads", "attention.d_head", "attention.kind", "attention.d_rope")

RULES = (
    Rule(("n_heads", "d_model", "attention.d_head", "attention.kind"), _heads_divide_model),
    Rule(("attention.n_kv_heads", "n_heads", "attention.kind"), _kv_heads_divide_heads),
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
    Rule(("attention.window", "attention.window_pattern"), _window_has_a_layer),
    Rule(
        ("position.scaling", "position.original_max_len", "position.scaling_factor", "max_len"), _scaling_has_its_length
    ),
    Rule(("position.low_freq_factor", "position.high_freq_factor", "position.scaling"), _wavelengths_are_ordered),
    Rule(("position.beta_slow", "position.beta_fast", "position.scaling"), _turns_are_ordered),
    Rule(
        ("position.scaling", "position.short_factors", "position.long_factors", "position.rotary_fraction", *_HEAD),
        _longrope_has_its_factors,
    ),
    *(
        Rule(("position.scaling", name, "position.rotary_fraction", *_HEAD), partial(_factors_fit, name))
        for name in ("position.short_factors", "position.long_factors")
    ),
    Rule(("budget.seq_len", "max_len"), _budget_is_within_reach),
)
