"""Headers of GGUF files against the reader of the package ``gguf``, and headers that are damaged or hostile."""

from __future__ import annotations

import os
import resource
import struct
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFWriter

from tinylm_cli.gguf_header import (
    MAX_KEYS,
    MAX_STRINGS,
    MAX_TENSORS,
    GgufHeader,
    GgufTensor,
    Skipped,
    read_gguf_header,
)
from tinylm_cli.safetensors_header import HeaderError, LfsPointerError

STRING, ARRAY, UINT32, UINT64 = 8, 9, 4, 10


def read(path: Path) -> GgufHeader:
    with path.open("rb") as file:
        return read_gguf_header(file)


def read_bytes(tmp_path: Path, data: bytes) -> GgufHeader:
    (tmp_path / "model.gguf").write_bytes(data)
    return read(tmp_path / "model.gguf")


def error_of(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(HeaderError) as raised:
        read_bytes(tmp_path, data)
    return str(raised.value)


def written(path: Path, **options: Any) -> Path:
    """Write a file with metadata of every type, and three tensors."""
    writer = GGUFWriter(path, "llama", **options)
    writer.add_block_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_int8("llama.a", -3)
    writer.add_uint64("llama.b", 2**40)
    writer.add_float64("llama.c", 0.1)
    writer.add_head_count_kv([2, 0, 4])
    writer.add_sliding_window_pattern([True, False])
    writer.add_description("x" * 5000)
    writer.add_token_list([f"token {index}" for index in range(500)])
    writer.add_token_scores([0.5] * 500)
    writer.add_tensor("token_embd.weight", np.zeros((5, 64), np.float16))
    writer.add_tensor("blk.0.attn_norm.weight", np.zeros((3,), np.float32))
    writer.add_tensor("blk.0.ffn_up_exps.weight", np.zeros((2, 4, 144), np.uint8), raw_dtype=GGMLQuantizationType.Q4_K)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def packed(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def header(n_tensors: int = 0, n_keys: int = 0, *, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    return magic + struct.pack("<IQQ", version, n_tensors, n_keys)


def test_metadata_and_tensors(tmp_path: Path) -> None:
    found = read(written(tmp_path / "model.gguf"))
    assert found.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.attention.layer_norm_rms_epsilon": np.float32(1e-5),
        "llama.attention.causal": False,
        "llama.a": -3,
        "llama.b": 2**40,
        "llama.c": 0.1,
        "llama.attention.head_count_kv": (2, 0, 4),
        "llama.attention.sliding_window_pattern": (True, False),
        "general.description": Skipped(5000),
        "tokenizer.ggml.tokens": Skipped(500),
        "tokenizer.ggml.scores": Skipped(500),
    }
    assert found.tensors["blk.0.ffn_up_exps.weight"].shape == (2, 4, 256)  # a block of Q4_K has 256 values in 144 bytes


@pytest.mark.parametrize("alignment", [None, 64, 4096])
def test_positions(tmp_path: Path, alignment: int | None) -> None:
    """Names, types, shapes and positions are those of the package's reader, which reads the values."""
    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "llama")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    for name, size in (("a", 5), ("b", 70), ("c", 1)):
        writer.add_tensor(name, np.zeros((2, size), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found, reader = read(path), GGUFReader(path)
    assert found.data_start == reader.data_offset
    assert found.alignment == reader.alignment == (alignment or 32)
    assert found.file_bytes == path.stat().st_size
    assert found.tensors == {
        each.name: GgufTensor(
            int(each.tensor_type), tuple(each.shape.tolist()[::-1]), each.data_offset - reader.data_offset
        )
        for each in reader.tensors
    }


def test_version_2(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "3.gguf").read_bytes())
    data[4] = 2
    assert read_bytes(tmp_path, bytes(data)) == read(tmp_path / "3.gguf")


def test_big_endian(tmp_path: Path) -> None:
    with pytest.raises(HeaderError, match="big-endian"):
        read(written(tmp_path / "model.gguf", endianess=GGUFEndian.BIG))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file ends inside its first bytes"),
        (b"GGUF", "the file ends inside a number"),
        (b"PK\x03\x04" + bytes(60), "it begins with b'PK"),
        (header(version=1) + bytes(99), "GGUF version 1 is not supported; versions 2 and 3 are"),
        (header(version=4) + bytes(99), "GGUF version 4 is not supported"),
        (header(n_tensors=2**63), f"more than {MAX_TENSORS:,}"),
        (header(n_tensors=9), "9 tensors, but only 0 bytes follow"),
        (header(n_keys=2**64 - 1), f"more than {MAX_KEYS:,}"),
        (header(n_keys=9), "9 metadata keys, but only 0 bytes follow"),
        (header(n_keys=1) + struct.pack("<Q", 2**62) + bytes(99), "a metadata key of 4,611,686,018,427,387,904 bytes"),
        (header(n_keys=1) + struct.pack("<Q", 900) + bytes(99), "the file ends inside a metadata key"),
        (header(n_keys=1) + struct.pack("<Q", 2) + b"\xff\xfe" + bytes(99), "a metadata key is not UTF-8"),
        (header(n_keys=1) + packed("key") + struct.pack("<I", 99) + bytes(99), "key has the value type 99"),
        (header(n_keys=1) + packed("key") + struct.pack("<IQ", STRING, 2**63), "the file ends inside key"),
        (header(n_keys=1) + packed("key") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + bytes(99), "the value type 9"),
        (header(n_keys=1) + packed("key") + struct.pack("<IIQ", ARRAY, UINT64, 2**61), "the file ends inside key"),
        (header(n_keys=1) + packed("key") + struct.pack("<IIQ", ARRAY, UINT32, 9), "the file ends inside key"),
        (header(n_keys=1) + packed("key") + struct.pack("<IIQ", ARRAY, STRING, 2**61), f"more than {MAX_STRINGS:,}"),
        (header(n_keys=1) + packed("key") + struct.pack("<IIQ", ARRAY, STRING, 9) + bytes(40), "9 strings of key, but"),
        (
            header(n_keys=1) + packed("key") + struct.pack("<IIQQ", ARRAY, STRING, 2, 2**63) + bytes(40),
            "the file ends inside key",
        ),
        (header(n_keys=2) + 2 * (packed("key") + struct.pack("<II", UINT32, 1)), "the metadata key key is there twice"),
        (
            header(n_keys=1) + packed("general.alignment") + struct.pack("<II", UINT32, 24),
            "general.alignment is 24, not a power of two",
        ),
        (
            header(n_keys=1) + packed("general.alignment") + struct.pack("<II", UINT32, 2**31),
            "general.alignment is 2147483648, not a power of two",
        ),
        (header(1) + packed("a") + struct.pack("<I", 2**32 - 1) + bytes(99), "a has 4,294,967,295 dimensions"),
        (header(1) + packed("a") + struct.pack("<IQQQ", 3, 2**40, 2**40, 2**40) + bytes(99), "a has 1,329,227,995"),
        (
            header(2) + 2 * (packed("a") + struct.pack("<IQIQ", 1, 8, 0, 0)),
            "the tensor a is there twice",
        ),
    ],
)
def test_damaged_headers(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in error_of(tmp_path, data)


def test_every_truncated_header(tmp_path: Path) -> None:
    data = written(tmp_path / "whole.gguf").read_bytes()
    end = read(tmp_path / "whole.gguf").data_start
    for length in {*range(0, end - 32, 61), end - 33}:
        assert error_of(tmp_path, data[:length])


def test_git_lfs_pointer(tmp_path: Path) -> None:
    with pytest.raises(LfsPointerError):
        read_bytes(tmp_path, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def test_sparse_giants(tmp_path: Path) -> None:
    """A file of a terabyte without values is read as fast as a small one, in little memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for count in (MAX_STRINGS, 2**30):
        for kind in (STRING, UINT64):
            path = tmp_path / "giant.gguf"
            path.write_bytes(header(n_keys=1) + packed("key") + struct.pack("<IIQ", ARRAY, kind, count))
            os.truncate(path, 2**40)
            with pytest.raises(HeaderError) if kind == STRING and count > MAX_STRINGS else nullcontext():
                assert read(path).metadata == {"key": Skipped(count)}
    assert time.perf_counter() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
