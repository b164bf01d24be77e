"""The types of GGUF files and tensors: bytes of each tensor type, and the type a file of each type gives most tensors.

References:
    ``QUANT_OPTIONS`` of tools/quantize/quantize.cpp, ``llama_ftype_get_default_type`` and ``tensor_type_fallback`` of
    src/llama-quant.cpp in llama.cpp 0c1e57098, https://github.com/ggml-org/llama.cpp;
    ``GGML_QUANT_SIZES`` of the Python package gguf, https://pypi.org/project/gguf
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tinylm_cli.config.ggml_types import GGML_TYPES, Block
from tinylm_cli.reports.choices import GgufType

BLOCKS: Mapping[str, Block] = {
    "F32": Block(1, 4),
    "F16": Block(1, 2),
    "BF16": Block(1, 2),
    **{name.upper(): block for name, block in GGML_TYPES.items()},
}
"""The block of each tensor type."""

ALIGNMENT = 32
"""Each tensor begins at a multiple of these bytes from the start of the data."""

FLOATS = ("F32", "F16", "BF16")
"""Types of files and tensors that are not quantized."""


class FileType(NamedTuple):
    """A type of file, as ``llama-quantize`` names it."""

    number: int  # Its number, ``general.file_type`` of the file.
    tensor_type: str  # The type of most of its tensors.


FILE_TYPES: Mapping[GgufType, FileType] = {
    "F32": FileType(0, "F32"),
    "F16": FileType(1, "F16"),
    "BF16": FileType(32, "BF16"),
    "Q8_0": FileType(7, "Q8_0"),
    "Q6_K": FileType(18, "Q6_K"),
    "Q5_1": FileType(9, "Q5_1"),
    "Q5_K_M": FileType(17, "Q5_K"),
    "Q5_K_S": FileType(16, "Q5_K"),
    "Q5_0": FileType(8, "Q5_0"),
    "Q4_1": FileType(3, "Q4_1"),
    "Q4_K_M": FileType(15, "Q4_K"),
    "Q4_K_S": FileType(14, "Q4_K"),
    "Q4_0": FileType(2, "Q4_0"),
    "IQ4_NL": FileType(25, "IQ4_NL"),
    "IQ4_XS": FileType(30, "IQ4_XS"),
    "MXFP4_MOE": FileType(38, "MXFP4"),
    "Q3_K_L": FileType(13, "Q3_K"),
    "Q3_K_M": FileType(12, "Q3_K"),
    "Q3_K_S": FileType(11, "Q3_K"),
    "IQ3_M": FileType(27, "IQ3_S"),
    "IQ3_S": FileType(26, "IQ3_S"),
    "IQ3_XS": FileType(22, "IQ3_S"),
    "IQ3_XXS": FileType(23, "IQ3_XXS"),
    "Q2_K": FileType(10, "Q2_K"),
    "Q2_K_S": FileType(21, "Q2_K"),
    "IQ2_M": FileType(29, "IQ2_S"),
    "IQ2_S": FileType(28, "IQ2_XS"),
    "IQ2_XS": FileType(20, "IQ2_XS"),
    "IQ2_XXS": FileType(19, "IQ2_XXS"),
    "IQ1_M": FileType(31, "IQ1_M"),
    "IQ1_S": FileType(24, "IQ1_S"),
    "TQ2_0": FileType(37, "TQ2_0"),
    "TQ1_0": FileType(36, "TQ1_0"),
}
"""Every type of file by name, roughly from the largest to the smallest; the ternary ones come last.

``Q1_0`` and ``Q2_0``, made for models that were trained with such weights, are left out.
"""

WITH_IMPORTANCE_MATRIX: tuple[GgufType, ...] = (
    "IQ3_XXS",
    "Q2_K_S",
    "IQ2_M",
    "IQ2_S",
    "IQ2_XS",
    "IQ2_XXS",
    "IQ1_M",
    "IQ1_S",
)
"""Types of files that ``llama-quantize`` writes only with an importance matrix of the model."""

_NARROWER: Mapping[str, str] = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""The type with blocks of 32 that replaces one with blocks of 256."""


def fitting_type(tensor_type: str, n_columns: int) -> str:
    """Return ``tensor_type``, or the type that replaces it if the columns are no multiple of its block."""
    if n_columns % BLOCKS[tensor_type].n_values == 0:
        return tensor_type
    narrower = _NARROWER.get(tensor_type, tensor_type)
    return narrower if n_columns % BLOCKS[narrower].n_values == 0 else "F16"


def tensor_bytes(tensor_type: str, n_values: int) -> int:
    """Return the bytes of ``n_values`` values, a multiple of the type's block."""
    block = BLOCKS[tensor_type]
    assert n_values % block.n_values == 0, f"{n_values} values in blocks of {block.n_values}"
    return n_values // block.n_values * block.n_bytes
