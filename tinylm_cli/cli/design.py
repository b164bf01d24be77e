"""``tinylm design``: from targets to configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from tinylm_cli.cli.design_options import (
    TOLERANCE,
    ActiveParamsOption,
    BudgetTokensOption,
    ComputeOption,
    Family,
    FamilyOption,
    FrontOption,
    GpuOption,
    MaxFlopsOption,
    MaxKvOption,
    MaxLenOption,
    MaxServeOption,
    MaxTrainOption,
    MaxWeightsOption,
    MinDecodeOption,
    ParamsOption,
    PickOption,
    Purpose,
    PurposeOption,
    TieOption,
    ToleranceOption,
    TopOption,
    UtilizationOption,
    VocabSizeOption,
    require_effect,
    typed,
)
from tinylm_cli.cli.design_output import designed_outcome, is_config
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import FormatOption, OutputOption, TableOption
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.training_options import HardwareOption, OptimizerOption, RecomputeOption
from tinylm_cli.cli.workload_options import (
    BatchSizeOption,
    SeqLenOption,
    Storage,
    StorageOption,
    read_amount,
    read_gpu,
    too_long,
)
from tinylm_cli.config.source import option_span
from tinylm_cli.errors import Label, UsageError
from tinylm_cli.reports.design import AIMS

if TYPE_CHECKING:
    from tinylm_cli.analysis.design.design import Plan
    from tinylm_cli.analysis.design.goals import Goal
    from tinylm_cli.analysis.design.search_space import Space


def design(
    context: typer.Context,
    params: ParamsOption = None,
    active_params: ActiveParamsOption = None,
    compute: ComputeOption = None,
    budget_tokens: BudgetTokensOption = None,
    tolerance: ToleranceOption = TOLERANCE,
    max_flops_per_token: MaxFlopsOption = None,
    max_kv_bytes: MaxKvOption = None,
    max_weights_bytes: MaxWeightsOption = None,
    max_train_bytes_per_gpu: MaxTrainOption = None,
    max_serve_bytes: MaxServeOption = None,
    min_decode_tokens_per_second: MinDecodeOption = None,
    gpu: GpuOption = None,
    purpose: PurposeOption = None,
    hardware: HardwareOption = None,
    utilization: UtilizationOption = 0.4,
    family: FamilyOption = Family.course,
    vocab_size: VocabSizeOption = None,
    max_len: MaxLenOption = None,
    tie: TieOption = None,
    top: TopOption = 10,
    front: FrontOption = False,
    pick: PickOption = None,
    batch_size: BatchSizeOption = 1,
    seq_len: SeqLenOption = None,
    dtype: StorageOption = Storage.bfloat16,
    optimizer: OptimizerOption = "adamw",
    recompute: RecomputeOption = "none",
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> CommandOutput:
    """Search for models that meet a size, a budget or a GPU's memory.

    Searches every shape of a stated grid, none left out, for those near a number of parameters and within limits; with
    limits alone, for the largest within them; with --gpu, for those that fit there. With -o or --pick, one of them is
    written as a config instead of the table, unless --format is given; an existing file is left alone without --force.
    Exits with 1 where there is none, and says what is in the way. docs/design.md explains grid and ranking.

    \b
    Examples:
      tinylm design --params 125M
      tinylm design --gpu rtx-4090 --family llama
      tinylm design --gpu h100 --for serving --family qwen3
      tinylm design --compute 1e21 -o mine.yaml
    """
    from tinylm_cli.analysis.setups import Setups

    setups = Setups.of(
        batch_size=batch_size, seq_len=seq_len, dtype=dtype.value, optimizer=optimizer, recompute=recompute
    )
    require_effect(
        typed(context),
        serving=purpose is Purpose.serving,
        as_config=is_config(pick, format_, output),
        every_figure=format_ in (Format.json, Format.csv),
    )
    if optimizer == "adamw_8bit":
        raise UsageError(
            "--optimizer adamw_8bit keeps small tensors in another way, so that its memory grows unevenly",
            help="search with another; then tinylm estimate --optimizer adamw_8bit tells what one takes",
        )

    from tinylm_cli.analysis.design.design import analyze_design
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.search_space import Space

    template = FAMILIES[family.value]
    member = template.config
    length = max_len or member.max_len
    sizes = (params, active_params)
    limits = (max_flops_per_token, max_kv_bytes, max_weights_bytes, max_train_bytes_per_gpu, max_serve_bytes)
    mistakes = ErrorCollector()
    wanted = mistakes.read(_amounts, (*sizes, *limits))
    spent = mistakes.read(_compute, compute, budget_tokens)
    mistakes.read(_require_length, seq_len, family, max_len, length)
    accelerator, _ = mistakes.read(read_gpu, gpu, hardware, dtype.value) or (None, ())
    mistakes.settle()
    assert wanted is not None, "else there were mistakes"

    tied = member.tie_weights if tie is None else tie
    space = Space(template, vocab_size or member.vocab_size, length, tied, setups, accelerator=accelerator)
    to_fit = None if accelerator is None else purpose or Purpose.training
    goals, plan = _goals(space, wanted, min_decode_tokens_per_second, tolerance, spent, to_fit, utilization)
    report = analyze_design(space, goals, top=max(top, pick or 1), tolerance=tolerance, front_only=front, plan=plan)
    outcome = designed_outcome(report, pick, hardware, format_, output, front_only=front)
    return outcome._replace(table=table)


def _goals(
    space: Space,
    wanted: Mapping[str, int],
    speed: float | None,
    tolerance: float,
    spent: tuple[int, int | None] | None,
    to_fit: Purpose | None,
    utilization: float,
) -> tuple[list[Goal], Plan]:
    """Return what is asked of a model's figures, and what the model is for.

    Args:
        space: What is searched.
        wanted: What was asked for of each figure.
        speed: The least that decoding should reach.
        tolerance: How far from a size a model may be.
        spent: Operations of a training and, where they are given, its tokens.
        to_fit: What has to fit in the memory of the space's GPU, if it has one.
        utilization: Share of the GPU's peak that training reaches.
    """
    from tinylm_cli.analysis.design.design import Plan
    from tinylm_cli.analysis.design.goals import DECODE_RATE, Goal, compute_budget, compute_goal, memory_goal

    near = ("total_params", "active_params")
    goals = [Goal(name, each, tolerance if name in near else None) for name, each in wanted.items()]
    budget = None
    if speed is not None:
        goals.append(Goal(DECODE_RATE, speed))
    if spent is not None:
        budget = compute_budget(*spent)
        goals.append(compute_goal(budget, space.family, tolerance))
    if space.accelerator is not None and to_fit is not None:
        goals.append(memory_goal(space.accelerator, to_fit.value))
    return goals, Plan(None if to_fit is None else to_fit.value, utilization, budget)


def _amounts(written: Sequence[str | None]) -> dict[str, int]:
    """Return the amounts that were asked for, by figure; ``written`` are those of ``AIMS`` in order, but for speed."""
    from tinylm_cli.analysis.figures import FIGURES

    mistakes = ErrorCollector()
    pairs = zip(AIMS.items(), written, strict=False)
    found = {
        name: mistakes.read(read_amount, asked.option, amount, FIGURES[name].kind)
        for (name, asked), amount in pairs
        if amount is not None
    }
    mistakes.settle()
    return {name: amount for name, amount in found.items() if amount is not None}


def _compute(compute: str | None, budget_tokens: str | None) -> tuple[int, int | None] | None:
    """Return the operations of a training and, where they are given, its tokens."""
    if compute is None:
        return None
    from tinylm_cli.config.amounts import MAX_COMPUTE

    mistakes = ErrorCollector()
    flops = mistakes.read(read_amount, "--compute", compute, "flops", "1e21", most=MAX_COMPUTE)
    tokens = mistakes.read(read_amount, "--budget-tokens", budget_tokens, "count", "15B") if budget_tokens else None
    mistakes.settle()
    assert flops is not None
    return flops, tokens


def _require_length(seq_len: int | None, family: Family, max_len: int | None, longest: int) -> None:
    """Refuse a length that no design reads, which is the family's unless ``max_len`` is given."""
    if seq_len is not None and seq_len > longest:
        place = option_span("--max-len", str(max_len))
        labels = (Label(place, f"max_len is {max_len}"),) if max_len is not None else ()
        which = str(longest) if max_len is not None else f"{longest} of the family {family}"
        raise too_long(seq_len, which, longest, f"{'write' if max_len else 'add'} --max-len {seq_len}", labels)
