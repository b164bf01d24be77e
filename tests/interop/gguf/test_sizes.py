"""Sizes of GGUF files, compared with published figures and with arithmetic written out."""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path

import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader

from tests.interop.gguf.llama_cpp import planned_types
from tests.interop.gguf.small_configs import config_of
from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.gguf.export_plan import plan_gguf
from tinylm_cli.interop.gguf.file_types import FILE_TYPES, FLOATS, WITH_IMPORTANCE_MATRIX
from tinylm_cli.interop.gguf.sizes import gguf_sizes
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.weights.export_gguf import export_gguf
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.reports.choices import GgufChoice, GgufType
from tinylm_cli.reports.params import GgufFile, GgufSizes

LLAMA_3_1_8B: dict[GgufType, float] = {
    "IQ1_S": 2.0042,
    "IQ1_M": 2.1460,
    "IQ2_XXS": 2.3824,
    "IQ2_XS": 2.5882,
    "IQ2_S": 2.7403,
    "IQ2_M": 2.9294,
    "IQ3_XXS": 3.2548,
    "IQ3_XS": 3.4977,
    "IQ3_S": 3.6606,
    "IQ3_M": 3.7628,
    "IQ4_XS": 4.4597,
    "IQ4_NL": 4.6818,
    "Q2_K_S": 2.9697,
    "Q2_K": 3.1593,
    "Q3_K_S": 3.6429,
    "Q3_K_M": 3.9960,
    "Q3_K_L": 4.2979,
    "Q4_K_S": 4.6672,
    "Q4_K_M": 4.8944,
    "Q5_K_S": 5.5704,
    "Q5_K_M": 5.7036,
    "Q6_K": 6.5633,
    "Q8_0": 8.5008,
    "F16": 16.0005,
}
"""Published bits per weight of Llama 3.1 8B: tools/quantize/README.md of https://github.com/ggml-org/llama.cpp."""

PUBLISHED_FILES = {
    "llama-3.1-8b": (4_920_739_232, 128_256),
    "llama-3.1-70b": (42_520_398_400, 128_256),
    "gemma-2-2b": (1_708_582_752, 256_000),
    "qwen3-30b-a3b": (18_556_685_824, 151_936),
}
"""Bytes of published Q4_K_M files with their headers, and tokens of the vocabulary.

The files are in bartowski/Meta-Llama-3.1-8B-Instruct-GGUF, bartowski/Meta-Llama-3.1-70B-Instruct-GGUF,
bartowski/gemma-2-2b-it-GGUF and Qwen/Qwen3-30B-A3B-GGUF on https://huggingface.co.
"""


def sizes(config: ModelConfig, choice: GgufChoice, *, imatrix: bool = False) -> GgufSizes:
    return gguf_sizes(config, stored_shapes, choice, has_importance_matrix=imatrix)


def one(reference: str, file_type: GgufType, *overrides: str, imatrix: bool = False) -> GgufFile:
    (file,) = sizes(load_config(reference, overrides).config, file_type, imatrix=imatrix).files
    return file


def test_published_bits_per_weight() -> None:
    found = sizes(load_config("llama-3.1-8b").config, "all")
    assert found.architecture == "llama"
    computed = {file.type: round(file.bits_per_weight, 4) for file in found.files}
    assert {name: computed[name] for name in LLAMA_3_1_8B} == LLAMA_3_1_8B


def header_bytes(reference: str) -> int:
    """Return the bytes of a published file that are not tensors."""
    file = one(reference, "Q4_K_M")
    return PUBLISHED_FILES[reference][0] - file.tensor_bytes - file.padding_bytes


@pytest.mark.parametrize("reference", PUBLISHED_FILES)
def test_published_files(reference: str) -> None:
    """All but the tensors is the header: its text, score or merge, and type take 20 to 65 bytes per token."""
    n_tokens = PUBLISHED_FILES[reference][1]
    assert 20 * n_tokens < header_bytes(reference) < 65 * n_tokens


def test_published_files_of_one_tokenizer() -> None:
    """The headers of two sizes differ by the entries of the larger model's tensors: a name, a type, shape, offset."""
    more_layers = 80 - 32
    per_tensor = (header_bytes("llama-3.1-70b") - header_bytes("llama-3.1-8b")) / (9 * more_layers)
    entry = 8 + 4 + 2 * 8 + 4 + 8  # length of the name, number of dimensions, at most two dimensions, type, offset
    assert entry + len("blk.0.ffn_up.weight") - 8 < per_tensor < entry + len("blk.10.attn_output.weight")


def test_stored_head() -> None:
    """Qwen's own file, of 491,400,032 bytes, stores the tied LM head; its header is that of Qwen3's, with fewer layers.

    It is qwen2.5-0.5b-instruct-q4_k_m.gguf of Qwen/Qwen2.5-0.5B-Instruct-GGUF on https://huggingface.co.
    """
    header = 491_400_032 - one("qwen2.5-0.5b", "Q4_K_M", "tie_weights=false").tensor_bytes
    assert 0.99 < header / header_bytes("qwen3-30b-a3b") < 1


