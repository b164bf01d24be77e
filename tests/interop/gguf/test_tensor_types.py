"""The type of each tensor, compared with llama.cpp: as recorded from it, and, if it is installed, asked again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.interop.gguf.llama_cpp import planned_types
from tests.interop.gguf.small_files import SMALL_FILES
from tinylm_cli.interop.gguf.file_types import FILE_TYPES, FLOATS, WITH_IMPORTANCE_MATRIX
from tinylm_cli.interop.gguf.tensor_types import QuantizedModel, StoredTensor, tensor_types
from tinylm_cli.reports.choices import GgufType

RECORDED = Path(__file__).with_name("llama_cpp_types.json")
"""Number of tensors of each type that llama.cpp 0c1e57098 chose, by small file and type of file.

A line ``with matrix`` is there if an importance matrix changes the types.
"""

QUANTIZED = [file_type for file_type in FILE_TYPES if file_type not in FLOATS]


@pytest.mark.parametrize("name", SMALL_FILES)
def test_recorded_types(name: str) -> None:
    small, recorded = SMALL_FILES[name], json.loads(RECORDED.read_text(encoding="utf-8"))[name]
    for file_type in QUANTIZED:
        with_matrix = recorded.get(f"{file_type} with matrix", recorded[file_type])
        for has_matrix, expected in ((False, recorded[file_type]), (True, with_matrix)):
            types = tensor_types(small.tensors(), small.quantized_model(), file_type, has_importance_matrix=has_matrix)
            assert Counter(types.values()) == expected, (file_type, has_matrix)


@pytest.mark.parametrize("name", SMALL_FILES)
def test_types_of_llama_cpp(name: str, tmp_path: Path) -> None:
    """Every tensor, not only their numbers; needs llama.cpp."""
    small = SMALL_FILES[name]
    path = small.write(tmp_path / "model.gguf")
    for file_type in QUANTIZED:
        number, needs_matrix = FILE_TYPES[file_type].number, file_type in WITH_IMPORTANCE_MATRIX
        for has_matrix in (False, True):
            planned = planned_types(path, number, has_importance_matrix=has_matrix or needs_matrix)
            types = tensor_types(small.tensors(), small.quantized_model(), file_type, has_importance_matrix=has_matrix)
            assert types == planned, (file_type, has_matrix)


@pytest.mark.parametrize("file_type", FLOATS)
def test_float_types(file_type: GgufType) -> None:
    """Vectors, norms, routers, learned positions and convolutions are always in float32."""
    model = QuantizedModel("llama", 1, 4, 4)
    names = {
        "token_embd.weight": (256, 64),
        "position_embd.weight": (32, 64),
        "blk.0.attn_q.bias": (64,),
        "blk.0.attn_q_norm.weight": (4, 16),
        "blk.0.ffn_gate_inp.weight": (4, 64),
        "blk.0.ffn_up_exps.weight": (4, 64, 64),
        "blk.0.ssm_conv1d.weight": (64, 4),
        "blk.0.ssm_a": (64, 16),
    }
    types = tensor_types((StoredTensor(*each) for each in names.items()), model, file_type)
    in_type = {"token_embd.weight", "blk.0.ffn_up_exps.weight"}
    assert types == {name: file_type if name in in_type else "F32" for name in names}


def test_layers_count_in_order() -> None:
    """Layer 10 comes after layer 9, not after layer 1: the first and the last of sixteen layers have more bits."""
    tensors = [StoredTensor(f"blk.{layer}.attn_v.weight", (256, 256)) for layer in range(16)]
    types = tensor_types(
        [*tensors, StoredTensor("output.weight", (256, 256))], QuantizedModel("llama", 16, 4, 4), "Q4_K_M"
    )
    # 16 // 8 = 2 at each end, and every third between: 4, 7, 10 and 13
    more = {0, 1, 4, 7, 10, 13, 14, 15}
    assert {name for name, tensor_type in types.items() if tensor_type == "Q6_K"} == {
        "output.weight",
        *(f"blk.{layer}.attn_v.weight" for layer in more),
    }
