"""The tensors of a Hugging Face folder as llama.cpp's converter stores them, by the names of the package gguf.

References:
    ``modify_tensors`` of the files in conversion, in llama.cpp 0c1e57098, https://github.com/ggml-org/llama.cpp
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[Any]
Tensors = Iterator[tuple[str, Array]]

ARCHITECTURES = {
    **{
        family: family for family in ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gpt2", "bloom", "phi3", "stablelm")
    },
    **{family: family for family in ("olmo", "olmo2", "starcoder2", "granite", "arcee", "glm4")},
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "gemma3_text": "gemma3",
    "gpt_neox": "gptneox",
    "phi": "phi2",
    "granitemoe": "granitemoe",
    "cohere": "command-r",
}
"""The architecture of each family."""

PERMUTED = ("llama", "mistral", "mixtral", "olmo", "granite", "granitemoe", "arcee")
"""Families whose converters permute q and k."""


def converted(folder: Path) -> dict[str, Array]:
    """Return the tensors by their names in a GGUF file."""
    keys = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family, n_layers = keys["model_type"], keys.get("num_hidden_layers", keys.get("n_layer"))
    architecture = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == ARCHITECTURES[family])
    names = get_tensor_name_map(architecture, n_layers)
    found = dict(_rope_factors(keys))
    for name, values in _layouts(dict(load_file(folder / "model.safetensors")), family, keys):
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        found[stored] = values
    return found


def _layouts(tensors: dict[str, Array], family: str, keys: dict[str, Any]) -> Tensors:
    heads: int = keys["num_attention_heads"] if "num_attention_heads" in keys else keys["n_head"]
    kv_heads = keys.get("num_key_value_heads", heads)
    for name, values in _stacked_experts(tensors):
        if family in PERMUTED and ".q_proj." in name:
            yield name, _permuted(values, heads)
        elif family in PERMUTED and ".k_proj." in name:
            yield name, _permuted(values, kv_heads)
        elif family.startswith("gemma") and name.endswith("norm.weight"):
            yield name, values + 1
        elif family == "gpt2" and re.search(r"\.(c_attn|c_proj|c_fc)\.weight$", name):
            yield name, values.T
        elif family in ("bloom", "gpt_neox") and "query_key_value" in name:
            yield name.removeprefix("transformer."), _by_projection(values, heads)
        elif "block_sparse_moe.input_linear" in name:  # of Granite: gate and up of all experts
            for part, half in zip(("gate", "up"), np.split(values, 2, axis=1), strict=True):
                yield name.replace("block_sparse_moe.input_linear", f"mlp.experts.{part}_proj"), half
        else:
            yield name.removeprefix("transformer.") if family == "bloom" else name, values


def _permuted(values: Array, heads: int) -> Array:
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _by_projection(values: Array, heads: int) -> Array:
    by_head = values.reshape(heads, 3, values.shape[0] // heads // 3, *values.shape[1:])
    return by_head.swapaxes(0, 1).reshape(values.shape)


def _stacked_experts(tensors: dict[str, Array]) -> Tensors:
    experts: dict[str, list[Array]] = {}
    for name, values in tensors.items():
        numbered = re.fullmatch(r"(.*\.experts)\.(\d+)\.(.*)", name)
        if numbered is None:
            yield name, values
            continue
        prefix, _, part = numbered.groups()
        merged = f"{prefix}.{part}"
        if "block_sparse_moe" in prefix:
            merged = merged.removeprefix("model.").replace("block_sparse_moe", "feed_forward")
        experts.setdefault(merged, []).append(values)
    yield from ((name, np.stack(values)) for name, values in experts.items())


def _rope_factors(keys: dict[str, Any]) -> Tensors:
    """Yield the factors of Llama 3's scaling, as ``LlamaModel.generate_extra_tensors`` computes them."""
    scaling = keys.get("rope_parameters") or keys.get("rope_scaling") or {}
    if scaling.get("rope_type") != "llama3":
        return
    width = keys.get("head_dim") or keys["hidden_size"] // keys["num_attention_heads"]
    base = scaling.get("rope_theta", keys.get("rope_theta", 10000.0))
    length, low, high = (
        scaling[key] for key in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
    )
    factors = []
    for pair in range(width // 2):
        wavelength = 2 * math.pi * base ** (2 * pair / width)
        smooth = (length / wavelength - low) / (high - low)
        between = 1 / ((1 - smooth) / scaling["factor"] + smooth)
        is_short, is_long = wavelength < length / high, wavelength > length / low
        factors.append(1.0 if is_short else scaling["factor"] if is_long else between)
    yield "rope_freqs.weight", np.array(factors, np.float32)
