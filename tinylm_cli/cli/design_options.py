"""The options of ``tinylm design``: what is asked of a model, and what it is for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from tinylm_cli.cli.completion import complete_gpu
from tinylm_cli.cli.options import (
    CLUSTER_PANEL,
    MODEL_PANEL,
    OUTPUT_PANEL,
    TARGET_PANEL,
    amount,
    number,
)
from tinylm_cli.cli.training_options import share_of_peak
from tinylm_cli.config.amounts import AmountKind
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.design import AIMS

TOLERANCE = 0.02
"""Sizes are known by two digits or three."""


class Family(StrEnum):
    """Templates; their names are those of ``analysis.design.families``."""

    course = "course"
    gpt2 = "gpt2"
    llama = "llama"
    qwen3 = "qwen3"
    gemma2 = "gemma2"
    mixtral = "mixtral"
    qwen3_moe = "qwen3-moe"


class Purpose(StrEnum):
    """What has to fit in the memory of a GPU."""

    training = "training"
    serving = "serving"


def _speed(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        option = "--min-decode-tokens-per-second"
        raise UsageError(f"{option} {value:g}: expected more than 0", help=f"for example {option} 50")
    return value


def _option(option: str, kind: AmountKind, words: str) -> typer.models.OptionInfo:
    metavar = {"count": "COUNT", "size": "SIZE", "flops": "FLOPS"}[kind]
    found: typer.models.OptionInfo = typer.Option(
        option, metavar=metavar, help=words, show_default=False, rich_help_panel=TARGET_PANEL
    )
    return found


ParamsOption = Annotated[str | None, _option("--params", "count", "Parameters to come near, such as 125M.")]
ActiveParamsOption = Annotated[
    str | None, _option("--active-params", "count", "Parameters that a token uses, to come near.")
]
ComputeOption = Annotated[
    str | None,
    _option("--compute", "flops", "Operations of a whole training, such as 1e21; finds the size they suit best."),
]  # fmt: skip
BudgetTokensOption = Annotated[
    str | None, _option("--budget-tokens", "count", "Tokens that --compute is spent on; 20 a parameter when absent.")
]
ToleranceOption = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        parser=number("--tolerance", least=0, most=1, example="0.02"),
        help="How far from those a model may be.",
        rich_help_panel=TARGET_PANEL,
    ),
]
MaxFlopsOption = Annotated[
    str | None, _option("--max-flops-per-token", "flops", "Most operations of a forward pass for each token.")
]
MaxKvOption = Annotated[str | None, _option("--max-kv-bytes", "size", "Most bytes of keys and values.")]
MaxWeightsOption = Annotated[str | None, _option("--max-weights-bytes", "size", "Most bytes of weights.")]
MaxTrainOption = Annotated[
    str | None, _option("--max-train-bytes-per-gpu", "size", "Most that one GPU holds to train the whole model.")
]
MaxServeOption = Annotated[
    str | None, _option("--max-serve-bytes", "size", "Most that weights, keys and values and a pass take.")
]
MinDecodeOption = Annotated[
    float | None,
    typer.Option(
        "--min-decode-tokens-per-second", metavar="RATE", callback=_speed, show_default=False,
        help="Least that the GPU may decode at best, of all sequences.", rich_help_panel=TARGET_PANEL,
    ),
]  # fmt: skip
GpuOption = Annotated[
    str | None,
    typer.Option("--gpu", metavar="NAME", show_default=False, autocompletion=complete_gpu,
                 help="A GPU that it has to fit, as tinylm list --hardware names it.", rich_help_panel=CLUSTER_PANEL),
]  # fmt: skip
PurposeOption = Annotated[
    Purpose | None,
    typer.Option("--for", help="What has to fit there.  [default: training]", rich_help_panel=CLUSTER_PANEL),
]
UtilizationOption = Annotated[
    float, share_of_peak("--utilization", "Share of the GPU's peak that training reaches; 0.4 when absent.", "0.4")
]
FamilyOption = Annotated[
    Family, typer.Option(metavar="NAME", help=f"What kind of model: {', '.join(Family)}.", rich_help_panel=MODEL_PANEL)
]
VocabSizeOption = Annotated[
    int | None,
    typer.Option(
        metavar="V",
        parser=amount("--vocab-size", "count", most=10**8, example="32000"),
        help="Tokens; the family's if absent.",
        show_default=False,
        rich_help_panel=MODEL_PANEL,
    ),
]
MaxLenOption = Annotated[
    int | None,
    typer.Option(
        metavar="T",
        parser=amount("--max-len", "length", most=10**9, example="8k"),
        help="Longest sequence, likewise.",
        show_default=False,
        rich_help_panel=MODEL_PANEL,
    ),
]
TieOption = Annotated[
    bool | None,
    typer.Option(
        "--tie/--no-tie", help="Share the embedding's table, likewise.", show_default=False, rich_help_panel=MODEL_PANEL
    ),
]
TopOption = Annotated[
    int, typer.Option(metavar="N", min=1, max=10_000, help="How many to show.", rich_help_panel=OUTPUT_PANEL)
]
FrontOption = Annotated[
    bool, typer.Option("--front", help="Show only those that no other match beats.", rich_help_panel=OUTPUT_PANEL)
]
PickOption = Annotated[
    int | None,
    typer.Option(
        metavar="RANK",
        min=1,
        max=10_000,
        help="Write that one as YAML; 1 with -o.",
        show_default=False,
        rich_help_panel=OUTPUT_PANEL,
    ),
]

_OF_GPU = ("hardware", "purpose", "min_decode_tokens_per_second", "utilization")
"""The parameters that say nothing without a GPU."""

_OF_TRAINING = ("optimizer", "recompute")
"""The parameters that say nothing where no memory of training is told."""

_AIMING = frozenset(asked.option.removeprefix("--").replace("-", "_") for asked in AIMS.values()) | {"compute", "gpu"}
"""The parameters that a design can be made of."""


def typed(context: typer.Context) -> dict[str, str]:
    """Return the options that stand on the command line, each by the name of its parameter."""
    found = {}
    for parameter in context.command.params:
        if parameter.name not in context.params:  # one that all commands share
            continue
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            found[parameter.name or ""] = parameter.opts[0]
    return found


def require_effect(asked: Mapping[str, str], *, serving: bool, as_config: bool, every_figure: bool) -> None:
    """Refuse options that say nothing without another, or that say two things.

    Args:
        asked: What :func:`typed` found.
        serving: Whether the GPU is there to serve, and not to train.
        as_config: Whether a config is written, and not the table.
        every_figure: Whether what is written has all figures of a design, and not only those aimed at.

    Raises:
        UsageError: If there are any.
    """
    if not asked.keys() & _AIMING:
        raise UsageError("there is nothing to aim at", help="for example tinylm design --params 125M")
    for name in _OF_GPU:
        if name in asked and "gpu" not in asked:
            raise UsageError(f"{asked[name]} is about a GPU", help="name it, for example with --gpu rtx-4090")
    if "utilization" in asked and serving:
        raise UsageError("--utilization is about training", help="leave it out, or --for serving")
    trained = "max_train_bytes_per_gpu" in asked or ("gpu" in asked and not serving) or every_figure
    for name in _OF_TRAINING:
        if name in asked and not trained:
            raise UsageError(
                f"{asked[name]} is about memory for training, and none is asked for",
                help="say how much there is, such as --max-train-bytes-per-gpu 24GiB, or leave it out",
            )
    if "budget_tokens" in asked and "compute" not in asked:
        raise UsageError("--budget-tokens are what --compute is spent on", help="say how much, such as --compute 1e21")
    if "compute" in asked and asked.keys() & {"params", "active_params"}:
        raise UsageError("--compute finds the size of the model, and the size is given", help="leave out one of them")
    if "pick" in asked and not as_config:
        raise UsageError("--pick writes a design as YAML, and --format asks for a report", help="leave out one of them")
