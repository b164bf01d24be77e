"""Stored bytes of weights: quantized values, their scales and zero points, and weights that are not quantized.

One table of formulas serves the checkpoint that a config's ``storage`` describes, and weights quantized on request.

Letters: E experts, N outputs and K inputs of a linear weight (N, K), G group_size, B weight_block_size.

References:
    Frantar et al. 2022 (GPTQ), https://arxiv.org/abs/2210.17323;
    https://github.com/ModelCloud/GPTQModel (qweight, qzeros, scales, g_idx);
    Lin et al. 2023 (AWQ), https://arxiv.org/abs/2306.00978;
    Dettmers et al. 2023 (QLoRA), https://arxiv.org/abs/2305.14314;
    DeepSeek-AI 2024 (blocks of float8), section 3.3, https://arxiv.org/abs/2412.19437;
    https://github.com/vllm-project/compressed-tensors
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import DTYPE_BYTES, FLOAT32_BYTES, INT32_BYTES, INT64_BYTES
from tinylm_cli.analysis.tensor import Tensor
from tinylm_cli.analysis.tensor_table import Section, TensorTable
from tinylm_cli.config.ggml_types import GGML_TYPES
from tinylm_cli.config.storage import Storage
from tinylm_cli.config.storage_rules import FP4_BLOCKS

SCALE_BYTES = DTYPE_BYTES | {"float8_e8m0fnu": 1}
"""Bytes of one scale, by the type of scales."""

PER_BYTE = 2
"""Two 4-bit values share a byte."""

NF4_BLOCK = 64
"""bitsandbytes: consecutive 4-bit weights that share ``absmax``, their scale."""

NESTED_BLOCK = 256
"""bitsandbytes: quantized scales that share a scale of their own, ``nested_absmax``."""

FOUR_BIT_VALUES, EIGHT_BIT_VALUES = 16, 256
"""Entries of ``quant_map`` and ``nested_quant_map``: the number that each 4-bit and each 8-bit value stands for."""

WORD_BITS = 32
"""GPTQ, AWQ and compressed-tensors pack 4-bit values in 32-bit integers."""

MATRIX_DIMS = 2

_LAYER = re.compile(r"\.[0-9]+\.")
"""The index of a layer in a name."""

_INDEXER = ("indexer.wq_b.weight", "indexer.wk.weight")
_PER_LAYER_INPUT = ("per_layer_input.gate.weight", "per_layer_input.projection.weight")
LINEAR_WEIGHTS = ("_proj.weight", *_INDEXER, *_PER_LAYER_INPUT)
"""Endings of the names of the linear weights of layers."""


def stored_bytes(table: TensorTable, storage: Storage) -> int:
    """Return the bytes of all parameters.

    The linear weights of layers are quantized, including those of experts, and the LM head if it is converted.
    Routers, convolutions, biases, norms and embeddings stay in ``storage.dtype``. In a GGUF file, every tensor may have
    a type of its own.
    """
    return sum(section_bytes(section, tensor, storage) for section in table for tensor in section.tensors)


def quantized_params(table: TensorTable, storage: Storage) -> int:
    """Return the number of quantized parameters."""
    return sum(
        count * tensor.elements
        for section in table
        for tensor in section.tensors
        for name, count in stored_types(section, tensor, storage).items()
        if name not in DTYPE_BYTES
    )


def params_by_type(table: TensorTable, storage: Storage) -> dict[str, tuple[int, int]]:
    """Return the parameters and the bytes stored in each type, most bytes first."""
    found: dict[str, tuple[int, int]] = {}
    for section in table:
        for tensor in section.tensors:
            for name, count in stored_types(section, tensor, storage).items():
                params, size = found.get(name, (0, 0))
                stored = tensor.elements if name not in DTYPE_BYTES else tensor.params
                found[name] = params + count * stored, size + count * _bytes_as(tensor, name, storage)
    stored_in = {name: each for name, each in found.items() if each[0]}
    return dict(sorted(stored_in.items(), key=lambda item: -item[1][1]))


def section_bytes(section: Section, tensor: Tensor, storage: Storage) -> int:
    """Return the bytes stored for a tensor in all layers of its section: 0 if it shares the storage of another."""
    types = stored_types(section, tensor, storage)
    return sum(count * _bytes_as(tensor, name, storage) for name, count in types.items())


def stored_as(section: Section, tensor: Tensor, storage: Storage, index: int | None = None) -> tuple[str, int]:
    """Return the types and the bytes of a tensor in all layers of its section, or in the layer ``index``."""
    if index is None:
        return ", ".join(stored_types(section, tensor, storage)), section_bytes(section, tensor, storage)
    name = _type_of(section.full_name(tensor, index), tensor, storage)
    return name, _bytes_as(tensor, name, storage)


def stored_types(section: Section, tensor: Tensor, storage: Storage) -> dict[str, int]:
    """Return in how many layers of a section a tensor has each type, quantized types first."""
    indices = section.layers if section.is_of_each_layer and section.layers is not None else range(section.repeats)
    if not _depends_on_layer(tensor, storage):
        return {_type_of(section.full_name(tensor, next(iter(indices))), tensor, storage): section.repeats}
    counts = Counter(_type_of(section.full_name(tensor, index), tensor, storage) for index in indices)
    return dict(sorted(counts.items(), key=lambda item: (item[0] in DTYPE_BYTES, -item[1])))


def _depends_on_layer(tensor: Tensor, storage: Storage) -> bool:
    """Return whether the names of the config state types of single layers."""
    if storage.quantization == "gguf":
        return tensor.name in _tensor_types(storage.tensor_types).roles
    return _may_quantize(tensor, storage) and _names_layers(storage.modules_to_not_convert)


def _type_of(name: str, tensor: Tensor, storage: Storage) -> str:
    """Return the type of a tensor with a full name."""
    if storage.quantization == "gguf":
        types = _tensor_types(storage.tensor_types).types
        return types.get(name) or types.get(_LAYER.sub(".*.", name, count=1), storage.dtype)
    return storage.quantization if _may_quantize(tensor, storage) and not _keeps(name, storage) else storage.dtype


class _TensorTypes(NamedTuple):
    """The types of tensors in a GGUF file."""

    types: Mapping[str, str]  # By full name, or by a name with * for the index of the layer.
    roles: frozenset[str]  # Names within a layer of the tensors that have a type of their own in single layers.


@lru_cache(maxsize=64)
def _tensor_types(entries: tuple[str, ...]) -> _TensorTypes:
    types = dict(entry.rsplit("=", 1) for entry in entries)
    return _TensorTypes(types, frozenset(name.split(".", 2)[-1] for name in types if _LAYER.search(name)))


def _bytes_as(tensor: Tensor, name: str, storage: Storage) -> int:
    """Return the bytes of one tensor stored as a type; 0 if it shares the storage of another, and is not quantized."""
    if name in DTYPE_BYTES:
        return tensor.params * DTYPE_BYTES[name]
    if storage.quantization != "gguf":
        return quantized_bytes(tensor, storage)
    block, rows = GGML_TYPES[name], prod(tensor.shape[:-1])
    blocks = rows * -(-tensor.shape[-1] // block.n_values)  # whole blocks in each row
    return blocks * block.n_bytes if tensor.tied_to is None else 0


def quantizes_head(storage: Storage) -> bool:
    """Return whether the LM head is quantized, so that it does not share the storage of the embedding."""
    return storage.quantization not in ("none", "gguf") and not _keeps("lm_head.weight", storage)


def _may_quantize(tensor: Tensor, storage: Storage) -> bool:
    """Return whether a tensor is a linear weight, which is quantized unless its module is not converted."""
    is_head = tensor.component in ("lm_head", "score") and tensor.name.endswith(".weight")
    return storage.quantization != "none" and (is_head or tensor.name.endswith(LINEAR_WEIGHTS))


def _keeps(name: str, storage: Storage) -> bool:
    """Return whether the module of a tensor is not converted."""
    return _pattern(storage.modules_to_not_convert).match(name) is not None


@lru_cache(maxsize=64)
def _names_layers(names: tuple[str, ...]) -> bool:
    """Return whether a name states the index of a layer."""
    return any(part.isdigit() for name in names for part in name.split("."))


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern that the names of modules, and of modules and tensors inside them, match."""
    escaped = "|".join(re.escape(name).replace(r"\*", r"[^.]*") for name in names)
    return re.compile(rf"(?:{escaped})(?:\.|$)" if names else r"(?!)")


