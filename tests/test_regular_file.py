"""Files of every kind and size are read, or rejected at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinylm_cli.regular_file import open_regular, read_regular


def test_file_and_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", 4) == read_regular(tmp_path / "link", 4) == b"data"


def test_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "pipe")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_device(device: str) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(device, 10)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_sparse_giant(tmp_path: Path) -> None:
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match=r"larger than 0\.5 MiB"):
        read_regular(tmp_path / "giant", 1 << 19)


def test_descriptors_are_closed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the paths in it vanish
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(OSError, match=r"directory|not a regular file"):
            open_regular(path)
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
