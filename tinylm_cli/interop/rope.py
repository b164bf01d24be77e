"""Rotary positions as families say them, and how they stretch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinylm_cli.config.suggestions import suggest
from tinylm_cli.interop.key_reader import Reader

_SCALINGS = {
    "default": "none", "linear": "linear", "dynamic": "dynamic", "llama3": "llama3", "yarn": "yarn",
    "longrope": "longrope",
}  # fmt: skip
_SCALING_KEYS = frozenset(
    [
        "factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow",
        "truncate", "attention_factor", "mscale", "mscale_all_dim", "short_factor", "long_factor",
    ]
)  # fmt: skip


def rope(
    *,
    theta: float = 10_000.0,
    theta_key: str = "rope_theta",
    fraction: float | None = None,
    fraction_key: str = "partial_rotary_factor",
    renamed: dict[str, str] | None = None,
    default: dict[str, Any] | None = None,
) -> Callable[[Reader], None]:
    """Return what reads rotary positions in either form: ``rope_parameters``, or ``rope_theta`` with ``rope_scaling``.

    Args:
        theta: The family's base.
        theta_key: What it is called outside of the block.
        fraction: Share of each head that rotates by default; None where the family's code rotates all of it.
        fraction_key: What that is called outside of the block.
        renamed: Names of scalings that mean another in this family.
        default: The family's scaling where a config has no block at all.

    References:
        ``RotaryEmbeddingConfigMixin`` and the functions of ``ROPE_INIT_FUNCTIONS`` in transformers 5.24.
    """

    def compute(read: Reader) -> None:
        old, new = read.block("rope_scaling"), read.block("rope_parameters")  # the old one wins, as in transformers
        block = old or new
        base_at = block if block is not None and block.has("rope_theta") else None
        base = base_at.number("rope_theta", above=1) if base_at is not None else None
        outside = read.number(theta_key, above=1)
        if base is not None and base_at is not None:
            base_at.put("position.theta", float(base), "rope_theta")
        else:
            read.put("position.theta", float(outside if outside is not None else theta), theta_key)
        _rotary_share(read, block, fraction, fraction_key)
        if block is not None:
            scaling(read, block, renamed or {})
            reject_leftovers(block)
        elif default is not None:
            for field, value in default.items():
                read.put(field, value)

    return compute


def _rotary_share(read: Reader, block: Reader | None, default: float | None, key: str) -> None:
    inner = block if block is not None and block.has("partial_rotary_factor") else None
    outside = read.number(key, above=0)
    share = inner.number("partial_rotary_factor", above=0) if inner is not None else outside
    at, name = (inner, "partial_rotary_factor") if inner is not None else (read, key)
    if default is None:
        if share is not None and share != 1:
            at.unsupported(name, "this family's code rotates whole heads", f"write {name}: 1.0, or leave it out")
    else:
        at.put("position.rotary_fraction", float(share if share is not None else default), name)


def scaling(read: Reader, block: Reader, renamed: dict[str, str]) -> None:
    """Put how the rotation of ``block`` stretches; ``read`` holds max_position_embeddings and what families add."""
    key = "rope_type" if block.has("rope_type") or not block.has("type") else "type"
    block.understood |= {"rope_type", "type"}
    written = block.word(key) or "default"
    kind = _SCALINGS.get(renamed.get(written, written))
    if kind is None:
        meant = suggest(written, _SCALINGS)
        help_ = f"did you mean {meant}?" if meant else f"the types are {', '.join(_SCALINGS)}"
        block.unsupported(key, "tinylm has no such scaling of rotary positions", help_)
        block.understood |= _SCALING_KEYS
        return
    if kind == "none":
        block.understood |= _SCALING_KEYS  # without effect, as in transformers
        return
    block.put("position.scaling", kind, key)
    longest = read.value("max_len")
    longest = longest if isinstance(longest, int) and longest > 0 else 1
    original = _original_length(read, block, kind, longest)
    factor = _factor(block, kind, longest, original)
    _SHAPES.get(kind, _no_more)(block, factor)


def _original_length(read: Reader, block: Reader, kind: str, longest: int) -> int:
    """Put the length the model was first trained on; outside of the block it wins, as in transformers."""
    key = "original_max_position_embeddings"
    if kind == "linear":
        block.integer(key)
        return longest
    if kind == "dynamic":
        block.integer(key)
        read.put("position.original_max_len", longest, "max_position_embeddings")
        return longest
    outside, inside = read.integer(key), block.integer(key)
    at = read if outside is not None else block
    original = outside or inside or longest
    at.put("position.original_max_len", original, *([key] if at.has(key) else []))
    return original


def _factor(block: Reader, kind: str, longest: int, original: int) -> float:
    factor = block.number("factor", above=0)
    if factor is None and kind in ("yarn", "longrope"):
        factor = max(longest / original, 1.0)
    elif factor is None:
        block.missing("factor", f"a scaling of type {kind} needs it", 'add "factor": 8.0, or the model\'s own')
        factor = 1.0
    block.put("position.scaling_factor", float(factor), "factor")
    return float(factor)


def _llama3(block: Reader, _: float) -> None:
    for key in ("low_freq_factor", "high_freq_factor"):
        value = block.number(key, above=0)
        if value is None:
            block.missing(
                key, "a scaling of type llama3 needs it", "low_freq_factor 1.0 and high_freq_factor 4.0 are usual"
            )
        else:
            block.put(f"position.{key}", float(value), key)


def _yarn(block: Reader, factor: float) -> None:
    for key in ("beta_fast", "beta_slow"):
        value = block.number(key)
        block.put(f"position.{key}", float(value) if value else None, key)  # 0 is no value, as in transformers
    block.put("position.truncate", block.flag("truncate"), "truncate")
    given = block.number("attention_factor", above=0)
    own, whole = block.number("mscale"), block.number("mscale_all_dim")
    if given is not None:
        block.put("position.attention_factor", float(given), "attention_factor")
    elif own and whole:
        block.put(
            "position.attention_factor", _positive(mscale(factor, own) / (mscale(factor, whole) or 1.0)), "mscale"
        )


def _longrope(block: Reader, _: float) -> None:
    given = block.number("attention_factor", above=0)
    block.put("position.attention_factor", None if given is None else float(given), "attention_factor")
    for key, field in (("short_factor", "position.short_factors"), ("long_factor", "position.long_factors")):
        values = block.numbers(key)
        if values is None and not block.has(key):
            block.missing(
                key, "a scaling of type longrope needs it", "it is a list of one number for each rotated pair"
            )
        block.put(field, None if values is None else [float(value) for value in values], key)


def _no_more(_: Reader, __: float) -> None:
    """Nothing but a factor."""


_SHAPES = {"llama3": _llama3, "yarn": _yarn, "longrope": _longrope}


def mscale(factor: float, weight: float = 1.0) -> float:
    """Return YaRN's factor on the rotation, ``0.1 weight ln(factor) + 1`` (Peng et al. 2023, section 3.4)."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def _positive(value: float) -> float:
    return value if value > 0 else 1.0


def reject_leftovers(block: Reader) -> None:
    """Report the keys of a block that nothing has read; a null says nothing, and older writers left ``finetuned``."""
    for key, entry in block.leftovers().items():
        if key != "finetuned" and entry.value.plain() is not None:
            block.unknown(key, entry, "its effect on the rotation is not known here")
