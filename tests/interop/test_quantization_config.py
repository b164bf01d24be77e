"""Every method of ``quantization_config`` as fields of ``storage``."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.interop.quantization_config import Skipped, read_scheme

INT4_WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 64, "symmetric": True}
FLOAT8_WEIGHTS = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True, "dynamic": False}


def _compressed(weights: dict[str, Any], layout: str = "naive-quantized", **others: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, **others.pop("group", {})}
    groups = {"config_groups": {"group_0": group}, "format": layout}
    return {"quant_method": "compressed-tensors", "ignore": ["lm_head"], **groups, **others}


def _torchao(name: str, version: int = 2, **data: Any) -> dict[str, Any]:
    """Return the config that transformers writes for a config of torchao 0.18."""
    return {"quant_method": "torchao", "quant_type": {"default": {"_type": name, "_version": version, "_data": data}}}


def _granularity(name: str, **data: Any) -> dict[str, Any]:
    return {"_type": name, "_version": 1, "_data": data}


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        _torchao("Int4WeightOnlyConfig", group_size=64),
        {
            "quantization": "int4",
            "strategy": "group",
            "group_size": 64,
            "zero_point": True,
            "scale_dtype": "float16",
            "zero_point_dtype": "float16",
        },
    ),
    (
        _torchao("Int8WeightOnlyConfig", group_size=None, granularity=_granularity("PerRow", dim=-1)),
        {"quantization": "int8", "strategy": "channel", "scale_dtype": "float32", "zero_point": True},
    ),
    (
        _torchao("Int8DynamicActivationIntxWeightConfig", weight_granularity=_granularity("PerGroup", group_size=32)),
        {
            "quantization": "int8",
            "strategy": "group",
            "group_size": 32,
            "scale_dtype": "float16",
            "zero_point": True,
        },
    ),
    (
        _torchao("Float8DynamicActivationFloat8WeightConfig", granularity=[_granularity("PerTensor")] * 2),
        {"quantization": "float8", "strategy": "tensor", "scale_dtype": "float32"},
    ),
    (
        _torchao(
            "FqnToConfig",
            1,
            fqn_to_config={
                "_default": _torchao("Float8WeightOnlyConfig", granularity=_granularity("PerRow"))["quant_type"][
                    "default"
                ],
                "model.layers.0.mlp": None,
            },
        ),
        {"quantization": "float8", "strategy": "channel", "scale_dtype": "float32"},
    ),
    (
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": True},
        {
            "quantization": "int4",
            "strategy": "group",
            "group_size": 128,
            "zero_point": True,
            "module_tensors": ["g_idx"],
        },
    ),
    (
        {"quant_method": "gptq", "bits": 8, "group_size": -1},
        {"quantization": "int8", "strategy": "channel", "zero_point": True, "module_tensors": ["g_idx"]},
    ),
    (
        {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "GEMM", "zero_point": True},
        {"quantization": "int4", "strategy": "group", "group_size": 64, "zero_point": True},
    ),
    (
        {"quant_method": "awq", "w_bit": 4, "q_group_size": 128},
        {"quantization": "int4", "strategy": "group", "group_size": 128, "zero_point": True},
    ),
    (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        {"quantization": "nf4", "double_quant": False},
    ),
    (
        {"load_in_4bit": True, "bnb_4bit_use_double_quant": True},
        {"quantization": "fp4", "double_quant": True},
    ),
    (
        {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False},
        {"quantization": "int8", "scale_dtype": "float32", "module_tensors": ["weight_format"]},
    ),
    (
        {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
        {
            "quantization": "float8",
            "strategy": "block",
            "weight_block_size": 128,
            "scale_dtype": "float32",
            "module_tensors": [],
        },
    ),
    (
        {"quant_method": "fp8", "weight_block_size": None, "activation_scheme": "static"},
        {"quantization": "float8", "strategy": "tensor", "scale_dtype": "float32", "module_tensors": ["input_scale"]},
    ),
    (
        {"quant_method": "fp8", "weight_block_size": [1, 32], "scale_fmt": "ue8m0"},
        {
            "quantization": "float8",
            "strategy": "group",
            "group_size": 32,
            "scale_dtype": "float8_e8m0fnu",
            "module_tensors": [],
        },
    ),
    ({"quant_method": "fbgemm_fp8"}, {"quantization": "float8", "scale_dtype": "float32"}),
    ({"quant_method": "mxfp4"}, {"quantization": "mxfp4"}),
    (
        _compressed(FLOAT8_WEIGHTS),
        {
            "quantization": "float8",
            "strategy": "channel",
            "scale_dtype": "float16",
            "zero_point": False,
            "module_tensors": [],
        },
    ),
    (
        _compressed(
            FLOAT8_WEIGHTS | {"strategy": "tensor"},
            group={"input_activations": {"num_bits": 8, "type": "float", "dynamic": False}},
            kv_cache_scheme={"num_bits": 8, "type": "float", "strategy": "tensor"},
        ),
        {
            "quantization": "float8",
            "strategy": "tensor",
            "scale_dtype": "float16",
            "zero_point": False,
            "module_tensors": ["input_scale"],
            "kv_cache_dtype": "float8",
        },
    ),
    (
        _compressed(FLOAT8_WEIGHTS | {"strategy": "block", "block_structure": [128, 128]}),
        {
            "quantization": "float8",
            "strategy": "block",
            "weight_block_size": 128,
            "scale_dtype": "float16",
            "zero_point": False,
            "module_tensors": [],
        },
    ),
    (
        _compressed(INT4_WEIGHTS | {"symmetric": False, "actorder": "group"}, "pack-quantized"),
        {
            "quantization": "int4",
            "strategy": "group",
            "group_size": 64,
            "scale_dtype": "float16",
            "zero_point": True,
            "module_tensors": ["weight_shape", "g_idx"],
        },
    ),
    (
        _compressed({"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}, "int-quantized"),
        {
            "quantization": "int8",
            "strategy": "channel",
            "scale_dtype": "float16",
            "zero_point": False,
            "module_tensors": [],
        },
    ),
    (
        _compressed(
            {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
            group={"input_activations": {"num_bits": 4, "dynamic": "local"}},
        ),
        {"quantization": "nvfp4", "module_tensors": ["input_scale"]},
    ),
    (
        _compressed({"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}),
        {"quantization": "mxfp4", "module_tensors": []},
    ),
    (
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
        {"quantization": "nvfp4", "module_tensors": ["input_scale"], "kv_cache_dtype": "float8"},
    ),
    (
        {"quant_method": "modelopt", "quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}},
        {"quantization": "float8", "strategy": "tensor", "scale_dtype": "float32", "module_tensors": ["input_scale"]},
    ),
]


@pytest.mark.parametrize(("config", "expected"), CASES)
def test_methods(config: dict[str, Any], expected: dict[str, Any]) -> None:
    scheme = read_scheme(config, "float16")
    assert {name: value for name, (value, _) in scheme.fields.items()} == expected
    assert scheme.unread == ()


@pytest.mark.parametrize(
    ("config", "skipped"),
    [
        ({"quant_method": "gptq", "bits": 4}, Skipped()),
        ({"quant_method": "gptq", "bits": 4, "lm_head": True}, Skipped(keeps_head=False)),
        ({"quant_method": "awq", "modules_to_not_convert": ["gate"]}, Skipped(("gate",))),
        ({"load_in_8bit": True}, Skipped()),
        ({"load_in_8bit": True, "llm_int8_skip_modules": ["x"]}, Skipped(("x",), keeps_head=False)),
        ({"quant_method": "fp8"}, Skipped()),
        ({"quant_method": "fp8", "ignored_layers": ["x"]}, Skipped(("x",), keeps_head=False)),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["x"]}, Skipped(("x",), only_experts=True)),
        (_compressed(FLOAT8_WEIGHTS), Skipped(("lm_head",), "compressed-tensors", keeps_head=False)),
        (
            _compressed(FLOAT8_WEIGHTS, group={"targets": ["re:.*mlp.*"]}),
            Skipped(("lm_head",), "compressed-tensors", ("re:.*mlp.*",), keeps_head=False),
        ),
        (
            {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head"]},
            Skipped(("lm_head",), "modelopt", keeps_head=False),
        ),
        (_torchao("Int4WeightOnlyConfig"), Skipped()),
        (
            _torchao("Int4WeightOnlyConfig") | {"modules_to_not_convert": ["x"]},
            Skipped(("x",), keeps_head=False),
        ),
        (
            _torchao("FqnToConfig", 1, fqn_to_config={"_default": {"_type": "Int4WeightOnlyConfig"}, "x": None}),
            Skipped(("x",)),
        ),
    ],
)
def test_skipped_modules(config: dict[str, Any], skipped: Skipped) -> None:
    assert read_scheme(config, "bfloat16").skipped == skipped


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({"quant_method": "aqlm"}, "quant_method aqlm"),
        ({}, "quant_method None"),
        ({"quant_method": ["fp8"]}, "quant_method ['fp8']"),
        ({"quant_method": "gptq", "bits": 3}, "bits 3"),
        ({"quant_method": "gptq", "bits": True}, "bits True"),
        ({"quant_method": "gptq", "group_size": "big"}, "group_size big"),
        ({"quant_method": "gptq", "group_size": 0}, "group_size 0"),
        ({"quant_method": "gptq", "checkpoint_format": "marlin"}, "checkpoint_format marlin"),
        ({"quant_method": "awq", "version": "gemv"}, "version gemv"),
        ({"quant_method": "awq", "modules_to_not_convert": 3}, "modules_to_not_convert 3"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "x"}, "bnb_4bit_quant_type x"),
        ({"quant_method": "fp8", "weight_block_size": [128, 64]}, "weight_block_size [128, 64]"),
        ({"quant_method": "compressed-tensors"}, "config_groups None"),
        (_compressed({"num_bits": 6, "type": "int"}), "config_groups.group_0.weights.num_bits 6"),
        (_compressed({"num_bits": 6, "type": "float"}), "config_groups.group_0.weights.num_bits 6"),
        (_compressed(FLOAT8_WEIGHTS | {"strategy": "token"}), "config_groups.group_0.weights.strategy token"),
        ({"quant_method": "modelopt", "quant_algo": "W4A8"}, "quant_algo W4A8"),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "quant_type.default int8_weight_only"),
        (_torchao("Int8WeightOnlyConfig", 1, group_size=None), "quant_type.default Int8WeightOnlyConfig"),
        (_torchao("GemliteUIntXWeightOnlyConfig"), "quant_type.default GemliteUIntXWeightOnlyConfig"),
        (
            _torchao("Float8WeightOnlyConfig", granularity=_granularity("PerBlock")),
            "quant_type.default._data.granularity PerBlock",
        ),
        (_torchao("FqnToConfig", 1, fqn_to_config={"a": {}}), "quant_type.default for modules of several types"),
        ({"quant_method": "modelopt", "quant_algo": {}}, "quant_algo {}"),
    ],
)
def test_not_understood(config: dict[str, Any], value: str) -> None:
    scheme = read_scheme(config, "float16")
    assert scheme.fields == {}
    assert scheme.unread == (f"quantization_config.{value} is not understood: weights count in float16",)


def test_without_bits() -> None:
    scheme = read_scheme({"quant_method": "bitsandbytes"}, "bfloat16")
    (sentence,) = scheme.unread
    assert "quantization_config without load_in_4bit or load_in_8bit is not understood" in sentence


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"quant_method": "gptq", "dynamic": {"-:x": {}}},
            "dynamic is not understood: every linear weight of the layers counts as quantized",
        ),
        ({"quant_method": "fp8", "expert_dtype": "fp4"}, "expert_dtype fp4 is not understood: experts count in float8"),
        (
            {"quant_method": "fp8", "modules_to_convert": ["embed"]},
            "modules_to_convert ['embed'] is not understood: its modules count as not quantized",
        ),
    ],
)
def test_parts_not_understood(config: dict[str, Any], sentence: str) -> None:
    scheme = read_scheme(config, "bfloat16")
    assert scheme.fields["quantization"][0] in ("int4", "float8")
    assert scheme.unread == (f"quantization_config.{sentence}",)


def test_second_group_of_modules() -> None:
    """Two groups of one scheme are one; another scheme is named, and its modules are not in the first's targets."""
    first = {"targets": ["re:.*mlp.*"], "weights": FLOAT8_WEIGHTS}
    same, other = first | {"targets": ["x"]}, {"targets": ["re:.*attn.*"], "weights": INT4_WEIGHTS}
    config = {"quant_method": "compressed-tensors", "config_groups": {"a": first, "b": same, "c": other}}
    scheme = read_scheme(config, "bfloat16")
    (sentence,) = scheme.unread
    assert sentence == "quantization_config.config_groups.c is not understood beside a: its weights count in bfloat16"
    assert scheme.skipped.targets == ("re:.*mlp.*", "x")
