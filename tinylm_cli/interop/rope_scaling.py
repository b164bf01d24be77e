"""Read and write RoPE and RoPE scaling in a config.json: ``rope_theta``, ``rope_scaling``, ``rope_parameters``.

References:
    ``RotaryEmbeddingConfigMixin`` and ``ROPE_INIT_FUNCTIONS`` in transformers 5.24.
"""

# no deferred annotations, as in config.blocks

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.schema import ModelConfig
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
    mrope_section: NumberList = None  # M-RoPE, which equals RoPE for text
    mrope_interleaved: bool | None = None
    llama_4_scaling_beta: Number = None
    max_position_embeddings: OptionalSize = None  # a duplicate


class RopeBlocks(Keys):
    """Keys of RoPE, except theta and the rotary fraction, which have other names in some families."""

    theta_key: ClassVar[str] = "rope_theta"  # The key of theta outside the blocks.
    # The key of the rotary fraction outside the blocks. It has no default in a family whose code rotates all
    # dimensions of a head.
    fraction_key: ClassVar[str] = "partial_rotary_factor"
    scaling_names: ClassVar[Mapping[str, str]] = {}  # Scaling types that have another name in this family.
    read_in_block: ClassVar[Collection[str]] = ()  # Keys of a block that ``to_tinylm`` reads with every scaling type.

    max_position_embeddings: MaxLen = 2048
    original_max_position_embeddings: OptionalSize = None
    rope_scaling: RopeParameters | None = None
    rope_parameters: RopeParameters | None = None

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE in either form: ``rope_parameters``, or ``rope_theta`` with ``rope_scaling``."""
        super().to_tinylm(to)
        to.put("position.theta", *self._in_block_or_outside("rope_theta", self.theta_key))
        share, place = self._in_block_or_outside("partial_rotary_factor", self.fraction_key)
        if self._default(self.fraction_key) is not None:
            to.put("position.rotary_fraction", share, place)
        elif share not in (None, 1.0):
            to.unsupported(
                place, "this family's code rotates all dimensions of a head", f"write {place}: 1.0, or remove it"
            )
        block_key, block = self.rope_block()
        if block is None:
            to.ignore("original_max_position_embeddings")
        else:
            rope_scaling(self, block, block_key, to, self.scaling_names, self.read_in_block)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys of RoPE and its scaling, in the form that every version of transformers reads."""
        keys = {cls.theta_key: config.position.theta, "rope_scaling": rope_scaling_key(config)}
        if cls._default("rope_parameters") is not None:  # in this family, an absent block means scaling
            keys["rope_scaling"] = keys["rope_scaling"] or {"rope_type": "default"}
        if cls._default(cls.fraction_key) is not None:
            keys[cls.fraction_key] = config.position.rotary_fraction
        return super().from_tinylm(config) | keys

    def rope_block(self) -> tuple[str, RopeParameters | None]:
        """Return the key and value of the block that transformers uses; the value is None if it is absent or empty.

        ``rope_scaling`` takes precedence over ``rope_parameters``, whose default is the family's.
        """
        for name in ("rope_scaling", "rope_parameters"):
            block = getattr(self, name)
            if block is not None and block.model_fields_set:
                return name, block
        return "rope_parameters", self._default("rope_parameters")

    def _in_block_or_outside(self, inside: str, outside: str) -> tuple[float | None, str]:
        """Return a value and its key: in the block, else outside of it, else the family's default."""
        block_key, block = self.rope_block()
        value = getattr(block, inside, None)
        if value is not None:
            return value, f"{block_key}.{inside}"
        value = getattr(self, outside)
        return self._default(outside) if value is None else value, outside

    @classmethod
    def _default(cls, key: str) -> Any:
        return cls.model_fields[key].default


class RopeKeys(RopeBlocks):
    """Keys of a family with RoPE."""

    rope_theta: Theta = 10_000.0
    partial_rotary_factor: RotaryFraction = None


_LENGTHS = ("factor", "original_max_position_embeddings")
_READ_BY = {
    "none": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": (*_LENGTHS, "low_freq_factor", "high_freq_factor"),
    "yarn": (*_LENGTHS, "beta_fast", "beta_slow", "truncate", "attention_factor"),
    "longrope": (*_LENGTHS, "short_factor", "long_factor", "attention_factor"),
}
"""The keys of a block that each scaling type reads; transformers ignores others."""

_FIELD_NAMES = {
    "factor": "scaling_factor",
    "original_max_position_embeddings": "original_max_len",
    "short_factor": "short_factors",
    "long_factor": "long_factors",
}
"""Fields of ``position`` whose names differ from their keys."""

_READ_ALWAYS = ("rope_type", "type", "rope_theta", "partial_rotary_factor")
"""Keys of a block that every scaling type reads."""

