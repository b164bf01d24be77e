"""From goals to a report: the search, the ranking, and what is in the way where nothing is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from tinylm_cli.analysis.design.axes import axes
from tinylm_cli.analysis.design.nearest import Miss, in_the_way
from tinylm_cli.analysis.design.rank import Candidate, front, of_front, ranked
from tinylm_cli.analysis.design.search import Bound, search
from tinylm_cli.analysis.design.space import MEASURES, Shape, Space
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.design import Aim, Design, DesignReport, Obstacle, Sizes


class Goal(NamedTuple):
    """What is asked of a figure.

    Attributes:
        figure: A key of ``MEASURES``.
        wanted: A value to come near, or the most that is allowed.
        tolerance: How far the figure may be from it, as a share of it; None where ``wanted`` is the most allowed.
    """

    figure: str
    wanted: int
    tolerance: float | None = None


def analyse_design(
    space: Space, goals: Sequence[Goal], *, top: int, tolerance: float, front_only: bool = False
) -> DesignReport:
    """Return the models of a space that meet every goal, the best first.

    Args:
        space: What is searched, whole.
        goals: At least one. Where all are limits, what is wanted beside is the most parameters they leave room for.
        top: How many models to return at most.
        tolerance: How far below the most parameters a model may be, where that is what is wanted.
        front_only: Leave out those that another beats.
    """
    aims = [_aim(goal) for goal in goals]
    if all(aim.tolerance is None for aim in aims):
        aims += _largest(space, aims, tolerance)
    wanted = [aim for aim in aims if aim.tolerance is not None]
    candidates = list(_candidates(space, aims, wanted)) if wanted else []
    best = front([of_front(each) for each in candidates])
    order = ranked(candidates, space.family.usual)
    shown = [(rank, each) for rank, each in enumerate(order, 1) if not front_only or of_front(each) in best][:top]
    return DesignReport(
        family=space.family.name,
        title=space.family.title,
        source=space.family.source,
        vocab_size=space.vocab_size,
        max_len=space.max_len,
        tie_weights=space.tie_weights,
        seq_len=space.seq_len,
        dtype=space.given.dtype,
        aims=tuple(aims),
        axes=tuple(axes(space.grid, space.family)),
        candidates=space.count(),
        matches=len(candidates),
        front=sum(of_front(each) in best for each in candidates),
        designs=tuple(
            Design(
                rank=rank,
                sizes=_sizes(each.shape, each.n_layers),
                figures=each.figures,
                error=each.error,
                on_front=of_front(each) in best,
                config=space.config(each.shape, each.n_layers).model_dump(),
            )
            for rank, each in shown
        ),
        obstacles=() if candidates else tuple(_obstacles(space, aims)),
    )


def designed(design: Design, aims: Sequence[Aim]) -> ModelConfig:
    """Return a design as a config, known by the size that was asked for, if one was."""
    stated = next((aim.wanted for aim in aims if aim.figure == "total_params" and aim.chosen), None)
    return ModelConfig.model_validate({**design.config, "nominal_params": stated})


def _aim(goal: Goal) -> Aim:
    figure, wanted, tolerance = goal
    margin = _margin(wanted, tolerance or 0)
    least = 0 if tolerance is None else wanted - margin
    return Aim(figure, FIGURES[figure].unit, wanted, tolerance, least, wanted + margin, chosen=True)


def _margin(wanted: int, tolerance: float) -> int:
    return int(wanted * Fraction(str(tolerance)))


def _largest(space: Space, limits: Sequence[Aim], tolerance: float) -> Iterator[Aim]:
    """Yield as an aim the most parameters that limits leave room for; nothing where they leave none."""
    name = "total_params"
    most = max((f.forms[0].at(f.depths[-1]) for f in search(space, _bounds(limits), [name])), default=None)
    if most is not None:
        yield Aim(name, FIGURES[name].unit, most, tolerance, most - _margin(most, tolerance), most, chosen=False)


def _bounds(aims: Sequence[Aim]) -> list[Bound]:
    return [Bound(aim.figure, aim.least, aim.most) for aim in aims]


def _candidates(space: Space, aims: Sequence[Aim], wanted: Sequence[Aim]) -> Iterator[Candidate]:
    for found in search(space, _bounds(aims), list(MEASURES)):
        for n_layers in found.depths:
            figures = {name: form.at(n_layers) for name, form in zip(MEASURES, found.forms, strict=True)}
            error = max((figures[aim.figure] / aim.wanted - 1 for aim in wanted), key=abs)
            yield Candidate(found.shape, n_layers, figures, error)


def _obstacles(space: Space, aims: Sequence[Aim]) -> Iterator[Obstacle]:
    by_bound = dict(zip(_bounds(aims), aims, strict=True))
    wanted = [bound for bound, aim in by_bound.items() if aim.tolerance is not None]
    for miss in in_the_way(space, wanted, [bound for bound in by_bound if bound not in wanted]):
        yield _obstacle(miss, by_bound[miss.bound])


def _obstacle(miss: Miss, aim: Aim) -> Obstacle:
    return Obstacle(aim, miss.alone, miss.value, _sizes(miss.shape, miss.n_layers))


def _sizes(shape: Shape, n_layers: int) -> Sizes:
    return Sizes(shape.d_model, n_layers, shape.n_heads, shape.n_kv_heads, shape.d_head, shape.d_ff)
