"""``tinylm design``: from targets to configs, and what varying a field does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinylm_cli.cli.conditions import (
    BatchSizeOption,
    SeqLenOption,
    Storage,
    StorageOption,
    read_amount,
    require_multiplied,
    too_long,
)
from tinylm_cli.cli.design_options import (
    TOLERANCE,
    ActiveParamsOption,
    BudgetTokensOption,
    ComputeOption,
    Family,
    FamilyOption,
    FigureOption,
    FrontOption,
    GpuOption,
    HardwareOption,
    MaxFlopsOption,
    MaxKvOption,
    MaxLenOption,
    MaxServeOption,
    MaxTrainOption,
    MaxWeightsOption,
    MinDecodeOption,
    OptimizerOption,
    ParamsOption,
    PickOption,
    Purpose,
    PurposeOption,
    RecomputeOption,
    TieOption,
    ToleranceOption,
    TopOption,
    UtilisationOption,
    VaryConfigOption,
    VaryOption,
    VocabSizeOption,
    require_effect,
)
from tinylm_cli.cli.designed import OPTIONS, designed_outcome
from tinylm_cli.cli.gathered import Gathered
from tinylm_cli.cli.options import FormatOption, OutputOption, SetOption, TableOption
from tinylm_cli.cli.outcome import Format, Outcome
from tinylm_cli.cli.vary import varied_outcome
from tinylm_cli.config.source import option_span
from tinylm_cli.errors import Label, UsageError

if TYPE_CHECKING:
    from tinylm_cli.config.amounts import AmountKind
    from tinylm_cli.config.hardware import Accelerator


def design(
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
    utilisation: UtilisationOption = 0.4,
    family: FamilyOption = Family.course,
    vocab_size: VocabSizeOption = None,
    max_len: MaxLenOption = None,
    tie: TieOption = None,
    top: TopOption = 10,
    front: FrontOption = False,
    pick: PickOption = None,
    config: VaryConfigOption = None,
    vary: VaryOption = None,
    figure: FigureOption = "total_params",
    batch_size: BatchSizeOption = 1,
    seq_len: SeqLenOption = None,
    dtype: StorageOption = Storage.bfloat16,
    optimizer: OptimizerOption = "adamw",
    recompute: RecomputeOption = "none",
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> Outcome:
    """Find the models that meet a target, the best first.

    Searches every shape of a stated grid, none left out, for those near a number of parameters and within limits; with
    limits alone, for the largest within them; with --gpu, for those that fit there. With -o or --pick, one of them is
    written as a config instead of the table. Exits with 1 where there is none, and says what is in the way.
    docs/design.md explains grid and ranking.

    With --vary, shows what one field or two of an existing config do to its figures.

    \b
    Examples:
      tinylm design --params 125M
      tinylm design --gpu rtx-4090 --family llama
      tinylm design --gpu h100 --for serving --family qwen3
      tinylm design --compute 1e21 -o mine.yaml
      tinylm design --config small --vary n_layers=4..24:4
    """
    from tinylm_cli.analysis.figures import Conditions

    given = Conditions(batch_size, seq_len, dtype.value, optimizer, recompute)
    amounts = {
        "total_params": params,
        "active_params": active_params,
        "forward_flops_per_token": max_flops_per_token,
        "kv_cache_bytes": max_kv_bytes,
        "weights_bytes": max_weights_bytes,
        "train_bytes_per_gpu": max_train_bytes_per_gpu,
        "serve_bytes": max_serve_bytes,
    }
    aims = (*amounts.values(), min_decode_tokens_per_second, compute, gpu)
    if vary or config is not None:
        shaped = (pick, vocab_size, max_len, tie, budget_tokens, purpose, hardware)
        if any(each is not None for each in (*aims, *shaped)) or front or family is not Family.course:
            raise UsageError("--vary has no targets", help="leave out either --vary or what a design should meet")
        return varied_outcome(config, vary or [], set_ or [], figure, given, format_, output)._replace(table=table)
    if set_:
        raise UsageError("--set changes a --config that is varied", help="write a design with -o, and change that")
    if all(aim is None for aim in aims):
        raise UsageError("there is nothing to aim at", help="for example tinylm design --params 125M")
    sized = params is not None or active_params is not None
    require_effect(compute, budget_tokens, sized, gpu, hardware, purpose, min_decode_tokens_per_second, optimizer)

    from tinylm_cli.analysis.design.analyse import Plan, analyse_design
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.goals import Goal, compute_budget, compute_goal, memory_goal
    from tinylm_cli.analysis.design.space import Space

    template = FAMILIES[family.value]
    member = template.config
    length = max_len or member.max_len
    mistakes = Gathered()
    wanted = {
        name: mistakes.read(read_amount, OPTIONS[name], written, _kind(name))
        for name, written in amounts.items()
        if written is not None
    }
    spent = mistakes.read(_compute, compute, budget_tokens)
    mistakes.read(_require_length, seq_len, family, max_len, length)
    accelerator = mistakes.read(_accelerator, gpu, hardware, dtype)
    mistakes.settle()

    tied = member.tie_weights if tie is None else tie
    space = Space(template, vocab_size or member.vocab_size, length, tied, given, accelerator=accelerator)
    goals = [
        Goal(name, each, tolerance if name in ("total_params", "active_params") else None)
        for name, each in (*wanted.items(), ("decode_tokens_per_second", min_decode_tokens_per_second))
        if each is not None
    ]
    plan = Plan(utilisation=utilisation)
    if spent is not None:
        budget = compute_budget(*spent)
        plan = plan._replace(compute=budget)
        goals.append(compute_goal(budget, template, tolerance))
    if accelerator is not None:
        to_fit = purpose or Purpose.training
        plan = plan._replace(purpose=to_fit.value)
        goals.append(memory_goal(accelerator, to_fit.value))
    report = analyse_design(space, goals, top=max(top, pick or 1), tolerance=tolerance, front_only=front, plan=plan)
    return designed_outcome(report, pick, hardware, format_, output)._replace(table=table)


def _kind(name: str) -> AmountKind:
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.reports.figures import AMOUNT_KINDS

    return AMOUNT_KINDS[FIGURES[name].unit]


def _compute(compute: str | None, budget_tokens: str | None) -> tuple[int, int | None] | None:
    """Return the operations of a training and, where they are given, its tokens."""
    if compute is None:
        return None
    from tinylm_cli.config.amounts import MAX_COMPUTE

    mistakes = Gathered()
    flops = mistakes.read(read_amount, "--compute", compute, "flops", "1e21", most=MAX_COMPUTE)
    tokens = mistakes.read(read_amount, "--budget-tokens", budget_tokens, "count", "15B") if budget_tokens else None
    mistakes.settle()
    assert flops is not None
    return flops, tokens


def _accelerator(gpu: str | None, hardware: str | None, dtype: Storage) -> Accelerator | None:
    if gpu is None:
        return None
    from tinylm_cli.config.hardware import load_hardware

    found = load_hardware(gpu, hardware)
    require_multiplied(found, dtype.value, gpu)
    return found


def _require_length(seq_len: int | None, family: Family, max_len: int | None, longest: int) -> None:
    """Refuse a length that no design reads, which is the family's unless ``max_len`` is given."""
    if seq_len is not None and seq_len > longest:
        place = option_span("--max-len", str(max_len))
        labels = (Label(place, f"max_len is {max_len}"),) if max_len is not None else ()
        which = str(longest) if max_len is not None else f"{longest} of the family {family}"
        raise too_long(seq_len, which, longest, f"{'write' if max_len else 'add'} --max-len {seq_len}", labels)
