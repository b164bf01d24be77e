from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tinylm_cli.model.safetensors_writer import DTYPES, LazyTensor, write_safetensors


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
