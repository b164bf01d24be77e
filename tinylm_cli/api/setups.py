"""Training and serving setups as keyword arguments."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from tinylm_cli.config.amounts import MAX_AMOUNT, AmountKind, parse_amount
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.memory import AttentionKernel, Device, Optimizer, Quantization, Recompute
from tinylm_cli.reports.plan import ABBREVIATIONS, Layout

if TYPE_CHECKING:
    from tinylm_cli.analysis.setups import QuantizationConfig
    from tinylm_cli.config.hardware import Accelerator


class SetupFields(TypedDict, total=False):
    """The fields of ``TrainingSetup`` and ``ServingSetup`` that a caller may set."""

    batch_size: int
    seq_len: int
    dtype: str
    attention_kernel: AttentionKernel
    device: Device
    recompute: Recompute
    optimizer: Optimizer
    grad_dtype: str
    master_weights: bool
    n_gpus: int
    global_batch_size: int
    train_tokens: int | str
    utilization: float
    kernel_efficiency: float
    usd_per_gpu_hour: float
    cache_dtype: str
    quantization: Quantization | QuantizationConfig
    prefill_tokens: int
    batch_sizes: tuple[int, ...]
    seq_lens: tuple[int, ...]


def setup_changes(fields: SetupFields, plan: str | Layout | None, *, has_gpu: bool) -> dict[str, Any]:
    """Return a caller's fields as arguments of ``Setups.of``, with amounts and the plan parsed.

    Raises:
        UsageError: If a field, an amount or a plan entry is invalid.
    """
    from tinylm_cli.analysis.setups import QuantizationConfig

    known: dict[str, Any] = dict(fields)
    for name in known.keys() - SetupFields.__annotations__.keys():
        meant = suggest(name, SetupFields.__annotations__)
        raise UsageError(f"unknown setup field {name}", help=f"did you mean {meant}?" if meant else "")
    if isinstance(known.get("quantization"), str):
        known["quantization"] = QuantizationConfig(known["quantization"])
    if "train_tokens" in known:
        known["train_tokens"] = read_amount("train_tokens", known["train_tokens"], "count")
    if isinstance(plan, str):
        plan = None if plan == "auto" else _layout(plan, known.get("n_gpus"))
    n_gpus = known.setdefault("n_gpus", 1 if plan is None else plan.n_gpus)
    if plan is not None and plan.n_gpus != n_gpus:
        raise UsageError(f"the plan uses {plan.n_gpus} GPUs, but n_gpus is {n_gpus}", help="omit n_gpus, or dp")
    if plan is None and n_gpus > 1 and not has_gpu:
        plan = Layout(data=n_gpus, zero=3)  # without a GPU, layouts cannot be ranked by speed
    return {**known, "layout": plan, "derives_micro_batches": plan is None or plan.micro_batches == 1}


def read_gpu(
    gpu: str | None, hardware: str | os.PathLike[str] | None
) -> tuple[Accelerator | None, tuple[Accelerator, ...]]:
    """Return the GPU of that name, and all known GPUs, from which a larger one may be suggested.

    Raises:
        ConfigError: If the GPU is unknown, or the hardware file is invalid.
        InputError: If the hardware file cannot be read.
    """
    if gpu is None:
        return None, ()
    from tinylm_cli.config.hardware import find_accelerator, load_accelerators

    accelerators = load_accelerators(None if hardware is None else os.fspath(hardware))
    return find_accelerator(accelerators, gpu), tuple(accelerators.values())


def read_amount(name: str, value: int | str, kind: AmountKind, *, most: int = MAX_AMOUNT) -> int:
    """Return an amount as a number; strings such as ``"15B"`` or ``"24GiB"`` are parsed.

    Raises:
        UsageError: If a string is not an amount.
    """
    if not isinstance(value, str):
        return value
    try:
        return parse_amount(value, kind, most=most)
    except ValueError as error:
        raise UsageError(f"{name} {value}: {error}") from error


def _layout(plan: str, n_gpus: int | None) -> Layout:
    """Parse a layout such as ``tp=2,zero=1``; ``dp`` defaults to n_gpus divided by the other degrees."""
    fields = {word: name for name, word in ABBREVIATIONS.items()}
    given: dict[str, Any] = {}
    for each in plan.split(","):
        word, _, value = each.strip().partition("=")
        if word not in fields or not (value.isdecimal() or word == "schedule"):
            raise UsageError(
                f"invalid plan entry {each}", help=f"the keys are {', '.join(fields)}: for example tp=2,zero=1"
            )
        given[fields[word]] = value if word == "schedule" else int(value)
    layout = Layout(**given)
    return layout if "data" in given or n_gpus is None else replace(layout, data=max(n_gpus // layout.n_gpus, 1))
