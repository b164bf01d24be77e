"""The shards of split GGUF files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from tinylm_cli.errors import InputError
from tinylm_cli.interop.gguf.model_file import MAX_SHARDS, read_model, require_complete

TENSORS = [
    "token_embd.weight",
    "output_norm.weight",
    "blk.0.attn_norm.weight",
    "blk.0.ffn_norm.weight",
    "output.weight",
]


def write(path: Path, **options: Any) -> list[Path]:
    """Write a model in files of two tensors, as the package splits them; return them in order."""
    writer = GGUFWriter(path, "llama", **options)
    writer.add_block_count(1)
    for name in TENSORS:
        writer.add_tensor(name, np.zeros((2, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(path.parent.glob("*.gguf"))


def error_of(path: Path) -> InputError:
    with pytest.raises(InputError) as raised:
        require_complete(read_model(str(path)))
    return raised.value


def test_one_file(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "model.gguf")
    model = read_model(str(path))
    require_complete(model)
    assert [*model.tensors] == TENSORS
    assert model.metadata["llama.block_count"] == 1


@pytest.mark.parametrize("given", [0, 1, 2])
def test_any_shard_names_the_model(tmp_path: Path, given: int) -> None:
    files = write(tmp_path / "model.gguf", split_max_tensors=2)
    assert [each.name for each in files] == [f"model-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    model = read_model(str(files[given]))
    require_complete(model)
    assert sorted(model.tensors) == sorted(TENSORS)
    assert model.metadata["llama.block_count"] == 1


def test_missing_shards(tmp_path: Path) -> None:
    first, second, third = write(tmp_path / "model.gguf", split_max_tensors=2)
    third.unlink()
    error = error_of(first)
    assert error.message == f"1 of 3 files of {first} is missing: model-00003-of-00003.gguf"
    first.unlink()
    assert "2 of 3 files" in error_of(second).message
    assert "model-00001-of-00003.gguf, model-00003-of-00003.gguf" in error_of(second).message


def test_damaged_shard(tmp_path: Path) -> None:
    first, second, _ = write(tmp_path / "model.gguf", split_max_tensors=2)
    second.write_bytes(b"GGUF")
    error = error_of(first)
    assert error.message.startswith(f"cannot read {second}: the file is damaged or not a GGUF file: ")


def test_renamed_shard(tmp_path: Path) -> None:
    first, *_ = write(tmp_path / "model.gguf", split_max_tensors=2)
    error = error_of(first.rename(tmp_path / "mine.gguf"))
    assert error.message == f"{tmp_path / 'mine.gguf'} is one of 3 files by its header, but not by its name"
    assert error.help == "name it as split files are named: model-00001-of-00003.gguf"


@pytest.mark.parametrize("name", ["a-00003-of-00002.gguf", "a-00000-of-00002.gguf", "a-00001-of-99999.gguf"])
def test_impossible_names(tmp_path: Path, name: str) -> None:
    assert error_of(tmp_path / name).message == f"{tmp_path / name} is not one of 1 to {MAX_SHARDS:,} files by its name"


def test_pipes_folders_and_pointers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "pointer.gguf").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    assert error_of(tmp_path / "pipe.gguf").message.endswith("pipe.gguf: not a regular file")
    assert error_of(tmp_path / "folder.gguf").message.endswith("folder.gguf: Is a directory")
    assert "pointer of Git LFS" in error_of(tmp_path / "pointer.gguf").message
    assert error_of(Path("/dev/zero")).message == "cannot read /dev/zero: not a regular file"
    assert error_of(tmp_path / "absent.gguf").message.endswith("absent.gguf: it does not exist")
