"""Headers of safetensors files, well-formed and not; the library writes the former."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import torch
from safetensors.torch import save

from tinylm_cli.safetensors_header import HeaderError, TensorInfo, header_bytes, read_header


def read(data: bytes) -> dict[str, TensorInfo]:
    file = io.BytesIO(data)
    return read_header(file, header_bytes(file))


def with_header(header: bytes | Any) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def test_the_library_writes_the_same() -> None:
    values = {"a": torch.tensor([[1.5, 2.5]]), "b": torch.tensor([7, 8, 9], dtype=torch.int16), "c": torch.empty(0, 2)}
    data = save(values, metadata={"format": "pt"})
    entries = read(data)
    assert {name: entry[:2] for name, entry in entries.items()} == {
        "a": ("F32", (1, 2)),
        "b": ("I16", (3,)),
        "c": ("F32", (0, 2)),
    }
    for name, tensor in values.items():
        assert data[entries[name].start : entries[name].end] == tensor.numpy().tobytes()


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "only 0 bytes"),
        (b"1234567", "only 7 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        ((100).to_bytes(8, "little") + b"{}", "a header of 100 bytes, but only 2 follow"),
        ((2**40).to_bytes(8, "little"), "a header of 1,099,511,627,776 bytes, more than 33,554,432"),
        (with_header(b"\xff\xfe"), "not JSON"),
        (with_header(b"[" * 100_000), "not JSON"),
        (with_header([]), "not a JSON object"),
        (with_header(b'{"a": 1, "a": 2}'), "not JSON: a is there twice"),
        (with_header({"a": 1}), "a has no dtype, shape and data_offsets"),
        (with_header({"a": {**ENTRY, "dtype": 1}}), "a has no dtype"),
        (with_header({"a": {**ENTRY, "shape": [True]}}), "a has no dtype"),
        (with_header({"a": {**ENTRY, "shape": [1.0]}}), "a has no dtype"),
        (with_header({"a": {**ENTRY, "shape": [-1]}}), "a has no dtype"),
        (with_header({"a": {**ENTRY, "shape": [2**63]}}), "a has no dtype"),
        (with_header({"a": {**ENTRY, "data_offsets": [0]}}), "a has no dtype"),
        (with_header({"a" * 1001: ENTRY}), "a tensor name of 1,001 characters"),
        (with_header({"a": {**ENTRY, "shape": [1] * 65}}), "a has 65 dimensions"),
    ],
)
def test_nonsense(data: bytes, reason: str) -> None:
    with pytest.raises(HeaderError, match=reason):
        read(data)


def test_metadata_is_no_tensor() -> None:
    assert read(with_header({"__metadata__": {"format": "pt"}, "a": ENTRY})).keys() == {"a"}
