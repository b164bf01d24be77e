"""What to change where memory is short: each change tried by the code that found it short."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from itertools import combinations, takewhile
from math import lcm
from operator import or_
from typing import TYPE_CHECKING, Any

from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.memory import Quantization, Recompute
from tinylm_cli.reports.memory_fit import Remedy
from tinylm_cli.reports.plan import Layout, ZeroStage

if TYPE_CHECKING:
    from tinylm_cli.analysis.estimate import Request

Need = Callable[["Request"], int]
"""Returns the bytes that a GPU holds to do what is asked."""

_Changes = dict[str, Any]
"""Fields of a request, and what they are changed to."""

MOST_GPUS = 1024
"""How far the number of GPUs is doubled, once at least."""

LENGTHS = 64
"""Steps in which a sequence is shortened, about as many or up to twice that."""

_SHARED = {1: "optimizer state", 2: "gradients too", 3: "weights too"}


def training_remedies(asked: Request, need: Need) -> Iterator[Remedy]:
    """Yield changes that make training fit, the smallest first: of each kind the least that is enough.

    Where no batch and no length is, they are tried beside recomputation, 8-bit moments and other layouts, as few of
    these as it takes.

    Args:
        asked: What does not fit, on a GPU that is known.
        need: Tells what a GPU holds to train.
    """
    trials = _Trials(asked, need)
    more: dict[Recompute, tuple[Recompute, ...]] = {"none": ("selective", "full"), "selective": ("full",)}
    recompute: list[_Changes] = [{"recompute": how} for how in more.get(asked.recompute, ())]
    layout: list[_Changes] = [{"layout": None}] if asked.layout is not None else []
    moments: list[_Changes] = [{"optimizer": "adamw_8bit"}] if asked.optimizer == "adamw" else []
    yield from trials.first({"layout": each} for each in _more_shared(asked.layout))
    for each in (recompute, layout, moments):
        yield from trials.first(each)
    yield from trials.together([*recompute[-1:], *layout, *moments])
    yield from trials.first(_more_gpus(asked))
    yield from trials.first(_larger_gpus(asked))


def inference_remedies(asked: Request, need: Need) -> Iterator[Remedy]:
    """Yield changes that make running the model fit, the smallest first; batch and length beside 4-bit weights too.

    Args:
        asked: What does not fit, on a GPU that is known.
        need: Tells what a GPU holds to run the model.
    """
    trials = _Trials(asked, need)
    more: dict[Quantization, tuple[Quantization, ...]] = {
        "none": ("int8", "int4"),
        "int8": ("int4",),
        "float8": ("int4",),
    }
    rounded: list[_Changes] = [
        {"rounding": asked.rounding._replace(quantization=how)} for how in more.get(asked.rounding.quantization, ())
    ]
    yield from trials.first(rounded)
    yield from trials.together(rounded[-1:])
    yield from trials.first(_larger_gpus(asked))


class _Trials:
    """Changes of a request, tried."""

    def __init__(self, asked: Request, need: Need) -> None:
        self._asked, self._need = asked, need

    def first(self, tried: Iterable[_Changes]) -> Iterator[Remedy]:
        """Yield the first change that is enough, if one is."""
        found = next((changes for changes in tried if self._fits(changes)), None)
        if found is not None:
            yield self._remedy(found)

    def together(self, changes: Sequence[_Changes]) -> Iterator[Remedy]:
        """Yield the fewest of ``changes`` that are enough, if not one of them; then batch and length, beside as few."""
        sizes = range(len(changes) + 1)
        sets = [reduce(or_, each, _Changes()) for size in sizes for each in combinations(changes, size)]
        enough = next((each for each in sets if self._fits(each)), {})
        if len(enough) > 1:
            yield self._remedy(enough)
        yield from self._largest("batch_size", range(1, self._asked.batch_size), sets)
        yield from self._largest("seq_len", _lengths(self._asked), sets)

    def _largest(self, field: str, values: Sequence[int], beside: Iterable[_Changes]) -> Iterator[Remedy]:
        """Yield the largest value that is enough, with the fewest changes beside it; those are not by themselves.

        Args:
            field: What is made smaller; memory grows with it.
            values: What it may be, smallest first, all less than it is.
            beside: Changes to go with it, fewest first; what comes after those that are enough alone is left out.
        """
        for changes in takewhile(lambda changes: not self._fits(changes), beside):
            if values and self._fits({**changes, field: values[0]}):

                def is_too_large(value: int, changes: _Changes = changes) -> bool:
                    return not self._fits({**changes, field: value})

                most = values[bisect_left(values, x=True, key=is_too_large) - 1]
                yield self._remedy({**changes, field: most})
                return

    def _fits(self, changes: _Changes) -> bool:
        asked = self._asked._replace(**changes)
        assert asked.accelerator is not None
        try:
            return self._need(asked) <= asked.accelerator.capacity_bytes
        except AnalysisError:  # a global batch that does not come out even
            return False

    def _remedy(self, changes: _Changes) -> Remedy:
        changed = self._asked._replace(**changes)
        assert changed.accelerator is not None
        options, words = zip(*_words(self._asked, changed, changes), strict=True)
        needed = self._need(changed)
        return Remedy(" ".join(options), "; ".join(words), needed, changed.accelerator.capacity_bytes)


def _more_shared(layout: Layout | None) -> Iterator[Layout]:
    """Yield a layout whose replicas divide more among them."""
    stages: tuple[ZeroStage, ...] = (1, 2, 3)
    if layout is not None and layout.data * layout.context > 1:
        yield from (replace(layout, zero=zero) for zero in stages if zero > layout.zero)


def _lengths(asked: Request) -> range:
    """Return shorter lengths, multiples of a power of two that context parallelism divides."""
    step = 1
    while 2 * step * LENGTHS <= asked.seq_len:
        step *= 2
    step = lcm(step, asked.layout.context if asked.layout is not None else 1)
    return range(step, asked.seq_len, step)


def _more_gpus(asked: Request) -> Iterator[_Changes]:
    """Yield twice as many GPUs, and so on: in more replicas where the layout is named, else in any layout."""
    gpus = 2 * asked.gpus
    while gpus <= max(MOST_GPUS, 2 * asked.gpus):
        if asked.layout is not None:
            yield {"gpus": gpus, "layout": replace(asked.layout, data=asked.layout.data * gpus // asked.gpus)}
        yield {"gpus": gpus, "layout": None}
        gpus *= 2


def _larger_gpus(asked: Request) -> Iterator[_Changes]:
    """Yield GPUs of more memory that multiply the type, the smallest first."""
    assert asked.accelerator is not None
    capacity = asked.accelerator.capacity_bytes
    larger = [each for each in asked.accelerators if each.capacity_bytes > capacity and asked.dtype in each.peaks]
    yield from ({"accelerator": each} for each in sorted(larger, key=lambda each: each.capacity_bytes))


def _words(asked: Request, changed: Request, changes: _Changes) -> Iterator[tuple[str, str]]:
    """Yield the option of each change, and what it does."""
    for field in changes:
        match field:
            case "recompute":
                again = "layers" if changed.recompute == "full" else "attention's scores"
                yield f"--recompute {changed.recompute}", f"{again} computed again"
            case "optimizer":
                yield f"--optimizer {changed.optimizer}", "moments in 8 bits"
            case "rounding":
                yield f"--quantize {changed.rounding.quantization}", "weights rounded"
            case "batch_size":
                yield f"--batch-size {changed.batch_size}", f"the most that fit, of {asked.batch_size:,}"
            case "seq_len":
                step = _lengths(asked).step
                steps = f" in steps of {step:,}" if step > 1 else ""
                yield f"--seq-len {changed.seq_len}", f"the longest that fits{steps}"
            case "gpus":
                few = f"{2 * asked.gpus:,}, {4 * asked.gpus:,}, …"
                yield f"--gpus {changed.gpus}", f"the fewest of {few}"
            case "accelerator":
                assert changed.accelerator is not None
                yield f"--gpu {changed.accelerator.name}", "the smallest that holds it"
            case "layout":
                yield from _layout_words(asked.layout, changed.layout)


def _layout_words(before: Layout | None, after: Layout | None) -> Iterator[tuple[str, str]]:
    if after is not None:
        shared = before is not None and before.zero != after.zero
        what = f"replicas divide {_SHARED[after.zero]}" if shared else "more replicas"
        yield f"--plan {after.typed}", what
    elif before is not None:
        yield "--plan auto", "another layout"
