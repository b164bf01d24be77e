"""The types of the tensors in a GGUF file, as keys of a config.json: ``torch_dtype`` and ``quantization_config``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gguf.constants import GGMLQuantizationType

from tinylm_cli.config.ggml_types import GGML_TYPES
from tinylm_cli.gguf_header import GgufTensor
from tinylm_cli.interop.gguf.architectures import LAYER_PREFIX, Architecture
from tinylm_cli.interop.tensor_names import TensorNames

_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
"""Types of tensors that are not quantized."""

_DEFAULT = "float16"
"""Type of the KV cache and of activations of a model whose matrices are all quantized; llama.cpp's default."""

_LAYER = re.compile(rf"{re.escape(LAYER_PREFIX.format(bid=''))[:-2]}([0-9]{{1,9}})\.(.+)")


def type_name(type_id: int) -> str | None:
    """Return the name of a type of ggml as ``storage`` spells it; None for integers and unknown types."""
    try:
        name = GGMLQuantizationType(type_id).name
    except ValueError:
        return None
    return _FLOATS.get(name) or (name.lower() if name.lower() in GGML_TYPES else None)


def storage_keys(
    architecture: Architecture, tensors: Mapping[str, GgufTensor], n_layers: int | None = None
) -> dict[str, Any]:
    """Return the keys that state how a file stores the weights.

    A tensor of the model that is stored as several has one type; ``mixed`` names those whose parts have others.

    Args:
        architecture: The architecture.
        tensors: The tensors of the file.
        n_layers: Layers of the model, without those of multi-token prediction; None if that is not known.
    """
    names = architecture.tensors_in(tensors)
    parts = _parts(names)
    main = _main_float(tensors)
    types: dict[str, dict[int | None, str]] = {}
    mixed: dict[str, str] = {}
    for stored, tensor in tensors.items():
        kind, (layer, role) = type_name(tensor.type_id), _split(stored)
        if kind is not None and (layer is None or n_layers is None or layer < n_layers):
            for part in parts.get((layer is not None, role), ()):
                if types.setdefault(part, {}).setdefault(layer, kind) != kind:
                    mixed[part] = types[part][layer]
    listed = [entry for part, by_layer in types.items() for entry in _entries(part, by_layer, main)]
    keys: dict[str, Any] = {"torch_dtype": main}
    if listed or mixed:
        keys["quantization_config"] = {"quant_method": "gguf", "tensor_types": listed}
        if mixed:
            keys["quantization_config"]["mixed"] = [f"{part}={kind}" for part, kind in mixed.items()]
    return keys


def _main_float(tensors: Mapping[str, GgufTensor]) -> str:
    """Return the float type that most matrices have."""
    kinds = Counter(type_name(tensor.type_id) for tensor in tensors.values() if len(tensor.shape) > 1)
    floats = {kind: count for kind, count in kinds.items() if kind in _FLOATS.values() and kind is not None}
    is_quantized = any(kind in GGML_TYPES for kind in kinds if kind is not None)
    return _DEFAULT if is_quantized or not floats else max(floats, key=lambda kind: floats[kind])


def _split(stored: str) -> tuple[int | None, str]:
    """Return the layer of a stored tensor, None outside the layers, and its name within it."""
    found = _LAYER.fullmatch(stored)
    return (None, stored) if found is None else (int(found[1]), found[2])


def _parts(names: TensorNames) -> dict[tuple[bool, str], list[str]]:
    """Return the model's tensors in each stored one, by whether it is one of a layer and by its name within it."""
    found: dict[tuple[bool, str], list[str]] = {}
    for module, stored in names.top_level.items():
        for kind in ("weight", "bias"):
            found.setdefault((False, f"{stored}.{kind}"), []).append(f"{module}.{kind}")
    for part, stored in _of_layers(names):
        found.setdefault((True, stored), []).append(f"blocks.*.{part}")
    return found


def _of_layers(names: TensorNames) -> Iterator[tuple[str, str]]:
    fused = {module for each in names.fused for module in each.names}
    modules = [(module, stored) for module, stored in names.layer.items() if module not in fused]
    modules += [(module, each.stored) for each in names.fused for module in each.names]
    for module, stored in modules:
        yield from ((f"{module}.{kind}", f"{stored}.{kind}") for kind in ("weight", "bias"))
    for split in names.splits:
        yield from ((split.name, stored) for stored in split.stored)
    for tensors in names.tensors:
        yield from ((name, tensors.stored) for name in tensors.names)


def _entries(part: str, by_layer: Mapping[int | None, str], main: str) -> Iterator[str]:
    """Yield the type of a tensor in most layers, and that of each layer with another."""
    (common, _), *_ = Counter(by_layer.values()).most_common(1)
    if common != main:
        yield f"{part}={common}"
    for layer, kind in sorted((layer or 0, kind) for layer, kind in by_layer.items()):
        if kind != common:
            yield f"{part.replace('*', str(layer), 1)}={kind}"
