"""The options of a training run and of its GPUs, and the training setup that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple, get_args

import typer

from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.cli.completion import complete_gpu, complete_plan
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import CLUSTER_PANEL, TRAINING_PANEL, amount_parser, number_parser
from tinylm_cli.cli.workload_options import (
    BatchSizeOption,
    SeqLenOption,
    Storage,
    StorageOption,
    fitting_length,
    read_amount,
)
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.memory import AttentionKernel, Optimizer, Recompute

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.reports.plan import Layout

DEFAULT = TrainingSetup()

AUTO = "auto"
"""The ``--plan`` that searches for the fastest layout."""

KernelOption = Annotated[
    AttentionKernel,
    typer.Option(
        "--attention-kernel", rich_help_panel=TRAINING_PANEL,
        help="flash writes no scores; sdpa is torch's choice for tinylm's own model; math writes all scores.",
    ),
]  # fmt: skip
RecomputeOption = Annotated[
    Recompute,
    typer.Option(
        help="Activations that the backward pass computes again: none, attention scores, or entire layers.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
OptimizerOption = Annotated[
    Optimizer,
    typer.Option(metavar="NAME", help=f"{', '.join(get_args(Optimizer))}.", rich_help_panel=TRAINING_PANEL),
]
GradDtypeOption = Annotated[
    Storage | None,
    typer.Option(metavar="NAME", help="Type of the gradients; by default --dtype.", rich_help_panel=TRAINING_PANEL),
]
MasterWeightsOption = Annotated[
    bool | None,
    typer.Option(
        "--master-weights/--no-master-weights", rich_help_panel=TRAINING_PANEL,
        help="Update a float32 copy of the weights; by default in 16-bit types.",
    ),
]  # fmt: skip
TrainTokensOption = Annotated[
    str | None,
    typer.Option(
        metavar="COUNT", show_default=False, rich_help_panel=TRAINING_PANEL,
        help="Tokens to train on, e.g. 15B; by default 20 per parameter.",
    ),
]  # fmt: skip
GlobalBatchSizeOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", parser=amount_parser("--global-batch-size", "count", most=10**9, example="1024"),
        show_default=False,
        help="Sequences per optimizer step over all GPUs; by default about 4M tokens.",
        rich_help_panel=TRAINING_PANEL,
    ),
]  # fmt: skip
GpuOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="GPU name; tinylm list --hardware shows the names.", show_default=False,
        autocompletion=complete_gpu, rich_help_panel=CLUSTER_PANEL,
    ),
]  # fmt: skip
GpusOption = Annotated[
    int,
    typer.Option(
        metavar="N", parser=amount_parser("--gpus", "count", most=1_000_000, example="8"),
        rich_help_panel=CLUSTER_PANEL,
        help="GPUs that train the model.",
    ),
]  # fmt: skip
PlanOption = Annotated[
    str | None,
    typer.Option(
        metavar="PLAN", show_default=False, autocompletion=complete_plan, rich_help_panel=CLUSTER_PANEL,
        help="Parallel layout, e.g. tp=8,pp=2,zero=1; auto ranks all that fit.",
    ),
]  # fmt: skip
HardwareOption = Annotated[
    str | None,
    typer.Option(
        "--hardware", metavar="FILE", help="YAML file with additional GPUs.", show_default=False,
        rich_help_panel=CLUSTER_PANEL,
    ),
]  # fmt: skip


def share_of_peak(option: str, words: str, example: str) -> typer.models.OptionInfo:
    """Return an option that takes a share of a GPU's peak.

    Args:
        option: Its name.
        words: Its help.
        example: A usual value.
    """
    read = number_parser(option, least=0.001, most=1, example=example)
    found: typer.models.OptionInfo = typer.Option(
        metavar="SHARE", parser=read, help=words, show_default=False, rich_help_panel=CLUSTER_PANEL
    )
    return found


KernelEfficiencyOption = Annotated[
    float | None,
    share_of_peak(
        "--kernel-efficiency",
        f"Share of the peak that each of several GPUs reaches while computing; default: {DEFAULT.kernel_efficiency}.",
        "0.55",
    ),
]
UtilizationOption = Annotated[
    float | None,
    share_of_peak(
        "--utilization",
        f"Share of the peak that training on one GPU reaches (MFU); default: {DEFAULT.utilization}.",
        "0.4",
    ),
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        metavar="USD", parser=number_parser("--price", least=0, most=1_000_000, example="2.50"), show_default=False,
        help="Price of one GPU for an hour.", rich_help_panel=CLUSTER_PANEL,
    ),
]  # fmt: skip


class TrainingOptions(NamedTuple):
    """The options of a training run; their values match ``TrainingSetup``."""

    batch_size: BatchSizeOption = DEFAULT.batch_size
    seq_len: SeqLenOption = DEFAULT.seq_len
    dtype: StorageOption = Storage(DEFAULT.dtype)
    kernel: KernelOption = DEFAULT.attention_kernel
    recompute: RecomputeOption = DEFAULT.recompute
    optimizer: OptimizerOption = DEFAULT.optimizer
    grad_dtype: GradDtypeOption = None
    master_weights: MasterWeightsOption = DEFAULT.master_weights
    train_tokens: TrainTokensOption = None
    global_batch_size: GlobalBatchSizeOption = DEFAULT.global_batch_size


class ClusterOptions(NamedTuple):
    """The options of the GPUs."""

    gpu: GpuOption = None
    gpus: GpusOption = DEFAULT.n_gpus
    plan: PlanOption = None
    hardware: HardwareOption = None
    kernel_efficiency: KernelEfficiencyOption = None
    utilization: UtilizationOption = None
    price: PriceOption = None


def training_setup(
    options: TrainingOptions, cluster: ClusterOptions, loaded: LoadedConfig | None, mistakes: ErrorCollector
) -> TrainingSetup:
    """Return the setup that the options state; it is valid if ``mistakes`` stays empty.

    Args:
        options: The options of the run.
        cluster: The options of the GPUs.
        loaded: The model; None where its config is wrong.
        mistakes: Receives the mistakes in the options.

    Raises:
        UsageError: If an option has no effect with the others.
    """
    from tinylm_cli.cli.plan_option import require_shared, says_micro_batches

    require_effect(options, cluster)
    length = mistakes.read(fitting_length, loaded, options.seq_len) if loaded is not None else None
    layout = mistakes.read(_layout, cluster, loaded, length)
    if layout is not None and options.global_batch_size is not None:
        mistakes.read(
            require_shared,
            layout,
            cluster.plan,
            batch_size=options.batch_size,
            global_batch_size=options.global_batch_size,
        )
    tokens = None
    if options.train_tokens is not None:
        tokens = mistakes.read(read_amount, "--train-tokens", options.train_tokens, "count", "15B")
    return TrainingSetup(
        batch_size=options.batch_size,
        seq_len=length,
        dtype=options.dtype.value,
        attention_kernel=options.kernel,
        recompute=options.recompute,
        optimizer=options.optimizer,
        grad_dtype=options.grad_dtype.value if options.grad_dtype is not None else None,
        master_weights=options.master_weights,
        n_gpus=cluster.gpus,
        layout=layout,
        derives_micro_batches=cluster.plan is None or not says_micro_batches(cluster.plan),
        global_batch_size=options.global_batch_size,
        train_tokens=tokens,
        utilization=cluster.utilization or DEFAULT.utilization,
        kernel_efficiency=cluster.kernel_efficiency or DEFAULT.kernel_efficiency,
        usd_per_gpu_hour=cluster.price,
    )


def _layout(cluster: ClusterOptions, loaded: LoadedConfig | None, seq_len: int | None) -> Layout | None:
    """Return the layout of ``--plan``; without a plan and a GPU, ZeRO 3 over all GPUs; None to search for one."""
    if cluster.plan == AUTO or cluster.gpus == 1 or (cluster.plan is None and cluster.gpu is not None):
        return None
    from tinylm_cli.cli.plan_option import read_layout
    from tinylm_cli.reports.plan import Layout

    if cluster.plan is None:
        return Layout(data=cluster.gpus, zero=3)
    return read_layout(cluster.plan, cluster.gpus, loaded, seq_len)


def require_effect(options: TrainingOptions, cluster: ClusterOptions) -> None:
    """Refuse options that have no effect with the others.

    Raises:
        UsageError: If there is one.
    """
    several = "give their number, for example --gpus 8"
    for option, given in (
        ("--hardware", cluster.hardware),
        ("--price", cluster.price),
        ("--utilization", cluster.utilization),
        ("--kernel-efficiency", cluster.kernel_efficiency),
    ):
        if given is not None and cluster.gpu is None:
            raise UsageError(f"{option} needs a GPU", help="name it, for example with --gpu h100-sxm")
    if cluster.plan is not None and cluster.gpus == 1:
        raise UsageError("--plan needs several GPUs", help=several)
    if cluster.plan == AUTO and cluster.gpu is None:
        raise UsageError("--plan auto needs a GPU", help="name the GPU, for example with --gpu h100-sxm")
    if cluster.gpus > 1 and cluster.utilization is not None:
        message = f"--utilization follows from the plan for {cluster.gpus} GPUs"
        raise UsageError(
            message, help="use --kernel-efficiency, the share of the peak that each GPU reaches while it computes"
        )
    if cluster.gpus == 1 and cluster.kernel_efficiency is not None:
        message = "--kernel-efficiency is for several GPUs, whose plan adds communication and bubbles"
        raise UsageError(message, help="use --utilization for one GPU, or add --gpus N")
    if cluster.gpus == 1 and options.global_batch_size is not None:
        raise UsageError("--global-batch-size needs several GPUs", help=several)
    if options.master_weights is not None and options.dtype.value not in ("bfloat16", "float16"):
        word = "--master-weights" if options.master_weights else "--no-master-weights"
        raise UsageError(f"{word} applies only to 16-bit weights", help="remove it, or choose a 16-bit --dtype")
