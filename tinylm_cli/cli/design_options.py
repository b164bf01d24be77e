"""The options of ``tinylm design``: what is asked of a model, and what it is for."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

import typer

from tinylm_cli.cli.options import complete_config, complete_set, number
from tinylm_cli.config.amounts import AmountKind
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.memory import Optimizer, Recompute

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
    found: typer.models.OptionInfo = typer.Option(option, metavar=metavar, help=words, show_default=False)
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
        help="Least that the GPU may decode at best, of all sequences.",
    ),
]  # fmt: skip
GpuOption = Annotated[
    str | None,
    typer.Option("--gpu", metavar="NAME", show_default=False,
                 help="A GPU that it has to fit, as tinylm list --hardware names it."),
]  # fmt: skip
PurposeOption = Annotated[Purpose | None, typer.Option("--for", help="What has to fit there.  [default: training]")]
HardwareOption = Annotated[
    str | None, typer.Option("--hardware", metavar="FILE", help="GPUs of your own, as YAML.", show_default=False)
]
UtilisationOption = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        parser=number("--utilisation", least=0.001, most=1, example="0.4"),
        help="Share of the GPU's peak that training reaches.",
    ),
]
FamilyOption = Annotated[Family, typer.Option(metavar="NAME", help=f"What kind of model: {', '.join(Family)}.")]
VocabSizeOption = Annotated[
    int | None, typer.Option(metavar="V", min=1, max=10**8, help="Tokens; the family's if absent.", show_default=False)
]
MaxLenOption = Annotated[
    int | None, typer.Option(metavar="T", min=1, max=10**9, help="Longest sequence, likewise.", show_default=False)
]
TieOption = Annotated[
    bool | None, typer.Option("--tie/--no-tie", help="Share the embedding's table, likewise.", show_default=False)
]
OptimizerOption = Annotated[
    Optimizer, typer.Option(metavar="NAME", help="What updates the weights, as in tinylm estimate.")
]
RecomputeOption = Annotated[Recompute, typer.Option(help="What the backward pass computes again, likewise.")]
TopOption = Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="How many to show.")]
FrontOption = Annotated[bool, typer.Option("--front", help="Show only those that no other match beats.")]
PickOption = Annotated[
    int | None,
    typer.Option(metavar="RANK", min=1, max=10_000, help="Write that one as YAML; 1 with -o.", show_default=False),
]
VaryConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="NAME|PATH", help="The config that --vary varies.", autocompletion=complete_config,
        show_default=False,
    ),
]  # fmt: skip
VaryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--vary", metavar="KEY=VALUES", help="Try values of a field, 4..24:4 or 4,8,12; of two, if given twice.",
        autocompletion=complete_set, show_default=False,
    ),
]  # fmt: skip
FigureOption = Annotated[str, typer.Option(metavar="NAME", help="The figure that --vary draws.")]


def require_effect(
    compute: str | None,
    budget_tokens: str | None,
    sized: bool,
    gpu: str | None,
    hardware: str | None,
    purpose: Purpose | None,
    speed: float | None,
    optimizer: Optimizer,
) -> None:
    """Refuse options that say nothing without another, or that say two things.

    Args:
        compute: ``--compute``.
        budget_tokens: ``--budget-tokens``.
        sized: Whether the size is given, by ``--params`` or ``--active-params``.
        gpu: ``--gpu``.
        hardware: ``--hardware``.
        purpose: ``--for``.
        speed: ``--min-decode-tokens-per-second``.
        optimizer: ``--optimizer``.

    Raises:
        UsageError: If there are any.
    """
    about_gpu = {"--hardware": hardware, "--for": purpose, "--min-decode-tokens-per-second": speed}
    for option, value in about_gpu.items():
        if value is not None and gpu is None:
            raise UsageError(f"{option} is about a GPU", help="name it, for example with --gpu rtx-4090")
    if budget_tokens is not None and compute is None:
        raise UsageError("--budget-tokens are what --compute is spent on", help="say how much, such as --compute 1e21")
    if compute is not None and sized:
        raise UsageError("--compute finds the size of the model, and the size is given", help="leave out one of them")
    if optimizer == "adamw_8bit":
        raise UsageError(
            "--optimizer adamw_8bit keeps small tensors in another way, so that its memory grows unevenly",
            help="search with another; then tinylm estimate --optimizer adamw_8bit tells what one takes",
        )
