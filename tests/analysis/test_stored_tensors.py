"""Stored bytes against the tensors that each library creates, and against published checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from tinylm_cli.analysis.stored_tensors import quantized_params, quantizes_head, stored_as, stored_bytes
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.storage import Storage
from tinylm_cli.interop.load import load_config

CONFIGS = Path(__file__).parents[1] / "interop/configs"

D, F, KV, V, LAYERS = 4096, 11008, 1024, 32000, 3
LINEAR = ((D, D), (KV, D), (KV, D), (D, D), (F, D), (F, D), (D, F))
"""(outputs, inputs) of the linear weights of a layer."""

OTHERS = LAYERS * 2 * D + D + 2 * V * D
"""Elements of the norms, the token embedding and the LM head."""

Spec = tuple[tuple[int, ...], torch.dtype]


def _config(**storage: Any) -> ModelConfig:
    values = {"vocab_size": V, "d_model": D, "n_heads": 32, "n_layers": LAYERS, "d_ff": F, "tie_weights": False}
    blocks = {
        "position": {"kind": "rope"},
        "norm": {"kind": "rmsnorm"},
        "attention": {"bias": False, "n_kv_heads": 8},
        "feed_forward": {"gated": True, "bias": False},
    }
    return ModelConfig.model_validate({**values, **blocks, "storage": storage})


def _nbytes(specs: Sequence[Spec]) -> int:
    return sum(prod(shape) * dtype.itemsize for shape, dtype in specs)


def _gptq(n: int, k: int) -> list[Spec]:
    """Return the buffers of a quantized linear module of GPTQ with 4 bits in groups of 128."""
    packed, groups = 32 // 4, -(-k // 128)
    return [
        ((k // packed, n), torch.int32),  # qweight
        ((groups, n // packed), torch.int32),  # qzeros
        ((groups, n), torch.float16),  # scales
        ((k,), torch.int32),  # g_idx
    ]


def _gptq_8_bit_per_channel(n: int, k: int) -> list[Spec]:
    return [((k // 4, n), torch.int32), ((1, n // 4), torch.int32), ((1, n), torch.float16), ((k,), torch.int32)]


def _awq(n: int, k: int) -> list[Spec]:
    """Return the buffers of WQLinear_GEMM."""
    return [
        ((k, n // 8), torch.int32),  # qweight
        ((k // 64, n // 8), torch.int32),  # qzeros
        ((k // 64, n), torch.float16),  # scales
    ]


def _fp8_blocks(n: int, k: int) -> list[Spec]:
    return [((n, k), torch.float8_e4m3fn), ((-(-n // 128), -(-k // 128)), torch.float32)]  # weight, weight_scale_inv


def _fp8_tensor(n: int, k: int) -> list[Spec]:
    return [((n, k), torch.float8_e4m3fn), ((), torch.float32), ((), torch.float32)]  # and activation_scale


def _mxfp8(n: int, k: int) -> list[Spec]:
    return [((n, k), torch.float8_e4m3fn), ((n, k // 32), torch.float8_e8m0fnu)]


def _compressed_float8(n: int, k: int) -> list[Spec]:
    return [((n, k), torch.float8_e4m3fn), ((n, 1), torch.bfloat16)]


def _compressed_int4(n: int, k: int) -> list[Spec]:
    """Return weight_packed, weight_scale and weight_shape of a symmetric pack-quantized module."""
    return [((n, k // 8), torch.int32), ((n, k // 128), torch.bfloat16), ((2,), torch.int64)]


def _compressed_int4_zero_points(n: int, k: int) -> list[Spec]:
    return [*_compressed_int4(n, k), ((n // 8, k // 128), torch.int32)]  # weight_zero_point


def _compressed_int8(n: int, k: int) -> list[Spec]:
    return [((n, k), torch.int8), ((n, 1), torch.bfloat16)]


def _nf4(n: int, k: int) -> list[Spec]:
    """Return the tensors of bitsandbytes without double quantization, and without the JSON of quant_state."""
    return [
        ((n * k // 2, 1), torch.uint8),  # weight
        ((n * k // 64,), torch.float32),  # absmax
        ((16,), torch.float32),  # quant_map
    ]


def _nf4_double(n: int, k: int) -> list[Spec]:
    blocks = n * k // 64
    return [
        ((n * k // 2, 1), torch.uint8),  # weight
        ((blocks,), torch.uint8),  # absmax
        ((16,), torch.float32),  # quant_map
        ((-(-blocks // 256),), torch.float32),  # nested_absmax
        ((256,), torch.float32),  # nested_quant_map
    ]


def _llm_int8(n: int, k: int) -> list[Spec]:
    return [((n, k), torch.int8), ((n,), torch.float32), ((), torch.uint8)]  # weight, SCB, weight_format


def _mxfp4(n: int, k: int) -> list[Spec]:
    return [((n, k // 32, 16), torch.uint8), ((n, k // 32), torch.uint8)]  # blocks, scales


def _nvfp4(n: int, k: int) -> list[Spec]:
    """Return weight, weight_scale, weight_scale_2 and input_scale of ModelOpt."""
    scalar: Spec = ((), torch.float32)
    return [((n, k // 2), torch.uint8), ((n, k // 16), torch.float8_e4m3fn), scalar, scalar]


def _torchao_int8(n: int, k: int) -> list[Spec]:
    """Return qdata, scale and zero_point of ``Int8Tensor``, as torchao 0.18 quantizes a linear layer on the CPU."""
    return [((n, k), torch.int8), ((n, 1), torch.float32), ((n, 1), torch.int8)]


def _torchao_intx(n: int, k: int) -> list[Spec]:
    """Return those of ``IntxUnpackedToInt8Tensor`` with groups of 32."""
    return [((n, k), torch.int8), ((n, k // 32), torch.bfloat16), ((n, k // 32), torch.int8)]


def _torchao_int4(n: int, k: int) -> list[Spec]:
    """Return those of ``Int4Tensor`` with groups of 64, as its docstring gives their shapes."""
    return [((n, k // 2), torch.uint8), ((k // 64, n), torch.bfloat16), ((k // 64, n), torch.bfloat16)]


INT4 = {"quantization": "int4", "strategy": "group"}
FP8 = {"quantization": "float8", "scale_dtype": "float32"}


@pytest.mark.parametrize(
    ("storage", "module"),
    [
        ({**INT4, "zero_point": True, "module_tensors": ["g_idx"]}, _gptq),
        ({"quantization": "int8", "zero_point": True, "module_tensors": ["g_idx"]}, _gptq_8_bit_per_channel),
        ({**INT4, "group_size": 64, "zero_point": True}, _awq),
        ({**FP8, "strategy": "block"}, _fp8_blocks),
        ({**FP8, "strategy": "tensor", "module_tensors": ["input_scale"]}, _fp8_tensor),
        (
            {"quantization": "float8", "strategy": "group", "group_size": 32, "scale_dtype": "float8_e8m0fnu"},
            _mxfp8,
        ),
        ({"quantization": "float8", "scale_dtype": "bfloat16"}, _compressed_float8),
        ({**INT4, "scale_dtype": "bfloat16", "module_tensors": ["weight_shape"]}, _compressed_int4),
        (
            {**INT4, "scale_dtype": "bfloat16", "zero_point": True, "module_tensors": ["weight_shape"]},
            _compressed_int4_zero_points,
        ),
        ({"quantization": "int8", "scale_dtype": "bfloat16"}, _compressed_int8),
        ({"quantization": "nf4"}, _nf4),
        ({"quantization": "fp4"}, _nf4),
        ({"quantization": "nf4", "double_quant": True}, _nf4_double),
        ({"quantization": "int8", "scale_dtype": "float32", "module_tensors": ["weight_format"]}, _llm_int8),
        ({"quantization": "int8", "scale_dtype": "float32", "zero_point": True}, _torchao_int8),
        (
            {
                "quantization": "int8",
                "strategy": "group",
                "group_size": 32,
                "scale_dtype": "bfloat16",
                "zero_point": True,
            },
            _torchao_intx,
        ),
        (
            {
                **INT4,
                "group_size": 64,
                "scale_dtype": "bfloat16",
                "zero_point": True,
                "zero_point_dtype": "bfloat16",
            },
            _torchao_int4,
        ),
        ({"quantization": "mxfp4"}, _mxfp4),
        ({"quantization": "nvfp4", "module_tensors": ["input_scale"]}, _nvfp4),
    ],
)
@pytest.mark.parametrize(("dtype", "element"), [("bfloat16", 2), ("float32", 4)])
def test_schemes(storage: dict[str, Any], module: Any, dtype: str, element: int) -> None:
    config = _config(dtype=dtype, modules_to_not_convert=["lm_head"], **storage)
    expected = LAYERS * sum(_nbytes(module(*shape)) for shape in LINEAR) + OTHERS * element
    table = tensor_table(config)
    assert stored_bytes(table, config.storage) == expected
    assert quantized_params(table, config.storage) == LAYERS * sum(map(prod, LINEAR))


def test_shorter_last_group() -> None:
    """GPTQ with 4,096 inputs in groups of 100: 40 whole groups and one of 96."""
    config = _config(**INT4, group_size=100, module_tensors=["g_idx"])
    table = tensor_table(config)
    name = next(t for section in table for t in section.tensors if t.name == "attention.q_proj.weight")
    section = next(each for each in table if name in each.tensors)
    assert stored_as(section, name, config.storage, 0) == ("int4", D * D // 2 + D * 41 * 2 + 4 * D)


def test_each_expert_has_scales() -> None:
    """Two experts of DeepSeek-V3's form: blocks do not extend from one expert into the next."""
    experts = {"gated": True, "bias": False, "n_experts": 2, "top_k": 1, "d_expert": 200}
    values = {"vocab_size": 8, "d_model": 256, "n_heads": 2, "n_layers": 1, "d_ff": 256, "tie_weights": False}
    blocks = {"norm": {"kind": "rmsnorm"}, "attention": {"bias": False}, "feed_forward": experts}
    config = ModelConfig.model_validate({**values, **blocks, "storage": {**FP8, "strategy": "block"}})
    quantized = 4 * _nbytes(_fp8_blocks(256, 256))
    quantized += 2 * (2 * _nbytes(_fp8_blocks(200, 256)) + _nbytes(_fp8_blocks(256, 200)))
    others = 2 * 8 * 256 + 3 * 256 + 2 * 256  # embedding and head, norms, router
    assert stored_bytes(tensor_table(config), config.storage) == quantized + 2 * others


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ([], 0),
        (["lm_head"], V * D),
        (["blocks.*.attention"], LAYERS * (2 * D * D + 2 * D * KV)),
        (["blocks.*.*.q_proj"], LAYERS * D * D),
        (["blocks.1"], sum(map(prod, LINEAR))),
        (["blocks.0.feed_forward.up_proj", "blocks.2.feed_forward.up_proj"], 2 * D * F),
        (["blocks.7", "attention", "blocks.*.att"], 0),  # of no module
    ],
)
def test_modules_that_are_not_converted(names: list[str], kept: int) -> None:
    config = _config(quantization="int8", modules_to_not_convert=names)
    every = LAYERS * sum(map(prod, LINEAR)) + V * D
    assert quantized_params(tensor_table(config), config.storage) == every - kept


