"""What a key of a config.json that tinylm does not understand may change, so that it stops only commands that show it.

The effect follows from the key's name, and for an activation from its value: no family declares it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from tinylm_cli.config.yaml_nodes import Entry, Node
from tinylm_cli.errors import Diagnostic, UsageError
from tinylm_cli.wording import Setting, Text


class Effect(IntEnum):
    """The most that a key may change; each includes the ones before it."""

    values = 1  # Arithmetic without parameters: the numbers that the model computes.
    costs = 2  # Also matmuls, saved tensors, windows and caches.
    tensors = 3  # Also the tensors of the model.


class KeyPolicy(NamedTuple):
    """Which keys of a config.json are left out."""

    ignored: tuple[str, ...] = ()  # Keys to read the file without; a nested one has a dot, ``rope_scaling.factor``.
    reported: Effect = Effect.values  # The least effect of a key that is not understood for which it is an error.


REQUESTED = "requested"
NO_EFFECT_HERE = "no_effect_here"
"""Why a key is left out: on request, or because what it may change is in no figure of the report."""

NOT_UNDERSTOOD = ("unknown-setting", "unsupported-setting")
"""The codes of errors about keys that tinylm does not understand, rather than about invalid values."""

_PARAMETERS = re.compile(r"learn|train|lora|layer_?scale|expan|dim_mult|intermediate|adapter|sink|(^|_)head_dim|ratio$")
"""Parts of names of keys about parameters, whatever else they contain."""

_ARITHMETIC = re.compile(
    r"_eps$|_epsilon$|^eps$|_clip$|^clip_|(_|^)soft_?cap|_multipliers?$|_scal(e|ing|ar)$|^scale_|_temperature$|_theta$"
    r"|norm_topk|topk_prob|scoring_func|score_func"
)
"""Names about arithmetic even if they contain the name of a part, such as embedding_multiplier."""

_ROPE = re.compile(r"(^|_)([mx]d?)?rope(_|$)|(^|_)rotary(_|$)")
"""Names of keys about RoPE, which has no parameters, in all layers or in some."""

_PARTS = re.compile(
    r"(^|_)(n|num|layers?|experts?|bias(es)?|qk|dims?|size|rank|heads?|mlp|ffn|hidden|width|depth|conv|state|embed(ding|dings|s)?"
    r"|gate|gating|gated)(_|$)"
)
"""Parts of names about parts of a model."""

_VALUES = re.compile(
    r"(^|_)(eps\w{0,5}|clip|clamp|soft_?cap(s|ping)?|logit_?cap|scal(e|es|ed|ing|ings|ar|er)|multipliers?|mup|temperature"
    r"|theta|[mx]?d?rope|rotary|base|freq|alpha|beta|gamma|mscale|factors?|coeff?|slope|norm_topk|topk_prob|renormali[sz]e"
    r"|normali[sz]e|router_activation|ntk|logn|yarn|precision|min|max)(_|$)|^n_groups?$|^topk_group$"
)
"""Parts of names of keys about arithmetic without parameters."""

_COSTS = re.compile(r"window|chunk|causal|bidirectional|local_att|(^|_)act(_|$)|activation|prefix_lm")
"""Parts of names of keys about which positions a token attends to, and about saved tensors."""

_GATED_OR_LEARNED = ("glu", "xielu", "prelu")
"""Parts of the names of activations with parameters, or with a third matrix."""


def effect_of(key: str, value: Any) -> Effect:
    """Return the most that a key may change of a model.

    A fraction is no size, unless the name is about a part of the model.

    Args:
        key: Its path; a key of a block about RoPE changes only values.
        value: Its value as plain data.
    """
    *blocks, name = key.casefold().split(".")
    if any(block.startswith("rope") for block in blocks):
        return Effect.values
    if _PARAMETERS.search(name):
        return Effect.tensors
    if _ROPE.search(name) or _ARITHMETIC.search(name):
        return Effect.values
    if "act" in name and isinstance(value, str) and any(part in value.casefold() for part in _GATED_OR_LEARNED):
        return Effect.tensors
    if _COSTS.search(name):
        return Effect.costs
    is_fraction = isinstance(value, float) and not value.is_integer()
    if (is_fraction or _VALUES.search(name)) and not _PARTS.search(name):
        return Effect.values
    return Effect.tensors


class _Read(Protocol):
    """A config, or the report on one."""

    @property
    def ignored_keys(self) -> Mapping[str, str]:
        """The keys that were left out, each with the reason."""


def requested_keys(config: _Read) -> list[str]:
    """Return the keys that were left out of a config on request."""
    return [key for key, reason in config.ignored_keys.items() if reason == REQUESTED]


def require_keys(ignored: Iterable[str], configs: Iterable[_Read]) -> None:
    """Check that each key to ignore is in one of the configs.

    Raises:
        UsageError: If no config has one of them.
    """
    found = {key for config in configs for key in requested_keys(config)}
    missing = next((key for key in ignored if key not in found), None)
    if missing is not None:
        message = Text(Setting("ignore", (missing,)), ": no config.json that was read has this key")
        raise UsageError(message, help="a key in a block has the name of the block before it: rope_scaling.factor")


def without_keys(root: Node, keys: Iterable[str]) -> tuple[Node, list[str]]:
    """Return an object without some keys, and those of them that it had.

    Args:
        root: The object of a config.json.
        keys: Names of keys; a nested one is a path with dots.
    """
    found: list[str] = []
    keys = dict.fromkeys(keys)
    root = root.copy() if keys else root
    for key in keys:
        at = _place(root, key)
        if at is not None:
            del at[0][at[1]]
            found.append(key)
    return root, found


def left_out_here(errors: Iterable[Diagnostic], root: Node, reported: Effect) -> list[str]:
    """Return the keys that are not understood, but whose effect is below the least that is reported."""
    found = []
    for error in errors:
        at = _place(root, error.field) if error.code in NOT_UNDERSTOOD else None
        if at is not None and effect_of(error.field, at[0][at[1]].value.plain()) < reported:
            found.append(error.field)
    return found


def _place(root: Node, key: str) -> tuple[dict[str, Entry], str] | None:
    """Return the entries that contain a key, and its name there; None if there is no such key."""
    entries = root.entries or {}
    if key in entries:  # a name may itself contain a dot
        return entries, key
    block, dot, rest = key.partition(".")
    inner = entries.get(block) if dot else None
    return None if inner is None else _place(inner.value, rest)
