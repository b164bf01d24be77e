"""The types of tensors in GGUF files, and the bytes of files with several quantized types."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from tests.interop.gguf.written_files import F16, F32, write_model
from tinylm_cli.analysis.params import analyze_params
from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.interop.gguf.stored_types import type_name
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.verification.verify import config_of, verify_checkpoint

Q4, Q6, Q8 = GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q6_K, GGMLQuantizationType.Q8_0

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
}
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
PHI3 = {**LLAMA, "model_type": "phi3", "pad_token_id": None}

DEEPSEEK: dict[str, Any] = {
    "model_type": "deepseek_v2",
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 8,
    "v_head_dim": 32,
    "pad_token_id": None,
}


def q4_k_m(name: str, shape: tuple[int, ...]) -> GGMLQuantizationType:
    """Mix types as llama-quantize does for Q4_K_M: some layers, the embedding and the head have more bits."""
    if len(shape) == 1 or "ffn_gate_inp" in name:
        return F32
    if name in ("token_embd.weight", "output.weight"):
        return Q6
    layer = int(name.split(".")[1])
    return Q6 if ("attn_v" in name or "ffn_down" in name or "attn_qkv" in name) and layer in (0, 3) else Q4


@pytest.mark.parametrize("keys", [LLAMA, MIXTRAL, PHI3, {**LLAMA, "tie_word_embeddings": True}])
@pytest.mark.filterwarnings("ignore")
def test_mixed_types(tmp_path: Path, keys: dict[str, Any]) -> None:
    """Parameters and bytes by type are those of the tensors in the file."""
    written = write_model(tmp_path / "model.gguf", keys, q4_k_m)
    loaded = load_config(str(written.path))
    storage = analyze_params(loaded).storage
    assert (storage.stored_bytes, loaded.config.storage.quantization) == (written.tensor_bytes, "gguf")
    expected: dict[str, list[int]] = {}
    for tensor in GGUFReader(written.path).tensors:
        kind = {"F32": "float32"}.get(tensor.tensor_type.name, tensor.tensor_type.name.lower())
        entry = expected.setdefault(kind, [0, 0])
        entry[0] += tensor.n_elements
        entry[1] += tensor.n_bytes
    assert {each.dtype: [each.params, each.stored_bytes] for each in storage.types} == expected
    sizes = [each.stored_bytes for each in storage.types]
    assert sizes == sorted(sizes, reverse=True)
    assert storage.quantized_params == sum(each.params for each in storage.types if each.dtype != "float32")


def test_types_of_config(tmp_path: Path) -> None:
    written = write_model(tmp_path / "model.gguf", LLAMA, q4_k_m)
    storage = load_config(str(written.path)).config.storage
    assert storage.dtype == "float16"
    assert storage.tensor_types == (
        "embedding.token_embedding.embedding.weight=q6_k",
        "blocks.*.attention.q_proj.weight=q4_k",
        "blocks.*.attention.k_proj.weight=q4_k",
        "blocks.*.attention.v_proj.weight=q6_k",
        "blocks.1.attention.v_proj.weight=q4_k",
        "blocks.2.attention.v_proj.weight=q4_k",
        "blocks.*.attention.o_proj.weight=q4_k",
        "blocks.*.feed_forward.gate_proj.weight=q4_k",
        "blocks.*.feed_forward.up_proj.weight=q4_k",
        "blocks.*.feed_forward.down_proj.weight=q6_k",
        "blocks.1.feed_forward.down_proj.weight=q4_k",
        "blocks.2.feed_forward.down_proj.weight=q4_k",
        "blocks.*.ln_1.weight=float32",
        "blocks.*.ln_2.weight=float32",
        "ln_f.weight=float32",
        "lm_head.weight=q6_k",
    )


@pytest.mark.parametrize("kind", [F32, F16, Q8])
def test_one_type(tmp_path: Path, kind: GGMLQuantizationType) -> None:
    written = write_model(tmp_path / "model.gguf", LLAMA, lambda _, shape: kind if len(shape) > 1 else F32)
    storage = load_config(str(written.path)).config.storage
    assert storage.dtype == ("float32" if kind == F32 else "float16")
    assert storage.quantization == ("none" if kind == F32 else "gguf")
    assert all("norm" in each or "ln_" in each for each in storage.tensor_types) == (kind != Q8)


def write_header(path: Path, keys: dict[str, Any], tensors: dict[str, tuple[tuple[int, ...], Any]]) -> None:
    """Write a header, and the data as a hole in the file."""
    writer = GGUFWriter(path, "llama")
    for key, value in keys.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"llama.{key}", value)
    end = 0
    for name, (shape, kind) in tensors.items():
        block_len, block_bytes = GGML_QUANT_SIZES[kind]
        size = math.prod(shape) // block_len * block_bytes
        stored_shape = (*shape[:-1], shape[-1] // block_len * block_bytes)
        writer.add_tensor_info(name, stored_shape, np.dtype(np.uint8), size, raw_dtype=kind)
        end += -(-size // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    header = path.stat().st_size
    os.truncate(path, -(-header // 32) * 32 + end)


def test_published_file(tmp_path: Path) -> None:
    """TinyLlama-1.1B-Chat-v1.0 in Q4_K_M, as llama.cpp prints its metadata, its types and its size.

    ``llama_model_loader: - type f32: 45 tensors, - type q4_K: 135 tensors, - type q6_K: 21 tensors``,
    ``model size = 636.18 MiB (4.85 BPW)``, of tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf of TheBloke.
    """
    keys = {
        "context_length": 2048,
        "embedding_length": 2048,
        "block_count": 22,
        "feed_forward_length": 5632,
        "rope.dimension_count": 64,
        "attention.head_count": 32,
        "attention.head_count_kv": 4,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
    }
    tensors: dict[str, tuple[tuple[int, ...], Any]] = {
        "output.weight": ((32000, 2048), Q6),
        "token_embd.weight": ((32000, 2048), Q4),
        "output_norm.weight": ((2048,), F32),
    }
    for layer in range(22):
        more_bits = Q6 if layer < 2 or layer >= 19 or (layer - 2) % 3 == 2 else Q4
        tensors |= {
            f"blk.{layer}.attn_norm.weight": ((2048,), F32),
            f"blk.{layer}.ffn_down.weight": ((2048, 5632), more_bits),
            f"blk.{layer}.ffn_gate.weight": ((5632, 2048), Q4),
            f"blk.{layer}.ffn_up.weight": ((5632, 2048), Q4),
            f"blk.{layer}.ffn_norm.weight": ((2048,), F32),
            f"blk.{layer}.attn_k.weight": ((256, 2048), Q4),
            f"blk.{layer}.attn_output.weight": ((2048, 2048), Q4),
            f"blk.{layer}.attn_q.weight": ((2048, 2048), Q4),
            f"blk.{layer}.attn_v.weight": ((256, 2048), more_bits),
        }
    path = tmp_path / "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"
    write_header(path, keys, tensors)
    counted = analyze_params(load_config(str(path)))
    assert counted.total_params == 1_100_048_384
    size = counted.storage.stored_bytes
    assert f"{size / 2**20:.2f} MiB ({8 * size / counted.total_params:.2f} BPW)" == "636.18 MiB (4.85 BPW)"
    report = verify_checkpoint(str(path), config_of(str(path)), (), stored_shapes, partial=False)
    assert report.status == "equal", report.diagnostics
    assert {each.dtype: each.tensors for each in report.dtypes} == {"F32": 45, "Q4_K": 135, "Q6_K": 21}


def test_names_of_types() -> None:
    known = {kind: type_name(kind) for kind in GGML_QUANT_SIZES}
    assert {kind.name for kind, name in known.items() if name is None} == {"I8", "I16", "I32", "I64"}
    assert (known[F32], known[F16], known[Q4]) == ("float32", "float16", "q4_k")
    assert type_name(2**32 - 1) is None


@pytest.mark.parametrize(("of_keys", "of_values"), [(F16, Q8), (Q8, F16), (Q8, Q8)])
@pytest.mark.filterwarnings("ignore")
def test_tensor_stored_as_two(tmp_path: Path, of_keys: GGMLQuantizationType, of_values: GGMLQuantizationType) -> None:
    """A projection whose keys and values are stored apart has the type of both, or a warning says that it has not."""

    def kind(name: str, shape: tuple[int, ...]) -> GGMLQuantizationType:
        matrix = of_keys if "k_b" in name else of_values if "v_b" in name else F16
        return F32 if len(shape) == 1 or "ffn_gate_inp" in name else matrix

    written = write_model(tmp_path / "model.gguf", DEEPSEEK, kind)
    loaded = load_config(str(written.path))
    path = str(written.path)
    assert verify_checkpoint(path, config_of(path), (), stored_shapes, partial=False).status == "equal"
    is_exact = of_keys == of_values
    assert (analyze_params(loaded).storage.stored_bytes == written.tensor_bytes) is is_exact
    sentence = "blocks.*.attention.kv_b_proj.weight is stored as tensors of several types: it counts as "
    assert [text.startswith(sentence) for text in loaded.unread_storage] == [True] * (not is_exact)
