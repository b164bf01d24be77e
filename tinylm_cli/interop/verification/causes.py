"""Find the config fields whose values would explain the differences between a checkpoint and its config."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.interop.tensor_pairs import Shape
from tinylm_cli.interop.verification.collapsed_names import first_index, indices, role
from tinylm_cli.interop.verification.tensors import Comparison, Finding

MAX_CAUSES = 4
"""Fields that are changed at once to explain the differences."""
MAX_SHAPES = 8
"""Differing shapes from which values of fields are derived."""

_EXPLAINABLE = ("missing-tensor", "unknown-tensor", "tensor-shape")

Value = int | bool
Key = tuple[str, str]
"""A difference: its code and the name of its tensor."""


class Cause(NamedTuple):
    """A field whose other value explains differences."""

    field: str
    before: Value | None  # The value in the config.
    value: Value  # The value that explains them.
    explained: frozenset[Key]


class Attempt(NamedTuple):
    """A config with some fields changed, and its comparison with the checkpoint."""

    config: ModelConfig
    settable: Collection[str]  # The fields that a key of the config can set.
    shapes: Mapping[str, Shape]
    compare: Callable[[], Comparison]


Try = Callable[[Sequence[str]], Attempt | None]
"""Returns the config with some fields changed, each ``key=value``; None if it is invalid."""


def find_causes(comparison: Comparison, attempt: Try) -> list[Cause]:
    """Return the fields that explain differences, one after another, those that explain most first.

    A value is a cause only if, with it, some differences vanish and no new one appears.
    """
    changes: list[str] = []
    causes: list[Cause] = []
    while len(causes) < MAX_CAUSES and _keys(comparison):
        found = _best(comparison, attempt, changes)
        if found is None:
            break
        cause, comparison = found
        changes.append(f"{cause.field}={str(cause.value).lower()}")
        causes.append(cause)
    return causes


def _best(comparison: Comparison, attempt: Try, changes: list[str]) -> tuple[Cause, Comparison] | None:
    current = attempt(changes)
    if current is None:
        return None
    fields, before = flatten(current.config.model_dump()), _keys(comparison)
    values = {name: value for name, value in fields.items() if name in current.settable}
    best: tuple[Cause, Comparison] | None = None
    for field, value in dict.fromkeys(_candidates(comparison, current.config, values)):
        if field not in values:
            continue
        changed = attempt([*changes, f"{field}={str(value).lower()}"])
        if changed is None or changed.shapes == current.shapes:
            continue
        compared = changed.compare()
        after = _keys(compared)
        if after < before and (best is None or len(before - after) > len(best[0].explained)):
            best = Cause(field, values[field], value, before - after), compared
            if not after:
                break
    return best


def _keys(comparison: Comparison) -> frozenset[Key]:
    return frozenset((each.code, each.name) for each in comparison.findings if each.code in _EXPLAINABLE)


def _candidates(
    comparison: Comparison, config: ModelConfig, values: Mapping[str, object]
) -> Iterator[tuple[str, Value]]:
    """Yield fields and other values of them that may explain a difference."""
    integers = {name: value for name, value in values.items() if type(value) is int and value > 0}
    shapes = [each for each in comparison.findings if each.code == "tensor-shape"]
    named = [each for each in comparison.findings if each.code in ("missing-tensor", "unknown-tensor")]
    if named:
        if any(first_index(each.name) is None for each in named):  # the head is in no layer
            yield "tie_weights", not config.tie_weights
        for expected, found in _counts(comparison, named):
            yield from ((name, found) for name, value in integers.items() if value == expected)
    distinct = {(role(each.name), each.expected, each.found): each for each in shapes}
    for each in list(distinct.values())[:MAX_SHAPES]:
        yield from _of_shape(each, config, integers)
    if named:
        yield from ((name, not value) for name, value in values.items() if type(value) is bool)


def _of_shape(finding: Finding, config: ModelConfig, integers: Mapping[str, int]) -> Iterator[tuple[str, Value]]:
    """Yield values with which a dimension that is proportional to a field, or exceeds it, would be as stored."""
    expected, found = finding.expected or (), finding.found or ()
    if len(expected) != len(found):
        return
    for wanted, size in zip(expected, found, strict=True):
        if wanted == size:
            continue
        for name, value in integers.items():
            if wanted % value == 0 and size % (wanted // value) == 0 and size:
                yield name, size // (wanted // value)
        for name, value in integers.items():
            if value + size - wanted > 0:
                yield name, value + size - wanted
        # a projection of queries, keys and values has rows for each of them
        yield from (("attention.n_kv_heads", n) for n in range(1, config.n_heads + 1) if config.n_heads % n == 0)


def _counts(comparison: Comparison, named: Sequence[Finding]) -> Iterator[tuple[int, int]]:
    """Yield how many layers or experts the config has, and how many the checkpoint, where the numbers differ."""
    unexpected = {each.name for each in named if each.code == "unknown-tensor"}
    missing = {each.name for each in named if each.code == "missing-tensor"}
    expected = _lengths(comparison.expected)
    stored = _lengths([*(name for name in comparison.expected if name not in missing), *unexpected])
    for place, count in expected.items():
        if stored.get(place, 0) not in (0, count):
            yield count, stored[place]


def _lengths(names: Mapping[str, object] | Sequence[str]) -> dict[str, int]:
    """Return the number of layers or experts under each part of a name that an index follows."""
    found: dict[str, int] = {}
    for name in names:
        for before, index in indices(name):
            found[before] = max(found.get(before, 0), index + 1)
    return found
