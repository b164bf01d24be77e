"""The options of a training run and of its GPUs, and the training setup that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.cli.completion import complete_gpu
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import CLUSTER_PANEL, TRAINING_PANEL, amount_option, number_option, option
from tinylm_cli.cli.workload_options import (
    BatchSizeOption,
    DTypeOption,
    SeqLenOption,
    read_amount,
    sequence_length,
)
from tinylm_cli.config.choices import DEFAULT_DTYPE, DType
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.choices import AttentionKernel, Optimizer, Recompute
from tinylm_cli.reports.record import Record

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.reports.plan import Layout

DEFAULT = TrainingSetup()

AUTO = "auto"
"""The ``--plan`` that searches for the fastest layout."""


def complete_plan(ctx: Any, incomplete: str) -> list[str]:
    """Complete the last entry of a parallel layout such as ``tp=8,z``: its key, or a named value."""
    from tinylm_cli.cli.plan_option import CHOICES, FIELDS

    *complete, last = incomplete.split(",")
    before = "".join(f"{entry}," for entry in complete)
    key, equals, value = last.partition("=")
    if equals:
        return [f"{before}{key}={choice}" for choice in CHOICES.get(key, ()) if choice.startswith(value)]
    used = {entry.partition("=")[0] for entry in complete}
    names = [] if complete or ctx.info_name == "design" else [AUTO]  # design searches for no layout
    candidates = [*names, *(f"{name}=" for name in FIELDS if name not in used)]
    return [f"{before}{candidate}" for candidate in candidates if candidate.startswith(last)]


KernelOption = Annotated[
    AttentionKernel,
    option(
        "flash materializes no scores, math all of them; sdpa is the kernel that PyTorch selects for tinylm's model.",
        "--attention-kernel", panel=TRAINING_PANEL,
    ),
]  # fmt: skip
RecomputeOption = Annotated[
    Recompute,
    option(
        "Activation checkpointing: recompute nothing, attention scores, or entire layers.",
        panel=TRAINING_PANEL,
    ),
]
OptimizerOption = Annotated[Optimizer, option("Optimizer.", panel=TRAINING_PANEL)]
GradDtypeOption = Annotated[
    DType | None, option("Data type of the gradients.  [default: --dtype]", panel=TRAINING_PANEL)
]
MasterWeightsOption = Annotated[
    bool | None,
    option(
        "Keep a float32 master copy of the weights.  [default: with 16-bit dtypes]",
        "--master-weights/--no-master-weights", panel=TRAINING_PANEL,
    ),
]  # fmt: skip
TrainTokensOption = Annotated[
    str | None,
    option("Tokens to train on, e.g. 15B.  [default: 20 per active parameter]", panel=TRAINING_PANEL, metavar="COUNT"),
]
GlobalBatchSizeOption = Annotated[
    int | None,
    amount_option(
        "Sequences per optimizer step, over all GPUs.  [default: about 4M tokens, at least one sequence per GPU]",
        "--global-batch-size", "count", maximum=10**9, example="1024",
    ),
]  # fmt: skip
GpuOption = Annotated[
    str | None,
    option(
        "GPU name; tinylm list --hardware shows the names.",
        "--gpu", panel=CLUSTER_PANEL, metavar="NAME", complete=complete_gpu,
    ),
]  # fmt: skip
GpusOption = Annotated[
    int,
    amount_option(
        "Number of GPUs that train the model.",
        "--gpus", "count", maximum=1_000_000, example="8", panel=CLUSTER_PANEL,
    ),
]  # fmt: skip
PlanOption = Annotated[
    str | None,
    option(
        "Parallel layout, e.g. tp=8,pp=2,zero=1; auto tries all and ranks those that fit.",
        panel=CLUSTER_PANEL, metavar="PLAN", complete=complete_plan,
    ),
]  # fmt: skip
HardwareOption = Annotated[
    str | None, option("YAML file with additional GPUs.", "--hardware", panel=CLUSTER_PANEL, metavar="FILE")
]


def share_of_peak(name: str, text: str, default: float) -> Any:
    """Return an option that reads a share of a GPU's peak; its default is added to the help ``text``."""
    text, example = f"{text}.  [default: {default}]", str(default)
    return number_option(text, name, minimum=0.001, maximum=1, example=example, metavar="FRACTION", panel=CLUSTER_PANEL)


KernelEfficiencyOption = Annotated[
    float | None,
    share_of_peak(
        "--kernel-efficiency",
        "With several GPUs, fraction of the peak FLOP/s that each achieves while computing",
        DEFAULT.kernel_efficiency,
    ),
]
UtilizationOption = Annotated[
    float | None,
    share_of_peak("--utilization", "Model FLOPs utilization (MFU) of training on one GPU", DEFAULT.utilization),
]
PriceOption = Annotated[
    float | None,
    number_option(
        "Price of one GPU hour.",
        "--price", minimum=0, maximum=1_000_000, example="2.50", metavar="USD", panel=CLUSTER_PANEL,
    ),
]  # fmt: skip


