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
from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType, RopeScalingType
from gguf.tensor_mapping import TensorNameMap
from transformers import AutoConfig, AutoModelForCausalLM

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
    extra_bytes: int  # Bytes of tensors that are no parameters.


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
    tensors = dict(_converted(hparams, parameters))
    _require_converted(hparams)
    writer = GGUFWriter(path, MODEL_ARCH_NAMES[ARCHITECTURES[config["model_type"]]])
    add_metadata(writer, hparams)
    extra = dict(_extra_tensors(hparams))
    sizes = {}
    for name, shape in tensors.items():
        sizes[name] = _add(writer, name, shape, type_of(name, shape))
    for name, values in extra.items():
        writer.add_tensor(name, values)
    _finish(writer)
    n_params = sum(math.prod(shape) for shape in parameters.values())
    return Written(path, n_params, sum(sizes.values()), sum(values.nbytes for values in extra.values()))


def _require_converted(keys: Mapping[str, Any]) -> None:
    """Require that the converters write what this config says."""
    model_type, rope = keys["model_type"], rope_of(keys)
    if rope.get("rope_type") == "dynamic":
        raise UnmappedError("dynamic scaling")
    if rope.get("rope_type") == "llama3" and model_type not in LLAMA_LIKE:
        raise UnmappedError("llama3 scaling")
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


