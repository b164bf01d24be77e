"""What is in the way where nothing in a space keeps to every bound."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import Value
from tinylm_cli.analysis.design.search import Bound, search
from tinylm_cli.analysis.design.search_space import Shape, Space


class Miss(NamedTuple):
    """A bound that stands in the way.

    Attributes:
        bound: The bound.
        alone: Whether nothing keeps to it even by itself.
        value: The value of its figure that comes nearest: alone among all; else, of what is wanted, among those within
            the limits, and of a limit, among those with what is wanted.
        shape: The sizes of a model with that value.
        n_layers: Its depth.
    """

    bound: Bound
    alone: bool
    value: Value
    shape: Shape
    n_layers: int


def in_the_way(space: Space, wanted: Sequence[Bound], limits: Sequence[Bound]) -> list[Miss]:
    """Return the bounds that, by themselves, nothing keeps to; else those that nothing keeps to beside others.

    Args:
        space: What is searched.
        wanted: What figures must be near.
        limits: What they may be at most; these and ``wanted`` hold together nowhere in the space.
    """
    alone = [bound for bound in (*wanted, *limits) if next(search(space, [bound]), None) is None]
    if alone:
        return [miss for bound in alone for miss in _nearest(space, bound, [], alone=True)]
    found: list[Miss] = []
    for bound in (*wanted, *limits):
        others = [other for other in (*wanted, *limits) if other != bound]
        beside = wanted if bound in limits and wanted else others
        found += _nearest(space, bound, beside, alone=False)
    return found


def _nearest(space: Space, bound: Bound, others: Sequence[Bound], *, alone: bool) -> Iterator[Miss]:
    """Yield what comes nearest to ``bound`` of those that keep to ``others``, if none gets there."""
    best: Miss | None = None
    for found in search(space, others, [bound.figure]):
        (form,) = found.forms
        above = bisect_left(found.depths, bound.least, key=form.at)
        for n_layers in found.depths[max(above - 1, 0) : above + 1]:
            value = form.at(n_layers)
            if best is None or bound.distance(value) < bound.distance(best.value):
                best = Miss(bound, alone, value, found.shape, n_layers)
    if best is not None and bound.distance(best.value):
        yield best
