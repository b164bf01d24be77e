"""The whole of a space, searched: every model that keeps to its bounds, and none other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import ClosedForm
from tinylm_cli.analysis.design.space import Shape, Space


class Bound(NamedTuple):
    """What a figure must lie between.

    Attributes:
        figure: A key of ``MEASURES``.
        least: The smallest value.
        most: The greatest; None for any.
    """

    figure: str
    least: int = 0
    most: int | None = None

    def distance(self, value: int) -> int:
        """Return how far a value is from the bound; 0 where it keeps to it."""
        return max(self.least - value, 0 if self.most is None else value - self.most, 0)

    def within(self, form: ClosedForm, depths: range) -> range:
        """Return those of ``depths`` that keep to the bound: neighbours, as the figure never falls with depth."""
        first = bisect_left(depths, self.least, key=form.at)
        last = len(depths) if self.most is None else bisect_right(depths, self.most, lo=first, key=form.at)
        return depths[first:last]


class Found(NamedTuple):
    """A shape, and at which depths it keeps to all bounds.

    Attributes:
        shape: Its sizes.
        depths: Consecutive, at least one.
        forms: The figures asked for, over depth.
    """

    shape: Shape
    depths: range
    forms: tuple[ClosedForm, ...]


def search(space: Space, bounds: Sequence[Bound], figures: Sequence[str] = ()) -> Iterator[Found]:
    """Yield every shape of the space that keeps to all bounds at some depth, with all of those depths.

    No depth is tried out: the bounds of a figure are looked up in its values, which are in order. Shapes are passed
    over together only where the smallest of them is too large for a bound or the largest too small; figures never fall
    as a size grows, so those in between are as well.

    Args:
        space: What to search.
        bounds: What must hold.
        figures: Keys of ``MEASURES`` to bring along.
    """
    for d_head in space.family.d_heads:
        made = space.forms([*(bound.figure for bound in bounds), *figures], d_head)
        whole, more = made[: len(bounds)], made[len(bounds) :]
        for d_model, n_heads in space.bodies(d_head):
            depths, d_ffs = space.grid.depths(d_model), space.d_ffs(d_model)
            forms = [form.fix(d_model).fix(n_heads) for form in whole]
            for n_kv_heads in space.family.kv_heads(n_heads):
                here = [form.fix(n_kv_heads) for form in forms]
                if not all(map(_reaches, bounds, here, [d_ffs] * len(here), [depths] * len(here))):
                    continue
                others = [form.fix(d_model).fix(n_heads).fix(n_kv_heads) for form in more]
                for d_ff in d_ffs:
                    fit = depths
                    for bound, form in zip(bounds, here, strict=True):
                        fit = bound.within(form.fix(d_ff), fit)
                    if fit:
                        shape = Shape(d_head, d_model, n_heads, n_kv_heads, d_ff)
                        yield Found(shape, fit, tuple(form.fix(d_ff) for form in others))


def _reaches(bound: Bound, form: ClosedForm, d_ffs: range, depths: range) -> bool:
    """Return whether some value between the smallest shape's and the largest's keeps to the bound."""
    smallest, largest = form.fix(d_ffs[0]).at(depths[0]), form.fix(d_ffs[-1]).at(depths[-1])
    return largest >= bound.least and (bound.most is None or smallest <= bound.most)
