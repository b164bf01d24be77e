"""``tinylm design``: from targets to configs, and what varying a field does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinylm_cli.cli.conditions import BatchSizeOption, SeqLenOption, Storage, StorageOption
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
from tinylm_cli.cli.designed import designed_outcome
from tinylm_cli.cli.estimate import Optimizer, Recompute
from tinylm_cli.cli.options import FormatOption, OutputOption, SetOption
from tinylm_cli.cli.outcome import Format, Outcome
from tinylm_cli.cli.vary import varied_outcome
from tinylm_cli.errors import UsageError

if TYPE_CHECKING:
    from tinylm_cli.analysis.design.space import Space
    from tinylm_cli.analysis.figures import Conditions
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
    optimizer: OptimizerOption = Optimizer.adamw,
    recompute: RecomputeOption = Recompute.none,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
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
      tinylm design --gpu rtx-4090 --family llama --seq-len 2048
      tinylm design --gpu h100 --for serving --min-decode-tokens-per-second 100
      tinylm design --compute 1e21 -o mine.yaml
      tinylm design --config small --vary n_layers=4..24:4
    """
    from tinylm_cli.analysis.figures import Conditions

    given = Conditions(batch_size, seq_len, dtype.value, optimizer.value, recompute.value)
    targets = {
        "total_params": params,
        "active_params": active_params,
        "forward_flops_per_token": max_flops_per_token,
        "kv_cache_bytes": max_kv_bytes,
        "weights_bytes": max_weights_bytes,
        "train_bytes_per_gpu": max_train_bytes_per_gpu,
        "serve_bytes": max_serve_bytes,
        "decode_tokens_per_second": min_decode_tokens_per_second,
    }
    aims = (*targets.values(), compute, gpu)
    if vary or config is not None:
        shaped = (pick, vocab_size, max_len, tie, budget_tokens, purpose, hardware)
        if any(each is not None for each in (*aims, *shaped)) or front or family is not Family.course:
            raise UsageError("--vary has no targets", help="leave out either --vary or what a design should meet")
        return varied_outcome(config, vary or [], set_ or [], figure, given, format_, output)
    if set_:
        raise UsageError("--set changes a --config that is varied", help="write a design with -o, and change that")
    if all(aim is None for aim in aims):
        raise UsageError("there is nothing to aim at", help="for example tinylm design --params 125M")
    sized = params is not None or active_params is not None
    require_effect(compute, budget_tokens, sized, gpu, hardware, purpose, min_decode_tokens_per_second, optimizer)

    from tinylm_cli.analysis.design.analyse import Plan, analyse_design
    from tinylm_cli.analysis.design.goals import Goal, compute_budget, compute_goal, memory_goal
    from tinylm_cli.config.hardware import load_hardware

    accelerator = None if gpu is None else load_hardware(gpu, hardware)
    space = _space(family, vocab_size, max_len, tie, given, accelerator)
    goals = [
        Goal(name, wanted, tolerance if name in ("total_params", "active_params") else None)
        for name, wanted in targets.items()
        if wanted is not None
    ]
    plan = Plan(utilisation=utilisation)
    if compute is not None:
        spent = compute_budget(compute, budget_tokens)
        plan = plan._replace(compute=spent)
        goals.append(compute_goal(spent, space.family, tolerance))
    if accelerator is not None:
        to_fit = purpose or Purpose.training
        plan = plan._replace(purpose=to_fit.value)
        goals.append(memory_goal(accelerator, to_fit.value))
    report = analyse_design(space, goals, top=max(top, pick or 1), tolerance=tolerance, front_only=front, plan=plan)
    return designed_outcome(report, pick, hardware, format_, output)


def _space(
    family: Family,
    vocab_size: int | None,
    max_len: int | None,
    tie: bool | None,
    given: Conditions,
    accelerator: Accelerator | None,
) -> Space:
    """Return what is searched.

    Raises:
        UsageError: If sequences are longer than its models read.
    """
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.space import Space

    template = FAMILIES[family.value]
    member = template.config
    length = max_len or member.max_len
    if given.seq_len is not None and given.seq_len > length:
        raise UsageError(
            f"--seq-len {given.seq_len} is longer than max_len {length}", help=f"add --max-len {given.seq_len}"
        )
    tied = member.tie_weights if tie is None else tie
    return Space(template, vocab_size or member.vocab_size, length, tied, given, accelerator=accelerator)
