"""Export a tinylm model to a GGUF file, which llama.cpp loads; one tensor is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.constants import Keys
from gguf.quants import quantize
from torch import Tensor

from tinylm_cli.atomic_write import write_large_file
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.gguf.export_plan import GgufPlan
from tinylm_cli.interop.gguf.file_types import ALIGNMENT, FILE_TYPES, tensor_bytes
from tinylm_cli.interop.gguf.metadata import Value
from tinylm_cli.interop.gguf.sizes import quantized_model
from tinylm_cli.interop.gguf.tensor_types import StoredTensor, tensor_types
from tinylm_cli.interop.tensor_pairs import Pair, tensor_pairs
from tinylm_cli.interop.weights.export_weights import (
    Values,
    equivalent_values,
    stored_tensor,
    tensors_on_meta,
)
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.rope import stretch_factors
from tinylm_cli.reports.choices import WrittenGgufType

HEADER_BYTES_PER_TENSOR = 128
"""Estimated bytes of a tensor's entry in the header, and of the metadata, per tensor."""

LARGEST_FLOAT16 = torch.finfo(torch.float16).max

_ROTATED = tuple(f"attention.{part}_proj.{kind}" for part in "qk" for kind in ("weight", "bias"))

_VALUE_TYPES = {
    bool: GGUFValueType.BOOL,
    int: GGUFValueType.UINT32,
    float: GGUFValueType.FLOAT32,
    str: GGUFValueType.STRING,
}


class _Planned(NamedTuple):
    """A tensor to write."""

    name: str
    shape: tuple[int, ...]  # In torch's order.
    type: str  # Its type in the file.
    load: Callable[[], Tensor]  # Returns its values on the CPU.

    @property
    def nbytes(self) -> int:
        """Bytes of its values in the file."""
        return tensor_bytes(self.type, prod(self.shape))


def export_gguf(
    model: TinyTransformerLM, plan: GgufPlan, file_type: WrittenGgufType, path: Path, *, overwrite: bool = False
) -> int:
    """Write a GGUF file.

    The types of the tensors are those of ``llama-quantize``, except that Q8_0 replaces Q6_K, the type of the LM head in
    files of fewer bits, which the package gguf cannot write.

    Args:
        model: The model, with storage.
        plan: The plan of its config, from :func:`tinylm_cli.interop.gguf.export_plan.plan_gguf`.
        file_type: The type of the file.
        path: The file to write; its folder exists.
        overwrite: Whether to replace an existing file.

    Returns:
        Number of tensors in the file.

    Raises:
        ValueError: If the model is on meta.
        OutputError: If the file may not be replaced or cannot be written.
        WeightsError: If a value is too large for float16.
    """
    if model.device.type == "meta":
        raise ValueError("a model on meta has no weights to export")
    planned = _planned(model, plan, file_type)
    metadata = plan.metadata | {Keys.General.FILE_TYPE: FILE_TYPES[file_type].number}
    needed_bytes = sum(tensor.nbytes + ALIGNMENT + HEADER_BYTES_PER_TENSOR for tensor in planned)
    write_large_file(path, partial(_write, planned, metadata), overwrite=overwrite, needed_bytes=needed_bytes)
    return len(planned)


def _planned(model: TinyTransformerLM, plan: GgufPlan, file_type: WrittenGgufType) -> list[_Planned]:
    values = equivalent_values(model, plan.config)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors_on_meta(plan.config).items()}
    loads: dict[StoredTensor, Callable[[], Tensor]] = dict(_rotary_factors(plan.config))
    for pair in tensor_pairs(plan.config, plan.architecture.tensors_of(plan.config), shapes):
        loads[StoredTensor(pair.stored, pair.stored_shape)] = partial(_values, pair, values, plan)
    types = tensor_types(loads, quantized_model(plan.config, plan.architecture), file_type)
    return [_Planned(name, shape, types[name].replace("Q6_K", "Q8_0"), load) for (name, shape), load in loads.items()]


def _values(pair: Pair, values: Values, plan: GgufPlan) -> Tensor:
    """Return the values of a stored tensor."""
    stored = stored_tensor(pair, values, plan.config)
    if plan.architecture.pairs_adjacent and pair.parts[0].name.endswith(_ROTATED):
        return _paired(stored, plan.config)
    if plan.config.norm.zero_centered and pair.stored.endswith("_norm.weight"):
        return stored + 1  # llama.cpp multiplies by the weight itself
    return stored


def _paired(stored: Tensor, config: ModelConfig) -> Tensor:
    """Return the rows of queries or keys with those that RoPE rotates together side by side, in each head."""
    heads = torch.unflatten(stored, 0, (-1, 2, config.d_head // 2))  # (H, 2, K/2, ...)
    return heads.transpose(1, 2).flatten(0, 2)  # (H·K, ...)


def _rotary_factors(config: ModelConfig) -> Iterator[tuple[StoredTensor, Callable[[], Tensor]]]:
    """Yield the tensor of the factors by which Llama 3's scaling divides the frequency of each pair."""
    if config.position.scaling == "llama3":
        factors = stretch_factors(config)  # (R/2)
        yield StoredTensor("rope_freqs.weight", tuple(factors.shape)), lambda: factors


def _write(planned: list[_Planned], metadata: Mapping[str, Value], path: Path) -> None:
    others = dict(metadata)
    writer = GGUFWriter(path, str(others.pop(Keys.General.ARCHITECTURE)))  # which adds it
    try:
        for key, value in others.items():
            _add_metadata(writer, key, value)
        for tensor in planned:
            raw_type = GGMLQuantizationType[tensor.type]
            writer.add_tensor_info(tensor.name, tensor.shape, torch.empty(0).numpy().dtype, tensor.nbytes, raw_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in planned:
            _write_tensor(writer, tensor)
    finally:
        writer.close()


def _add_metadata(writer: GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, list):
        kinds = _VALUE_TYPES | {int: GGUFValueType.INT32}  # of lists, integers have a sign
        writer.add_key_value(key, value, GGUFValueType.ARRAY, sub_type=kinds[type(value[0])])
    else:
        writer.add_key_value(key, value, _VALUE_TYPES[type(value)])


def _write_tensor(writer: GGUFWriter, tensor: _Planned) -> None:
    values = tensor.load().detach().to(torch.float32).contiguous()
    assert tuple(values.shape) == tensor.shape, f"{tensor.name}: {tuple(values.shape)}, not {tensor.shape}"
    if tensor.type == "F16" and bool((values.abs() > LARGEST_FLOAT16).any()):
        message = f"{tensor.name} has a value above {LARGEST_FLOAT16:,.0f}, the largest of float16"
        raise WeightsError(message, help="write another type, such as BF16")
    writer.write_tensor_data(quantize(values.numpy(), GGMLQuantizationType[tensor.type]))


def own_type(model: TinyTransformerLM) -> WrittenGgufType:
    """Return the type of file that stores a model's weights unchanged; F32 for float64."""
    own: dict[torch.dtype, WrittenGgufType] = {torch.float16: "F16", torch.bfloat16: "BF16"}
    return own.get(model.dtype, "F32")
