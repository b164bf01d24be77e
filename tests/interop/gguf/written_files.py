"""GGUF files as the converters of llama.cpp write them, from models of transformers, by the package ``gguf`` alone.

Metadata follows ``conversion/`` of https://github.com/ggml-org/llama.cpp, names the map of ``gguf``; all values are 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType
from gguf.tensor_mapping import TensorNameMap
from transformers import AutoConfig, AutoModelForCausalLM

from tests.interop.gguf.converter_metadata import add_metadata, first, rope_of

Keys = dict[str, Any]
Tensors = dict[str, tuple[int, ...]]
TypeOf = Callable[[str, tuple[int, ...]], GGMLQuantizationType]
F32, F16 = GGMLQuantizationType.F32, GGMLQuantizationType.F16

ARCHITECTURES = {
    "llama": MODEL_ARCH.LLAMA,
    "mistral": MODEL_ARCH.LLAMA,
    "mixtral": MODEL_ARCH.LLAMA,
    "qwen2": MODEL_ARCH.QWEN2,
    "qwen2_moe": MODEL_ARCH.QWEN2MOE,
    "qwen3": MODEL_ARCH.QWEN3,
    "qwen3_moe": MODEL_ARCH.QWEN3MOE,
    "gemma": MODEL_ARCH.GEMMA,
    "gemma2": MODEL_ARCH.GEMMA2,
    "gemma3_text": MODEL_ARCH.GEMMA3,
    "phi": MODEL_ARCH.PHI2,
    "phi3": MODEL_ARCH.PHI3,
    "gpt2": MODEL_ARCH.GPT2,
    "gpt_neox": MODEL_ARCH.GPTNEOX,
    "bloom": MODEL_ARCH.BLOOM,
    "mpt": MODEL_ARCH.MPT,
    "falcon": MODEL_ARCH.FALCON,
    "starcoder2": MODEL_ARCH.STARCODER2,
    "stablelm": MODEL_ARCH.STABLELM,
    "olmo": MODEL_ARCH.OLMO,
    "olmo2": MODEL_ARCH.OLMO2,
    "olmo3": MODEL_ARCH.OLMO2,
    "olmoe": MODEL_ARCH.OLMOE,
    "granite": MODEL_ARCH.GRANITE,
    "granitemoe": MODEL_ARCH.GRANITE_MOE,
    "granitemoeshared": MODEL_ARCH.GRANITE_MOE,
    "cohere": MODEL_ARCH.COMMAND_R,
    "cohere2": MODEL_ARCH.COHERE2,
    "smollm3": MODEL_ARCH.SMOLLM3,
    "arcee": MODEL_ARCH.ARCEE,
    "seed_oss": MODEL_ARCH.SEED_OSS,
    "gpt_oss": MODEL_ARCH.GPT_OSS,
    "glm4": MODEL_ARCH.GLM4,
    "mamba": MODEL_ARCH.MAMBA,
    "falcon_mamba": MODEL_ARCH.MAMBA,
    "mamba2": MODEL_ARCH.MAMBA2,
    "lfm2": MODEL_ARCH.LFM2,
    "gpt_bigcode": MODEL_ARCH.STARCODER,
    "ernie4_5": MODEL_ARCH.ERNIE4_5,
    "exaone4": MODEL_ARCH.EXAONE4,
    "nemotron": MODEL_ARCH.NEMOTRON,
    "glm4_moe": MODEL_ARCH.GLM4_MOE,
    "lfm2_moe": MODEL_ARCH.LFM2MOE,
    "jamba": MODEL_ARCH.JAMBA,
    "deepseek_v2": MODEL_ARCH.DEEPSEEK2,
    "deepseek_v3": MODEL_ARCH.DEEPSEEK2,
}
"""The architecture that each family is converted to."""


LLAMA_LIKE = ("llama", "mistral", "mixtral", "granite", "granitemoe", "granitemoeshared", "arcee", "smollm3")
"""The families whose converters derive from Llama's, and store the factors of its RoPE scaling."""


class UnmappedError(Exception):
    """A tensor that the converters of llama.cpp do not convert."""


