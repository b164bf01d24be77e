"""The whole of a space, searched: every model that keeps to its bounds, and none other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import Form, Value, heads_of
from tinylm_cli.analysis.design.measures import forms
from tinylm_cli.analysis.design.search_space import Shape, Space


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

    def shallow(self, form: Form, depths: range) -> range:
        """Return the first of ``depths``, up to where the figure, which never falls with depth, is too large.

        Looked for from the deepest on, in steps that double: where the search comes from a narrower shape, it is near.
        """
        if self.most is None or not depths or form.at(depths[-1]) <= self.most:
            return depths
        too_deep, step = len(depths) - 1, 1
        while too_deep:
            nearer = max(too_deep - step, 0)
            if form.at(depths[nearer]) <= self.most:
                return depths[: bisect_right(depths, self.most, lo=nearer + 1, hi=too_deep, key=form.at)]
            too_deep, step = nearer, 2 * step
        return depths[:0]

    def deep(self, form: Form, depths: range) -> range:
        """Return the last of ``depths``, from where the figure is large enough."""
        return depths[bisect_left(depths, self.least, key=form.at) :] if self.least > 0 else depths

    def wide(self, form: Form, d_ffs: range, deepest: int) -> range:
        """Return the last of ``d_ffs``, from where the figure of the deepest is large enough."""
        return d_ffs[bisect_left(d_ffs, self.least, key=lambda d_ff: form.fix(d_ff).at(deepest)) :]


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

    No depth is tried out: the bounds of a figure are looked up in its values, which are in order. A wider feed-forward
    part leaves no depth that a narrower one has too many of, so from each to the next the depths that are shallow
    enough only end earlier; where none is left, none is for what is wider. Those so narrow that not even the deepest is
    large enough are passed over together. Figures never fall as a size grows, and nothing else is relied upon.

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
            for n_kv_heads in space.family.kv_heads(n_heads):
                general = made(heads=heads_of(n_heads, n_kv_heads))
                fixed = [form.fix(d_model).fix(n_heads).fix(n_kv_heads).lean() for form in general]
                here, others = fixed[: len(bounds)], fixed[len(bounds) :]
                wide, left = d_ffs, depths
                for bound, form in zip(bounds, here, strict=True):
                    wide = bound.wide(form, wide, depths[-1])
                for d_ff in wide:
                    there = [form.fix(d_ff) for form in here]
                    for bound, form in zip(bounds, there, strict=True):
                        left = bound.shallow(form, left)
                    if not left:
                        break
                    fit = left
                    for bound, form in zip(bounds, there, strict=True):
                        fit = bound.deep(form, fit)
                    if fit:
                        shape = Shape(d_head, d_model, n_heads, n_kv_heads, d_ff)
                        yield Found(shape, fit, tuple([form.fix(d_ff) for form in others]))