def quantized_bytes(tensor: Tensor, storage: Storage) -> int:
    """Return the bytes stored for a quantized tensor: a matrix (N, K), or one for each of E experts."""
    *stack, n_outputs, n_inputs = tensor.shape  # (N, K) or (E, N, K)
    return prod(stack) * _matrix_bytes(n_outputs, n_inputs, storage)


def _matrix_bytes(n_outputs: int, n_inputs: int, storage: Storage) -> int:
    """Return the bytes of a quantized matrix (N, K), of its scales, and of the other tensors of its module."""
    elements, kind = n_outputs * n_inputs, storage.quantization
    others = sum(_module_tensor_bytes(name, n_inputs) for name in storage.module_tensors)
    if kind in FP4_BLOCKS:
        packed = n_outputs * -(-n_inputs // PER_BYTE)  # N × K / 2, two values per byte
        scales = n_outputs * -(-n_inputs // FP4_BLOCKS[kind])  # N × K / block, a byte each
        return packed + scales + (FLOAT32_BYTES if kind == "nvfp4" else 0) + others  # nvfp4: one scale of the scales
    if kind in ("nf4", "fp4"):
        return _bitsandbytes_bytes(elements, double_quant=storage.double_quant) + others
    # N rows of K weights: a byte each, or 4 bits each in whole words
    values = n_outputs * _packed_bytes(n_inputs) if kind == "int4" else elements
    rows, columns = _scale_shape(n_outputs, n_inputs, storage)
    scales = rows * columns * SCALE_BYTES[storage.scale_dtype]
    zero_points = 0
    if storage.zero_point_dtype is not None:  # a zero point per scale
        zero_points = columns * rows * SCALE_BYTES[storage.zero_point_dtype]
    elif storage.zero_point:  # in the type of the weights, packed along the outputs
        zero_points = columns * (_packed_bytes(rows) if kind == "int4" else rows)
    return values + scales + zero_points + others


def _packed_bytes(n_values: int) -> int:
    """Return the bytes of 4-bit values in 32-bit words."""
    per_word = WORD_BITS // 4
    return -(-n_values // per_word) * INT32_BYTES


def _scale_shape(n_outputs: int, n_inputs: int, storage: Storage) -> tuple[int, int]:
    """Return the rows and columns of the scales of a matrix (N, K)."""
    if storage.strategy == "tensor":
        return 1, 1
    if storage.strategy == "group":
        return n_outputs, -(-n_inputs // storage.group_size)  # N × ⌈K / G⌉; the last group may be shorter
    if storage.strategy == "block":
        block = storage.weight_block_size
        return -(-n_outputs // block), -(-n_inputs // block)  # ⌈N / B⌉ × ⌈K / B⌉
    return n_outputs, 1


def _bitsandbytes_bytes(elements: int, *, double_quant: bool) -> int:
    """Return the bytes of a 4-bit matrix of bitsandbytes without its ``quant_state``, a JSON text of about 150 bytes.

    References:
        Dettmers et al. 2023 (QLoRA), sections 3 and 4, https://arxiv.org/abs/2305.14314
    """
    packed = -(-elements // PER_BYTE)  # weight, two values per byte
    n_blocks = -(-elements // NF4_BLOCK)
    quant_map = FOUR_BIT_VALUES * FLOAT32_BYTES
    if not double_quant:
        return packed + n_blocks * FLOAT32_BYTES + quant_map  # absmax in float32
    nested = -(-n_blocks // NESTED_BLOCK) * FLOAT32_BYTES + EIGHT_BIT_VALUES * FLOAT32_BYTES
    return packed + n_blocks + nested + quant_map  # absmax in a byte, nested_absmax and nested_quant_map


def _module_tensor_bytes(name: str, n_inputs: int) -> int:
    """Return the bytes of a further tensor of a module with K inputs."""
    return {
        "g_idx": n_inputs * INT32_BYTES,  # the group of each input, K
        "weight_shape": MATRIX_DIMS * INT64_BYTES,  # N and K
        "weight_format": 1,  # a byte
        "input_scale": FLOAT32_BYTES,  # one scale
    }[name]
