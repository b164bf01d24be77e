"""Training and serving setups as keyword arguments."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_type_hints

from tinylm_cli.analysis.setups import QuantizationConfig
from tinylm_cli.api.arguments import Bounds, require, require_known
from tinylm_cli.config.amounts import MAX_AMOUNT, AmountKind, parse_amount
from tinylm_cli.config.choices import DType
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.choices import AttentionKernel, Device, KvCacheDtype, Optimizer, Quantization, Recompute
from tinylm_cli.reports.plan import ABBREVIATIONS, Layout

if TYPE_CHECKING:
    from tinylm_cli.config.hardware import Accelerator


Sequences = Annotated[int, Bounds(1, 10**9)]
Tokens = Annotated[int, Bounds(1)]
Gpus = Annotated[int, Bounds(1, 1_000_000)]
Share = Annotated[float, Bounds(0.001, 1)]


class SetupFields(TypedDict, total=False):
    """The fields of ``TrainingSetup`` and ``ServingSetup`` that a caller may set, with the ranges of the options."""

    batch_size: Sequences
    seq_len: Tokens | None
    dtype: DType
    attention_kernel: AttentionKernel
    device: Device
    recompute: Recompute
    optimizer: Optimizer
    grad_dtype: DType | None
    master_weights: bool | None
    n_gpus: Gpus
    global_batch_size: Sequences | None
    train_tokens: float | str | None
    utilization: Share
    kernel_efficiency: Share
    usd_per_gpu_hour: Annotated[float, Bounds(0, 1_000_000)] | None
    cache_dtype: KvCacheDtype | None
    quantization: Quantization | QuantizationConfig
    prefill_tokens: Annotated[int, Bounds(1, 10**9)]
    batch_sizes: tuple[Sequences, ...]
    seq_lens: tuple[Tokens, ...]


def setup_changes(fields: SetupFields, plan: str | Layout | None, *, has_gpu: bool) -> dict[str, Any]:
    """Return a caller's fields as arguments of ``Setups.of``, with amounts and the plan parsed.

    Raises:
        UsageError: If a field, an amount or a plan entry is invalid.
    """
    known = checked_fields(fields)
    require("plan", plan, str | Layout | None)
    if isinstance(known.get("quantization"), str):
        known["quantization"] = QuantizationConfig(known["quantization"])
    if known.get("train_tokens") is not None:
        known["train_tokens"] = read_amount("train_tokens", known["train_tokens"], "count")
    if isinstance(plan, str):
        plan = None if plan == "auto" else _layout(plan, known.get("n_gpus"))
    elif plan is not None:
        _require_degrees(vars(plan))
    n_gpus = known.setdefault("n_gpus", 1 if plan is None else plan.n_gpus)
    if plan is not None and plan.n_gpus != n_gpus:
        raise UsageError(f"the plan uses {plan.n_gpus} GPUs, but n_gpus is {n_gpus}", help="omit n_gpus, or dp")
    if plan is None and n_gpus > 1 and not has_gpu:
        plan = Layout(data=n_gpus, zero=3)  # without a GPU, layouts cannot be ranked by speed
    return {**known, "layout": plan, "derives_micro_batches": plan is None or plan.micro_batches == 1}


def checked_fields(fields: SetupFields) -> dict[str, Any]:
    """Return a caller's fields.

    Raises:
        UsageError: If a field is unknown, or its type or value is not allowed.
    """
    annotations = get_type_hints(SetupFields, include_extras=True)
    for name, value in fields.items():
        require_known("setup field", name, annotations)
        require(name, value, annotations[name])
    known: dict[str, Any] = dict(fields)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}


def read_gpu(
    gpu: str | None, hardware: str | os.PathLike[str] | None
) -> tuple[Accelerator | None, tuple[Accelerator, ...]]:
    """Return the named GPU, and all known GPUs, which remedies may suggest.

    Raises:
        ConfigError: If the GPU is unknown, or the hardware file is invalid.
        InputError: If the hardware file cannot be read.
    """
    if gpu is None:
        return None, ()
    from tinylm_cli.config.hardware import find_accelerator, load_accelerators

    accelerators = load_accelerators(None if hardware is None else os.fspath(hardware))
    return find_accelerator(accelerators, gpu), tuple(accelerators.values())


def read_amount(name: str, value: float | str, kind: AmountKind, *, most: int = MAX_AMOUNT) -> int:
    """Return an amount as a number; strings such as ``"15B"`` or ``"24GiB"`` are parsed.

    Raises:
        UsageError: If a string is not an amount, or a number is not whole or out of range.
    """
    if not isinstance(value, str):
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        require(name, number, Annotated[int, Bounds(1, most)])
        return int(number)
    try:
        return parse_amount(value, kind, most=most)
    except ValueError as error:
        raise UsageError(f"{name} {value}: {error}") from error


def _layout(plan: str, n_gpus: int | None) -> Layout:
    """Parse a layout such as ``tp=2,zero=1``; ``dp`` defaults to n_gpus divided by the other degrees."""
    fields = {key: name for name, key in ABBREVIATIONS.items()}
    stated: dict[str, Any] = {}
    for entry in plan.split(","):
        key, _, value = entry.strip().partition("=")
        if key not in fields or not (value.isdecimal() or key == "schedule"):
            raise UsageError(
                f"invalid plan entry {entry}", help=f"the keys are {', '.join(fields)}: for example tp=2,zero=1"
            )
        stated[fields[key]] = value if key == "schedule" else int(value)
    _require_degrees(stated)
    layout = Layout(**stated)
    return layout if "data" in stated or n_gpus is None else replace(layout, data=max(n_gpus // layout.n_gpus, 1))


def _require_degrees(values: dict[str, Any]) -> None:
    """Check the fields of a layout."""
    annotations = get_type_hints(Layout)
    for name, value in values.items():
        annotation = annotations[name]
        require(f"plan: {ABBREVIATIONS[name]}", value, Gpus if annotation is int else annotation)
