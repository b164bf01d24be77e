"""The types of files and tensors, compared with the package gguf."""

from __future__ import annotations

from typing import get_args

import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from tinylm_cli.interop.gguf.file_types import ALIGNMENT, BLOCKS, FILE_TYPES, fitting_type, tensor_bytes
from tinylm_cli.reports.choices import GgufType


def test_blocks() -> None:
    assert {name: tuple(block) for name, block in BLOCKS.items()} == {
        name: GGML_QUANT_SIZES[GGMLQuantizationType[name]] for name in BLOCKS
    }


def test_numbers() -> None:
    """``llama-quantize`` and the package name the same numbers, with a prefix in the package."""
    for name, (number, tensor_type) in FILE_TYPES.items():
        prefix = "ALL" if name == "F32" else "MOSTLY"
        assert LlamaFileType[f"{prefix}_{name}"] == number
        assert tensor_type in BLOCKS


def test_every_choice_has_a_type() -> None:
    assert tuple(FILE_TYPES) == get_args(GgufType)


@pytest.mark.parametrize(
    ("tensor_type", "n_columns", "fitting"),
    [
        ("Q4_K", 512, "Q4_K"),
        ("Q4_K", 288, "Q5_0"),  # 288 = 9 × 32
        ("Q6_K", 288, "Q8_0"),
        ("IQ2_XXS", 288, "IQ4_NL"),
        ("Q3_K", 288, "Q4_0"),
        ("Q5_K", 288, "Q5_1"),
        ("Q4_K", 72, "F16"),  # no multiple of 32
        ("Q8_0", 72, "F16"),
        ("F16", 72, "F16"),
    ],
)
def test_fitting_type(tensor_type: str, n_columns: int, fitting: str) -> None:
    assert fitting_type(tensor_type, n_columns) == fitting


def test_tensor_bytes() -> None:
    assert tensor_bytes("Q4_K", 4096 * 256) == 4096 * 144
    assert tensor_bytes("Q8_0", 4096) == 4096 // 32 * (32 + 2)  # a byte each, and a scale in float16
    assert tensor_bytes("F32", 3) == 12
    assert ALIGNMENT == 32
