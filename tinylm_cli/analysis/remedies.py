"""Remedies for insufficient memory: changes of a setup, each tried with the formula that found the memory short."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from itertools import combinations, takewhile
from math import lcm
from operator import or_
from typing import Any, Generic, TypeVar

from tinylm_cli.analysis.setups import QuantizationConfig, ServingSetup, TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.memory import Quantization, Recompute
from tinylm_cli.reports.memory_fit import Change, Remedy, Value
from tinylm_cli.reports.plan import Layout, ZeroStage

Setup = TypeVar("Setup", TrainingSetup, ServingSetup)

Need = Callable[[Setup, Accelerator], int]
"""Returns the memory that a setup needs on one GPU."""

_Changes = dict[str, Any]
"""Fields of a setup, or ``accelerator``, and what they are changed to."""

MAX_GPUS = 1024
"""The number of GPUs is doubled up to this, and at least once."""

MIN_LENGTHS = 64
"""Shorter lengths that are tried: this many, up to twice as many."""


def training_remedies(
    setup: TrainingSetup,
    accelerator: Accelerator,
    need: Need[TrainingSetup],
    accelerators: Sequence[Accelerator] = (),
) -> Iterator[Remedy]:
    """Yield changes that make training fit, the smallest first, and of each kind the smallest that is enough.

    If no smaller batch or length is enough, it is combined with as few as possible of recomputation, 8-bit moments and
    another layout.

    Args:
        setup: The setup that does not fit; its seq_len is not None.
        accelerator: The GPU.
        need: Returns the memory that training needs.
        accelerators: GPUs to choose a larger one from.
    """
    trials = _Trials(setup, accelerator, need)
    more: dict[Recompute, tuple[Recompute, ...]] = {"none": ("selective", "full"), "selective": ("full",)}
    recompute: list[_Changes] = [{"recompute": how} for how in more.get(setup.recompute, ())]
    layout: list[_Changes] = [{"layout": None}] if setup.layout is not None else []
    moments: list[_Changes] = [{"optimizer": "adamw_8bit"}] if setup.optimizer == "adamw" else []
    lengths = _lengths(setup, setup.layout.context if setup.layout is not None else 1)
    yield from trials.first({"layout": each} for each in _higher_zero(setup.layout))
    for each in (recompute, layout, moments):
        yield from trials.first(each)
    yield from trials.together([*recompute[-1:], *layout, *moments], lengths)
    yield from trials.first(_more_gpus(setup))
    yield from trials.first(_larger_gpus(setup, accelerator, accelerators))


def inference_remedies(
    setup: ServingSetup, accelerator: Accelerator, need: Need[ServingSetup], accelerators: Sequence[Accelerator] = ()
) -> Iterator[Remedy]:
    """Yield changes that make serving fit, the smallest first; batch and length also together with int4 weights.

    Args:
        setup: The setup that does not fit; its seq_len is not None.
        accelerator: The GPU.
        need: Returns the memory that serving needs.
        accelerators: GPUs to choose a larger one from.
    """
    trials = _Trials(setup, accelerator, need)
    more: dict[Quantization, tuple[Quantization, ...]] = {
        "none": ("int8", "int4"),
        "int8": ("int4",),
        "float8": ("int4",),
    }
    methods = more.get(setup.quantization.method, ())
    quantized: list[_Changes] = [{"quantization": setup.quantization._replace(method=method)} for method in methods]
    yield from trials.first(quantized)
    yield from trials.together(quantized[-1:], _lengths(setup))
    yield from trials.first(_larger_gpus(setup, accelerator, accelerators))


class _Trials(Generic[Setup]):
    """Tries changes of a setup."""

    def __init__(self, setup: Setup, accelerator: Accelerator, need: Need[Setup]) -> None:
        self._setup: Setup = setup
        self._accelerator = accelerator
        self._need: Need[Setup] = need

    def first(self, tried: Iterable[_Changes]) -> Iterator[Remedy]:
        """Yield the first change that is enough, if one is."""
        found = next((changes for changes in tried if self._fits(changes)), None)
        if found is not None:
            yield self._remedy(found)

    def together(self, changes: Sequence[_Changes], lengths: range) -> Iterator[Remedy]:
        """Yield the fewest of ``changes`` that are enough together; then batch and length with as few as possible."""
        sizes = range(len(changes) + 1)
        sets = [reduce(or_, each, _Changes()) for size in sizes for each in combinations(changes, size)]
        enough = next((each for each in sets if self._fits(each)), {})
        if len(enough) > 1:
            yield self._remedy(enough)
        yield from self._largest("batch_size", range(1, self._setup.batch_size), sets)
        yield from self._largest("seq_len", lengths, sets)

    def _largest(self, field: str, values: range, beside: Iterable[_Changes]) -> Iterator[Remedy]:
        """Yield the largest value that is enough, with the fewest other changes.

        Args:
            field: The field to reduce; memory grows with it.
            values: Smaller values, ascending.
            beside: Sets of other changes, fewest first; from the first that is enough alone, none is tried.
        """
        for changes in takewhile(lambda each: not self._fits(each), beside):
            if values and self._fits({**changes, field: values[0]}):
                fits = partial(self._fits_at, changes, field)
                most = values[bisect_left(values, x=True, key=lambda value: not fits(value)) - 1]
                yield self._remedy({**changes, field: most}, {field: values.step})
                return

    def _fits_at(self, changes: _Changes, field: str, value: int) -> bool:
        return self._fits({**changes, field: value})

    def _changed(self, changes: _Changes) -> tuple[Setup, Accelerator]:
        fields = {field: value for field, value in changes.items() if field != "accelerator"}
        return self._setup._replace(**fields), changes.get("accelerator", self._accelerator)

    def _fits(self, changes: _Changes) -> bool:
        setup, accelerator = self._changed(changes)
        try:
            return self._need(setup, accelerator) <= accelerator.capacity_bytes
        except AnalysisError:  # no layout divides the global batch
            return False

    def _remedy(self, changes: _Changes, steps: Mapping[str, int] | None = None) -> Remedy:
        setup, accelerator = self._changed(changes)
        before = {**self._setup._asdict(), "accelerator": self._accelerator}
        told = tuple(
            Change(field, _value(before[field]), _value(after), (steps or {}).get(field, 1))
            for field, after in changes.items()
            if after != before[field]
        )
        return Remedy(told, self._need(setup, accelerator), accelerator.capacity_bytes)


def _value(value: object) -> Value:
    """Return a value as a report holds it."""
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
    """Return shorter lengths: multiples of a power of two that context parallelism divides."""
    assert setup.seq_len is not None
    step = 1
    while 2 * step * MIN_LENGTHS <= setup.seq_len:
        step *= 2
    step = lcm(step, context)
    return range(step, setup.seq_len, step)


def _more_gpus(setup: TrainingSetup) -> Iterator[_Changes]:
    """Yield twice as many GPUs, four times as many, …: as more replicas of a named layout, then in any layout."""
    gpus = 2 * setup.n_gpus
    while gpus <= max(MAX_GPUS, 2 * setup.n_gpus):
        if setup.layout is not None:
            yield {"n_gpus": gpus, "layout": replace(setup.layout, data=setup.layout.data * gpus // setup.n_gpus)}
        yield {"n_gpus": gpus, "layout": None}
        gpus *= 2


def _larger_gpus(
    setup: TrainingSetup | ServingSetup, accelerator: Accelerator, accelerators: Iterable[Accelerator]
) -> Iterator[_Changes]:
    """Yield GPUs with more memory that multiply the dtype, the smallest first."""
    capacity = accelerator.capacity_bytes
    larger = [each for each in accelerators if each.capacity_bytes > capacity and setup.dtype in each.peaks]
    yield from ({"accelerator": each} for each in sorted(larger, key=lambda each: each.capacity_bytes))
