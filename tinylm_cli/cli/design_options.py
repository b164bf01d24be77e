"""The options of ``tinylm design``, as one record; the option of each constraint; checks for options without effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from tinylm_cli.analysis.design import DEFAULT_FAMILY, DEFAULT_TOLERANCE, DEFAULT_TOP
from tinylm_cli.cli.completion import complete_gpu
from tinylm_cli.cli.options import (
    ABOVE_ZERO,
    CLUSTER_PANEL,
    MODEL_PANEL,
    TARGET_PANEL,
    TRAINING_PANEL,
    Output,
    amount_option,
    number_option,
    option,
)
from tinylm_cli.cli.training_options import (
    DEFAULT,
    GpusOption,
    HardwareOption,
    RecomputeOption,
    complete_plan,
    share_of_peak,
)
from tinylm_cli.cli.wording import option_name
from tinylm_cli.cli.workload_options import BatchSizeOption, DTypeOption, SeqLenOption
from tinylm_cli.errors import UsageError
from tinylm_cli.quantities import MAX_DESIGNS
from tinylm_cli.reports.choices import Optimizer, Purpose
from tinylm_cli.reports.constraint import CONSTRAINING
from tinylm_cli.reports.record import Record

OPTIONS = {figure: option_name(name) for figure, name in CONSTRAINING.items()}
"""The option that constrains each figure."""


Family = Literal[
    "course",
    "gpt2",
    "llama",
    "qwen3",
    "gemma2",
    "mixtral",
    "qwen3-moe",
    "qwen3.5",
    "qwen3.5-moe",
    "nemotron-h",
    "granite-4-h",
    "granite-4-h-moe",
    "jamba",
]
"""The names of ``analysis.design.families``."""


def _target(text: str, name: str, metavar: str = "COUNT") -> Any:
    return option(text, name, panel=TARGET_PANEL, metavar=metavar)


def _limit(text: str, figure: str, metavar: str = "SIZE") -> Any:
    return _target(text, OPTIONS[figure], metavar)


def _grid(text: str, name: str, metavar: str = "RANGE") -> Any:
    return option(text, name, panel=MODEL_PANEL, metavar=metavar)


ToleranceOption = Annotated[
    float,
    number_option(
        "Maximum relative deviation from the target.",
        "--tolerance", minimum=0, maximum=1, example="0.02", metavar="FRACTION", panel=TARGET_PANEL,
    ),
]  # fmt: skip
DecodeRateOption = Annotated[
    float | None,
    number_option(
        "Minimum decode throughput, summed over the batch.",
        OPTIONS["decode_tokens_per_second"], minimum=ABOVE_ZERO, example="50", metavar="RATE", panel=TARGET_PANEL,
    ),
]  # fmt: skip
VocabSizeOption = Annotated[
    int | None,
    amount_option(
        "Tokens in the vocabulary.  [default: the family's]",
        "--vocab-size", "count", maximum=10**8, example="32000", metavar="V", panel=MODEL_PANEL,
    ),
]  # fmt: skip
MaxLenOption = Annotated[
    int | None,
    amount_option(
        "Maximum sequence length.  [default: the family's]",
        "--max-len", "length", maximum=10**9, example="8k", metavar="T", panel=MODEL_PANEL,
    ),
]  # fmt: skip
TieOption = Annotated[
    bool | None,
    option("Tie the LM head to the embedding.  [default: the family's]", "--tie/--no-tie", panel=MODEL_PANEL),
]
FamilyOption = Annotated[
    Family, option(f"Architecture: {', '.join(get_args(Family))}.", panel=MODEL_PANEL, metavar="NAME")
]
GpuOption = Annotated[
    str | None,
    option(
        "GPU in whose memory the model must fit; tinylm list --hardware lists the names.",
        "--gpu", panel=CLUSTER_PANEL, metavar="NAME", complete=complete_gpu,
    ),
]  # fmt: skip
PurposeOption = Annotated[
    Purpose | None,
    option(
        "Workload that must fit on the GPU: training or serving.  [default: training]", "--for", panel=CLUSTER_PANEL
    ),
]
PlanOption = Annotated[
    str | None,
    option(
        "Parallel layout, e.g. tp=8,pp=2,zero=1.  [default: tp over each node]",
        "--plan", panel=CLUSTER_PANEL, metavar="PLAN", complete=complete_plan,
    ),
]  # fmt: skip
PickOption = Annotated[
    int | None,
    option("Write the design at this rank as YAML.  [default with -o: 1]", metavar="RANK", min=1, max=MAX_DESIGNS),
]


class DesignOptions(Record):
    """The options of ``tinylm design``, as typed."""

    params: Annotated[str | None, _target("Target number of parameters, such as 125M.", "--params")] = None
    active_params: Annotated[
        str | None, _target("Target number of active parameters per token.", "--active-params")
    ] = None
    compute: Annotated[
        str | None,
        _target(
            "Compute budget of a training run, such as 1e21; the target is its compute-optimal size.",
            "--compute",
            "FLOPS",
        ),
    ] = None
    train_tokens: Annotated[
        str | None,
        _target("Training tokens of the --compute budget.  [default: 20 per active parameter]", "--train-tokens"),
    ] = None
    tolerance: ToleranceOption = DEFAULT_TOLERANCE
    max_flops_per_token: Annotated[
        str | None, _limit("Maximum forward FLOPs per token.", "forward_flops_per_token", "FLOPS")
    ] = None
    max_kv_bytes: Annotated[str | None, _limit("Maximum KV cache, summed over the batch.", "kv_cache_bytes")] = None
    max_weights_bytes: Annotated[str | None, _limit("Maximum size of the weights.", "weights_bytes")] = None
    max_train_bytes_per_gpu: Annotated[
        str | None, _limit("Maximum memory of one GPU during training.", "train_bytes_per_gpu")
    ] = None
    max_serve_bytes: Annotated[str | None, _limit("Maximum memory for serving.", "serve_bytes")] = None
    min_decode_tokens_per_second: DecodeRateOption = None
    family: FamilyOption = DEFAULT_FAMILY
    vocab_size: VocabSizeOption = None
    max_len: MaxLenOption = None
    tie: TieOption = None
    d_model: Annotated[str | None, _grid("Widths to search, such as 32..256:32.", "--d-model")] = None
    n_layers: Annotated[str | None, _grid("Depths to search, such as 2..16.", "--n-layers")] = None
    d_head: Annotated[str | None, _grid("Dimensions per head to search, such as 16,32.", "--d-head", "N,N,...")] = None
    gpu: GpuOption = None
    purpose: PurposeOption = None
    gpus: GpusOption = DEFAULT.n_gpus
    plan: PlanOption = None
    hardware: HardwareOption = None
    utilization: Annotated[
        float | None, share_of_peak("--utilization", "Model FLOPs utilization (MFU) of training", DEFAULT.utilization)
    ] = None
    batch_size: BatchSizeOption = DEFAULT.batch_size
    seq_len: SeqLenOption = DEFAULT.seq_len
    dtype: DTypeOption = None
    optimizer: Annotated[Optimizer, option("Optimizer; design does not support adamw_8bit.", panel=TRAINING_PANEL)] = (
        DEFAULT.optimizer
    )
    recompute: RecomputeOption = DEFAULT.recompute
    top: Annotated[int, option("Number of designs to show.", metavar="N", min=1, max=MAX_DESIGNS)] = DEFAULT_TOP
    front: Annotated[bool, option("Show only the Pareto front.", "--front")] = False
    pick: PickOption = None
    full: Annotated[bool, option("Also explain the ranking and show the searched grid.", "--full")] = False

    def writes_config(self, to: Output) -> bool:
        """Return whether to write one design as a config instead of the table, which a .txt file holds."""
        names_config = to.output is not None and to.output.suffix.lower() != ".txt"
        return to.format_ == "text" and (self.pick is not None or names_config)

    @property
    def amounts(self) -> dict[str, str | None]:
        """The value of each constrained figure, as typed; without decode throughput."""
        return {
            "total_params": self.params,
            "active_params": self.active_params,
            "forward_flops_per_token": self.max_flops_per_token,
            "kv_cache_bytes": self.max_kv_bytes,
            "weights_bytes": self.max_weights_bytes,
            "train_bytes_per_gpu": self.max_train_bytes_per_gpu,
            "serve_bytes": self.max_serve_bytes,
        }


_NEED_GPU = ("hardware", "purpose", "min_decode_tokens_per_second", "utilization")
"""Fields without effect unless --gpu is given."""

_TRAINING_ONLY = ("optimizer", "recompute")
"""Fields without effect unless training memory is computed."""

_CONSTRAINTS = {option.removeprefix("--").replace("-", "_") for option in OPTIONS.values()} | {"compute", "gpu"}
"""Fields of which a search needs at least one."""


def require_effect(explicit: Mapping[str, str], options: DesignOptions, to: Output) -> None:
    """Reject options without effect, and options that contradict each other.

    Args:
        explicit: The options on the command line, from :func:`explicit_options`.
        options: Their values.
        to: Where the report is written.

    Raises:
        UsageError: If there is such an option.
    """
    serving = options.purpose == "serving"
    if not explicit.keys() & _CONSTRAINTS:
        raise UsageError("design needs a target", help="for example tinylm design --params 125M")
    for name in _NEED_GPU:
        if name in explicit and "gpu" not in explicit:
            raise UsageError(f"{explicit[name]} needs a GPU", help="for example --gpu rtx-4090")
    if "utilization" in explicit and (serving or options.gpus > 1):
        reason = "on serving" if serving else "with several GPUs: it is computed from the plan"
        raise UsageError(f"--utilization has no effect {reason}", help="remove it")
    if options.gpus > 1 and serving:
        raise UsageError("--gpus cannot be combined with --for serving, which uses one GPU", help="remove one of them")
    if options.plan is not None and options.gpus == 1:
        raise UsageError("--plan needs several GPUs", help="for example --gpus 8")
    needs_training = (
        "max_train_bytes_per_gpu" in explicit
        or ("gpu" in explicit and not serving)
        or to.format_ in ("json", "csv")  # reports that include every figure
    )
    for name in _TRAINING_ONLY:
        if name in explicit and not needs_training:
            raise UsageError(
                f"{explicit[name]} has no effect: training memory is not computed",
                help="add a limit, such as --max-train-bytes-per-gpu 24GiB, or remove it",
            )
    if "train_tokens" in explicit and "compute" not in explicit:
        raise UsageError("--train-tokens needs --compute", help="for example --compute 1e21")
    if "compute" in explicit and explicit.keys() & {"params", "active_params"}:
        raise UsageError("--compute cannot be combined with --params or --active-params", help="remove one of them")
    if "pick" in explicit and not options.writes_config(to):
        raise UsageError("--pick cannot be combined with --format", help="remove one of them")
    if options.optimizer == "adamw_8bit":
        raise UsageError(
            "design does not support --optimizer adamw_8bit: its memory depends on the size of each tensor",
            help="search with adamw; then tinylm estimate --optimizer adamw_8bit shows the memory of a design",
        )
