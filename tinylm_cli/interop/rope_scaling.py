"""Read and write RoPE and RoPE scaling in a config.json: ``rope_theta``, ``rope_scaling``, ``rope_parameters``.

References:
    ``RotaryEmbeddingConfigMixin`` and ``ROPE_INIT_FUNCTIONS`` in transformers 5.24.
"""

# no deferred annotations, as in config.blocks

import math
from collections.abc import Mapping
from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.interop.shared_keys import (
    KeyBlock,
    Keys,
    MaxLen,
    Number,
    NumberList,
    OptionalSize,
    Text,
    like,
)
from tinylm_cli.interop.translation import Translation

Theta = Annotated[float | None, *like("position.theta")]
RotaryFraction = Annotated[float | None, *like("position.rotary_fraction")]


class RopeParameters(KeyBlock):
    """The object under ``rope_scaling`` or ``rope_parameters``."""

    rope_type: Text = None
    type: Text = None
    rope_theta: Theta = None
    partial_rotary_factor: RotaryFraction = None
    factor: Annotated[float | None, *like("position.scaling_factor")] = None
    original_max_position_embeddings: OptionalSize = None
    low_freq_factor: Annotated[float | None, *like("position.low_freq_factor")] = None
    high_freq_factor: Annotated[float | None, *like("position.high_freq_factor")] = None
    beta_fast: Number = None
    beta_slow: Number = None
    truncate: bool | None = None
    attention_factor: Annotated[float | None, *like("position.attention_factor")] = None
    mscale: Number = None
    mscale_all_dim: Number = None
    short_factor: NumberList = None
    long_factor: NumberList = None
    finetuned: bool | None = None  # written by older versions


class RopeBlocks(Keys):
    """RoPE keys except theta; ``rope_scaling`` takes precedence over ``rope_parameters``, as in transformers."""

    max_position_embeddings: MaxLen = 2048
    original_max_position_embeddings: OptionalSize = None
    rope_scaling: RopeParameters | None = None
    rope_parameters: RopeParameters | None = None


class RopeKeys(RopeBlocks):
    """Keys of a family with RoPE."""

    rope_theta: Theta = None
    partial_rotary_factor: RotaryFraction = None


_YARN = frozenset({"beta_fast", "beta_slow", "truncate", "attention_factor", "mscale", "mscale_all_dim"})
_READ_BY = {
    "none": frozenset[str](),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor"}),
    "llama3": frozenset({"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"}),
    "yarn": frozenset({"factor", "original_max_position_embeddings"}) | _YARN,
    "longrope": frozenset(
        {"factor", "original_max_position_embeddings", "attention_factor", "short_factor", "long_factor"}
    ),
}
"""The keys that each scaling type reads; transformers ignores the others."""

_SCALINGS = {"default": "none", **{name: name for name in _READ_BY if name != "none"}}
_READ_ALWAYS = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})


def rope(
    keys: RopeBlocks,
    to: Translation,
    *,
    theta: float = 10_000.0,
    theta_key: str = "rope_theta",
    fraction: float | None = None,
    fraction_key: str = "partial_rotary_factor",
    renamed: Mapping[str, str] | None = None,
    default: Mapping[str, Any] | None = None,
) -> None:
    """Map RoPE in either form: ``rope_parameters``, or ``rope_theta`` with ``rope_scaling``.

    Args:
        keys: The family's keys.
        to: The translation.
        theta: The family's default theta.
        theta_key: Its key outside the block.
        fraction: The family's default rotary fraction; None if its code always rotates whole heads.
        fraction_key: Its key outside the block.
        renamed: Scaling types that have another name in this family.
        default: The family's scaling for a config without a block, as tinylm fields.
    """
    at, block = rope_block(keys)
    if block is not None and block.rope_theta is not None:
        to.put("position.theta", block.rope_theta, f"{at}.rope_theta")
    else:
        outside = getattr(keys, theta_key)
        to.put("position.theta", theta if outside is None else outside, theta_key)
    _rotary_fraction(keys, block, at, to, fraction, fraction_key)
    if block is not None:
        rope_scaling(keys, block, at, to, renamed or {})
        return
    to.ignore("original_max_position_embeddings")
    for field, value in (default or {}).items():
        to.put(field, value)


def rope_block(keys: RopeBlocks) -> tuple[str, RopeParameters | None]:
    """Return the key and value of the block that transformers uses; the value is None if it is absent or empty."""
    for name in ("rope_scaling", "rope_parameters"):
        block = getattr(keys, name)
        if block is not None and block.model_fields_set:
            return name, block
    return "rope_parameters", None


def _rotary_fraction(
    keys: RopeBlocks, block: RopeParameters | None, at: str, to: Translation, default: float | None, key: str
) -> None:
    share = None if block is None else block.partial_rotary_factor
    place = f"{at}.partial_rotary_factor"
    if share is None:
        share, place = getattr(keys, key), key
    if default is not None:
        to.put("position.rotary_fraction", default if share is None else share, place)
    elif share not in (None, 1.0):
        to.unsupported(place, "this family's code rotates whole heads", f"write {place}: 1.0, or leave it out")