def test_hand_computed() -> None:
    """Two layers of llama with V 256, D 256, F 512, 4 heads and 2 KV heads of 64, untied, as Q4_K_M."""
    fields = ["vocab_size=256", "d_model=256", "d_ff=512", "n_heads=4", "attention.n_kv_heads=2", "n_layers=2"]
    file = one("llama-3.1-8b", "Q4_K_M", *fields, "position.scaling=none", "nominal_params=null")
    q4, q6 = 144 / 256, 210 / 256  # bytes per value
    # 7 * 2 // 8 = 1: layer 1 is in the last eighth, layer 0 neither there nor a third one
    per_layer = {"q and o": 2 * 256 * 256, "k": 128 * 256, "gate and up": 2 * 512 * 256}
    v, down = 128 * 256, 512 * 256
    embedding, head = 256 * 256 * q4, 256 * 256 * q6
    norms = (2 * 2 + 1) * 256 * 4
    layers = 2 * sum(per_layer.values()) * q4 + (v + down) * (q4 + q6)
    assert file.tensor_bytes == embedding + head + norms + layers
    assert file.padding_bytes == 0
    values = 2 * (2 * 65_536 + 2 * 32_768 + 3 * 131_072) + 2 * 65_536 + 5 * 256
    assert file.bits_per_weight == 8 * file.tensor_bytes / values
    assert sum(row.tensor_bytes for row in file.tensors) == file.tensor_bytes
    assert {row.type: row.n_tensors for row in file.tensors} == {"Q4_K": 13, "Q6_K": 3, "F32": 5}


def test_rotary_factors() -> None:
    """Llama 3's scaling is a vector of the file, one factor per pair of a head's 128 dimensions."""
    scaled = one("llama-3.1-8b", "Q8_0")
    plain = one("llama-3.1-8b", "Q8_0", "position.scaling=none")
    assert scaled.tensor_bytes - plain.tensor_bytes == 64 * 4


def test_tied_embedding_is_the_head() -> None:
    """It is Q6_K in a Q4_K_M file, as an LM head is."""
    tied = one("llama-3.1-8b", "Q4_K_M", "tie_weights=true")
    untied = one("llama-3.1-8b", "Q4_K_M")
    assert untied.tensor_bytes - tied.tensor_bytes == 128_256 * 4096 // 256 * 144


def test_importance_matrix() -> None:
    """It spares IQ4_XS the wider types of the first down projections; types that need one always have it."""
    assert one("llama-3.1-8b", "IQ4_XS", imatrix=True).tensor_bytes < one("llama-3.1-8b", "IQ4_XS").tensor_bytes
    assert one("llama-3.1-8b", "IQ2_M").importance_matrix
    assert not one("llama-3.1-8b", "Q4_K_M").importance_matrix
    assert not one("llama-3.1-8b", "F16", imatrix=True).importance_matrix


def test_equivalent_model() -> None:
    """The course's sinusoidal positions are stored as learned ones, and its scaled embedding beside the LM head."""
    found = sizes(load_config("tiny").config, "F32")
    assert found.architecture == "gpt2"
    positions, head = 1024 * 128, 256 * 128
    assert found.files[0].tensor_bytes == 4 * (826_112 + positions + head)


@pytest.mark.parametrize("reference", ["deepseek-v3", "kimi-linear-48b-a3b", "minimax-text-01", "xlstm-7b"])
def test_unknown_architecture(reference: str) -> None:
    """Every parameter counts all the same."""
    config = load_config(reference).config
    found = sizes(config, "F32")
    values = sum(row.params for row in found.files[0].tensors)
    assert found.architecture is None
    assert values == sum(_product(shape) for shape in stored_shapes(config).values())


def test_latent_attention() -> None:
    """Keys and values of the latent vector are two tensors; 128 columns of a head's keys do not fit Q4_K."""
    fields = ["n_layers=1", "feed_forward.n_dense_layers=0", "feed_forward.d_expert=1536"]
    by_type = {row.type: row.params for row in one("deepseek-v2-lite", "Q4_K_S", *fields).tensors}
    assert by_type["Q5_0"] == 16 * 512 * 128


@pytest.mark.parametrize("name", ["llama-llama3", "mixtral", "qwen2_moe", "gemma3_text", "gpt2", "bloom", "phi3"])
def test_exported_file(name: str, tmp_path: Path) -> None:
    """The sizes are those that llama.cpp plans for the exported file; needs llama.cpp."""
    (tmp_path / "config.json").write_text(json.dumps(config_of(name)), encoding="utf-8")
    config = load_config(str(tmp_path)).config
    path = tmp_path / "model.gguf"
    export_gguf(TinyTransformerLM.from_config(config), plan_gguf(config, name), "F16", path)
    shapes = {tensor.name: tensor.shape.tolist() for tensor in GGUFReader(path).tensors}
    for file in sizes(config, "all").files:
        if file.type in FLOATS:
            continue
        number = FILE_TYPES[file.type].number
        planned = planned_types(path, number, has_importance_matrix=file.type in WITH_IMPORTANCE_MATRIX)
        by_type = Counter(planned.values())
        assert {row.type: row.n_tensors for row in file.tensors} == by_type, file.type
        assert file.tensor_bytes == sum(
            prod(shapes[key]) // n_values * n_bytes
            for key, kind in planned.items()
            for n_values, n_bytes in [GGML_QUANT_SIZES[GGMLQuantizationType[kind]]]
        )


def test_most_tensors() -> None:
    with pytest.raises(AnalysisError, match="more than 20,000"):
        sizes(load_config("llama-3.1-8b", ["n_layers=3000"]).config, "all")


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