def add_metadata(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    """Add the metadata of the converter of a family."""
    writer.add_name("Test")
    writer.add_token_list([f"token {index}" for index in range(keys["vocab_size"])])
    _OWN.get(keys["model_type"], _base)(writer, keys)


def _first(keys: Mapping[str, Any], *names: str) -> Any:
    return next((keys[name] for name in names if keys.get(name) is not None), None)


def _base(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    """Add what ``TextModel.set_gguf_parameters`` adds."""
    for add, names in (
        (writer.add_block_count, ("n_layers", "num_hidden_layers", "n_layer", "num_layers")),
        (writer.add_context_length, ("max_position_embeddings", "n_ctx", "n_positions")),
        (writer.add_embedding_length, ("hidden_size", "n_embd")),
        (writer.add_feed_forward_length, ("intermediate_size", "n_inner")),
        (writer.add_head_count, ("num_attention_heads", "n_head", "n_heads")),
        (writer.add_head_count_kv, ("num_key_value_heads",)),
        (writer.add_layer_norm_rms_eps, ("rms_norm_eps", "norm_eps")),
        (writer.add_layer_norm_eps, ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")),
        (writer.add_expert_count, ("num_local_experts", "num_experts")),
        (writer.add_expert_used_count, ("num_experts_per_tok",)),
    ):
        value = _first(keys, *names)
        if value is not None:
            add(value)
    _add_rope(writer, keys)
    if keys.get("head_dim") is not None and not keys["model_type"].startswith("granite"):
        writer.add_key_length(keys["head_dim"])
        writer.add_value_length(keys["head_dim"])
    if keys["model_type"] in _OWN_ADDITIONS:
        _OWN_ADDITIONS[keys["model_type"]](writer, keys)


def rope_of(keys: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = keys.get("rope_parameters") or {}
    full: Mapping[str, Any] = parameters.get("full_attention", parameters)
    return full


def _add_rope(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    rope = rope_of(keys)
    kind = rope.get("rope_type")
    if kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for add, name in (
            (writer.add_rope_scaling_yarn_attn_factor, "attention_factor"),
            (writer.add_rope_scaling_yarn_beta_fast, "beta_fast"),
            (writer.add_rope_scaling_yarn_beta_slow, "beta_slow"),
        ):
            if rope.get(name) is not None:
                add(rope[name])
    elif kind == "longrope":
        writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
    if rope.get("rope_theta") is not None:
        writer.add_rope_freq_base(rope["rope_theta"])
    local = (keys.get("rope_parameters") or {}).get("sliding_attention") or {}
    if local.get("rope_theta") is not None:
        writer.add_float32(f"{writer.arch}.rope.freq_base_swa", local["rope_theta"])


def _rotated(keys: Mapping[str, Any], default: float = 1.0) -> int:
    d_head = keys.get("head_dim") or keys["hidden_size"] // keys["num_attention_heads"]
    return int(rope_of(keys).get("partial_rotary_factor", default) * d_head)


def _llama(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_vocab_size(keys["vocab_size"])
    writer.add_rope_dimension_count(_rotated(keys))


def _shared_experts(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_expert_feed_forward_length(keys["moe_intermediate_size"])
    if keys.get("shared_expert_intermediate_size") is not None:
        writer.add_expert_shared_feed_forward_length(keys["shared_expert_intermediate_size"])


def _gemma2(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_attn_logit_softcapping(keys["attn_logit_softcapping"] or 0.0)
    writer.add_final_logit_softcapping(keys["final_logit_softcapping"] or 0.0)
    writer.add_sliding_window(keys["sliding_window"])


def _gemma3(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    if keys.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(keys["final_logit_softcapping"])
    writer.add_sliding_window(keys["sliding_window"])


def _granite(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    _llama(writer, keys)
    writer.add_attention_scale(keys["attention_multiplier"])
    writer.add_embedding_scale(keys["embedding_multiplier"])
    writer.add_residual_scale(keys["residual_multiplier"])
    writer.add_logit_scale(keys["logits_scaling"])
    if keys.get("shared_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(keys["shared_intermediate_size"])


def _cohere(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_logit_scale(keys["logit_scale"])
    writer.add_rope_scaling_type(RopeScalingType.NONE)
    if keys["model_type"] == "cohere2":
        writer.add_sliding_window(keys["sliding_window"])
        writer.add_vocab_size(keys["vocab_size"])
        writer.add_rope_dimension_count(_rotated(keys))


def _olmo(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_layer_norm_eps(1e-5)
    if keys.get("clip_qkv") is not None:
        writer.add_clamp_kqv(keys["clip_qkv"])


def _olmo3(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_sliding_window(keys["sliding_window"])
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in keys["layer_types"]])


def _gpt_oss(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_sliding_window(keys["sliding_window"])
    writer.add_expert_feed_forward_length(keys["intermediate_size"])


def _glm4(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_rope_dimension_count(_rotated(keys, 0.5))


def _stablelm(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_rope_dimension_count(_rotated(keys, 0.25))
    writer.add_parallel_residual(keys["use_parallel_residual"])


def _neox(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_rope_dimension_count(_rotated(keys, 0.25))
    writer.add_parallel_residual(keys["use_parallel_residual"])


def _gpt2(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_feed_forward_length(keys["n_inner"] or 4 * keys["n_embd"])


def _phi(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_context_length(keys["max_position_embeddings"])
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(4 * keys["hidden_size"])
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv(keys["num_attention_heads"])
    writer.add_layer_norm_eps(keys["layer_norm_eps"])
    writer.add_rope_dimension_count(_rotated(keys, 0.5))


def _phi3(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    rope = rope_of(keys)
    original = _first(keys, "original_max_position_embeddings") or keys["max_position_embeddings"]
    writer.add_context_length(keys["max_position_embeddings"])
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(keys["intermediate_size"])
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv(keys["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(keys["rms_norm_eps"])
    writer.add_rope_dimension_count(_rotated(keys))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_sliding_window(keys["sliding_window"] or 0)
    if rope.get("long_factor"):
        scale = keys["max_position_embeddings"] / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)


def _falcon(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_context_length(2048)
    writer.add_tensor_data_layout("jploski")
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(4 * keys["hidden_size"])
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_head_count(keys["num_attention_heads"])
    writer.add_head_count_kv(
        1 if keys["multi_query"] and not keys["new_decoder_architecture"] else keys["num_kv_heads"]
    )
    writer.add_layer_norm_eps(keys["layer_norm_epsilon"])


def _bloom(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    writer.add_context_length(keys.get("seq_length", keys["hidden_size"]))
    writer.add_embedding_length(keys["hidden_size"])
    writer.add_feed_forward_length(4 * keys["hidden_size"])
    writer.add_block_count(keys["n_layer"])
    writer.add_head_count(keys["n_head"])
    writer.add_head_count_kv(keys["n_head"])
    writer.add_layer_norm_eps(keys["layer_norm_epsilon"])


def _mpt(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    attention = keys["attn_config"]
    writer.add_context_length(keys["max_seq_len"])
    writer.add_embedding_length(keys["d_model"])
    writer.add_block_count(keys["n_layers"])
    writer.add_feed_forward_length(4 * keys["d_model"])
    writer.add_head_count(keys["n_heads"])
    writer.add_layer_norm_eps(1e-5)
    if attention["clip_qkv"] is not None:
        writer.add_clamp_kqv(attention["clip_qkv"])
    writer.add_max_alibi_bias(attention["alibi_bias_max"] if attention["alibi"] else 0.0)


def _mamba(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    d_model = keys["hidden_size"]
    writer.add_context_length(2**20)
    writer.add_embedding_length(d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(keys["num_hidden_layers"])
    writer.add_ssm_conv_kernel(keys["conv_kernel"])
    writer.add_ssm_state_size(keys["state_size"])
    writer.add_layer_norm_rms_eps(keys["layer_norm_epsilon"])
    if keys["model_type"] == "mamba2":
        writer.add_ssm_inner_size(keys["num_heads"] * keys["head_dim"])
        writer.add_ssm_time_step_rank(keys["num_heads"])
        writer.add_ssm_group_count(keys["n_groups"])
    else:
        writer.add_ssm_inner_size(keys["intermediate_size"])
        writer.add_ssm_time_step_rank(keys["time_step_rank"])
        writer.add_ssm_dt_b_c_rms(keys["model_type"] == "falcon_mamba")


def _lfm2(writer: GGUFWriter, keys: Mapping[str, Any]) -> None:
    kinds = keys["layer_types"]
    own = {**keys, "num_key_value_heads": [0 if kind == "conv" else keys["num_key_value_heads"] for kind in kinds]}
    _base(writer, {**own, "model_type": "without additions"})
    writer.add_vocab_size(keys["vocab_size"])
    writer.add_shortconv_l_cache(keys["conv_L_cache"])
    writer.add_feed_forward_length(_lfm2_d_ff(keys))


def _lfm2_d_ff(keys: Mapping[str, Any]) -> int:
    d_ff, multiple = keys["intermediate_size"], keys["block_multiple_of"]
    if keys["block_auto_adjust_ff_dim"]:
        d_ff = int(keys["block_ffn_dim_multiplier"] * int(2 * d_ff / 3))
        d_ff = multiple * ((d_ff + multiple - 1) // multiple)
    return int(d_ff)


_OWN: Mapping[str, Callable[[GGUFWriter, Mapping[str, Any]], None]] = {
    "bloom": _bloom,
    "falcon": _falcon,
    "falcon_mamba": _mamba,
    "lfm2": _lfm2,
    "mamba": _mamba,
    "mamba2": _mamba,
    "mpt": _mpt,
    "phi": _phi,
    "phi3": _phi3,
}
"""The functions of converters that do not use the common one."""

_OWN_ADDITIONS: Mapping[str, Callable[[GGUFWriter, Mapping[str, Any]], None]] = {
    "arcee": _llama,
    "cohere": _cohere,
    "cohere2": _cohere,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "glm4": _glm4,
    "gpt2": _gpt2,
    "gpt_neox": _neox,
    "gpt_oss": _gpt_oss,
    "granite": _granite,
    "granitemoe": _granite,
    "granitemoeshared": _granite,
    "llama": _llama,
    "mistral": _llama,
    "mixtral": _llama,
    "olmo": _olmo,
    "olmo3": _olmo3,
    "qwen2_moe": _shared_experts,
    "qwen3_moe": _shared_experts,
    "smollm3": _llama,
    "stablelm": _stablelm,
}


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
    n_layers = _first(keys, "n_layers", "num_hidden_layers", "n_layer")
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
        if name.endswith(("experts.gate_up_proj", "input_linear.weight", "experts.gate_up_proj_bias")):
            yield from _split(name, shape, model_type)
            continue
        if name.endswith("experts.down_proj"):
            name, shape = f"{name}.weight", (shape[0], shape[2], shape[1]) if model_type == "gpt_oss" else shape
        name = name.replace("down_proj_bias", "down_proj.bias").replace("dt_bias", "dt_proj.bias")
        name = name.replace("self_attn.sinks", "self_attn.sinks.weight")
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