def test_types_of_one_and_of_all_layers() -> None:
    config = _config(quantization="int8", modules_to_not_convert=["blocks.1"], scale_dtype="float32")
    (section,) = (each for each in tensor_table(config) if each.is_repeated)
    query = next(each for each in section.tensors if each.name == "attention.q_proj.weight")
    quantized, kept = D * D + 4 * D, 2 * D * D
    assert stored_as(section, query, config.storage) == ("int8, bfloat16", 2 * quantized + kept)
    assert stored_as(section, query, config.storage, 0) == ("int8", quantized)
    assert stored_as(section, query, config.storage, 1) == ("bfloat16", kept)


def test_quantized_tied_head_is_stored() -> None:
    values = {"vocab_size": 64, "d_model": 32, "n_heads": 2, "n_layers": 1, "d_ff": 32}
    kept = ModelConfig.model_validate({**values, "storage": {"quantization": "int8"}})
    storage = Storage(quantization="int8", modules_to_not_convert=())
    assert (quantizes_head(kept.storage), quantizes_head(storage), quantizes_head(Storage())) == (False, True, False)
    table = tensor_table(kept)
    assert stored_bytes(table, storage) - stored_bytes(table, kept.storage) == 64 * (32 + 2)


def test_published_size_of_gpt_oss() -> None:
    """The ``total_size`` of the index of gpt-oss-20b."""
    config = load_config(str(CONFIGS / "gpt_oss.json")).config
    assert stored_bytes(tensor_table(config), config.storage) == 13_761_264_768
