"""Exact search: returns all models of the space that satisfy the constraints, and no others."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import ClosedForm, Value, head_sharing
from tinylm_cli.analysis.design.measures import closed_forms
from tinylm_cli.analysis.design.search_space import SearchSpace, Shape
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.constraint import Constraint

OnProgress = Callable[[str, int, int], None]
"""Called with the stage's name, the number of completed items and the total."""


class SearchTooLargeError(AnalysisError):
    """A search would have to return, or to plan, too many models."""


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """Report no progress."""


def as_stage(stage: str, on_progress: OnProgress) -> OnProgress:
    """Return a function that reports the progress of a search under the name ``stage``."""
    return lambda _searching, done, total: on_progress(stage, done, total)


class MatchingShape(NamedTuple):
    """A shape and the depths at which it satisfies every constraint."""

    shape: Shape  # its sizes
    depths: range  # at least one, in equal steps
    forms: tuple[ClosedForm, ...]  # the requested figures as functions of depth


def search(
    space: SearchSpace,
    constraints: Sequence[Constraint],
    figures: Sequence[str] = (),
    on_progress: OnProgress = no_progress,
    *,
    smallest_d_ff: bool = False,
) -> Iterator[MatchingShape]:
    """Yield every shape that satisfies all constraints at some depth, with all of those depths.

    The search relies only on monotonicity: no figure decreases as a size grows. The depths that satisfy a constraint
    are therefore consecutive, and bisection finds them. Widths whose smallest model exceeds an upper bound are skipped.
    As d_ff grows, the maximum depth within the upper bounds can only decrease; once no depth remains, larger values are
    skipped. Values of d_ff whose deepest model is below a lower bound are skipped by bisection. Figures of several
    counts, which take longer, are only computed for depths that satisfy the other constraints.

    Args:
        space: The models to search.
        constraints: Constraints on keys of ``MEASURES``.
        figures: Keys of ``MEASURES`` to return with each shape.
        on_progress: Called with the number of models searched, after each d_model and n_heads.
        smallest_d_ff: Whether to search only the smallest d_ff of each d_model, where every figure is smallest.
    """
    names = [each.figure for each in constraints]
    bounds = [(each.lower, each.upper) for each in constraints]
    searched, total = 0, space.n_models
    for d_head in space.d_heads:
        for d_model, n_heads in space.widths_and_heads(d_head):
            depths, d_ffs = space.depths(d_model), space.d_ffs(d_model)
            searched_d_ffs = d_ffs[:1] if smallest_d_ff else d_ffs
            for n_kv_heads in space.kv_heads(n_heads):
                by_d_ff = partial(_forms_by_d_ff, space, d_head, d_model, n_heads, n_kv_heads)
                constrained, requested = by_d_ff(names), None
                ordered = sorted(zip(bounds, constrained, strict=True), key=lambda each: each[1].n_counts)
                if any(upper is not None and form.fix(d_ffs[0]).at(depths[0]) > upper for (_, upper), form in ordered):
                    continue
                large_d_ffs, allowed_depths = searched_d_ffs, depths
                for (lower, _), form in ordered:
                    large_d_ffs = _d_ffs_above(lower, form, large_d_ffs, depths[-1])
                for d_ff in large_d_ffs:
                    matching = allowed_depths
                    for (lower, upper), form in ordered:
                        by_depth = form.fix(d_ff)
                        within = _depths_below(upper, by_depth, matching)
                        if len(within) < len(
                            matching
                        ):  # the deeper ones exceed the bound for every larger d_ff as well
                            deepest = allowed_depths.index(matching[len(within)])
                            allowed_depths = allowed_depths[:deepest]
                        matching = depths_above(lower, by_depth, within)
                        if not matching:
                            break
                    if not allowed_depths:
                        break
                    if matching:
                        requested = by_d_ff(figures) if requested is None else requested  # often, nothing matches
                        shape = Shape(d_head, d_model, n_heads, n_kv_heads, d_ff)
                        yield MatchingShape(shape, matching, tuple([form.fix(d_ff) for form in requested]))
            searched += len(space.kv_heads(n_heads)) * len(d_ffs) * len(depths)
            on_progress("searching", searched, total)


def depths_above(lower: Value, form: ClosedForm, depths: range) -> range:
    """Return the suffix of ``depths`` that reaches the lower bound."""
    return depths[_count(lambda n_layers: form.at(n_layers) < lower, depths) :] if lower > 0 else depths


def _depths_below(upper: Value | None, form: ClosedForm, depths: range) -> range:
    """Return the prefix of ``depths`` within the upper bound."""
    return depths if upper is None else depths[: _count(lambda n_layers: form.at(n_layers) <= upper, depths)]


def _count(holds: Callable[[int], bool], depths: range) -> int:
    """Return how many depths satisfy a condition that holds up to some depth, by galloping search from the deepest.

    For adjacent values of d_ff, the results are close.
    """
    stop, step = len(depths), 1
    while stop:
        start = max(stop - step, 0)
        if holds(depths[start]):
            return bisect_left(depths, True, lo=start + 1, hi=stop, key=lambda n_layers: not holds(n_layers))
        stop, step = start, 2 * step
    return 0


def _forms_by_d_ff(
    space: SearchSpace, d_head: int, d_model: int, n_heads: int, n_kv_heads: int, names: Sequence[str]
) -> list[ClosedForm]:
    """Return figures as functions of d_ff and depth."""
    forms = closed_forms(space, names, d_head, heads=head_sharing(n_heads, n_kv_heads))
    return [form.fix(d_model).fix(n_heads).fix(n_kv_heads).pruned() for form in forms]


def _d_ffs_above(lower: Value, form: ClosedForm, d_ffs: range, deepest: int) -> range:
    """Return the suffix of ``d_ffs`` whose deepest model reaches the lower bound."""
    if lower <= 0:
        return d_ffs
    return d_ffs[bisect_left(d_ffs, lower, key=lambda d_ff: form.fix(d_ff).at(deepest)) :]
