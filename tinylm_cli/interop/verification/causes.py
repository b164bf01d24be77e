"""Find the keys of a config whose values would explain the differences between a checkpoint and its config."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tinylm_cli.errors import Span
from tinylm_cli.interop.tensor_pairs import Shape
from tinylm_cli.interop.verification.collapsed_names import indices, role
from tinylm_cli.interop.verification.tensors import Comparison, Finding

MAX_CAUSES = 4
"""Keys that are changed at once to explain the differences."""
MAX_SHAPES = 4
"""Differing shapes from which values of keys are derived."""

_EXPLAINABLE = ("missing-tensor", "unknown-tensor", "tensor-shape")

Value = int | bool
Difference = tuple[str, str]
"""The code of a difference and the name of its tensor."""


class ConfigKey(NamedTuple):
    """A number or a boolean of a config."""

    field: str  # The tinylm field that it sets; its own name if it sets none directly.
    key: str | None  # Its name in a config.json; None in a tinylm config.
    span: Span | None  # The place of its value; None if the file does not set it.


class Cause(NamedTuple):
    """A key whose other value explains differences."""

    key: ConfigKey
    before: Value  # The value in the config.
    value: Value  # The value that explains them.
    explained: frozenset[Difference]


class Attempt(NamedTuple):
    """A config with some keys changed, and its comparison with the checkpoint."""

    values: Mapping[ConfigKey, Value]  # The keys that can be changed, and their values.
    shapes: Mapping[str, Shape]  # The shape of each tensor of the model.
    compare: Callable[[], Comparison]  # Compares once.


Changes = Mapping[ConfigKey, Value]
Try = Callable[[Changes], Attempt | None]
"""Returns the config with some keys changed; None if it is invalid."""


def find_causes(comparison: Comparison, attempt: Try) -> list[Cause]:
    """Return the keys that explain differences, one after another, those that explain most first.

    A value is a cause only if, with it, some differences vanish and no new one appears.
    """
    changes: dict[ConfigKey, Value] = {}
    causes: list[Cause] = []
    while len(causes) < MAX_CAUSES and _differences(comparison):
        found = _best(comparison, attempt, changes)
        if found is None:
            break
        cause, comparison = found
        changes[cause.key] = cause.value
        causes.append(cause)
    return causes


def _best(comparison: Comparison, attempt: Try, changes: Changes) -> tuple[Cause, Comparison] | None:
    current = attempt(changes)
    if current is None:
        return None
    before = _differences(comparison)
    best: tuple[Cause, Comparison] | None = None
    for key, value in dict.fromkeys(_candidates(comparison, current, changes, attempt)):
        changed = attempt({**changes, key: value})
        if changed is None or changed.shapes == current.shapes:
            continue
        compared = changed.compare()
        after = _differences(compared)
        if after < before and (best is None or len(before - after) > len(best[0].explained)):
            best = Cause(key, current.values[key], value, before - after), compared
            if not after:
                break
    return best


def _differences(comparison: Comparison) -> frozenset[Difference]:
    return frozenset((each.code, each.name) for each in comparison.findings if each.code in _EXPLAINABLE)


def _candidates(
    comparison: Comparison, current: Attempt, changes: Changes, attempt: Try
) -> Iterator[tuple[ConfigKey, Value]]:
    """Yield keys and other values of them that may explain a difference."""
    numbers = [(key, value) for key, value in current.values.items() if type(value) is int and value > 0]
    # another number of query heads may give keys and values the same shapes, by another width of the heads
    integers = dict(sorted(numbers, key=lambda item: item[0].field != "attention.n_kv_heads"))
    shapes = [each for each in comparison.findings if each.code == "tensor-shape"]
    named = [each for each in comparison.findings if each.code in ("missing-tensor", "unknown-tensor")]
    if named:
        for expected, found in _counts(comparison, named):
            yield from ((key, found) for key, value in integers.items() if value == expected)
    distinct = {(role(each.name), each.expected, each.found): each for each in shapes}
    if distinct:
        probes = {key: _probe(key, value, current, changes, attempt) for key, value in integers.items()}
        for each in list(distinct.values())[:MAX_SHAPES]:
            yield from _of_shape(each, current, probes)
    if named or shapes:
        yield from ((key, not value) for key, value in current.values.items() if type(value) is bool)


class _Probe(NamedTuple):
    """A config with another value of one key."""

    value: int
    attempt: Attempt


def _probe(key: ConfigKey, value: int, current: Attempt, changes: Changes, attempt: Try) -> _Probe | None:
    """Return a valid config with another value of a key; None if there is none, or if no shape depends on it."""
    for other in dict.fromkeys((value + 1, 2 * value, value // 2, 1)):
        tried = attempt({**changes, key: other}) if other not in (0, value) else None
        if tried is not None:
            return None if tried.shapes == current.shapes else _Probe(other, tried)
    return None


def _of_shape(
    finding: Finding, current: Attempt, probes: Mapping[ConfigKey, _Probe | None]
) -> Iterator[tuple[ConfigKey, Value]]:
    """Yield values with which a dimension would be as stored: dimensions are linear in most sizes."""
    expected, found = finding.expected or (), finding.found or ()
    for key, probe in probes.items():
        if probe is None or all(probe.attempt.shapes.get(part) == current.shapes[part] for part in finding.parts):
            continue
        probed = probe.attempt.compare().expected.get(finding.name, ())
        value = current.values[key]
        if not len(expected) == len(found) == len(probed):
            continue
        for wanted, size, other in zip(expected, found, probed, strict=True):
            if wanted not in (size, other):
                steps, rest = divmod((size - wanted) * (probe.value - value), other - wanted)
                if not rest and value + steps > 0:
                    yield key, value + steps


def _counts(comparison: Comparison, named: Sequence[Finding]) -> Iterator[tuple[int, int]]:
    """Yield how many layers or experts the config has, and how many the checkpoint, where the numbers differ."""
    unknown = {each.name for each in named if each.code == "unknown-tensor"}
    missing = {each.name for each in named if each.code == "missing-tensor"}
    expected = _lengths(comparison.expected)
    stored = _lengths([*(name for name in comparison.expected if name not in missing), *unknown])
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
