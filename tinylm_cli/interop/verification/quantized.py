"""Tensors of quantized checkpoints: packed weights, scales and zero points, as ``quantization_config`` implies them.

Names follow the checkpoints that transformers 5.24 reads and writes with each ``quant_method``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from tinylm_cli.interop.tensor_pairs import Pair
from tinylm_cli.safetensors_header import DTYPE_BITS

HOLDERS = ("qweight", "weight_packed", "W_q", "blocks", "packed", "weight_blocks")
"""The last part of the name of a tensor that holds the packed values of a weight."""

_COMPANIONS = """
    qzeros scales g_idx weight_scale weight_zero_point weight_shape weight_g_idx weight_scale_inv input_scale
    output_scale weight_scale_2 input_zero_point output_zero_point input_global_scale weight_global_scale absmax
    quant_map nested_absmax nested_quant_map SCB weight_format scale zero zeros meta scale_inv k_scale v_scale q_scale
    activation_scale activation_scale_inv bias_scale quant_state
"""
COMPANIONS = frozenset(_COMPANIONS.split())
"""The last part of the name of a tensor that a loader needs to unpack a weight."""

_PADDED_BITS = 32
"""Rows of packed values may be padded to words of this size."""

_BITS = {"fp8": 8, "fbgemm_fp8": 8, "mxfp4": 4, "bitnet": 2, "eetq": 8}
"""Bits of a weight, by the ``quant_method`` that has only one size."""


class Quantization(NamedTuple):
    """How a checkpoint is quantized."""

    method: str  # ``quant_method``; empty if the config does not name one.
    bits: int | None  # Bits of a packed value; None if the config does not say.

    @classmethod
    def of(cls, config: Any) -> Quantization | None:
        """Return what ``quantization_config`` says; None if it is not there."""
        if not isinstance(config, dict):
            return None
        method = str(config.get("quant_method") or "")
        bits = set(_bits(config))
        return cls(method, bits.pop() if len(bits) == 1 else None if bits else _BITS.get(method))

    def holds(self, pair: Pair, nbytes: int | None) -> bool:
        """Return whether a tensor of ``nbytes``, None if unknown, holds the packed values of a pair."""
        if nbytes is None or self.bits is None:
            return True
        needed, rows = prod(pair.stored_shape) * self.bits, prod(pair.stored_shape[:-1])
        return needed <= nbytes * 8 <= needed + _PADDED_BITS * max(rows, 1)


def _bits(config: dict[str, Any]) -> Iterator[int]:
    """Yield the bits that a config gives, one for each group of weights."""
    if config.get("load_in_4bit") is True or config.get("_load_in_4bit") is True:
        yield 4
    if config.get("load_in_8bit") is True or config.get("_load_in_8bit") is True:
        yield 8
    groups = config.get("config_groups")
    weights = (
        [each.get("weights") for each in groups.values() if isinstance(each, dict)] if isinstance(groups, dict) else []
    )
    for part in (config, *(each for each in weights if isinstance(each, dict))):
        for key in ("bits", "w_bit", "num_bits", "nbits"):
            if type(part.get(key)) is int and part[key] > 0:
                yield part[key]


def holder_names(name: str) -> Iterator[str]:
    """Yield the names that the packed values of a tensor may have."""
    module, _, last = name.rpartition(".")
    yield from (f"{module}.{each}" for each in HOLDERS if last == "weight")
    yield from (f"{name}_{each}" for each in HOLDERS)


def companion_of(name: str) -> str | None:
    """Return the module, or the tensor, that a scale, a zero point or packed values belong to; None for others."""
    parts = name.split(".")
    for place in range(len(parts) - 1, 0, -1):
        word = parts[place]
        if word in COMPANIONS or word in HOLDERS:
            return ".".join(parts[:place])
        for each in (*HOLDERS, "scales", "scale", "scale_inv", "bias"):
            if word.endswith(f"_{each}"):
                return ".".join([*parts[:place], word.removesuffix(f"_{each}")])
    return None


def looks_quantized(names: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint contains packed values or tensors of a size below 16 bits."""
    return any(
        name.rpartition(".")[2] in HOLDERS or DTYPE_BITS.get(getattr(info, "dtype", None) or "", 16) < 16
        for name, info in names.items()
    )
