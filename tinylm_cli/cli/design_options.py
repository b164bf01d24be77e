"""The options of ``tinylm design``, as one record; the option of each constraint; checks for options without effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from tinylm_cli.cli.completion import complete_gpu
from tinylm_cli.cli.options import (
    CLUSTER_PANEL,
    MODEL_PANEL,
    OUTPUT_PANEL,
    TARGET_PANEL,
    FormatOption,
    OutputOption,
    TableOption,
    amount_parser,
    number_parser,
)
from tinylm_cli.cli.output import Format
from tinylm_cli.cli.training_options import (
    GpusOption,
    HardwareOption,
    OptimizerOption,
    PlanOption,
    RecomputeOption,
    share_of_peak,
)
from tinylm_cli.cli.workload_options import BatchSizeOption, SeqLenOption, Storage, StorageOption
from tinylm_cli.config.amounts import AmountKind
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.estimate import Purpose

OPTIONS = {
    "total_params": "--params",
    "active_params": "--active-params",
    "forward_flops_per_token": "--max-flops-per-token",
    "kv_cache_bytes": "--max-kv-bytes",
    "weights_bytes": "--max-weights-bytes",
    "train_bytes_per_gpu": "--max-train-bytes-per-gpu",
    "serve_bytes": "--max-serve-bytes",
    "decode_tokens_per_second": "--min-decode-tokens-per-second",
}
"""The option that constrains each figure."""


class Family(StrEnum):
    """The names of ``analysis.design.families``."""

    course = "course"
    gpt2 = "gpt2"
    llama = "llama"
    qwen3 = "qwen3"
    gemma2 = "gemma2"
    mixtral = "mixtral"
    qwen3_moe = "qwen3-moe"


def _rate(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        option = OPTIONS["decode_tokens_per_second"]
        raise UsageError(f"{option} {value:g}: expected a number above 0", help=f"for example {option} 50")
    return value


def _amount(option: str, kind: AmountKind, help_text: str) -> typer.models.OptionInfo:
    metavar = {"count": "COUNT", "size": "SIZE", "flops": "FLOPS"}[kind]
    info: typer.models.OptionInfo = typer.Option(
        option, metavar=metavar, help=help_text, show_default=False, rich_help_panel=TARGET_PANEL
    )
    return info


def _grid(option: str, metavar: str, help_text: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(
        option, metavar=metavar, help=help_text, show_default=False, rich_help_panel=MODEL_PANEL
    )
    return info


@dataclass(frozen=True)
class DesignOptions:
    """The options of ``tinylm design``, as typed."""

    params: Annotated[
        str | None, _amount(OPTIONS["total_params"], "count", "Target number of parameters, such as 125M.")
    ] = None
    active_params: Annotated[
        str | None, _amount(OPTIONS["active_params"], "count", "Target number of active parameters per token.")
    ] = None
    compute: Annotated[
        str | None, _amount("--compute", "flops", "Compute budget of a training run, such as 1e21; sets the target.")
    ] = None
    train_tokens: Annotated[
        str | None, _amount("--train-tokens", "count", "Tokens that --compute trains on; default: 20 per parameter.")
    ] = None
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            parser=number_parser("--tolerance", least=0, most=1, example="0.02"),
            help="Maximum relative deviation from the target.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = 0.02
    max_flops_per_token: Annotated[
        str | None, _amount(OPTIONS["forward_flops_per_token"], "flops", "Maximum forward FLOPs per token.")
    ] = None
    max_kv_bytes: Annotated[
        str | None, _amount(OPTIONS["kv_cache_bytes"], "size", "Maximum KV cache, summed over the batch.")
    ] = None
    max_weights_bytes: Annotated[
        str | None, _amount(OPTIONS["weights_bytes"], "size", "Maximum size of the weights.")
    ] = None
    max_train_bytes_per_gpu: Annotated[
        str | None, _amount(OPTIONS["train_bytes_per_gpu"], "size", "Maximum memory of one GPU during training.")
    ] = None
    max_serve_bytes: Annotated[
        str | None,
        _amount(OPTIONS["serve_bytes"], "size", "Maximum memory for serving."),
    ] = None
    min_decode_tokens_per_second: Annotated[
        float | None,
        typer.Option(
            OPTIONS["decode_tokens_per_second"],
            metavar="RATE",
            callback=_rate,
            show_default=False,
            help="Minimum decode throughput, summed over the batch.",
            rich_help_panel=TARGET_PANEL,
        ),
    ] = None
    family: Annotated[
        Family,
        typer.Option(metavar="NAME", help=f"Architecture: {', '.join(Family)}.", rich_help_panel=MODEL_PANEL),
    ] = Family.course
    vocab_size: Annotated[
        int | None,
        typer.Option(
            metavar="V",
            parser=amount_parser("--vocab-size", "count", most=10**8, example="32000"),
            help="Tokens in the vocabulary; default: the family's.",
            show_default=False,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None
    max_len: Annotated[
        int | None,
        typer.Option(
            metavar="T",
            parser=amount_parser("--max-len", "length", most=10**9, example="8k"),
            help="Longest sequence; default: the family's.",
            show_default=False,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None
    tie: Annotated[
        bool | None,
        typer.Option(
            "--tie/--no-tie",
            help="Tie the LM head to the embedding; default: the family's.",
            show_default=False,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None
    d_model: Annotated[str | None, _grid("--d-model", "RANGE", "Widths to search, such as 32..256:32.")] = None
    n_layers: Annotated[str | None, _grid("--n-layers", "RANGE", "Depths to search, such as 2..16.")] = None
    d_head: Annotated[str | None, _grid("--d-head", "N,N,...", "Dimensions per head to search, such as 16,32.")] = None
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu",
            metavar="NAME",
            autocompletion=complete_gpu,
            show_default=False,
            help="GPU whose memory the model must fit; names: tinylm list --hardware.",
            rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None
    purpose: Annotated[
        Purpose | None,
        typer.Option(
            "--for",
            help="Workload that must fit on the GPU: training or serving.  [default: training]",
            rich_help_panel=CLUSTER_PANEL,
        ),
    ] = None
    gpus: GpusOption = 1
    plan: PlanOption = None
    hardware: HardwareOption = None
    utilization: Annotated[
        float, share_of_peak("--utilization", "MFU of training, as a share of the GPU's peak; default: 0.4.", "0.4")
    ] = 0.4
    batch_size: BatchSizeOption = 1
    seq_len: SeqLenOption = None
    dtype: StorageOption = Storage.bfloat16
    optimizer: OptimizerOption = "adamw"
    recompute: RecomputeOption = "none"
    top: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Designs to show.", rich_help_panel=OUTPUT_PANEL)
    ] = 10
    front: Annotated[
        bool, typer.Option("--front", help="Show only the Pareto front.", rich_help_panel=OUTPUT_PANEL)
    ] = False
    pick: Annotated[
        int | None,
        typer.Option(
            metavar="RANK",
            min=1,
            max=10_000,
            help="Write the design of that rank as YAML; default with -o: 1.",
            show_default=False,
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    full: Annotated[bool, typer.Option("--full", help="Also show the searched grid.", rich_help_panel=OUTPUT_PANEL)] = (
        False
    )
    format_: FormatOption = Format.text
    table: TableOption = None
    output: OutputOption = None

    @property
    def writes_config(self) -> bool:
        """Whether to write one design as a config instead of the table."""
        return self.format_ is Format.text and (self.pick is not None or self.output is not None)

    @property
    def amounts(self) -> dict[str, str | None]:
        """The typed value of each constrained figure, except decode throughput."""
        return {
            "total_params": self.params,
            "active_params": self.active_params,
            "forward_flops_per_token": self.max_flops_per_token,
            "kv_cache_bytes": self.max_kv_bytes,
            "weights_bytes": self.max_weights_bytes,
            "train_bytes_per_gpu": self.max_train_bytes_per_gpu,
            "serve_bytes": self.max_serve_bytes,
        }


_TARGETS = ("params", "active_params", "compute")
"""Fields that set a target."""

_NEED_GPU = ("hardware", "purpose", "min_decode_tokens_per_second", "utilization")
"""Fields without effect unless --gpu is given."""

_TRAINING_ONLY = ("optimizer", "recompute")
"""Fields without effect unless training memory is computed."""

_CONSTRAINTS = {option.removeprefix("--").replace("-", "_") for option in OPTIONS.values()} | {"compute", "gpu"}
"""Fields that a search can start from."""


def require_effect(given: Mapping[str, str], options: DesignOptions) -> None:
    """Reject options without effect, and options that contradict each other.

    Args:
        given: The options on the command line, from :func:`typed`.
        options: Their values.

    Raises:
        UsageError: If there is such an option.
    """
    serving = options.purpose == "serving"
    if not given.keys() & _CONSTRAINTS:
        raise UsageError("design needs a target", help="for example tinylm design --params 125M")
    for name in _NEED_GPU:
        if name in given and "gpu" not in given:
            raise UsageError(f"{given[name]} needs a GPU", help="for example --gpu rtx-4090")
    if "utilization" in given and (serving or options.gpus > 1):
        reason = "on serving" if serving else "with several GPUs: it is computed from the plan"
        raise UsageError(f"--utilization has no effect {reason}", help="remove it")
    if options.gpus > 1 and serving:
        raise UsageError("--gpus cannot be combined with --for serving, which uses one GPU", help="remove one of them")
    if options.gpus > 1 and not given.keys() & set(_TARGETS):
        raise UsageError(
            f"a search on {options.gpus:,} GPUs needs a target", help="add --params, --active-params or --compute"
        )
    if options.plan is not None and options.gpus == 1:
        raise UsageError("--plan needs several GPUs", help="for example --gpus 8")
    needs_training = (
        "max_train_bytes_per_gpu" in given
        or ("gpu" in given and not serving)
        or options.format_ in (Format.json, Format.csv)  # reports that include every figure
    )
    for name in _TRAINING_ONLY:
        if name in given and not needs_training:
            raise UsageError(
                f"{given[name]} has no effect: training memory is not computed",
                help="add a limit, such as --max-train-bytes-per-gpu 24GiB, or remove it",
            )
    if "train_tokens" in given and "compute" not in given:
        raise UsageError("--train-tokens needs --compute", help="for example --compute 1e21")
    if "compute" in given and given.keys() & {"params", "active_params"}:
        raise UsageError("--compute cannot be combined with --params or --active-params", help="remove one of them")
    if "pick" in given and not options.writes_config:
        raise UsageError("--pick cannot be combined with --format", help="remove one of them")
    if options.optimizer == "adamw_8bit":
        raise UsageError(
            "design does not support --optimizer adamw_8bit: its memory depends on the size of each tensor",
            help="search with adamw; then tinylm estimate --optimizer adamw_8bit shows the memory of a design",
        )
