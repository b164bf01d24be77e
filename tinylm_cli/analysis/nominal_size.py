"""The smallest changes to a config that reach its nominal size: ``500K`` with ``d_ff=192``."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.base import MAX_N_LAYERS
from tinylm_cli.config.layer_kinds import valid_layer_counts
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.reports.params import SizeChange

MATCH_TOLERANCE = 0.01
"""The nominal size counts as reached if the count is within 1% of it, because names are rounded."""

FACTOR = 4
"""A field changes to between 1/FACTOR and FACTOR times its value."""

MAX_TRIED = 256
"""Maximum number of values of one field, evenly spaced, to try with another field; most models have fewer."""

MAX_DOUBLINGS = 6
"""How often the step of d_model is doubled until the next value is valid."""

MAX_CHANGES = 3
"""Maximum number of changes of one field, and of changes of two fields, to return."""

_FIELDS = ("n_layers", "d_model", "d_ff", "vocab_size", "feed_forward.n_experts", "feed_forward.d_expert")
"""Fields that may change. The count never decreases in any of them, and is linear in all but d_model."""

_MAX_STEPS = {"d_model": 8, "d_ff": 64, "vocab_size": 8, "feed_forward.d_expert": 64}
"""For each field, the largest power of two that a new value must be a multiple of, if the old value is one."""


def nearest_changes(config: ModelConfig) -> tuple[SizeChange, ...]:
    """Return the smallest changes to one field, then to two, that reach the nominal size; none if it is reached.

    Every returned change gives a valid config with an exact count. Changes are ordered by ``Σ |ln(new / old)|`` over
    the fields. Each pair of fields is returned once, with its smallest change, and only if that change is smaller than
    changing one of the two fields alone.
    """
    nominal, values = config.nominal_params, flatten(config.model_dump())
    if nominal is None or abs(_count(config, {}) / nominal - 1) <= MATCH_TOLERANCE:
        return ()
    given = {field: values[field] for field in _FIELDS if values[field] is not None}
    before = {field: value for field, value in given.items() if _may_change(config, given, field)}
    single = _sorted(before, (_smallest(config, before, _of_one(config, before, field)) for field in before))
    alone = {field: _distance(before, change.values) for change in single for field in change.values}
    pairs = combinations(before, 2)
    double = [
        change
        for change in _sorted(before, (_smallest(config, before, _of_two(config, before, pair)) for pair in pairs))
        if _distance(before, change.values) < min(alone.get(field, math.inf) for field in change.values)
    ]
    return (*single[:MAX_CHANGES], *double[:MAX_CHANGES])


def _sorted(before: Mapping[str, int], changes: Iterable[SizeChange | None]) -> list[SizeChange]:
    valid = [change for change in changes if change is not None]
    return sorted(valid, key=lambda change: _distance(before, change.values))


def _may_change(config: ModelConfig, values: Mapping[str, int], field: str) -> bool:
    """Return whether a field has other valid values, and the count depends on it.

    The order of the layers may allow one value of n_layers only; d_ff has no effect if every layer has experts.
    """
    steps = _steps(config, values, field)
    return len(steps) > 1 and _count(config, {field: steps[0]}) != _count(config, {field: steps[1]})


def _smallest(config: ModelConfig, before: Mapping[str, int], changes: Iterable[dict[str, int]]) -> SizeChange | None:
    """Return the smallest change that gives a valid config of the nominal size, or None."""
    assert config.nominal_params is not None
    for change in sorted(changes, key=lambda each: _distance(before, each)):
        count = _count(config, change)
        error = count / config.nominal_params - 1
        if abs(error) <= MATCH_TOLERANCE and _is_valid(config, change):
            return SizeChange(change, count, error)
    return None


def _of_one(config: ModelConfig, before: Mapping[str, int], field: str) -> Iterator[dict[str, int]]:
    """Yield the two adjacent values of a field whose counts bracket the nominal size."""
    assert config.nominal_params is not None
    steps = _steps(config, before, field)
    above = bisect_left(steps, config.nominal_params, key=lambda value: _count(config, {field: value}))
    yield from ({field: value} for value in steps[max(above - 1, 0) : above + 1] if value != before[field])


def _of_two(config: ModelConfig, before: Mapping[str, int], pair: tuple[str, str]) -> Iterator[dict[str, int]]:
    """Yield, for each value of one field, the values of the other that are nearest to the nominal size."""
    assert config.nominal_params is not None
    steps = {field: _steps(config, before, field) for field in pair}
    looped, solved = sorted(pair, key=lambda field: (field != "d_model", len(steps[field])))
    first, second = steps[solved][0], steps[solved][-1]
    values = steps[looped][:: -(-len(steps[looped]) // MAX_TRIED)]
    ends = (_counts(config, looped, values, {solved: end}) for end in (first, second))
    for value, low, high in zip(values, *ends, strict=True):
        if value == before[looped] or not low <= config.nominal_params <= high:
            continue
        exact = first + (second - first) * (config.nominal_params - low) / (high - low)  # linear in this field
        index = min(int((exact - first) / (steps[solved][1] - first)), len(steps[solved]) - 2)
        for nearby in steps[solved][index : index + 2]:
            if nearby != before[solved]:
                yield {looped: value, solved: nearby}


def _counts(config: ModelConfig, field: str, values: range, change: Mapping[str, int]) -> list[int]:
    """Return the count for each value of a field, with another field changed.

    Three counts determine the polynomial of degree 2 at most, by Newton's forward differences. If it misses the last
    count, as where a number of heads is rounded, each value is counted.
    """

    def count(value: int) -> int:
        return _count(config, {field: value, **change})

    if len(values) > 4:
        start, next_, third = map(count, values[:3])
        slope, curvature = next_ - start, third - 2 * next_ + start
        counts = [start + slope * n + curvature * n * (n - 1) // 2 for n in range(len(values))]
        if counts[-1] == count(values[-1]):
            return counts
    return [count(value) for value in values]


def _steps(config: ModelConfig, before: Mapping[str, int], field: str) -> range:
    """Return the candidate values of a field; the step keeps the power of two that divides its value."""
    value = before[field]
    step = min(value & -value, _MAX_STEPS.get(field, 1))
    if field == "d_model" and config.attention.d_head is None and config.attention.kind != "latent":
        step = math.lcm(step, 2 * config.n_heads)  # an even number of dimensions per head
    if field == "d_model":  # of which the heads of some mixers need a multiple
        doubled = (step << n for n in range(MAX_DOUBLINGS))
        step = next((each for each in doubled if _is_valid(config, {field: value + each})), step)
    if field == "n_layers":
        counts = valid_layer_counts(config, MAX_N_LAYERS)
        first = bisect_left(counts, -(-value // FACTOR))
        return counts[first : max(bisect_right(counts, FACTOR * value), first + 2)]
    least = max(-(-value // (FACTOR * step)), 1) * step
    return range(least, max(FACTOR * value, least + step) + 1, step)


def _distance(before: Mapping[str, int], change: Mapping[str, int]) -> float:
    return sum(abs(math.log(value / before[field])) for field, value in change.items())


def _count(config: ModelConfig, change: Mapping[str, int]) -> int:
    return total_params(tensor_table(_copy(config, change)))


def _copy(config: ModelConfig, change: Mapping[str, int]) -> ModelConfig:
    """Return the config with some fields changed, without validation."""
    update: dict[str, Any] = {}
    for field, value in change.items():
        block, _, name = field.rpartition(".")
        if block:
            update[block] = update.get(block, getattr(config, block)).model_copy(update={name: value})
        else:
            update[name] = value
    return config.model_copy(update=update)


def _is_valid(config: ModelConfig, change: Mapping[str, int]) -> bool:
    try:
        ModelConfig.model_validate(_copy(config, change).model_dump())
    except ValidationError:
        return False
    return True
