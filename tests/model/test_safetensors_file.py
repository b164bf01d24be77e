from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tinylm_cli.errors import WeightsError
from tinylm_cli.model.safetensors_file import (
    DTYPES,
    LazyTensor,
    SafetensorsFile,
    write_safetensors,
)
from tinylm_cli.safetensors_header import MAX_HEADER_BYTES, MAX_NAME


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_the_library_reads_the_same_values(tmp_path: Path, dtype: torch.dtype) -> None:
    values = {
        "a": torch.randn(2, 3),
        "b.c": torch.randn(4).t(),
        "empty": torch.empty(0, 2),
        "scalar": torch.tensor(1.5),
    }
    path = tmp_path / "model.safetensors"
    write_safetensors(path, [LazyTensor(n, tuple(v.shape), dtype, v.clone) for n, v in values.items()])
    read = load_file(path)
    assert read.keys() == values.keys()
    assert all(torch.equal(read[name], tensor.to(dtype)) for name, tensor in values.items())
    file = SafetensorsFile(path)
    assert list(file.tensors) == list(values)
    for names in (list(values), list(reversed(values))):  # in the order of the file, and in another
        assert all(torch.equal(file.read(name), values[name].to(dtype)) for name in names)


def test_one_tensor_at_a_time(tmp_path: Path) -> None:
    """A tensor is loaded only after the tensor before it is written."""
    path, sizes = tmp_path / "model.safetensors", list[int]()

    def load() -> Tensor:
        sizes.append(path.stat().st_size)
        return torch.zeros(1 << 20)

    write_safetensors(path, [LazyTensor(name, (1 << 20,), torch.float32, load) for name in "abc"])
    assert sizes == sorted(set(sizes)), "the file grows from one load to the next"
    assert path.stat().st_size > 3 * (4 << 20)


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "ab"]
    for file in files:
        write_safetensors(file, [LazyTensor("w", (2,), torch.float32, lambda: torch.ones(2))])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_wrong_shape(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"w: \(3,\), not \(2,\)"):
        write_safetensors(tmp_path / "f", [LazyTensor("w", (2,), torch.float32, lambda: torch.ones(3))])


def put(path: Path, header: bytes, size: int | None = None) -> Path:
    """Write a file with a header, and no data."""
    path.write_bytes((len(header) if size is None else size).to_bytes(8, "little") + header)
    return path


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("x" * (MAX_NAME + 1), [0], "a tensor name of 1,001 characters: xxxx"),
        ("x" * 5_000_000, [0], "a tensor name of 5,000,000 characters: xxxx"),
        ("x", [0] * 1000, "x has 1,000 dimensions"),
    ],
    ids=["name", "giant name", "shape"],
)
def test_absurd_headers(name: str, shape: list[int], reason: str, tmp_path: Path) -> None:
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    with pytest.raises(WeightsError, match=reason) as caught:
        SafetensorsFile(put(tmp_path / "f", header))
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("size", [MAX_HEADER_BYTES + 1, 2**64 - 1])
def test_giant_header(size: int, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a header of .* bytes, more than"):
        SafetensorsFile(put(tmp_path / "f", b"{}", size))


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(WeightsError, match="is damaged or not a safetensors file"):
        SafetensorsFile(tmp_path / "f")


def test_longest_name(tmp_path: Path) -> None:
    name = "x" * MAX_NAME
    write_safetensors(tmp_path / "f", [LazyTensor(name, (1,), torch.float32, lambda: torch.ones(1))])
    assert torch.equal(SafetensorsFile(tmp_path / "f").read(name), torch.ones(1))


def test_message_of_the_library_is_clipped(tmp_path: Path) -> None:
    name = "x" * 300_000
    header = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()
    with pytest.raises(WeightsError, match=r"(?m)is damaged or not a safetensors file: .*x…$") as caught:
        SafetensorsFile(put(tmp_path / "f", header))
    assert len(caught.value.message) < 500
