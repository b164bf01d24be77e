"""Read the ``quantization_config`` of a config.json: the types that a checkpoint stores weights and KV cache in.

Each method stores the tensors that its library creates, as transformers 5.24 loads them. A part that is not understood
becomes a sentence of ``Scheme.unread``; the weights that it concerns then count as not quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tinylm_cli.config.diagnostic_codes import clip

NAME = "quantization_config"

PER_CHANNEL = -1
"""``group_size`` of GPTQ and AWQ: a group for each output channel."""


LINEAR = "Linear"
"""The target of compressed-tensors that names every linear module."""


class Skipped(NamedTuple):
    """The linear modules of a checkpoint that are not quantized."""

    names: tuple[str, ...] = ()  # Names and patterns of modules, as the file spells them.
    syntax: str = "transformers"  # How they match: as ``transformers``, ``compressed-tensors`` or ``modelopt`` do.
    targets: tuple[str, ...] = ()  # Names and patterns of the only modules that are quantized; empty: every module.
    keeps_head: bool = True  # Whether the LM head is skipped without being named.
    only_experts: bool = False  # Whether only experts are quantized.


class Scheme(NamedTuple):
    """How a checkpoint stores its weights."""

    # Fields of ``storage``, each with its value and the path of the key that it follows from.
    fields: Mapping[str, tuple[Any, str]]
    skipped: Skipped = Skipped()
    unread: tuple[str, ...] = ()  # Sentences about what is not understood.


class _UnreadError(Exception):
    """A value that is not understood, at the path of its key."""


def read_scheme(config: Mapping[str, Any], dtype: str) -> Scheme:
    """Return the storage that a quantization_config describes.

    Args:
        config: The object.
        dtype: Type of the weights that are not quantized.
    """
    method = str(config.get("quant_method", _implied_method(config))).casefold().replace("_", "-")
    reader = _READERS.get(method)
    try:
        if reader is None:
            raise _UnreadError(_quote("quant_method", config.get("quant_method")))
        scheme = reader(config, dtype)
    except _UnreadError as error:
        scheme = Scheme({}, unread=(f"{error} is not understood: weights count in {dtype}",))
    return scheme._replace(fields={**scheme.fields, **_kv_cache(config)})


def _implied_method(config: Mapping[str, Any]) -> str:
    """Return the method of an object without ``quant_method``, as old files of bitsandbytes have it."""
    return "bitsandbytes" if "load_in_8bit" in config or "load_in_4bit" in config else ""


def _quote(path: str, value: object) -> str:
    return f"{NAME}.{path} {clip(str(value))}"


def _integer(config: Mapping[str, Any], key: str, default: int | None, path: str = "") -> int | None:
    """Return a positive integer, or -1; ``default`` if the key is absent."""
    value: int | None = config.get(key, default)
    is_valid = value is None or (isinstance(value, int) and not isinstance(value, bool) and (value > 0 or value == -1))
    if not is_valid:
        raise _UnreadError(_quote(path + key, value))
    return value


def _names(config: Mapping[str, Any], *keys: str) -> tuple[str, ...]:
    """Return the names of the first of ``keys`` that the object has."""
    value: object = next((config[key] for key in keys if config.get(key) is not None), [])
    if not isinstance(value, list):
        raise _UnreadError(_quote(keys[0], value))
    return tuple(str(name) for name in value)


def _bits(config: Mapping[str, Any], key: str, path: str = "") -> str:
    """Return the type of integers of 4 or 8 bits."""
    bits = config.get(key, 4)
    if isinstance(bits, bool) or bits not in (4, 8):
        raise _UnreadError(_quote(path + key, bits))
    return f"int{bits}"


def _groups(group_size: int | None, key: str) -> dict[str, tuple[Any, str]]:
    if group_size in (None, PER_CHANNEL):
        return {"strategy": ("channel", key)}
    return {"strategy": ("group", key), "group_size": (group_size, key)}


def _scale_dtype(dtype: str) -> str:
    """Return the type of scales that are stored in the type of the other weights."""
    return "float32" if dtype == "float64" else dtype


def _gptq(config: Mapping[str, Any], _: str) -> Scheme:
    """Read GPTQ: qweight (K·b/32, N) int32, qzeros (⌈K/G⌉, N·b/32) int32, scales (⌈K/G⌉, N) float16, g_idx (K) int32.

    References:
        https://github.com/ModelCloud/GPTQModel/blob/main/gptqmodel/nn_modules/qlinear/__init__.py
    """
    layout = config.get("checkpoint_format") or config.get("format") or "gptq"
    if layout not in ("gptq", "gptq_v2"):
        raise _UnreadError(_quote("checkpoint_format", layout))
    unread = [
        f"{NAME}.{key} is not understood: every linear weight of the layers counts as quantized"
        for key in ("modules_in_block_to_quantize", "dynamic")
        if config.get(key)
    ]
    return Scheme(
        {
            "quantization": (_bits(config, "bits"), "bits"),
            **_groups(_integer(config, "group_size", 128), "group_size"),
            "zero_point": (True, "sym"),  # qzeros are stored for symmetric weights, too
            "module_tensors": (["g_idx"], "quant_method"),
        },
        Skipped(keeps_head=config.get("lm_head") is not True),
        tuple(unread),
    )


def _awq(config: Mapping[str, Any], _: str) -> Scheme:
    """Read AWQ: qweight (K, N·b/32) int32, qzeros (K/G, N·b/32) int32, scales (K/G, N) float16.

    References:
        https://github.com/casper-hansen/AutoAWQ/blob/main/awq/modules/linear/gemm.py
    """
    version = str(config.get("version") or config.get("format") or "gemm").casefold()
    if version != "gemm":
        raise _UnreadError(_quote("version", version))
    bits, group_size = ("w_bit", "q_group_size") if "w_bit" in config else ("bits", "group_size")  # llm-awq, AutoAWQ
    return Scheme(
        {
            "quantization": (_bits(config, bits), bits),
            **_groups(_integer(config, group_size, 128), group_size),
            "zero_point": (True, "zero_point"),  # GEMM stores qzeros in any case
        },
        Skipped(_names(config, "modules_to_not_convert")),
    )


def _bitsandbytes(config: Mapping[str, Any], _: str) -> Scheme:
    """Read bitsandbytes: int8 weights and SCB (N) float32; or nf4 and fp4 with absmax.

    References:
        https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/functional.py
    """
    names = _names(config, "llm_int8_skip_modules")
    skipped = Skipped(names, keeps_head=not names)
    if config.get("load_in_4bit") is True:
        kind = config.get("bnb_4bit_quant_type", "fp4")
        if kind not in ("nf4", "fp4"):
            raise _UnreadError(_quote("bnb_4bit_quant_type", kind))
        double_quant = config.get("bnb_4bit_use_double_quant") is True
        fields: dict[str, tuple[Any, str]] = {"quantization": (kind, "bnb_4bit_quant_type")}
        return Scheme(fields | {"double_quant": (double_quant, "bnb_4bit_use_double_quant")}, skipped)
    if config.get("load_in_8bit") is True:
        return Scheme(
            {
                "quantization": ("int8", "load_in_8bit"),
                "scale_dtype": ("float32", "load_in_8bit"),
                "module_tensors": (["weight_format"], "load_in_8bit"),
            },
            skipped,
        )
    raise _UnreadError(f"{NAME} without load_in_4bit or load_in_8bit")


def _fp8(config: Mapping[str, Any], _: str) -> Scheme:
    """Read float8: weight, and weight_scale_inv (⌈N/B⌉, ⌈K/B⌉) or one scalar; a static activation_scale.

    References:
        transformers 5.24, integrations/finegrained_fp8.py, ``FP8Linear``
    """
    block = config.get("weight_block_size", [128, 128])
    scale = "float8_e8m0fnu" if config.get("scale_fmt") == "ue8m0" and block else "float32"
    names = _names(config, "modules_to_not_convert", "ignored_layers")
    unread = [
        f"{_quote(key, config[key])} is not understood: {counts}"
        for key, counts in (
            ("expert_dtype", "experts count in float8"),
            ("modules_to_convert", "its modules count as not quantized"),
        )
        if config.get(key) not in (None, "fp8", [])
    ]
    return Scheme(
        {
            "quantization": ("float8", "quant_method"),
            **_block(block),
            "scale_dtype": (scale, "scale_fmt"),
            "module_tensors": (["input_scale"] if config.get("activation_scheme") == "static" else [], "quant_method"),
        },
        Skipped(names, keeps_head=not names),
        tuple(unread),
    )


def _block(block: object) -> dict[str, tuple[Any, str]]:
    """Return the fields of blocks of (rows, columns): square ones, or a row of several columns."""
    key = "weight_block_size"
    if block is None:
        return {"strategy": ("tensor", key)}
    if isinstance(block, list) and len(block) == 2 and all(type(size) is int and size > 0 for size in block):
        rows, columns = block
        if rows == columns:
            return {"strategy": ("block", key), "weight_block_size": (rows, key)}
        if rows == 1:
            return {"strategy": ("group", key), "group_size": (columns, key)}
    raise _UnreadError(_quote(key, block))


def _fbgemm_fp8(config: Mapping[str, Any], _: str) -> Scheme:
    """Read FBGEMM's float8: weight, and weight_scale (N, 1) float32.

    References:
        transformers 5.24, integrations/fbgemm_fp8.py, ``FbgemmFp8Linear``
    """
    names = _names(config, "modules_to_not_convert")
    fields = {"quantization": ("float8", "quant_method"), "scale_dtype": ("float32", "quant_method")}
    return Scheme(fields, Skipped(names, keeps_head=not names))


def _mxfp4(config: Mapping[str, Any], _: str) -> Scheme:
    """Read MXFP4: of experts only, blocks (E, N, K/32, 16) uint8 and scales (E, N, K/32) uint8.

    References:
        transformers 5.24, integrations/mxfp4.py, ``replace_with_mxfp4_linear``
    """
    names = _names(config, "modules_to_not_convert")
    return Scheme({"quantization": ("mxfp4", "quant_method")}, Skipped(names, only_experts=True))


def _compressed_tensors(config: Mapping[str, Any], dtype: str) -> Scheme:
    """Read compressed-tensors: weight or weight_packed, weight_scale in ``dtype``, weight_zero_point, weight_shape.

    References:
        https://github.com/vllm-project/compressed-tensors/tree/main/src/compressed_tensors/compressors
    """
    groups = config.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        raise _UnreadError(_quote("config_groups", groups))
    (name, group), *others = groups.items()
    path = f"config_groups.{name}"
    weights = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(weights, dict):
        raise _UnreadError(_quote(f"{path}.weights", weights))
    fields = _compressed_weights(weights, f"{path}.weights.", str(group.get("format") or config.get("format")), dtype)
    inputs = group.get("input_activations")
    tensors = fields.pop("module_tensors", ([], ""))[0]
    is_static = isinstance(inputs, dict) and inputs.get("dynamic") in (False, None, "local")
    fields["module_tensors"] = ([*tensors, *(["input_scale"] if is_static else [])], path)
    alike = [each for _, each in others if isinstance(each, dict) and each.get("weights") == weights]
    targets = [target for each in (group, *alike) for target in _names(each, "targets")]
    unread = [
        f"{NAME}.config_groups.{other} is not understood beside {name}: its weights count in {dtype}"
        for other, each in others
        if each not in alike
    ]
    return Scheme(
        fields,
        Skipped(
            _names(config, "ignore"),
            "compressed-tensors",
            () if LINEAR in targets else tuple(targets),
            keeps_head=False,
        ),
        tuple(unread),
    )


def _compressed_weights(weights: Mapping[str, Any], path: str, layout: str, dtype: str) -> dict[str, tuple[Any, str]]:
    """Return the fields of the ``weights`` of a group."""
    bits, kind, strategy = weights.get("num_bits"), weights.get("type", "int"), weights.get("strategy")
    group_size = _integer(weights, "group_size", None, path)
    if kind == "float" and bits == 4 and group_size in (16, 32):
        return {"quantization": ("nvfp4" if group_size == 16 else "mxfp4", f"{path}num_bits")}
    if kind == "float" and bits == 8:
        fields: dict[str, tuple[Any, str]] = {"quantization": ("float8", f"{path}num_bits")}
    elif kind == "int":
        fields = {"quantization": (_bits(weights, "num_bits", path), f"{path}num_bits")}
    else:
        raise _UnreadError(_quote(f"{path}num_bits", bits))
    strategy = strategy or ("group" if group_size not in (None, PER_CHANNEL) else "tensor")
    if strategy == "block":
        fields |= _block(weights.get("block_structure"))
    elif strategy in ("tensor", "channel"):
        fields["strategy"] = (strategy, f"{path}strategy")
    elif strategy == "group" and group_size is not None:
        fields |= _groups(group_size, f"{path}group_size")
    else:
        raise _UnreadError(_quote(f"{path}strategy", strategy))
    is_packed = layout == "pack-quantized"
    tensors = [*(["weight_shape"] if is_packed else []), *(["g_idx"] if weights.get("actorder") == "group" else [])]
    return fields | {
        "scale_dtype": (_scale_dtype(dtype), f"{path}strategy"),
        "zero_point": (kind == "int" and weights.get("symmetric") is False, f"{path}symmetric"),
        "module_tensors": (tensors, path),
    }


def _modelopt(config: Mapping[str, Any], _: str) -> Scheme:
    """Read ModelOpt: FP8 with float32 scales per tensor, or NVFP4; both with the scale of the inputs.

    References:
        https://github.com/NVIDIA/TensorRT-Model-Optimizer/blob/main/modelopt/torch/export/unified_export_hf.py
    """
    inner = config.get("quantization", config)
    algorithm = inner.get("quant_algo") if isinstance(inner, dict) else None
    kinds = {"FP8": "float8", "NVFP4": "nvfp4"}
    if not isinstance(algorithm, str) or algorithm not in kinds:
        raise _UnreadError(_quote("quant_algo", algorithm))
    fields: dict[str, tuple[Any, str]] = {
        "quantization": (kinds[algorithm], "quant_algo"),
        "module_tensors": (["input_scale"], "quant_algo"),
    }
    if algorithm == "FP8":
        fields |= {"strategy": ("tensor", "quant_algo"), "scale_dtype": ("float32", "quant_algo")}
    return Scheme(fields, Skipped(_names(inner, "exclude_modules", "ignore"), "modelopt", keeps_head=False))


def _torchao(config: Mapping[str, Any], dtype: str) -> Scheme:
    """Read torchao: qdata, scale and zero_point of each weight; the latter two in ``dtype`` for int4.

    References:
        torchao 0.18, quantization/quant_api.py and quantization/quantize_/workflows
    """
    kinds = config.get("quant_type")
    path = "quant_type.default"
    one = kinds.get("default") if isinstance(kinds, dict) and len(kinds) == 1 else None
    by_module, skipped = _object(one, "_data").get("fqn_to_config"), tuple[str, ...]()
    if isinstance(by_module, dict):
        path += "._data.fqn_to_config._default"
        one = by_module.get("_default")
        skipped = tuple(name for name, of_module in by_module.items() if of_module is None)
        if by_module.keys() - set(skipped) != {"_default"}:
            raise _UnreadError(_quote("quant_type.default", "for modules of several types"))
    name, data = _object(one).get("_type"), _object(one, "_data")
    is_int4 = name == "Int4WeightOnlyConfig"
    unquantized = _scale_dtype(dtype)
    if not is_int4 and (name not in _TORCHAO_TYPES or _object(one).get("_version") != 2):
        raise _UnreadError(_quote(path, name if isinstance(name, str) else kinds))
    if is_int4:
        group_size = _integer(data, "group_size", 128, f"{path}._data.")
        fields = {"quantization": ("int4", path), **_groups(group_size, path), "zero_point": (True, path)}
        fields |= {"scale_dtype": (unquantized, path), "zero_point_dtype": (unquantized, path)}
    else:
        kind, scale_dtype = _TORCHAO_TYPES[str(name)]
        fields = {
            "quantization": (kind, path),
            **_granularity(data, path),
            "scale_dtype": (scale_dtype or unquantized, path),
        }
        if kind == "int8":
            fields["zero_point"] = (True, path)
    names = _names(config, "modules_to_not_convert")
    reads_tables = config.get("include_input_output_embeddings") is True
    unread = (f"{_quote('include_input_output_embeddings', True)} is not understood: the embedding counts in {dtype}",)
    return Scheme(
        fields,
        Skipped((*names, *skipped), keeps_head=not names and not reads_tables),
        unread if reads_tables else (),
    )


_TORCHAO_TYPES = {
    "Int8WeightOnlyConfig": ("int8", "float32"),
    "Int8DynamicActivationInt8WeightConfig": ("int8", "float32"),
    "Int8DynamicActivationIntxWeightConfig": ("int8", ""),  # integers of fewer bits take a byte each, too
    "IntxWeightOnlyConfig": ("int8", ""),
    "Float8WeightOnlyConfig": ("float8", "float32"),
    "Float8DynamicActivationFloat8WeightConfig": ("float8", "float32"),
}
"""The type of the weights and of the scales of each config of torchao; empty: the type of the other weights."""


def _object(value: object, *keys: str) -> Mapping[str, Any]:
    """Return a value, or the one at the keys inside it, if it is an object, else an empty one."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _granularity(data: Mapping[str, Any], path: str) -> dict[str, tuple[Any, str]]:
    """Return the fields of torchao's ``granularity``: of the weights, where activations have one, too."""
    value: object = data.get("weight_granularity", data.get("granularity", {"_type": "PerRow"}))
    if isinstance(value, list) and value:
        value = value[-1]
    match _object(value).get("_type"):
        case "PerTensor":
            return {"strategy": ("tensor", path)}
        case "PerRow" | "PerAxis" | "PerChannel":
            return {"strategy": ("channel", path)}
        case "PerGroup":
            return _groups(_integer(_object(value, "_data"), "group_size", None, f"{path}._data."), path)
    raise _UnreadError(_quote(f"{path}._data.granularity", _object(value).get("_type", value)))


