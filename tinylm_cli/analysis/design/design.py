"""From goals to a report: the search, the ranking, and what is in the way where nothing is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tinylm_cli.analysis.design.axes import axes
from tinylm_cli.analysis.design.goals import DECODE_RATE, Goal, bound_of, trained_tokens
from tinylm_cli.analysis.design.infeasible import Miss, in_the_way
from tinylm_cli.analysis.design.measures import DECODE_SECONDS, measured
from tinylm_cli.analysis.design.ranking import Candidate, front, measures_of_front, of_front, ranked
from tinylm_cli.analysis.design.search import search
from tinylm_cli.analysis.design.search_space import Space
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.roofline import training_time
from tinylm_cli.analysis.setups import TYPICAL_UTILIZATION
from tinylm_cli.reports.design import Aim, ComputeBudget, Design, DesignReport, Obstacle, Purpose

SHOWN = (
    *("total_params", "active_params", "forward_flops_per_token", "train_flops_per_token"),
    *("kv_cache_bytes", "decode_read_bytes_per_token", "weights_bytes", "train_bytes_per_gpu", "serve_bytes"),
)
"""The figures that are told of each design."""


class Plan(NamedTuple):
    """What a model is for, beside its goals.

    Attributes:
        purpose: What has to fit in the memory of the space's GPU, if it has one.
        utilization: Share of that GPU's peak that training reaches, where that is the purpose.
        compute: What training may compute, if that is limited.
    """

    purpose: Purpose | None = None
    utilization: float = TYPICAL_UTILIZATION
    compute: ComputeBudget | None = None

    @property
    def trains(self) -> bool:
        """Whether the space's GPU, if it has one, is there to train the model."""
        return self.purpose != "serving"


def analyze_design(
    space: Space,
    goals: Sequence[Goal],
    *,
    top: int,
    tolerance: float,
    front_only: bool = False,
    plan: Plan = Plan(),  # noqa: B008 - immutable
) -> DesignReport:
    """Return the models of a space that meet every goal, the best first.

    Args:
        space: What is searched, whole.
        goals: At least one. Where all are limits, what is wanted beside is the most parameters they leave room for.
        top: How many models to return at most.
        tolerance: How far below the most parameters a model may be, where that is what is wanted.
        front_only: Leave out those that another beats.
        plan: What the model is for.

    Raises:
        UsageError: If the space's GPU does not multiply its type.
    """
    aims = [goal.aim() for goal in goals]
    if all(aim.tolerance is None for aim in aims):
        aims += _largest(space, aims, tolerance)
    wanted = [aim for aim in aims if aim.tolerance is not None]
    over = measures_of_front(space)
    candidates = list(_candidates(space, aims, wanted, over)) if wanted else []
    best = front([of_front(each, over) for each in candidates])
    order = enumerate(ranked(candidates, space.family), 1)
    told = ((rank, each, of_front(each, over) in best) for rank, each in order)
    shown = [one for one in told if one[2] or not front_only][:top]
    accelerator = space.accelerator
    return DesignReport(
        family=space.family.name,
        title=space.family.title,
        source=space.family.source,
        vocab_size=space.vocab_size,
        max_len=space.max_len,
        tie_weights=space.tie_weights,
        batch_size=space.serving.batch_size,
        seq_len=space.seq_len,
        dtype=space.training.dtype,
        optimizer=space.training.optimizer,
        recompute=space.training.recompute,
        accelerator=None if accelerator is None else accelerator.name,
        capacity_bytes=None if accelerator is None else accelerator.capacity_bytes,
        purpose=plan.purpose,
        utilization=plan.utilization if accelerator is not None and plan.trains else None,
        compute=plan.compute,
        n_experts=space.family.config.feed_forward.n_experts,
        aims=tuple(aims),
        axes=tuple(axes(space.grid, space.family)),
        candidates=space.count(),
        matches=len(candidates),
        front=sum(of_front(each, over) in best for each in candidates),
        designs=tuple(_design(space, plan, rank, each, on_front=marked) for rank, each, marked in shown),
        obstacles=() if candidates else tuple(_obstacles(space, aims)),
    )


def _largest(space: Space, limits: Sequence[Aim], tolerance: float) -> Iterator[Aim]:
    """Yield as an aim the most parameters that limits leave room for; nothing where they leave none."""
    name = "total_params"
    bounds = [bound_of(aim, space.serving.batch_size) for aim in limits]
    most = max((found.forms[0].at(found.depths[-1]) for found in search(space, bounds, [name])), default=None)
    if most is not None:
        yield Goal(name, most, tolerance, "room").aim()


def _candidates(space: Space, aims: Sequence[Aim], wanted: Sequence[Aim], over: Sequence[str]) -> Iterator[Candidate]:
    names = list(dict.fromkeys((*over, *(aim.figure for aim in wanted))))
    for found in search(space, [bound_of(aim, space.serving.batch_size) for aim in aims], names):
        for n_layers in found.depths:
            figures = {name: form.at(n_layers) for name, form in zip(names, found.forms, strict=True)}
            error = max((figures[aim.figure] / aim.wanted - 1 for aim in wanted), key=abs)
            yield Candidate(found.shape, n_layers, figures, error)


def _design(space: Space, plan: Plan, rank: int, candidate: Candidate, *, on_front: bool) -> Design:
    """Return a match as a design, every figure computed from its config anew."""
    config = space.config(candidate.shape, candidate.n_layers)
    figures = {name: FIGURES[name].compute(config, space.setups) for name in SHOWN}
    for name, value in candidate.figures.items():
        assert measured(name, space, config) == value, f"{name} in closed form is another"
    decoded = trained = tokens = None
    if plan.compute is not None:
        tokens = trained_tokens(plan.compute.compute_flops, figures["active_params"])
    if space.accelerator is not None:
        decoded = space.serving.batch_size / candidate.figures[DECODE_SECONDS]
    if space.accelerator is not None and plan.trains:
        trained = training_time(
            space.accelerator,
            space.training._replace(train_tokens=1, utilization=plan.utilization),
            train_flops_per_token=figures["train_flops_per_token"],
        ).tokens_per_second
    return Design(
        rank=rank,
        sizes=candidate.shape.sizes(candidate.n_layers),
        figures=figures,
        error=candidate.error,
        on_front=on_front,
        decode_tokens_per_second=decoded,
        train_tokens_per_second=trained,
        budget_tokens=tokens,
        config=config.model_dump(),
    )


def _obstacles(space: Space, aims: Sequence[Aim]) -> Iterator[Obstacle]:
    by_bound = {bound_of(aim, space.serving.batch_size): aim for aim in aims}
    wanted = [bound for bound, aim in by_bound.items() if aim.tolerance is not None]
    for miss in in_the_way(space, wanted, [bound for bound in by_bound if bound not in wanted]):
        yield _obstacle(miss, by_bound[miss.bound], space.serving.batch_size)


def _obstacle(miss: Miss, aim: Aim, batch_size: int) -> Obstacle:
    nearest = batch_size / miss.value if aim.figure == DECODE_RATE else miss.value
    return Obstacle(aim, miss.alone, nearest, miss.shape.sizes(miss.n_layers))
