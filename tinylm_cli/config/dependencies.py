"""Fields that have an effect only with certain values of other fields, and the records of rules between fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from tinylm_cli.config.blocks import BLOCKS


class Problem(NamedTuple):
    """A broken rule: its code, the fields involved (the first one is at fault), the message and the help."""

    code: str
    fields: tuple[str, ...]
    message: str
    help: str


class Rule(NamedTuple):
    """A condition over the dotted ``fields``, which ``check`` receives in that order."""

    fields: tuple[str, ...]
    check: Callable[..., Problem | None]


class Requirement(NamedTuple):
    """A condition on another field, without which a field has no effect.

    Attributes:
        field: Dotted name of the other field.
        met: Whether a value of the other field satisfies the condition.
        condition: The condition in words, to follow "unless".
        example: A value of the other field that satisfies it.
    """

    field: str
    met: Callable[[Any], bool]
    condition: str
    example: str


def _one_of(field: str, *values: str) -> Requirement:
    return Requirement(field, lambda value: value in values, f"{field} is {_either(values)}", values[0])


def _either(words: tuple[str, ...]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _given(field: str, example: str) -> Requirement:
    return Requirement(field, lambda value: value is not None, f"{field} is set", example)


def _true(field: str) -> Requirement:
    return Requirement(field, bool, f"{field} is true", "true")


_ROPE = _one_of("position.kind", "rope")
_STRETCHED = Requirement("position.scaling", lambda value: value != "none", "position.scaling is set", "linear")
_YARN = _one_of("position.scaling", "yarn")
_LLAMA3 = _one_of("position.scaling", "llama3")
_LONGROPE = _one_of("position.scaling", "longrope")
_MULTI_HEAD = _one_of("attention.kind", "multi_head")
_LATENT = _one_of("attention.kind", "latent")
_WINDOW = _given("attention.window", "1024")
_EXPERTS = _given("feed_forward.n_experts", "8")
_GROUPS = Requirement("feed_forward.n_groups", lambda value: value > 1, "feed_forward.n_groups is above 1", "8")

REQUIREMENTS: dict[str, tuple[Requirement, ...]] = {
    "position.offset": (_one_of("position.kind", "learned"),),
    **dict.fromkeys(("position.theta", "position.rotary_fraction", "position.pairing", "position.scaling"), (_ROPE,)),
    "position.local_theta": (_ROPE, _WINDOW),
    "position.scaling_factor": (_STRETCHED,),
    "position.original_max_len": (_one_of("position.scaling", "dynamic", "llama3", "yarn", "longrope"),),
    **dict.fromkeys(("position.low_freq_factor", "position.high_freq_factor"), (_LLAMA3,)),
    **dict.fromkeys(("position.beta_fast", "position.beta_slow", "position.truncate"), (_YARN,)),
    "position.attention_factor": (_one_of("position.scaling", "yarn", "longrope"),),
    **dict.fromkeys(("position.short_factors", "position.long_factors"), (_LONGROPE,)),
    "norm.zero_centered": (_true("norm.weight"),),
    **dict.fromkeys(
        ("attention.n_kv_heads", "attention.d_head", "attention.qk_norm", "attention.window", "attention.sinks"),
        (_MULTI_HEAD,),
    ),
    "attention.window_pattern": (_WINDOW,),
    **dict.fromkeys(
        ("attention.kv_rank", "attention.q_rank", "attention.d_nope", "attention.d_rope", "attention.d_value"),
        (_LATENT,),
    ),
    "feed_forward.clamp": (_true("feed_forward.gated"),),
    **dict.fromkeys(
        (
            "feed_forward.top_k",
            "feed_forward.d_expert",
            "feed_forward.n_shared_experts",
            "feed_forward.n_dense_layers",
            "feed_forward.router",
            "feed_forward.router_bias",
            "feed_forward.routed_scale",
            "feed_forward.n_groups",
        ),
        (_EXPERTS,),
    ),
    "feed_forward.renormalize": (_EXPERTS, _one_of("feed_forward.router", "softmax", "sigmoid")),
    "feed_forward.score_correction": (_EXPERTS, _one_of("feed_forward.router", "sigmoid")),
    "feed_forward.top_k_groups": (_GROUPS,),
    "block.shared_norm": (_true("block.parallel"),),
    "budget.nominal_tolerance": (_given("nominal_params", "125M"),),
}
"""The requirements of each field that has any."""


def unmet_requirements(name: str, values: Mapping[str, Any]) -> tuple[Requirement, ...]:
    """Return the requirements of ``name`` that ``values`` do not meet; none if ``name`` has its default."""
    return () if values[name] == defaults()[name] else tuple(_unmet(name, values))


def applies(name: str, values: Mapping[str, Any]) -> bool:
    """Return whether ``name`` has an effect with ``values`` (dotted name to value)."""
    return not any(_unmet(name, values))


def satisfying_values(needs: Iterable[Requirement], values: Mapping[str, Any]) -> dict[str, str]:
    """Return values, by dotted name, that meet ``needs`` and their own requirements in turn."""
    written: dict[str, str] = {}
    for need in needs:
        written |= satisfying_values(_unmet(need.field, values), values)
        written[need.field] = need.example
    return written


def _unmet(name: str, values: Mapping[str, Any]) -> Iterator[Requirement]:
    return (need for need in REQUIREMENTS.get(name, ()) if need.field in values and not need.met(values[need.field]))


@cache
def defaults() -> dict[str, Any]:
    """Return the default of every field of a block, by dotted name."""
    return {
        f"{block}.{name}": info.default for block, part in BLOCKS.items() for name, info in part.model_fields.items()
    }