def _kv_cache(config: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return the type of the KV cache: 8-bit floats or integers, or that of the weights."""
    scheme, algorithm = config.get("kv_cache_scheme"), config.get("kv_cache_quant_algo")
    if isinstance(scheme, dict) and scheme.get("num_bits") == 8 and scheme.get("type") in ("float", "int"):
        return {"kv_cache_dtype": ("float8" if scheme["type"] == "float" else "int8", "kv_cache_scheme")}
    return {"kv_cache_dtype": ("float8", "kv_cache_quant_algo")} if algorithm == "FP8" else {}


def _gguf(config: Mapping[str, Any], _: str) -> Scheme:
    """Read the types that the header of a GGUF file states, which ``interop/gguf/stored_types.py`` writes."""
    types = list(_names(config, "tensor_types"))
    fields: dict[str, tuple[Any, str]] = {
        "quantization": ("gguf", "quant_method"),
        "tensor_types": (types, "tensor_types"),
    }
    mixed = [name.partition("=") for name in _names(config, "mixed")]
    unread = [f"{part} is stored as tensors of several types: it counts as {kind}" for part, _, kind in mixed]
    return Scheme(fields, unread=tuple(unread))


_READERS: dict[str, Callable[[Mapping[str, Any], str], Scheme]] = {
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "fbgemm-fp8": _fbgemm_fp8,
    "gguf": _gguf,
    "mxfp4": _mxfp4,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "torchao": _torchao,
}
