"""``tinylm design``: from targets to configs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import typer

from tinylm_cli.analysis.setups import Setups
from tinylm_cli.cli.design_options import OPTIONS, DesignOptions, require_effect
from tinylm_cli.cli.design_output import design_output
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import (
    ReportOutput,
    as_typed,
    explicit_arguments,
    explicit_options,
    option_span,
    wrong_value,
)
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.progress import progress_bar
from tinylm_cli.cli.training_options import AUTO
from tinylm_cli.cli.wording import as_options, option_name
from tinylm_cli.cli.workload_options import read_amount, read_gpu, too_long
from tinylm_cli.config.amounts import MAX_COMPUTE
from tinylm_cli.config.choices import DEFAULT_DTYPE
from tinylm_cli.errors import Label, UsageError

if TYPE_CHECKING:
    from tinylm_cli.analysis.design.families import DesignFamily
    from tinylm_cli.analysis.design.find_designs import DesignRequest
    from tinylm_cli.analysis.design.search_space import Grid
    from tinylm_cli.config.hardware import Accelerator
    from tinylm_cli.reports.constraint import Constraint
    from tinylm_cli.reports.design import ComputeBudget, DesignReport
    from tinylm_cli.reports.plan import Layout

_RANGE = re.compile(r"([0-9]{1,6})(?:\.\.([0-9]{1,6})(?::([0-9]{1,6}))?)?")
_MAX_VALUES = 1000
_MAX_D_HEAD = 1024


def design(context: typer.Context, options: DesignOptions, to: ReportOutput) -> CommandOutput:
    """Search for model shapes of a given size, compute or memory budget.

    Searches a grid of shapes for models that meet a target such as --params, within limits such as --max-kv-bytes. With
    limits only, it finds the largest models within them; with --gpu, the largest models that fit in GPU memory. -o and
    --pick write one design as a config instead of the table. If no design is found, the command suggests limits to
    relax and exits with 1. docs/design.md explains the grid and the ranking.

    \b
    Examples:
      tinylm design --params 125M
      tinylm design --gpu rtx-4090 --family llama
      tinylm design --gpu h100 --for serving --family qwen3
      tinylm design --params 8B --family llama --gpus 8
      tinylm design --compute 1e21 -o mine.yaml
    """
    from tinylm_cli.analysis.design.find_designs import find_designs

    require_effect(explicit_options(context), options, to)
    request = _request(options)
    with progress_bar() as bar:
        report = find_designs(request, bar.advance_to)
    if not report.designs and report.relaxations:
        following = next_step("design, no match", "design", _relaxed(context, report))
        return design_output(report, options, to)._replace(next_step=following)
    return design_output(report, options, to)


def _relaxed(context: typer.Context, report: DesignReport) -> str:
    """Return the arguments of the search with the first change after which a model matches."""
    settings = report.relaxations[0].settings(report.constraints)
    searched = [each.name for each in fields(DesignOptions)]
    kept = explicit_arguments(context, searched, without=[option_name(each.name) for each in settings])
    return " ".join(filter(None, (kept, as_options(*settings))))


def _request(options: DesignOptions) -> DesignRequest:
    """Read the options into one record.

    Raises:
        ConfigError: If options are invalid; contains every error.
        UsageError: If a range is malformed.
        AnalysisError: If the plan does not divide the family.
    """
    from tinylm_cli.analysis.design.constraints import fits
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.find_designs import DesignRequest
    from tinylm_cli.analysis.design.search_space import SearchSpace
    from tinylm_cli.cli.plan_option import states_micro_batches

    family = FAMILIES[options.family]
    member = family.config
    max_len = options.max_len or member.max_len
    vocab_size = options.vocab_size or member.vocab_size
    errors = ErrorCollector()
    constraints = errors.read(_constraints, options) or []
    compute = errors.read(_compute_budget, options)
    errors.read(_require_length, options, max_len)
    gpus = errors.read(read_gpu, options.gpu, options.hardware, options.dtype)
    accelerator, accelerators = gpus or (None, ())
    layout = errors.read(_layout, options, family, accelerator)
    errors.raise_if_any()

    purpose = None if accelerator is None else options.purpose or "training"
    if compute is not None:
        from tinylm_cli.analysis.design.constraints import compute_target

        constraints.append(compute_target(compute, family, options.tolerance))
    if accelerator is not None and purpose is not None:
        constraints.append(fits(accelerator, purpose))
    setups = Setups.of(batch_size=options.batch_size, seq_len=options.seq_len, dtype=options.dtype or DEFAULT_DTYPE)
    training = setups.training._replace(
        optimizer=options.optimizer,
        recompute=options.recompute,
        utilization=options.utilization or setups.training.utilization,
        n_gpus=options.gpus,
        layout=layout,
        derives_micro_batches=options.plan is None or not states_micro_batches(options.plan),
    )
    space = SearchSpace(
        family=family,
        vocab_size=vocab_size,
        max_len=max_len,
        tie_weights=member.tie_weights if options.tie is None else options.tie,
        setups=setups._replace(training=training),
        grid=_grid(options),
        accelerator=accelerator,
    )
    top = max(options.top, options.pick or 1)
    return DesignRequest(
        space, tuple(constraints), options.tolerance, top, options.front, purpose, compute, accelerators
    )


def _constraints(options: DesignOptions) -> list[Constraint]:
    """Return the constraints from the options."""
    from tinylm_cli.analysis.design.constraints import DECODE_RATE, constraint_on
    from tinylm_cli.analysis.figures import FIGURES

    errors = ErrorCollector()
    values: dict[str, float | None] = {
        figure: errors.read(read_amount, OPTIONS[figure], written, FIGURES[figure].kind)
        for figure, written in options.amounts.items()
        if written is not None
    }
    errors.raise_if_any()
    values[DECODE_RATE] = options.min_decode_tokens_per_second
    return [constraint_on(name, value, options.tolerance) for name, value in values.items() if value is not None]


def _compute_budget(options: DesignOptions) -> ComputeBudget | None:
    if options.compute is None:
        return None
    from tinylm_cli.analysis.design.constraints import compute_budget

    errors = ErrorCollector()
    flops = errors.read(read_amount, "--compute", options.compute, "flops", "1e21", maximum=MAX_COMPUTE)
    tokens = None
    if options.train_tokens is not None:
        tokens = errors.read(read_amount, "--train-tokens", options.train_tokens, "count", "15B")
    errors.raise_if_any()
    assert flops is not None
    return compute_budget(flops, tokens)


def _require_length(options: DesignOptions, max_len: int) -> None:
    """Reject a sequence longer than max_len."""
    seq_len, stated = options.seq_len, options.max_len
    if seq_len is not None and seq_len > max_len:
        labels = (Label(option_span("--max-len", as_typed(stated)), f"max_len is {stated}"),) if stated else ()
        which = str(max_len) if stated is not None else f"{max_len} of the family {options.family}"
        raise too_long(seq_len, which, max_len, f"{'write' if stated else 'add'} --max-len {seq_len}", labels)


def _layout(options: DesignOptions, family: DesignFamily, accelerator: Accelerator | None) -> Layout | None:
    """Return the layout of several GPUs: the plan, or tensor parallelism over each node."""
    if options.gpus == 1:
        return None
    from tinylm_cli.analysis.design.search_space import node_layout
    from tinylm_cli.cli.plan_option import read_layout

    if options.plan == AUTO:
        raise UsageError("--plan auto needs a model", help="write a plan such as tp=8, or remove --plan")
    if options.plan is not None:
        return read_layout(options.plan, options.gpus, None, None)
    return node_layout(options.gpus, family, accelerator)


def _grid(options: DesignOptions) -> Grid:
    """Return the grid to search."""
    from tinylm_cli.analysis.design.closed_form import MIN_LAYERS
    from tinylm_cli.analysis.design.search_space import GRID
    from tinylm_cli.config.base import MAX_DIM, MAX_N_LAYERS

    grid = GRID
    if options.d_model is not None:
        grid = replace(grid, d_models=(_range("--d-model", options.d_model, 2, MAX_DIM, "32..256:32"),))
    if options.n_layers is not None:
        n_layers = _range("--n-layers", options.n_layers, MIN_LAYERS, MAX_N_LAYERS, "2..16")
        grid = replace(grid, n_layers=n_layers, aspects=None)
    if options.d_head is not None:
        grid = replace(grid, d_heads=tuple(_numbers("--d-head", options.d_head)))
    return grid


def _range(option: str, written: str, minimum: int, maximum: int, example: str) -> range:
    match = _RANGE.fullmatch(written.strip())
    help_ = f"for example {option} {example}"
    if match is None:
        raise wrong_value(option, written, "expected a range or a number", help_)
    first = int(match[1])
    last, step = int(match[2] or first), int(match[3] or 1)
    if step == 0:
        raise wrong_value(option, written, "the step must be positive", help_, "out-of-range")
    if not minimum <= first <= last <= maximum:
        raise wrong_value(option, written, f"expected a range from {minimum} to {maximum:,}", help_, "out-of-range")
    values = range(first, last + 1, step)
    if len(values) > _MAX_VALUES:
        problem = f"at most {_MAX_VALUES:,} values are searched"
        raise wrong_value(option, written, problem, "use larger steps", "out-of-range")
    return values


def _numbers(option: str, written: str) -> Iterator[int]:
    for text in sorted(set(written.split(",")), key=lambda text: (len(text), text)):
        if not re.fullmatch("[0-9]{1,4}", text.strip()) or not 1 <= int(text) <= _MAX_D_HEAD:
            raise wrong_value(
                option, written, f"expected numbers from 1 to {_MAX_D_HEAD:,}", f"for example {option} 16,32"
            )
        yield int(text)
