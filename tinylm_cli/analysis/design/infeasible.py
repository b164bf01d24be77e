"""Why no model satisfies every constraint: the constraints that fail, the nearest models, and possible relaxations."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import ROUND_FLOOR, Context
from itertools import chain, islice

from tinylm_cli.analysis.design.closed_form import Value
from tinylm_cli.analysis.design.constraints import DECODE_RATE, searchable
from tinylm_cli.analysis.design.measures import TRAIN_BYTES
from tinylm_cli.analysis.design.ranking import Candidate, ranked
from tinylm_cli.analysis.design.search import (
    OnProgress,
    SearchTooLargeError,
    as_stage,
    depths_above,
    no_progress,
    search,
)
from tinylm_cli.analysis.design.search_space import GRID, Grid, SearchSpace, Shape, node_layout
from tinylm_cli.config.amounts import parse_amount, rounded, rounded_up
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.constraint import Constraint, ConstraintFailure, Relaxation
from tinylm_cli.reports.figures import AMOUNT_KINDS

Changes = dict[str, float | str | bool]
"""The new value of each constrained figure, or of each field of the search."""

Match = Callable[[SearchSpace, Sequence[Constraint]], Iterable[Candidate]]

VOCABULARIES = tuple(2**power for power in range(8, 18))
"""Candidate vocabulary sizes smaller than the current one."""

SEQUENCE_LENGTHS = tuple(2**power for power in range(8, 21))
"""Candidate sequence lengths, if shorter than the current one; rounded down for context parallelism."""

MAX_DOUBLINGS = 7
"""Largest candidate for the number of GPUs, as doublings of the current number: 1,024 GPUs for a node of 8."""

NARROWER_GRIDS = tuple(
    Grid(d_models=(range(step, 128 + 1, step),), n_layers=range(2, 17), aspects=None, d_heads=d_heads)
    for step, d_heads in ((64, (32, 64)), (32, (16, 32)), (16, (16,)), (8, (8,)))
)
"""Grids with narrower models than :data:`GRID`, in the order of trial."""


_THREE_DIGITS_DOWN = Context(prec=3, rounding=ROUND_FLOOR)


def find_failures(
    space: SearchSpace, constraints: Sequence[Constraint], on_progress: OnProgress = no_progress
) -> list[ConstraintFailure]:
    """Return the constraints that no model satisfies individually; otherwise those that conflict with the others.

    Args:
        space: The models that were searched.
        constraints: Constraints that no model satisfies together.
        on_progress: As for :func:`.search.search`.
    """
    targets = [each for each in constraints if each.is_target]
    bounds = [each for each in constraints if not each.is_target]

    def is_satisfiable(constraint: Constraint) -> bool:
        measured = searchable(constraint, space.serving.batch_size)
        checking = as_stage(f"checking {constraint.figure}", on_progress)
        return next(search(space, [measured], on_progress=checking), None) is not None

    alone = [each for each in (*targets, *bounds) if not is_satisfiable(each)]
    if alone:
        return [failure for each in alone for failure in _nearest(space, each, [], on_progress, alone=True)]
    found: list[ConstraintFailure] = []
    for each in (*targets, *bounds):
        others = [other for other in (*targets, *bounds) if other != each]
        required = targets if each in bounds and targets else others
        found += _nearest(space, each, required, on_progress, alone=False)
    return found


def find_relaxations(
    space: SearchSpace,
    constraints: Sequence[Constraint],
    failures: Sequence[ConstraintFailure],
    match: Match,
    accelerators: Sequence[Accelerator] = (),
) -> Iterator[Relaxation]:
    """Yield changes after which models match: to one constraint, else to all that fail; then to the search.

    A target or bound is relaxed to the value of the nearest model, rounded to three digits if that suffices. If GPU
    memory is insufficient, the next candidates are full recomputation, shorter sequences, ZeRO 3, more GPUs and the
    smallest larger GPU; if models are too large, a tied LM head, a smaller vocabulary and a grid of narrower models.
    Each candidate is tested by a search, and dropped if no model matches.

    Args:
        space: The models that were searched.
        constraints: Constraints that no model satisfies together.
        failures: The result of :func:`find_failures`.
        match: Returns the models of a space that satisfy constraints, as they are found.
        accelerators: Candidates for a larger GPU.
    """
    relaxed = {each.constraint: _relaxed(each) for each in failures if each.constraint.origin != "gpu_memory"}
    found = False
    for changed in [[each] for each in relaxed] + ([list(relaxed)] if len(relaxed) > 1 else []):
        if len(changed) > 1 and found:
            break
        new = [relaxed[each] if each in changed else each for each in constraints]
        for relaxation in _tried({each.figure: relaxed[each].value for each in changed}, space, new, match):
            found = True
            yield relaxation
    memory_failure = next((each for each in failures if each.constraint.origin == "gpu_memory"), None)
    if memory_failure is not None:
        yield from _more_memory(space, constraints, memory_failure, match, accelerators)
    if any(each.nearest > each.constraint.value for each in failures):
        yield from _smaller_models(space, constraints, match)


def _more_memory(
    space: SearchSpace,
    constraints: Sequence[Constraint],
    failure: ConstraintFailure,
    match: Match,
    accelerators: Sequence[Accelerator],
) -> Iterator[Relaxation]:
    """Yield the changes that need less memory, or provide more; each is dropped if no model then matches."""
    trains = failure.constraint.figure == TRAIN_BYTES
    if trains and space.training.recompute != "full":
        setups = space.setups.changed(recompute="full")
        yield from _tried({"recompute": "full"}, replace(space, setups=setups), constraints, match)
    context = space.layout.context
    shorter = dict.fromkeys(each // context * context for each in SEQUENCE_LENGTHS if each < space.seq_len)
    spaces = {each: replace(space, setups=space.setups.changed(seq_len=each)) for each in shorter}
    yield from _last_match("seq_len", spaces, constraints, match)
    if trains:
        yield from _more_sharding(space, constraints, match)
    large = (each for each in accelerators if each.capacity_bytes >= failure.nearest)
    for each in sorted(large, key=lambda each: each.capacity_bytes):
        if space.training.dtype in each.peaks:
            memory = replace(failure.constraint, value=each.capacity_bytes)
            new = [memory if constraint == failure.constraint else constraint for constraint in constraints]
            yield from _tried({"accelerator": each.name}, replace(space, accelerator=each), new, match)
            return


def _smaller_models(space: SearchSpace, constraints: Sequence[Constraint], match: Match) -> Iterator[Relaxation]:
    """Yield a tied LM head, the largest smaller vocabulary, and the first narrower grid, if models then match."""
    if not space.tie_weights:
        yield from _tried({"tie_weights": True}, replace(space, tie_weights=True), constraints, match)
    degree = space.layout.tensor
    smaller = [each for each in VOCABULARIES if each < space.vocab_size and each % degree == 0]
    spaces = {size: replace(space, vocab_size=size) for size in smaller}
    yield from _last_match("vocab_size", spaces, constraints, match)
    if space.grid == GRID:
        narrower = (
            _tried(_grid_changes(grid), replace(space, grid=grid), constraints, match) for grid in NARROWER_GRIDS
        )
        yield from islice(chain.from_iterable(narrower), 1)


def _more_sharding(space: SearchSpace, constraints: Sequence[Constraint], match: Match) -> Iterator[Relaxation]:
    """Yield ZeRO 3, and the smallest sufficient number of GPUs if the layout is the default of their number."""
    layout, accelerator = space.layout, space.accelerator
    if layout.data * layout.context > 1 and layout.pipeline == 1 and layout.zero < 3:
        sharded = replace(layout, zero=3)
        setups = space.setups.changed(layout=sharded)
        yield from _tried({"plan": sharded.spec}, replace(space, setups=setups), constraints, match)
    if space.training.n_gpus > 1 and layout != node_layout(space.training.n_gpus, space.family, accelerator):
        return
    spaces: dict[int, SearchSpace] = {}
    for n_gpus in (space.training.n_gpus << doublings for doublings in range(MAX_DOUBLINGS, 0, -1)):
        setups = space.setups.changed(n_gpus=n_gpus, layout=node_layout(n_gpus, space.family, accelerator))
        with suppress(AnalysisError):  # the default layout may not divide the vocabulary
            spaces[n_gpus] = replace(space, setups=setups)
    yield from _last_match("gpus", spaces, constraints, match)


def _last_match(
    name: str, spaces: Mapping[int, SearchSpace], constraints: Sequence[Constraint], match: Match
) -> Iterator[Relaxation]:
    """Yield the last of the values in whose space models match; none matches after one that does not.

    Nothing is yielded if a space has too many models to decide whether one matches.
    """
    values = list(spaces)

    def fails(value: int) -> bool:
        return next(iter(match(spaces[value], constraints)), None) is None

    try:
        if not values or fails(values[0]):  # the first is tried first, because it often fails as well
            return
        last = bisect_left(values, True, lo=1, key=fails) - 1
    except SearchTooLargeError:
        return
    yield from _tried({name: values[last]}, spaces[values[last]], constraints, match)


def _tried(
    changes: Changes, space: SearchSpace, constraints: Sequence[Constraint], match: Match
) -> Iterator[Relaxation]:
    """Yield a relaxation with ``changes`` if models match in the changed space, unless there are too many to search."""
    try:
        found = list(match(space, constraints))
    except SearchTooLargeError:
        return
    if found:
        first = ranked(found, space.family)[0]
        total = int(first.figures["total_params"])
        yield Relaxation(changes, first.shape.sizes(first.n_layers), total, len(found))


def _grid_changes(grid: Grid) -> Changes:
    (widths,) = grid.d_models
    return {
        "d_model": f"{widths[0]}..{widths[-1]}:{widths.step}",
        "d_head": ",".join(map(str, grid.d_heads)),
        "n_layers": f"{grid.n_layers[0]}..{grid.n_layers[-1]}",
    }


def _relaxed(failure: ConstraintFailure) -> Constraint:
    """Return the failed constraint with a value that the nearest model satisfies, in three digits if possible."""
    constraint, nearest = failure.constraint, failure.nearest
    if constraint.unit == "tokens_per_second":
        return replace(constraint, value=float(_THREE_DIGITS_DOWN.create_decimal_from_float(nearest)))
    assert constraint.unit != "seconds"
    kind = AMOUNT_KINDS[constraint.unit]
    round_amount = rounded if constraint.is_target else rounded_up
    relaxed = replace(constraint, value=parse_amount(round_amount(int(nearest), kind), kind), origin="option")
    return relaxed if relaxed.distance(nearest) == 0 else replace(relaxed, value=int(nearest))


def _nearest(
    space: SearchSpace, constraint: Constraint, others: Sequence[Constraint], on_progress: OnProgress, *, alone: bool
) -> Iterator[ConstraintFailure]:
    """Yield the nearest miss of ``constraint`` among models that satisfy ``others``, if none satisfies it."""
    batch_size = space.serving.batch_size
    measured = searchable(constraint, batch_size)
    best: tuple[Value, Value, Shape, int] | None = None
    constrained = [searchable(each, batch_size) for each in others]
    below = replace(measured, relation="at_most", value=measured.lower, tolerance=None)
    # if every model exceeds the constraint, the smallest one is nearest
    checking = as_stage(f"checking {constraint.figure}", on_progress)
    is_least = not others and next(search(space, [below], on_progress=checking), None) is None
    comparing = as_stage(f"comparing {constraint.figure}", on_progress)
    for found in search(space, constrained, [measured.figure], comparing, smallest_d_ff=is_least):
        (form,) = found.forms
        above = len(found.depths) - len(depths_above(measured.lower, form, found.depths))
        for n_layers in found.depths[max(above - 1, 0) : above + 1]:
            value = form.at(n_layers)
            distance = measured.distance(value)
            if best is None or distance < best[0]:
                best = distance, value, found.shape, n_layers
    if best is not None and best[0]:
        _, value, shape, n_layers = best
        nearest = batch_size / value if constraint.figure == DECODE_RATE else value
        yield ConstraintFailure(constraint, alone, nearest, shape.sizes(n_layers))
