"""The whole of a space, searched: every model that keeps to its bounds, and none other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import Form, Value
from tinylm_cli.analysis.design.measures import forms
from tinylm_cli.analysis.design.space import Shape, Space


class Bound(NamedTuple):
    """What a figure must lie between.

    Attributes:
        figure: A key of ``MEASURES``.
        least: The smallest value.
        most: The greatest; None for any.
    """

    figure: str
    least: Value = 0
    most: Value | None = None

    def distance(self, value: Value) -> Value:
        """Return how far a value is from the bound; 0 where it keeps to it."""
        return max(self.least - value, 0 if self.most is None else value - self.most, 0)

    def reached(self, form: Form, d_ffs: range, depths: range) -> range:
        """Return those of ``d_ffs`` that may keep to the bound at one of ``depths``: also neighbours."""
        return self._kept(d_ffs, lambda d_ff: form.fix(d_ff).at(depths[-1]), lambda d_ff: form.fix(d_ff).at(depths[0]))

    def within(self, form: Form, depths: range) -> range:
        """Return those of ``depths`` that keep to the bound: neighbours, as the figure never falls with depth."""
        return self._kept(depths, form.at, form.at)

    def _kept(self, sizes: range, largest: Callable[[int], Value], smallest: Callable[[int], Value]) -> range:
        """Return the sizes whose largest figure is large enough and whose smallest is small enough."""
        first, last = 0, len(sizes)
        if self.least > 0:
            first = bisect_left(sizes, self.least, key=largest)
        if self.most is not None and first < last and smallest(sizes[-1]) > self.most:
            last = bisect_right(sizes, self.most, lo=first, key=smallest)
        return sizes[first:last]


class Found(NamedTuple):
    """A shape, and at which depths it keeps to all bounds.

    Attributes:
        shape: Its sizes.
        depths: Consecutive, at least one.
        forms: The figures asked for, over depth.
    """

    shape: Shape
    depths: range
    forms: tuple[Form, ...]


def search(space: Space, bounds: Sequence[Bound], figures: Sequence[str] = ()) -> Iterator[Found]:
    """Yield every shape of the space that keeps to all bounds at some depth, with all of those depths.

    No depth is tried out: the bounds of a figure are looked up in its values, which are in order. Widths of the
    feed-forward part are passed over together only where the shallowest of one is too large for a bound, and so of all
    that are wider, or the deepest too small, and so of all that are narrower: figures never fall as a size grows.

    Args:
        space: What to search.
        bounds: What must hold.
        figures: Keys of ``MEASURES`` to bring along.
    """
    names = [*(bound.figure for bound in bounds), *figures]
    for d_head in space.family.d_heads:
        made = cache(partial(forms, space, names, d_head))
        for d_model, n_heads in space.bodies(d_head):
            depths, d_ffs = space.grid.depths(d_model), space.d_ffs(d_model)
            fixed = [form.fix(d_model).fix(n_heads) for form in made(one_head=n_heads == 1)]
            for n_kv_heads in space.family.kv_heads(n_heads):
                here = [form.fix(n_kv_heads).lean() for form in fixed[: len(bounds)]]
                reached = d_ffs
                for bound, form in zip(bounds, here, strict=True):
                    reached = bound.reached(form, reached, depths)
                others = [form.fix(n_kv_heads).lean() for form in fixed[len(bounds) :]]
                for d_ff in reached:
                    fit = depths
                    for bound, form in zip(bounds, here, strict=True):
                        fit = bound.within(form.fix(d_ff), fit)
                    if fit:
                        shape = Shape(d_head, d_model, n_heads, n_kv_heads, d_ff)
                        yield Found(shape, fit, tuple(form.fix(d_ff) for form in others))
