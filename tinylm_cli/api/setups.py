"""Training and serving setups as keyword arguments."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

from tinylm_cli.analysis.setups import UNQUANTIZED, QuantizationConfig, Setups
from tinylm_cli.api.amounts import (
    Degree,
    Dollars,
    GpuCount,
    GroupSize,
    MaxLength,
    SequenceLength,
    Sequences,
    Share,
    Tokens,
)
from tinylm_cli.api.arguments import read
from tinylm_cli.config.choices import DType, KvCacheDtype
from tinylm_cli.errors import UsageError
from tinylm_cli.quantities import counted
from tinylm_cli.reports.choices import AttentionKernel, Device, Optimizer, Quantization, Recompute
from tinylm_cli.reports.plan import ABBREVIATIONS, Layout

if TYPE_CHECKING:
    from tinylm_cli.config.hardware import Accelerator


class SetupFields(TypedDict, total=False):
    """How a model is trained and served: keyword arguments of ``estimate``, ``compare`` and ``design``.

    Attributes:
        batch_size: Micro-batch size: sequences per pass on one GPU, in training and in serving.
        seq_len: Tokens per sequence, in training and in serving; None for the model's ``max_len``.
        dtype: Storage type of weights and activations.
        attention_kernel: Attention kernel; ``sdpa`` is the one that tinylm's own model uses.
        device: Device that runs the kernels; not an option of the commands.
        recompute: Activations that the backward pass recomputes.
        optimizer: The optimizer.
        grad_dtype: Storage type of gradients; None for ``dtype``.
        master_weights: Whether the optimizer updates a float32 copy of the weights; None: only with 16-bit dtypes.
        gpus: GPUs that train the model together; by default the number that ``plan`` uses.
        global_batch_size: Sequences per optimizer step, over all GPUs; None for about 4M tokens.
        train_tokens: Tokens to train on, such as ``"15B"``; None for the compute-optimal number.
        utilization: MFU of training on one GPU.
        kernel_efficiency: Share of the peak that each of several GPUs reaches while it computes.
        price: Price of one GPU hour in dollars; None if unknown.
        quantize: Weight quantization for inference, and of weights frozen by ``lora``; by default as in the checkpoint.
        group_size: int4: weights that share a scale.
        quantize_head: Whether the LM head is quantized too.
        kv_cache_dtype: Storage type of the KV cache; None for that of the checkpoint, else ``dtype``.
        prefill_tokens: Maximum prompt tokens per prefill pass.
        serving_batch_size: Sequences decoded together; several set the rows of the serving table. None for
            ``batch_size``.
        serving_seq_len: Tokens in the KV cache per sequence; several set the columns of the serving table. None for
            ``seq_len``.
    """

    batch_size: Sequences
    seq_len: SequenceLength | None
    dtype: DType
    attention_kernel: AttentionKernel
    device: Device
    recompute: Recompute
    optimizer: Optimizer
    grad_dtype: DType | None
    master_weights: bool | None
    gpus: GpuCount
    global_batch_size: Sequences | None
    train_tokens: Tokens | None
    utilization: Share
    kernel_efficiency: Share
    price: Dollars | None
    quantize: Quantization
    group_size: GroupSize
    quantize_head: bool
    kv_cache_dtype: KvCacheDtype | None
    prefill_tokens: MaxLength
    serving_batch_size: Sequences | tuple[Sequences, ...] | None
    serving_seq_len: SequenceLength | tuple[SequenceLength, ...] | None


FIELDS = {"gpus": "n_gpus", "price": "usd_per_gpu_hour", "kv_cache_dtype": "cache_dtype"}
"""The fields of setups that have another name than their keyword argument."""

_SERVING_TABLE = {
    "serving_batch_size": ("batch_size", "batch_sizes"),
    "serving_seq_len": ("seq_len", "seq_lens"),
}
"""The fields of a serving setup that one value, and that every value sets."""


def read_setups(base: Setups, fields: SetupFields, plan: str | Layout | None, *, has_gpu: bool) -> Setups:
    """Return ``base`` with a caller's fields and plan.

    Raises:
        UsageError: If a field or a plan entry is invalid.
    """
    known = read_fields(fields)
    quantization = _quantization(known)
    served = {name: known.pop(name, None) for name in _SERVING_TABLE}
    layout = _layout(plan, known.get("gpus"))
    gpus = known.setdefault("gpus", 1 if layout is None else layout.n_gpus)
    if layout is not None and layout.n_gpus != gpus:
        used = counted(layout.n_gpus, "GPU")
        raise UsageError(f"the plan uses {used}, but gpus is {gpus}", help=f"write gpus={layout.n_gpus}, or omit gpus")
    if layout is None and gpus > 1 and not has_gpu:
        layout = Layout(data=gpus, zero=3)  # without a GPU, layouts cannot be ranked by speed
    setups = base.changed(
        **{FIELDS.get(name, name): value for name, value in known.items()},
        **({} if quantization is None else {"quantization": quantization}),
        layout=layout,
        derives_micro_batches=layout is None or layout.micro_batches == 1,
    )
    return setups._replace(serving=setups.serving._replace(**_served(served)))


def _served(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a serving setup: a single value applies to the setup, and all values to its table."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        several = () if value is None else value if isinstance(value, tuple) else (value,)
        one, every = _SERVING_TABLE[name]
        fields |= {one: several[0]} if len(several) == 1 else {}
        fields |= {every: tuple(sorted(set(several)))} if several else {}
    return fields


def _quantization(known: dict[str, Any]) -> QuantizationConfig | None:
    """Take the fields of weight quantization from a caller's fields.

    Raises:
        UsageError: If a field has no effect with the others.
    """
    method, group_size, head = (known.pop(name, None) for name in ("quantize", "group_size", "quantize_head"))
    if group_size is not None and method != "int4":
        raise UsageError('group_size needs quantize="int4"', help="add it, or omit group_size")
    if head and method in (None, "none"):
        raise UsageError("quantize_head needs quantize", help='add it, for example quantize="int8"')
    if method is None:
        return None
    return QuantizationConfig(method, group_size or UNQUANTIZED.group_size, bool(head))


def read_fields(fields: SetupFields) -> dict[str, Any]:
    """Return the values of a caller's fields, with amounts as numbers.

    Raises:
        UsageError: If the type or value of a field is not allowed.
    """
    annotations = get_type_hints(SetupFields, include_extras=True)
    return {name: read(name, value, annotations[name]) for name, value in fields.items()}


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


def _layout(plan: str | Layout | None, gpus: int | None) -> Layout | None:
    """Return a layout such as ``tp=2,zero=1``; ``dp`` defaults to ``gpus`` divided by the other degrees.

    Raises:
        UsageError: If an entry is invalid, or the other degrees do not divide the GPUs.
    """
    if plan is None or plan == "auto":
        return None
    if isinstance(plan, Layout):
        _require_degrees(vars(plan))
        return plan
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
    if "data" in stated or gpus is None:
        return layout
    if gpus % layout.n_gpus:
        multiple = -(-gpus // layout.n_gpus) * layout.n_gpus
        raise UsageError(
            f"the plan {plan} uses {counted(layout.n_gpus, 'GPU')} per replica, which does not divide gpus={gpus}",
            help=f"write gpus={multiple}, or degrees that divide {gpus}",
        )
    return replace(layout, data=gpus // layout.n_gpus)


def _require_degrees(values: dict[str, Any]) -> None:
    """Check the fields of a layout."""
    annotations = get_type_hints(Layout)
    for name, value in values.items():
        annotation = annotations[name]
        read(f"plan: {ABBREVIATIONS[name]}", value, Degree if annotation is int else annotation)
