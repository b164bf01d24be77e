"""Search a grid for the models that satisfy every constraint, rank them and report them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

from tinylm_cli.analysis.design import DEFAULT_TOLERANCE, DEFAULT_TOP
from tinylm_cli.analysis.design.constraints import DECODE_RATE, searchable, trained_tokens, within
from tinylm_cli.analysis.design.infeasible import find_failures, find_relaxations
from tinylm_cli.analysis.design.measures import DECODE_SECONDS, TRAIN_BYTES, has_closed_form_memory, measured
from tinylm_cli.analysis.design.planned_memory import candidates_within, smallest_candidate
from tinylm_cli.analysis.design.ranking import Candidate, front_figures, front_point, pareto_front, ranked
from tinylm_cli.analysis.design.search import OnProgress, SearchTooLargeError, as_stage, no_progress, search
from tinylm_cli.analysis.design.search_space import SearchSpace
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.parallel.layouts import with_micro_batches
from tinylm_cli.analysis.parallel.plan import plan
from tinylm_cli.analysis.roofline import training_time
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.choices import Purpose
from tinylm_cli.reports.constraint import Constraint, ConstraintFailure
from tinylm_cli.reports.design import ComputeBudget, Design, DesignReport
from tinylm_cli.reports.plan import Plan

SHOWN = (
    *("total_params", "active_params", "forward_flops_per_token", "train_flops_per_token"),
    *("kv_cache_bytes", "decode_read_bytes_per_token", "weights_bytes", TRAIN_BYTES, "serve_bytes"),
)
"""The figures of each design."""

MAX_CANDIDATES = 70_000
"""Maximum number of models that a search ranks: about 2 seconds."""


class DesignRequest(NamedTuple):
    """A search and its constraints.

    Attributes:
        space: The models to search, and how they are trained and served.
        constraints: At least one. If none is a target, the maximum parameter count in the bounds becomes the target.
        tolerance: Maximum relative deviation from that maximum.
        top: Designs to return.
        front_only: Whether to return only the Pareto front.
        purpose: Workload that must fit in the memory of the GPU, if one is named.
        compute: The compute budget, if there is one.
        accelerators: GPUs that a relaxation may suggest if the memory of the GPU is insufficient.
    """

    space: SearchSpace
    constraints: tuple[Constraint, ...]
    tolerance: float = DEFAULT_TOLERANCE
    top: int = DEFAULT_TOP
    front_only: bool = False
    purpose: Purpose | None = None
    compute: ComputeBudget | None = None
    accelerators: tuple[Accelerator, ...] = ()


def find_designs(request: DesignRequest, on_progress: OnProgress = no_progress) -> DesignReport:
    """Return the models that satisfy every constraint, best first; if none match, the failures and relaxations.

    If the stages of a pipeline have layers of several kinds, see :mod:`.planned_memory`.

    Args:
        request: The search and its constraints.
        on_progress: Called as the search proceeds.

    Raises:
        AnalysisError: If there is no model to search, a decode throughput is given without a GPU, memory that must be
            planned is limited without a target, or too many models match.
        UsageError: If the GPU does not support matmuls in the setup's dtype.
    """
    _check(request)
    space = request.space
    constraints, found = _match(request, space, request.constraints, on_progress)
    candidates = list(found)
    figures = front_figures(space)
    front = pareto_front([front_point(each, figures) for each in candidates])
    ordered = enumerate(ranked(candidates, space.family), 1)
    order = ((rank, each, front_point(each, figures) in front) for rank, each in ordered)
    shown = [each for each in order if each[2] or not request.front_only][: request.top]
    failures = [] if candidates else _failures(space, constraints, on_progress)
    relaxation = count(1)

    def match(space: SearchSpace, constraints: Sequence[Constraint]) -> Iterable[Candidate]:
        stage = f"trying relaxation {next(relaxation)}"
        return _match(request, space, constraints, as_stage(stage, on_progress))[1]

    def designs() -> Iterator[Design]:
        for done, (rank, each, on_front) in enumerate(shown):
            on_progress("computing figures", done, len(shown))
            yield _design(request, rank, each, on_front=on_front)

    accelerator, training = space.accelerator, space.training
    is_single_gpu = training.n_gpus == 1
    return DesignReport(
        family=space.family.name,
        title=space.family.title,
        source=space.family.source,
        vocab_size=space.vocab_size,
        max_len=space.max_len,
        tie_weights=space.tie_weights,
        batch_size=training.batch_size,
        seq_len=space.seq_len,
        dtype=training.dtype,
        optimizer=training.optimizer,
        recompute=training.recompute,
        accelerator=None if accelerator is None else accelerator.name,
        capacity_bytes=None if accelerator is None else accelerator.capacity_bytes,
        n_gpus=training.n_gpus,
        layout=None if is_single_gpu else space.layout,
        purpose=request.purpose,
        utilization=training.utilization if request.purpose == "training" and is_single_gpu else None,
        compute=request.compute,
        n_experts=space.family.config.feed_forward.n_experts,
        constraints=tuple(constraints),
        grid=tuple(space.axes()),
        candidates=space.n_models,
        matches=len(candidates),
        pareto_front=sum(front_point(each, figures) in front for each in candidates),
        designs=tuple(designs()),
        failures=tuple(failures),
        relaxations=tuple(find_relaxations(space, constraints, failures, match, request.accelerators)),
    )


def _check(request: DesignRequest) -> None:
    """Reject constraints that the search cannot decide."""
    space, constraints = request.space, request.constraints
    if reason := space.why_empty():
        ranges = "change the range of d_model, n_layers or d_head"
        remedy = ranges if space.layout.n_gpus == 1 else f"{ranges}, or the plan"
        raise AnalysisError(f"there is no model to search: {reason}", help=remedy)
    if space.accelerator is None and any(each.figure == DECODE_RATE for each in constraints):
        raise AnalysisError("a decode throughput needs a GPU", help="add the GPU")
    _, planned = _split(space, constraints)
    if planned and not any(each.is_target for each in constraints):
        message = "pipeline stages with different kinds of layers can only be searched for a given size"
        raise AnalysisError(message, help="add a number of parameters or a compute budget, or use no pipeline stages")


def _match(
    request: DesignRequest, space: SearchSpace, constraints: Sequence[Constraint], on_progress: OnProgress
) -> tuple[list[Constraint], Iterable[Candidate]]:
    """Return the constraints, and every model that satisfies all of them; those with closed forms as they are found.

    Without a target, the maximum number of parameters within the bounds is added as the target.
    """
    constraints = list(constraints)
    if not any(each.is_target for each in constraints):
        measures = [searchable(each, space.serving.batch_size) for each in constraints]
        found = search(space, measures, ["total_params"], as_stage("finding the largest", on_progress))
        largest = max((each.forms[0].at(each.depths[-1]) for each in found), default=None)
        if largest is None:
            return constraints, []
        constraints.append(within("total_params", largest, request.tolerance, "largest"))
    closed, planned = _split(space, constraints)
    candidates = _candidates(space, closed, on_progress)
    if not planned:
        return constraints, candidates
    limit = min(each.value for each in planned)
    return constraints, candidates_within(space, list(candidates), limit, on_progress)


def _split(space: SearchSpace, constraints: Sequence[Constraint]) -> tuple[list[Constraint], list[Constraint]]:
    """Return the constraints with closed forms, and those on memory for which models must be planned."""
    planned = [each for each in constraints if each.figure == TRAIN_BYTES and not has_closed_form_memory(space)]
    return [each for each in constraints if each not in planned], planned


def _candidates(space: SearchSpace, constraints: Sequence[Constraint], on_progress: OnProgress) -> Iterator[Candidate]:
    targets = [each for each in constraints if each.is_target]
    names = list(dict.fromkeys((*front_figures(space), *(each.figure for each in targets))))
    measures = [searchable(each, space.serving.batch_size) for each in constraints]
    n_found = 0
    for found in search(space, measures, names, on_progress):
        n_found += len(found.depths)
        if n_found > MAX_CANDIDATES:
            raise SearchTooLargeError(
                f"more than {MAX_CANDIDATES:,} of {space.n_models:,} models satisfy the constraints",
                help="narrow the search, for example with a smaller tolerance or fewer values of d_model",
            )
        for n_layers in found.depths:
            figures = {name: form.at(n_layers) for name, form in zip(names, found.forms, strict=True)}
            deviation = max((figures[each.figure] / each.value - 1 for each in targets), key=abs)
            yield Candidate(found.shape, n_layers, figures, deviation)


def _failures(
    space: SearchSpace, constraints: Sequence[Constraint], on_progress: OnProgress
) -> list[ConstraintFailure]:
    closed, planned = _split(space, constraints)
    found = list(_candidates(space, closed, on_progress)) if planned else []
    if not found:
        return find_failures(space, closed, on_progress)
    smallest, needed_bytes = smallest_candidate(space, found)
    tightest = min(planned, key=lambda each: each.value)
    return [ConstraintFailure(tightest, False, needed_bytes, smallest.shape.sizes(smallest.n_layers))]


def _design(request: DesignRequest, rank: int, candidate: Candidate, *, on_front: bool) -> Design:
    """Return a match as a design, with every figure computed from its config."""
    space, training, accelerator = request.space, request.space.training, request.space.accelerator
    config = space.config(candidate.shape, candidate.n_layers)
    planned = None
    if training.n_gpus > 1:
        planned = plan(config, training, with_micro_batches(config, training, space.layout), accelerator)
    of_plan = {} if planned is None else {TRAIN_BYTES: planned.peak_stage.total_bytes}
    figures = {
        name: of_plan[name] if name in of_plan else FIGURES[name].compute(config, space.setups) for name in SHOWN
    }
    for name, value in candidate.figures.items():
        computed = figures[name] if name in figures else measured(name, space, config)
        assert value == computed, f"the closed form of {name} differs"
    compute, decode_rate = request.compute, None
    if accelerator is not None:
        decode_rate = space.serving.batch_size / candidate.figures[DECODE_SECONDS]
    return Design(
        rank=rank,
        sizes=candidate.shape.sizes(candidate.n_layers),
        figures=figures,
        deviation=candidate.deviation,
        on_pareto_front=on_front,
        decode_tokens_per_second=decode_rate,
        train_tokens_per_second=_train_rate(space, figures, planned) if request.purpose == "training" else None,
        train_tokens=None if compute is None else trained_tokens(compute.compute_flops, figures["active_params"]),
        config=config.model_dump(),
    )


def _train_rate(space: SearchSpace, figures: dict[str, int], planned: Plan | None) -> float | None:
    """Return the training throughput in tokens per second: from the plan of several GPUs, or from the utilization."""
    if space.accelerator is None:
        return None
    if planned is not None:
        return None if planned.step_seconds is None else planned.tokens_per_step / planned.step_seconds
    one_token = space.training._replace(train_tokens=1)
    return training_time(
        space.accelerator, one_token, train_flops_per_token=figures["train_flops_per_token"]
    ).tokens_per_second