_MSCALES = ("mscale", "mscale_all_dim")
_SCALINGS = {"default": "none", **{name: name for name in _READ_BY if name != "none"}}
_REQUIRED = {
    "llama3": (
        ("low_freq_factor", "high_freq_factor"),
        "common values are low_freq_factor 1.0 and high_freq_factor 4.0",
    ),
    "longrope": (("short_factor", "long_factor"), "give a list with one number for each rotated pair"),
}
"""Keys without a default, and the remedy if one is absent."""


def rope_scaling(
    keys: Any,
    block: RopeParameters,
    block_key: str,
    to: Translation,
    names: Mapping[str, str] | None = None,
    also_read: Collection[str] = (),
) -> None:
    """Map the scaling in ``block``, the value of the key ``block_key``.

    ``names`` renames scaling types, and keys in ``also_read`` are never ignored.
    """
    type_key = f"{block_key}.type" if block.rope_type is None and block.type is not None else f"{block_key}.rope_type"
    written = block.rope_type or block.type or "default"
    scaling = _SCALINGS.get((names or {}).get(written, written))
    if scaling is None:
        from tinylm_cli.config.suggestions import suggest_choice

        meant = suggest_choice(written, tuple(_SCALINGS))
        help_ = f"did you mean {meant}?" if meant else f"the types are {', '.join(_SCALINGS)}"
        to.unsupported(type_key, "tinylm does not support this RoPE scaling", help_)
        return
    read = {*_READ_BY[scaling], *_READ_ALWAYS, *also_read, *(_MSCALES if scaling == "yarn" else ())}
    to.ignore(*(f"{block_key}.{key}" for key in RopeParameters.model_fields if key not in read))
    if "original_max_position_embeddings" not in read:
        to.ignore("original_max_position_embeddings")
    if scaling == "none":
        return
    to.put("position.scaling", scaling, type_key)
    factor = _factor(keys, block, block_key, to, scaling, _original_length(keys, block, block_key, to, scaling))
    required, remedy = _REQUIRED.get(scaling, ((), ""))
    for key in required:
        if getattr(block, key) is None:
            to.missing(f"{block_key}.{key}", f"RoPE scaling of type {scaling} requires it", remedy)
    for key in _READ_BY[scaling]:
        if key not in _LENGTHS:
            # transformers treats a beta of 0 as absent
            value = getattr(block, key) or None if key.startswith("beta") else getattr(block, key)
            to.put(f"position.{_FIELD_NAMES.get(key, key)}", value, f"{block_key}.{key}")
    if scaling == "yarn" and block.attention_factor is None and block.mscale and block.mscale_all_dim:
        on_rotation = mscale(factor, block.mscale) / (mscale(factor, block.mscale_all_dim) or 1.0)
        to.put("position.attention_factor", on_rotation if on_rotation > 0 else 1.0, f"{block_key}.mscale")


def _original_length(keys: Any, block: RopeParameters, block_key: str, to: Translation, scaling: str) -> int:
    """Map the original training length; a key outside the block takes precedence, as in transformers."""
    longest: int = keys.max_position_embeddings
    if scaling == "linear":
        return longest
    if scaling == "dynamic":
        to.put("position.original_max_len", longest, "max_position_embeddings")
        return longest
    key = "original_max_position_embeddings"
    outside, inside = keys.original_max_position_embeddings, block.original_max_position_embeddings
    place = key if outside is not None else f"{block_key}.{key}"
    original = outside or inside or longest
    to.put("position.original_max_len", original, *([place] if to.is_given(place) else []))
    return original


def _factor(keys: Any, block: RopeParameters, block_key: str, to: Translation, scaling: str, original: int) -> float:
    factor, key = block.factor, f"{block_key}.factor"
    if factor is None and scaling in ("yarn", "longrope"):
        factor = max(keys.max_position_embeddings / original, 1.0)
    elif factor is None:
        to.missing(key, f"RoPE scaling of type {scaling} requires it", 'for example add "factor": 8.0')
        factor = 1.0
    to.put("position.scaling_factor", factor, key)
    return factor


def mscale(factor: float, weight: float = 1.0) -> float:
    """Return YaRN's factor on the rotation, ``0.1 weight ln(factor) + 1`` (Peng et al. 2023, section 3.4)."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def rope_scaling_key(config: ModelConfig) -> dict[str, Any] | None:
    """Return the value of ``rope_scaling``; None if RoPE is not scaled."""
    position = config.position
    if position.scaling == "none":
        return None
    block = {key: getattr(position, _FIELD_NAMES.get(key, key)) for key in _READ_BY[position.scaling]}
    block = {key: list(value) if isinstance(value, tuple) else value for key, value in block.items()}
    if position.attention_factor is None:
        block.pop("attention_factor", None)
    return {"rope_type": position.scaling, **block, "factor": position.stretch}