class Written(NamedTuple):
    """A GGUF file and the model that it was written from."""

    path: Path
    n_params: int  # Parameters of the model of transformers; a tied tensor counts once.
    tensor_bytes: int  # Bytes of the tensors of the model in the file, without padding.
    extra_bytes: int  # Bytes of tensors that are no parameters: corrections of routers, and factors of RoPE.


def f16_of_matrices(name: str, shape: tuple[int, ...]) -> GGMLQuantizationType:
    """Return the types of ``--outtype f16``."""
    return F16 if len(shape) > 1 and "norm" not in name and "ssm_" not in name else F32


def write_model(path: Path, config: Keys, type_of: TypeOf = f16_of_matrices) -> Written:
    """Write the model of a config.json, every value 0."""
    keys = dict(config)
    loaded = AutoConfig.for_model(keys.pop("model_type"), **keys)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(loaded)  # type: ignore[no-untyped-call]
    parameters = {name: tuple(each.shape) for name, each in model.named_parameters()}
    hparams = {**loaded.to_dict(), "model_type": config["model_type"]}
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = {name: tuple(each.shape) for name, each in model.state_dict().items() if name not in tied}
    tensors, others = (dict(_converted(hparams, each)) for each in (parameters, buffers))
    _require_converted(hparams)
    writer = GGUFWriter(path, MODEL_ARCH_NAMES[ARCHITECTURES[config["model_type"]]])
    add_metadata(writer, hparams)
    extra = dict(_extra_tensors(hparams))
    sizes = {}
    for name, shape in tensors.items():
        sizes[name] = _add(writer, name, shape, type_of(name, shape))
    others_bytes = sum(_add(writer, name, shape, type_of(name, shape)) for name, shape in others.items())
    for name, values in extra.items():
        writer.add_tensor(name, values)
    _finish(writer)
    n_params = sum(math.prod(shape) for shape in parameters.values())
    return Written(path, n_params, sum(sizes.values()), others_bytes + sum(values.nbytes for values in extra.values()))


def _require_converted(keys: Mapping[str, Any]) -> None:
    """Require that the converters write what this config says."""
    model_type, rope = keys["model_type"], rope_of(keys)
    if rope.get("rope_type") == "dynamic":
        raise UnmappedError("dynamic scaling")
    if rope.get("rope_type") == "llama3" and model_type not in LLAMA_LIKE:
        raise UnmappedError("llama3 scaling")
    if model_type == "nemotron" and rope.get("rope_type") == "yarn":
        raise UnmappedError("yarn")
    if model_type == "phi" and keys["num_key_value_heads"] != keys["num_attention_heads"]:
        raise UnmappedError("num_key_value_heads")
    if model_type == "falcon" and keys["ffn_hidden_size"] not in (None, 4 * keys["hidden_size"]):
        raise UnmappedError("ffn_hidden_size")
    d_head = keys["hidden_size"] // keys["num_attention_heads"] if model_type.startswith("granite") else None
    if d_head is not None and keys.get("head_dim") not in (None, d_head):
        raise UnmappedError("head_dim")
    if model_type == "smollm3" and keys["no_rope_layers"] != [1, 1, 1, 0][: keys["num_hidden_layers"]]:
        raise UnmappedError("no_rope_layers")


