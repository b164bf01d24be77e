"""Checks of sizes against the multiples that tensor cores and quantized types need."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from tinylm_cli.analysis.portability.dimensions import Dimension, dimensions, field_of, kinds_of
from tinylm_cli.analysis.portability.engines import SHAPES
from tinylm_cli.analysis.portability.findings import Request
from tinylm_cli.errors import Severity
from tinylm_cli.quantities import counted
from tinylm_cli.reports.lint import Finding, Target

LEAST, BEST = 8, 64
"""Numbers of bfloat16 or float16 values in 16 bytes, and in the 128 bytes that suit A100 and later GPUs best."""

FP8_MULTIPLE, MXFP4_BLOCK, BLOCK_OF_32 = 16, 32, 32
"""Multiples of FP8 matmuls and MXFP4 blocks; the block of the types that llama.cpp falls back to."""

_SMALL_TYPES = (("FP8", FP8_MULTIPLE), ("MXFP4", MXFP4_BLOCK))


def multiple_findings(request: Request) -> Iterator[Finding]:
    """Yield the sizes that are not the multiples that hardware or quantized types need."""
    for dimension in dimensions(request.config):
        for target in request.targets:
            if _is_concerned(target, dimension) and _has_tensor_cores(request):
                yield from _tensor_cores(request, target, dimension)
                yield from _small_types(request, target, dimension)
    quantizing = [target for target in request.targets if SHAPES[target].quant_block > 1]
    if quantizing:
        yield from _rows(request, quantizing)


def _is_concerned(target: Target, dimension: Dimension) -> bool:
    shapes = SHAPES[target]
    return shapes.on_tensor_cores and (dimension.field != "vocab_size" or shapes.vocab_multiple == 1)


def _has_tensor_cores(request: Request) -> bool:
    """Return whether the GPU is one of those that the guide of tensor cores is about."""
    return request.accelerator is None or request.accelerator.title.startswith("NVIDIA")


def _parts(request: Request, target: Target, dimension: Dimension) -> int:
    """Return the number of GPUs that share a size evenly."""
    splits = dimension.is_split and SHAPES[target].splits
    return request.tp if splits and dimension.size % request.tp == 0 else 1


def _size(dimension: Dimension, n_parts: int) -> str:
    """Return the name and the size of a dimension, and its share of each GPU."""
    of_each = f", {dimension.size // n_parts:,} on each GPU," if n_parts > 1 else ""
    return f"{dimension.field} {dimension.size:,}{of_each}"


def _tensor_cores(request: Request, target: Target, dimension: Dimension) -> Iterator[Finding]:
    n_parts = _parts(request, target, dimension)
    part, size = dimension.size // n_parts, _size(dimension, n_parts)
    is_recent = request.accelerator is None or request.accelerator.peak_flops_per_second.bfloat16 is not None
    if part % LEAST:
        severity: Severity = "warning"
        message = f"{size} is not a multiple of {LEAST}, 16 bytes in bfloat16"
    elif part % BEST and is_recent:
        severity = "note"
        message = (
            f"{size} is a multiple of {gcd(part, BEST)}, not of {BEST}, the 128 bytes in bfloat16 that suit tensor"
            " cores best"
        )
    else:
        return
    smaller = [f"{name} needs {multiple}" for name, multiple in _SMALL_TYPES if part % multiple]
    if request.accelerator is None and smaller:
        message += f" ({', '.join(smaller)})"
    padded = request.padding(dimension, (BEST if is_recent else LEAST) * n_parts)
    yield request.finding("tensor-core-multiple", [target], dimension.field, message, severity=severity, padded=padded)


def _small_types(request: Request, target: Target, dimension: Dimension) -> Iterator[Finding]:
    """Yield sizes that FP8 matmuls and MXFP4 blocks do not divide, if such weights are stored or the GPU has FP8.

    For any GPU, :func:`_tensor_cores` mentions both.
    """
    stored, accelerator = request.config.storage.quantization, request.accelerator
    has_fp8 = accelerator is not None and accelerator.peak_flops_per_second.float8 is not None
    n_parts = _parts(request, target, dimension)
    types = (
        ("fp8-multiple", "float8", FP8_MULTIPLE, has_fp8, "which FP8 matmuls need"),
        ("mxfp4-block", "mxfp4", MXFP4_BLOCK, False, "the values that share a scale in MXFP4"),
    )
    for code, dtype, multiple, is_possible, purpose in types:
        if dimension.size // n_parts % multiple and (is_possible or stored == dtype):
            message = f"{_size(dimension, n_parts)} is not a multiple of {multiple}, {purpose}"
            severity: Severity = "warning" if stored == dtype else "note"
            yield request.finding(code, [target], dimension.field, message, severity=severity)


def _rows(request: Request, targets: list[Target]) -> Iterator[Finding]:
    """Yield sizes of inputs of matmuls, the rows of their weights, that blocks of 256 values do not fill."""
    for dimension in _row_sizes(request):
        for target in targets:
            block = SHAPES[target].quant_block
            if dimension.size % block == 0:
                continue
            larger = "F16" if dimension.size % BLOCK_OF_32 else "types with blocks of 32, such as Q5_0 instead of Q4_K"
            message = (
                f"rows of {counted(dimension.size, 'weight')} ({_name(dimension)}) are not a multiple of {block}:"
                f" {SHAPES[target].title} falls back to {larger}"
            )
            padded = None if dimension.field == "n_heads" else request.padding(dimension, block)
            yield request.finding("quant-block", [target], dimension.field, message, severity="warning", padded=padded)


def _row_sizes(request: Request) -> Iterator[Dimension]:
    yield from (each for each in dimensions(request.config) if each.field != "vocab_size")
    outputs = {
        Dimension(field_of(request.config, name, "n_heads"), kind.n_heads * kind.d_value, True): None
        for name, kind in kinds_of(request.config)
        if "attention" in kind.block.mixers and kind.n_heads * kind.d_value != kind.d_model
    }
    yield from outputs


def _name(dimension: Dimension) -> str:
    return "n_heads × value dimensions" if dimension.field.endswith("n_heads") else dimension.field
