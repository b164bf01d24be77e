"""Remedies for insufficient memory: changes to a setup, each checked with the formula that computes the memory."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from itertools import combinations, takewhile
from math import lcm
from operator import or_
from typing import Any

from tinylm_cli.analysis.setups import UNQUANTIZED, QuantizationConfig, ServingSetup, TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.choices import Quantization, Recompute
from tinylm_cli.reports.memory_fit import Change, Remedy, Value
from tinylm_cli.reports.plan import Layout, ZeroStage

RequiredBytes = Callable[[Any, Accelerator], int]
"""Returns the bytes that a training or serving setup requires on one GPU."""

_Changes = dict[str, Any]
"""New values by field of a setup, or ``accelerator``."""

MAX_GPUS = 1024
"""The number of GPUs doubles up to this limit, and at least once."""

MIN_LENGTH_CANDIDATES = 64
"""Minimum number of shorter sequence lengths to try; at most twice as many are tried."""


def training_remedies(
    setup: TrainingSetup,
    accelerator: Accelerator,
    required_bytes: RequiredBytes,
    accelerators: Sequence[Accelerator] = (),
    plan_bytes: RequiredBytes | None = None,
    max_searches: int = sys.maxsize,
) -> Iterator[Remedy]:
    """Yield changes that make training fit: of each kind, the smallest sufficient change.

    If no smaller batch or length suffices alone, it is combined with as few other changes as possible: recomputation,
    8-bit moments, another layout, and with adapters 4-bit frozen weights.

    Args:
        setup: The setup that does not fit; its seq_len is not None.
        accelerator: The GPU.
        required_bytes: Returns the minimum for training.
        accelerators: Candidates for a larger GPU.
        plan_bytes: Returns the bytes of the selected plan, to report in a remedy; ``required_bytes`` if None.
        max_searches: Maximum number of searches for a layout; changes that would need more are not tried.
    """
    trials = _Trials(setup, accelerator, required_bytes, plan_bytes or required_bytes, max_searches)
    stronger: dict[Recompute, tuple[Recompute, ...]] = {"none": ("selective", "full"), "selective": ("full",)}
    recompute: list[_Changes] = [{"recompute": level} for level in stronger.get(setup.recompute, ())]
    layout: list[_Changes] = [{"layout": None}] if setup.layout is not None else []
    moments: list[_Changes] = [{"optimizer": "adamw_8bit"}] if setup.optimizer == "adamw" else []
    is_plain = (setup.quantization or UNQUANTIZED).method == "none"
    frozen: list[_Changes] = []  # QLoRA
    if setup.lora is not None and is_plain:
        frozen.append({"quantization": UNQUANTIZED._replace(method="nf4")})
    lengths = _lengths(setup, setup.layout.context if setup.layout is not None else 1)
    yield from trials.first({"layout": higher} for higher in _higher_zero(setup.layout))
    for changes in (frozen, recompute, layout, moments):
        yield from trials.first(changes)
    yield from trials.combined([*frozen, *recompute[-1:], *layout, *moments], lengths)
    if setup.lora is None:
        yield from trials.first(_more_gpus(setup))
    yield from trials.first(_larger_gpus(setup, accelerator, accelerators))


def inference_remedies(
    setup: ServingSetup,
    accelerator: Accelerator,
    required_bytes: RequiredBytes,
    accelerators: Sequence[Accelerator] = (),
) -> Iterator[Remedy]:
    """Yield changes that make serving fit; a smaller batch or length may be combined with int4 weights.

    Args:
        setup: The setup that does not fit; its seq_len is not None.
        accelerator: The GPU.
        required_bytes: Returns the minimum for serving.
        accelerators: Candidates for a larger GPU.
    """
    trials = _Trials(setup, accelerator, required_bytes, required_bytes)
    fewer_bits: dict[Quantization, tuple[Quantization, ...]] = {"none": ("int8", "int4"), "int4": ()}
    requested = setup.quantization or UNQUANTIZED
    methods = fewer_bits.get(requested.method, ("int4",))
    quantized: list[_Changes] = [{"quantization": requested._replace(method=method)} for method in methods]
    yield from trials.first(quantized)
    yield from trials.combined(quantized[-1:], _lengths(setup))
    yield from trials.first(_larger_gpus(setup, accelerator, accelerators))


@dataclass
class _Trials:
    """Tries changes to a setup; ``plan_bytes`` returns the bytes to report in a remedy."""

    setup: TrainingSetup | ServingSetup
    accelerator: Accelerator
    required_bytes: RequiredBytes
    plan_bytes: RequiredBytes
    searches_left: int = sys.maxsize
    tried: dict[tuple[TrainingSetup | ServingSetup, str], bool] = field(default_factory=dict)

    def first(self, candidates: Iterable[_Changes]) -> Iterator[Remedy]:
        """Yield the first candidate that fits, if any."""
        sufficient = next((changes for changes in candidates if self._fits(changes)), None)
        if sufficient is not None:
            yield self._remedy(sufficient)

    def combined(self, changes: Sequence[_Changes], lengths: range) -> Iterator[Remedy]:
        """Yield the smallest combination of ``changes`` that fits, then the largest batch and length that fit.

        The batch and the length are each combined with as few ``changes`` as possible. A single change is not yielded.
        """
        sizes = range(len(changes) + 1)
        subsets = [reduce(or_, each, _Changes()) for size in sizes for each in combinations(changes, size)]
        sufficient = next((each for each in subsets if self._fits(each)), {})
        if len(sufficient) > 1:
            yield self._remedy(sufficient)
        yield from self._largest("batch_size", range(1, self.setup.batch_size), subsets)
        yield from self._largest("seq_len", lengths, subsets)

    def _largest(self, field: str, values: range, subsets: Iterable[_Changes]) -> Iterator[Remedy]:
        """Yield the largest value that fits, with the fewest other changes.

        Args:
            field: The field to reduce; memory grows with it.
            values: Smaller values, ascending.
            subsets: Sets of other changes, the smallest first; the search stops at the first that fits by itself.
        """
        for changes in takewhile(lambda subset: not self._fits(subset), subsets):
            if _searches(self._changed(changes)[0]) and self.searches_left < len(values).bit_length() + 1:
                return
            exceeds = partial(self._exceeds, changes, field)
            if values and not exceeds(values[0]):
                largest = values[bisect_left(values, x=True, key=exceeds) - 1]
                yield self._remedy({**changes, field: largest}, {field: values.step})
                return

    def _exceeds(self, changes: _Changes, field: str, value: int) -> bool:
        return not self._fits({**changes, field: value})

    def _changed(self, changes: _Changes) -> tuple[TrainingSetup | ServingSetup, Accelerator]:
        fields = {field: value for field, value in changes.items() if field != "accelerator"}
        return self.setup._replace(**fields), changes.get("accelerator", self.accelerator)

    def _fits(self, changes: _Changes) -> bool:
        setup, accelerator = self._changed(changes)
        key = setup, accelerator.name
        if key not in self.tried:
            if _searches(setup):
                if self.searches_left == 0:
                    return False
                self.searches_left -= 1
            try:
                self.tried[key] = self.required_bytes(setup, accelerator) <= accelerator.capacity_bytes
            except AnalysisError:  # no layout divides the global batch
                self.tried[key] = False
        return self.tried[key]

    def _remedy(self, changes: _Changes, steps: Mapping[str, int] | None = None) -> Remedy:
        setup, accelerator = self._changed(changes)
        before = {**self.setup._asdict(), "accelerator": self.accelerator}
        before["quantization"] = before.get("quantization") or UNQUANTIZED  # None: as the checkpoint stores them
        changed = tuple(
            Change(field, _value(before[field]), _value(after), (steps or {}).get(field, 1))
            for field, after in changes.items()
            if after != before[field]
        )
        return Remedy(changed, self.plan_bytes(setup, accelerator), accelerator.capacity_bytes)


def _searches(setup: TrainingSetup | ServingSetup) -> bool:
    """Return whether the memory of a setup takes a search for a layout."""
    return isinstance(setup, TrainingSetup) and setup.n_gpus > 1 and setup.layout is None


def _value(value: object) -> Value:
    """Return a value in the form that a report stores."""
    if isinstance(value, Accelerator):
        return value.name
    if isinstance(value, QuantizationConfig):
        return value.method
    assert isinstance(value, int | str | Layout | None)
    return value


def _higher_zero(layout: Layout | None) -> Iterator[Layout]:
    """Yield the layout with each higher ZeRO stage."""
    stages: tuple[ZeroStage, ...] = (1, 2, 3)
    if layout is not None and layout.data * layout.context > 1:
        yield from (replace(layout, zero=zero) for zero in stages if zero > layout.zero)


def _lengths(setup: TrainingSetup | ServingSetup, context: int = 1) -> range:
    """Return shorter lengths: multiples of a power of two and of the context-parallel degree."""
    assert setup.seq_len is not None
    step = 1
    while 2 * step * MIN_LENGTH_CANDIDATES <= setup.seq_len:
        step *= 2
    step = lcm(step, context)
    return range(step, setup.seq_len, step)


def _more_gpus(setup: TrainingSetup) -> Iterator[_Changes]:
    """Yield 2, 4, 8, … times as many GPUs: first with more replicas of the same layout, then with any layout."""
    gpus = 2 * setup.n_gpus
    while gpus <= max(MAX_GPUS, 2 * setup.n_gpus):
        if setup.layout is not None:
            yield {"n_gpus": gpus, "layout": replace(setup.layout, data=setup.layout.data * gpus // setup.n_gpus)}
        yield {"n_gpus": gpus, "layout": None}
        gpus *= 2


def _larger_gpus(
    setup: TrainingSetup | ServingSetup, accelerator: Accelerator, accelerators: Iterable[Accelerator]
) -> Iterator[_Changes]:
    """Yield GPUs with more memory that support the dtype, the smallest first."""
    capacity = accelerator.capacity_bytes
    larger = [each for each in accelerators if each.capacity_bytes > capacity and setup.dtype in (None, *each.peaks)]
    yield from ({"accelerator": each} for each in sorted(larger, key=lambda each: each.capacity_bytes))