def _add(writer: GGUFWriter, name: str, shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    block_len, block_bytes = GGML_QUANT_SIZES[kind]
    if shape[-1] % block_len:
        kind, (block_len, block_bytes) = F32, GGML_QUANT_SIZES[F32]
    if kind in (F32, F16):
        data: Any = np.zeros(shape, np.float32 if kind == F32 else np.float16)
        writer.add_tensor(name, data)
    else:
        data = np.zeros((*shape[:-1], shape[-1] // block_len * block_bytes), np.uint8)
        writer.add_tensor(name, data, raw_dtype=kind)
    return int(data.nbytes)


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _extra_tensors(keys: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the tensors that converters compute from RoPE scaling."""
    rope = rope_of(keys)
    if rope.get("rope_type") == "llama3" and keys["model_type"] in LLAMA_LIKE:
        yield "rope_freqs.weight", np.array(llama3_factors(keys), np.float32)
    if rope.get("long_factor") and keys["model_type"] == "phi3":
        for name in ("long", "short"):
            yield f"rope_factors_{name}.weight", np.array(rope[f"{name}_factor"], np.float32)


def llama3_factors(keys: Mapping[str, Any]) -> list[float]:
    """Return the factors as the converter computes them."""
    rope = rope_of(keys)
    d_head = keys.get("head_dim") or keys["hidden_size"] // keys["num_attention_heads"]
    low, high, length = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    factors = []
    for pair in range(d_head // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * pair / d_head)
        if wavelength < length / high:
            factors.append(1.0)
        elif wavelength > length / low:
            factors.append(rope["factor"])
        else:
            smooth = (length / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return factors


_LAYER = re.compile(r"\.([0-9]+)\.")


def _converted(keys: Mapping[str, Any], parameters: Tensors) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and the shape of each tensor, in torch's order."""
    architecture = ARCHITECTURES[keys["model_type"]]
    n_layers = first(keys, "n_layers", "num_hidden_layers", "n_layer")
    names = TensorNameMap(architecture, n_layers)
    for name, shape in _renamed(keys, parameters):
        stored = names.get_name(name, (".weight", ".bias"))
        if stored is None:
            raise UnmappedError(name)
        yield stored, _reshaped(stored, shape, keys)


def _renamed(keys: Mapping[str, Any], parameters: Tensors) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors under the names that converters look up, with experts stacked and split."""
    model_type = keys["model_type"]
    for name, shape in parameters.items():
        if name.endswith("kv_b_proj.weight"):
            heads, d_nope, d_value = (keys[key] for key in ("num_attention_heads", "qk_nope_head_dim", "v_head_dim"))
            yield name.replace("kv_b_proj", "k_b_proj"), (heads, shape[1], d_nope)
            yield name.replace("kv_b_proj", "v_b_proj"), (heads, d_value, shape[1])
            continue
        if name.endswith(("experts.gate_up_proj", "input_linear.weight", "experts.gate_up_proj_bias")):
            yield from _split(name, shape, model_type)
            continue
        if name.endswith("experts.down_proj"):
            name, shape = f"{name}.weight", (shape[0], shape[2], shape[1]) if model_type == "gpt_oss" else shape
        name = name.replace("down_proj_bias", "down_proj.bias").replace("dt_bias", "dt_proj.bias")
        name = name.replace("self_attn.sinks", "self_attn.sinks.weight")
        name = name.replace("e_score_correction_bias", "e_score_correction.bias")
        name = name.replace(".expert_bias", ".expert_bias.bias")
        name = name.replace("block_sparse_moe.router.weight", "block_sparse_moe.router.layer.weight")
        name = name.replace("block_sparse_moe.experts.down_proj.weight", "block_sparse_moe.output_linear.weight")
        if model_type == "bloom":
            name = name.replace("transformer.", "")
        if model_type == "gpt2" and len(shape) == 2 and name.split(".")[-2] in ("c_attn", "c_proj", "c_fc"):
            shape = shape[::-1]  # Conv1D
        yield name, shape


def _split(name: str, shape: tuple[int, ...], model_type: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the gate and up projections of experts that transformers stores as one."""
    kind = "bias" if name.endswith("_bias") else "weight"
    if model_type == "gpt_oss":
        half = (shape[0], shape[-1] // 2, *((shape[1],) if kind == "weight" else ()))
        stem = name.removesuffix("gate_up_proj_bias").removesuffix("gate_up_proj")
    else:
        half = (*shape[:-2], shape[-2] // 2, shape[-1])
        stem = name.removesuffix("gate_up_proj").removesuffix("input_linear.weight")
    stem = stem.replace("block_sparse_moe.", "mlp.").replace("shared_mlp.", "mlp.shared_experts.")
    stem = stem if "experts." in stem else f"{stem}experts."
    for part in ("gate_proj", "up_proj"):
        yield f"{stem}{part}.{kind}", half


def _reshaped(stored: str, shape: tuple[int, ...], keys: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape after the changes of converters."""
    if stored.endswith(("ssm_conv1d.weight", "shortconv.conv.weight")):
        return (shape[0], shape[-1])
    if keys["model_type"] == "mamba2" and stored.endswith(("ssm_a", "ssm_d")):
        return (*shape, 1)
    if keys["model_type"] == "mamba2" and stored.endswith("ssm_norm.weight"):
        return (keys["n_groups"], shape[0] // keys["n_groups"])
    return shape