class TrainingOptions(Record):
    """The options of a training run; their values match ``TrainingSetup``."""

    batch_size: BatchSizeOption = DEFAULT.batch_size
    seq_len: SeqLenOption = DEFAULT.seq_len
    dtype: DTypeOption = None
    kernel: KernelOption = DEFAULT.attention_kernel
    recompute: RecomputeOption = DEFAULT.recompute
    optimizer: OptimizerOption = DEFAULT.optimizer
    grad_dtype: GradDtypeOption = None
    master_weights: MasterWeightsOption = DEFAULT.master_weights
    train_tokens: TrainTokensOption = None
    global_batch_size: GlobalBatchSizeOption = DEFAULT.global_batch_size


class ClusterOptions(Record):
    """The options of the GPUs."""

    gpu: GpuOption = None
    gpus: GpusOption = DEFAULT.n_gpus
    plan: PlanOption = None
    hardware: HardwareOption = None
    kernel_efficiency: KernelEfficiencyOption = None
    utilization: UtilizationOption = None
    price: PriceOption = None


def training_setup(
    options: TrainingOptions, cluster: ClusterOptions, loaded: LoadedConfig | None, errors: ErrorCollector
) -> TrainingSetup:
    """Return the setup that the options state; it is valid if ``errors`` stays empty.

    Args:
        options: The options of the run.
        cluster: The options of the GPUs.
        loaded: The model; None if its config is invalid.
        errors: Receives the errors in the options.

    Raises:
        UsageError: If an option has no effect with the others.
    """
    from tinylm_cli.cli.plan_option import require_batch_divisible, states_micro_batches

    require_effect(options, cluster)
    length = errors.read(sequence_length, loaded, options.seq_len) if loaded is not None else None
    layout = errors.read(_layout, cluster, loaded, length)
    if layout is not None and options.global_batch_size is not None:
        errors.read(
            require_batch_divisible,
            layout,
            cluster.plan,
            batch_size=options.batch_size,
            global_batch_size=options.global_batch_size,
        )
    tokens = None
    if options.train_tokens is not None:
        tokens = errors.read(read_amount, "--train-tokens", options.train_tokens, "count", "15B")
    return TrainingSetup(
        batch_size=options.batch_size,
        seq_len=length,
        dtype=options.dtype or DEFAULT_DTYPE,
        attention_kernel=options.kernel,
        recompute=options.recompute,
        optimizer=options.optimizer,
        grad_dtype=options.grad_dtype,
        master_weights=options.master_weights,
        n_gpus=cluster.gpus,
        layout=layout,
        derives_micro_batches=cluster.plan is None or not states_micro_batches(cluster.plan),
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
    """Reject options that have no effect with the others.

    Raises:
        UsageError: If an option has no effect.
    """
    several = "give their number, for example --gpus 8"
    for name, given in (
        ("--hardware", cluster.hardware),
        ("--price", cluster.price),
        ("--utilization", cluster.utilization),
        ("--kernel-efficiency", cluster.kernel_efficiency),
    ):
        if given is not None and cluster.gpu is None:
            raise UsageError(f"{name} needs a GPU", help="name it, for example with --gpu h100-sxm")
    if cluster.plan is not None and cluster.gpus == 1:
        raise UsageError("--plan needs several GPUs", help=several)
    if cluster.plan == AUTO and cluster.gpu is None:
        raise UsageError("--plan auto needs a GPU", help="name the GPU, for example with --gpu h100-sxm")
    if cluster.gpus > 1 and cluster.utilization is not None:
        message = f"--utilization has no effect on {cluster.gpus} GPUs: the plan determines it"
        raise UsageError(
            message, help="use --kernel-efficiency, the fraction of the peak that each GPU achieves while computing"
        )
    if cluster.gpus == 1 and cluster.kernel_efficiency is not None:
        message = "--kernel-efficiency needs several GPUs"
        raise UsageError(message, help="use --utilization for one GPU, or add --gpus N")
    if cluster.gpus == 1 and options.global_batch_size is not None:
        raise UsageError("--global-batch-size needs several GPUs", help=several)
    if options.master_weights is not None and (options.dtype or DEFAULT_DTYPE) not in ("bfloat16", "float16"):
        flag = "--master-weights" if options.master_weights else "--no-master-weights"
        raise UsageError(f"{flag} needs 16-bit weights", help="remove it, or choose a 16-bit --dtype")
