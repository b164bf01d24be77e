"""The options that say how a model is trained, and on what; and which of them say nothing beside others."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from tinylm_cli.cli.completion import complete_gpu, complete_plan
from tinylm_cli.cli.options import CLUSTER_PANEL, TRAINING_PANEL, amount, number
from tinylm_cli.cli.workload_options import Storage
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.memory import AttentionKernel, Optimizer, Recompute

AUTO = "auto"
"""The plan that is looked for."""

KernelOption = Annotated[
    AttentionKernel,
    typer.Option(
        "--attention-kernel",
        help="Attention as a flash kernel computes it, as torch does for tinylm's own model, or all written out.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
RecomputeOption = Annotated[
    Recompute,
    typer.Option(
        help="What the backward pass computes again: nothing, attention's scores, all layers.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
OptimizerOption = Annotated[
    Optimizer,
    typer.Option(
        metavar="NAME",
        help=f"What updates the weights: {', '.join(get_args(Optimizer))}.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
GradDtypeOption = Annotated[
    Storage | None,
    typer.Option(
        metavar="NAME", help="What gradients are kept in; --dtype when absent.", rich_help_panel=TRAINING_PANEL
    ),
]
MasterWeightsOption = Annotated[
    bool | None,
    typer.Option(
        "--master-weights/--no-master-weights",
        help="Update a float32 copy of the weights; in 16 bits when absent.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
GpuOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The GPU, as tinylm list --hardware names it.",
        autocompletion=complete_gpu,
        show_default=False,
        rich_help_panel=CLUSTER_PANEL,
    ),
]
GpusOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        parser=amount("--gpus", "count", most=1_000_000, example="8"),
        help="How many train the model.",
        rich_help_panel=CLUSTER_PANEL,
    ),
]
PlanOption = Annotated[
    str | None,
    typer.Option(
        metavar="PLAN", show_default=False, autocompletion=complete_plan,
        help="How work is divided, e.g. tp=8,pp=2,zero=1; or auto, which ranks all that fit.",
        rich_help_panel=CLUSTER_PANEL,
    ),
]  # fmt: skip
HardwareOption = Annotated[
    str | None,
    typer.Option(
        "--hardware",
        metavar="FILE",
        help="GPUs of your own, as YAML.",
        show_default=False,
        rich_help_panel=CLUSTER_PANEL,
    ),
]
BudgetTokensOption = Annotated[
    str | None,
    typer.Option(
        metavar="COUNT",
        help="Tokens to train on; 20 a parameter when absent.",
        show_default=False,
        rich_help_panel=TRAINING_PANEL,
    ),
]
GlobalBatchOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", show_default=False, parser=amount("--global-batch", "count", most=10**9, example="1024"),
        help="Sequences that all GPUs read between updates; about 4M tokens when absent.",
        rich_help_panel=TRAINING_PANEL,
    ),
]  # fmt: skip


def share_of_peak(option: str, words: str, example: str) -> typer.models.OptionInfo:
    """Return an option that takes a share of what a GPU can do at most.

    Args:
        option: Its name.
        words: What reaches that share.
        example: One that is usual.
    """
    read = number(option, least=0.001, most=1, example=example)
    found: typer.models.OptionInfo = typer.Option(
        metavar="SHARE", parser=read, help=words, show_default=False, rich_help_panel=CLUSTER_PANEL
    )
    return found


KernelEfficiencyOption = Annotated[
    float | None,
    share_of_peak(
        "--kernel-efficiency",
        "Share of its peak that each of several GPUs reaches while it computes; 0.55 when absent.",
        "0.55",
    ),
]
UtilizationOption = Annotated[
    float | None,
    share_of_peak("--utilization", "Share of its peak that training on one GPU reaches; 0.4 when absent.", "0.4"),
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        metavar="USD", parser=number("--price", least=0, most=1_000_000, example="2.50"), show_default=False,
        help="What a GPU costs an hour.", rich_help_panel=CLUSTER_PANEL,
    ),
]  # fmt: skip


def require_effect(
    *,
    gpu: str | None,
    gpus: int,
    plan: str | None,
    hardware: str | None,
    price: float | None,
    utilization: float | None,
    kernel_efficiency: float | None,
    global_batch: int | None,
) -> None:
    """Refuse options that say nothing beside the others, or nothing to as many GPUs.

    Raises:
        UsageError: If there is one.
    """
    about_gpu = (
        ("--hardware", hardware),
        ("--price", price),
        ("--utilization", utilization),
        ("--kernel-efficiency", kernel_efficiency),
    )
    for option, given in about_gpu:
        if given is not None and gpu is None:
            raise UsageError(f"{option} is about a GPU", help="name it, for example with --gpu h100-sxm")
    if plan is not None and gpus == 1:
        raise UsageError("--plan divides work among GPUs", help="say how many, for example with --gpus 8")
    if plan == AUTO and gpu is None:
        raise UsageError("--plan auto ranks by time", help="name the GPU, for example with --gpu h100-sxm")
    if gpus > 1 and utilization is not None:
        message = f"--utilization is what comes out of a plan for {gpus} GPUs"
        raise UsageError(message, help="give --kernel-efficiency, what each of them reaches while it computes")
    if gpus == 1 and kernel_efficiency is not None:
        message = "--kernel-efficiency is for plans, which add traffic and waiting"
        raise UsageError(message, help="give --utilization for one GPU, or say how many with --gpus")
    if gpus == 1 and global_batch is not None:
        raise UsageError("--global-batch is read by several GPUs", help="say how many, for example with --gpus 8")
