"""RoPE scaling that a GGUF file stores as a tensor: the factor by which the wavelength of each pair is stretched."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from gguf.constants import GGMLQuantizationType, Keys

from tinylm_cli.gguf_header import GgufTensor
from tinylm_cli.interop.gguf.architectures import Architecture
from tinylm_cli.interop.gguf.model_file import GgufModel
from tinylm_cli.regular_file import open_regular

FACTORS, LONG_FACTORS, SHORT_FACTORS = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
EXTRA_TENSORS = (FACTORS, LONG_FACTORS, SHORT_FACTORS)
"""Tensors with values that a config states; no parameters of the model."""

MAX_FACTORS = 65_536
"""Pairs of dimensions of a head up to which factors are read."""

_TOLERANCE = 1e-4  # relative; factors are float32
_LLAMA3 = ((8192, 1.0, 4.0), (8192, 1.0, 1.0))
"""Original length and factors of low and high frequencies of the published models."""


def read_rope_factors(
    model: GgufModel, keys: MutableMapping[str, Any], left: MutableMapping[str, Any], architecture: Architecture
) -> dict[str, Any]:
    """Return the value of ``rope_scaling`` that the factors in a file amount to; empty if it has none.

    Factors that are not Llama 3's are those of a LongRoPE with the same factors at every length.

    Args:
        model: The model's files.
        keys: The keys of config.json so far.
        left: The metadata keys that are not understood yet.
        architecture: The architecture.
    """
    name = architecture.name
    long, short = _values(model, LONG_FACTORS), _values(model, SHORT_FACTORS)
    length_key = Keys.Rope.SCALING_ORIG_CTX_LEN.format(arch=name)
    if long and short:
        return _longrope(long, short, keys, left, name)
    if architecture.model_type == "phi3" and length_key in left:
        keys["original_max_position_embeddings"] = left.pop(length_key)
    factors = _values(model, FACTORS)
    if factors is None or set(factors) == {1.0}:
        return {}
    theta = keys.get("rope_theta")
    found = _llama3(factors, theta) if isinstance(theta, float | int) else None
    same = {"rope_type": "longrope", "factor": 1.0, "attention_factor": 1.0}
    return found or same | {key: list(factors) for key in ("short_factor", "long_factor")}


def _longrope(
    long: Sequence[float],
    short: Sequence[float],
    keys: MutableMapping[str, Any],
    left: MutableMapping[str, Any],
    name: str,
) -> dict[str, Any]:
    """Return LongRoPE; its attention factor is left out if it is the one that follows from the lengths."""
    left.pop(Keys.Rope.SCALING_TYPE.format(arch=name), None)
    original = left.pop(Keys.Rope.SCALING_ORIG_CTX_LEN.format(arch=name), None)
    attention = left.pop(Keys.Rope.SCALING_ATTN_FACTOR.format(arch=name), None)
    block: dict[str, Any] = {"rope_type": "longrope", "short_factor": list(short), "long_factor": list(long)}
    longest = keys.get("max_position_embeddings")
    if type(original) is int and original > 1:
        keys["original_max_position_embeddings"] = original
        scale = longest / original if type(longest) is int else 1.0
        implied = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
        if isinstance(attention, float) and math.isclose(attention, implied, rel_tol=_TOLERANCE):
            attention = None
    return block if attention is None else block | {"attention_factor": attention}


def _llama3(factors: Sequence[float], theta: float) -> dict[str, Any] | None:
    """Return the scaling of Llama 3 with these factors; None if there is none.

    With ``low_freq_factor`` 1, two factors between 1 and the largest determine the length and ``high_freq_factor``.
    """
    factor = factors[-1]
    wavelengths = [2 * math.pi * theta ** (index / len(factors)) for index in range(len(factors))]
    for length, low, high in (*_LLAMA3, *_solved(factors, wavelengths)):
        expected = (llama3_factor(each, factor, length, low, high) for each in wavelengths)
        if all(math.isclose(a, b, rel_tol=_TOLERANCE) for a, b in zip(factors, expected, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": length,
            }
    return None


def _solved(factors: Sequence[float], wavelengths: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Yield the length and the factors of frequencies that two factors between the extremes determine."""
    factor = factors[-1]
    between = [(w, f) for w, f in zip(wavelengths, factors, strict=True) if 1 < f < factor]
    if len(between) < 2 or factor <= 1:
        return
    # 1 / f = (1 - s) / factor + s with s = (length / w - low) / (high - low), linear in 1 / w
    (x1, s1), (x2, s2) = ((1 / w, (1 / f - 1 / factor) / (1 - 1 / factor)) for w, f in (between[0], between[-1]))
    slope = (s1 - s2) / (x1 - x2)  # length / (high - 1)
    offset = slope * x1 - s1  # 1 / (high - 1)
    if slope > 0 and offset > 0:
        yield round(slope / offset), 1.0, round(1 + 1 / offset, 2)


def llama3_factor(wavelength: float, factor: float, length: int, low: float, high: float) -> float:
    """Return how much Llama 3 stretches a wavelength.

    References:
        ``_compute_llama3_parameters`` in transformers 5.24, modeling_rope_utils.py
    """
    if wavelength < length / high:
        return 1.0
    if wavelength > length / low:
        return factor
    smooth = (length / wavelength - low) / (high - low) if high != low else 1.0
    return 1 / ((1 - smooth) / factor + smooth)


def _values(model: GgufModel, name: str) -> tuple[float, ...] | None:
    """Return the values of a float32 tensor with one dimension; None if the file has no such tensor."""
    for shard in model.shards:
        tensor = None if shard.header is None else shard.header.tensors.get(name)
        if tensor is not None and shard.header is not None and _is_readable(tensor):
            (n_values,) = tensor.shape
            try:
                with open_regular(shard.path) as file:
                    file.seek(shard.header.data_start + tensor.offset)
                    data = file.read(4 * n_values)
            except (OSError, ValueError, OverflowError):
                return None
            return struct.unpack(f"<{n_values}f", data) if len(data) == 4 * n_values else None
    return None


def _is_readable(tensor: GgufTensor) -> bool:
    is_vector = len(tensor.shape) == 1 and 0 < tensor.shape[0] <= MAX_FACTORS
    return is_vector and tensor.type_id == GGMLQuantizationType.F32