def rope_scaling(
    keys: Any, block: RopeParameters, at: str, to: Translation, renamed: Mapping[str, str] | None = None
) -> None:
    """Map the scaling in ``block``, the value of the key ``at``."""
    type_key = f"{at}.type" if block.rope_type is None and block.type is not None else f"{at}.rope_type"
    written = block.rope_type or block.type or "default"
    scaling = _SCALINGS.get((renamed or {}).get(written, written))
    if scaling is None:
        meant = suggest(written, _SCALINGS)
        help_ = f"did you mean {meant}?" if meant else f"the types are {', '.join(_SCALINGS)}"
        to.unsupported(type_key, "tinylm has no such RoPE scaling", help_)
        return
    read = _READ_BY[scaling]
    to.ignore(*(f"{at}.{key}" for key in RopeParameters.model_fields if key not in read | _READ_ALWAYS))
    if "original_max_position_embeddings" not in read:
        to.ignore("original_max_position_embeddings")
    if scaling == "none":
        return
    to.put("position.scaling", scaling, type_key)
    original = _original_length(keys, block, at, to, scaling)
    factor = _factor(keys, block, at, to, scaling, original)
    if scaling == "llama3":
        _llama3(block, at, to)
    elif scaling == "yarn":
        _yarn(block, at, to, factor)
    elif scaling == "longrope":
        _longrope(block, at, to)


def _original_length(keys: Any, block: RopeParameters, at: str, to: Translation, scaling: str) -> int:
    """Map the original training length; a key outside the block takes precedence, as in transformers."""
    longest: int = keys.max_position_embeddings
    if scaling == "linear":
        return longest
    if scaling == "dynamic":
        to.put("position.original_max_len", longest, "max_position_embeddings")
        return longest
    key = "original_max_position_embeddings"
    outside, inside = keys.original_max_position_embeddings, block.original_max_position_embeddings
    place = key if outside is not None else f"{at}.{key}"
    original = outside or inside or longest
    to.put("position.original_max_len", original, *([place] if to.is_given(place) else []))
    return original


def _factor(keys: Any, block: RopeParameters, at: str, to: Translation, scaling: str, original: int) -> float:
    factor, key = block.factor, f"{at}.factor"
    if factor is None and scaling in ("yarn", "longrope"):
        factor = max(keys.max_position_embeddings / original, 1.0)
    elif factor is None:
        to.missing(key, f"RoPE scaling of type {scaling} needs it", 'for example add "factor": 8.0')
        factor = 1.0
    to.put("position.scaling_factor", factor, key)
    return factor


def _llama3(block: RopeParameters, at: str, to: Translation) -> None:
    for key in ("low_freq_factor", "high_freq_factor"):
        value = getattr(block, key)
        if value is None:
            help_ = "common values are low_freq_factor 1.0 and high_freq_factor 4.0"
            to.missing(f"{at}.{key}", "RoPE scaling of type llama3 needs it", help_)
        else:
            to.put(f"position.{key}", value, f"{at}.{key}")


def _yarn(block: RopeParameters, at: str, to: Translation, factor: float) -> None:
    for key in ("beta_fast", "beta_slow"):
        to.put(f"position.{key}", getattr(block, key) or None, f"{at}.{key}")  # transformers treats 0 as absent
    to.put("position.truncate", block.truncate, f"{at}.truncate")
    if block.attention_factor is not None:
        to.put("position.attention_factor", block.attention_factor, f"{at}.attention_factor")
    elif block.mscale and block.mscale_all_dim:
        on_rotation = mscale(factor, block.mscale) / (mscale(factor, block.mscale_all_dim) or 1.0)
        to.put("position.attention_factor", on_rotation if on_rotation > 0 else 1.0, f"{at}.mscale")


def _longrope(block: RopeParameters, at: str, to: Translation) -> None:
    to.put("position.attention_factor", block.attention_factor, f"{at}.attention_factor")
    for key, field in (("short_factor", "position.short_factors"), ("long_factor", "position.long_factors")):
        values = getattr(block, key)
        if values is None:
            help_ = "give a list with one number for each rotated pair"
            to.missing(f"{at}.{key}", "RoPE scaling of type longrope needs it", help_)
        to.put(field, values, f"{at}.{key}")


def mscale(factor: float, weight: float = 1.0) -> float:
    """Return YaRN's factor on the rotation, ``0.1 weight ln(factor) + 1`` (Peng et al. 2023, section 3.4)."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def rope_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the keys of RoPE and its scaling, in the form that every version of transformers reads."""
    return {"rope_theta": config.position.theta, "rope_scaling": rope_scaling_key(config)}


def partial_rope_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the keys of RoPE, its scaling and the rotary fraction."""
    return {**rope_keys(config), "partial_rotary_factor": config.position.rotary_fraction}


def rope_scaling_key(config: ModelConfig) -> dict[str, Any] | None:
    """Return the value of ``rope_scaling``; None if RoPE is not scaled."""
    position = config.position
    if position.scaling == "none":
        return None
    block: dict[str, Any] = {"rope_type": position.scaling, "factor": position.stretch}
    if position.scaling in ("llama3", "yarn", "longrope"):
        block["original_max_position_embeddings"] = position.original_max_len
    if position.scaling == "llama3":
        block |= {"low_freq_factor": position.low_freq_factor, "high_freq_factor": position.high_freq_factor}
    if position.scaling == "yarn":
        block |= {"beta_fast": position.beta_fast, "beta_slow": position.beta_slow, "truncate": position.truncate}
    if position.scaling == "longrope":
        block |= {"short_factor": list(position.short_factors or ()), "long_factor": list(position.long_factors or ())}
    if position.attention_factor is not None:
        block["attention_factor"] = position.attention_factor
    return block
