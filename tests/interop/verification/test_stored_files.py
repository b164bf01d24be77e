"""The files of a checkpoint: their bytes, the index, and files that are absent or damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from tests.interop.verification.conftest import Copied, only_difference, verified
from tinylm_cli.errors import WeightsError

Header = dict[str, Any]
EMBEDDING = "model.embed_tokens.weight"


def rewrite(path: Path, change: Callable[[Header, bytes], bytes]) -> None:
    """Change the header of a safetensors file, and its data; check that the library rejects the file."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    header.pop("__metadata__", None)
    data = change(header, data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    with pytest.raises(SafetensorError), safe_open(path, framework="pt"):
        pass


def in_order(header: Header) -> list[str]:
    return sorted(header, key=lambda name: header[name]["data_offsets"])


def shift(header: Header, names: list[str], by: int) -> None:
    for name in names:
        header[name]["data_offsets"] = [place + by for place in header[name]["data_offsets"]]


def _gap(header: Header, data: bytes) -> bytes:
    names = in_order(header)
    place = header[names[5]]["data_offsets"][0]
    shift(header, names[5:], 16)
    return data[:place] + bytes(16) + data[place:]


def _first_gap(header: Header, data: bytes) -> bytes:
    shift(header, list(header), 8)
    return bytes(8) + data


def _overlap(header: Header, data: bytes) -> bytes:
    names = in_order(header)
    shift(header, names[6:], -16)
    return data[:-16]


def _more_data(header: Header, data: bytes) -> bytes:  # noqa: ARG001 - the header stays
    return data + bytes(24)


def _less_data(header: Header, data: bytes) -> bytes:  # noqa: ARG001 - the header stays
    return data[:-4]


def _other_bytes(header: Header, data: bytes) -> bytes:
    header[in_order(header)[0]]["data_offsets"][1] -= 4
    shift(header, in_order(header)[1:], -4)
    return data[4:]


def _other_dtype(header: Header, data: bytes) -> bytes:
    header["model.norm.weight"]["dtype"] = "Q8"
    return data


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (_gap, "data-gap", r"^16 bytes between .* and .* belong to no tensor$"),
        (_first_gap, "data-gap", r"^8 bytes between the header and lm_head.weight belong to no tensor$"),
        (_overlap, "data-overlap", r"^the data of model.* overlaps the data of model.*$"),
        (_more_data, "data-gap", "^24 bytes after the last tensor belong to no tensor$"),
        (_less_data, "truncated-file", r"^the file has .* bytes of .*: the data of model.norm.weight is incomplete$"),
        (
            _other_bytes,
            "tensor-bytes",
            r"^lm_head.weight has 2,364 bytes of data, but F32 of shape .* takes 2,368$",
        ),
        (_other_dtype, "tensor-dtype", "^model.norm.weight has dtype Q8, which the format does not have$"),
    ],
)
def test_bytes(change: Callable[[Header, bytes], bytes], code: str, message: str, copied: Copied) -> None:
    folder = copied()
    rewrite(folder / "model.safetensors", change)
    found = [each for each in verified(folder).diagnostics if each.code == code]
    assert len(found) == 1
    assert re.search(message, found[0].message), found[0].message
    assert found[0].source == str(folder / "model.safetensors")


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, (50).to_bytes(8, "little") + b"[" * 50])
def test_nonsense(data: bytes, copied: Copied) -> None:
    folder = copied()
    (folder / "model.safetensors").write_bytes(data)
    report = verified(folder)
    assert report.status == "unreadable"
    assert [each.code for each in report.diagnostics] == ["unreadable-header"]
    assert report.files[0].status == "unreadable"


def test_folder_in_place_of_a_file(copied: Copied) -> None:
    folder = copied()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert verified(folder).diagnostics[0].message == "the file cannot be read: Is a directory"


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def test_pointer_of_git_lfs(copied: Copied) -> None:
    folder = copied()
    (folder / "model.safetensors").write_text(POINTER, encoding="utf-8")
    found = only_difference(folder).diagnostic
    assert (found.code, found.message) == ("missing-file", "model.safetensors is a pointer of Git LFS")
    assert found.help == "git lfs pull downloads it"


def test_broken_link(copied: Copied) -> None:
    folder = copied()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("blob")
    assert only_difference(folder).diagnostic.message == "model.safetensors does not exist"


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def change_index(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    change(index)
    path.write_text(json.dumps(index), encoding="utf-8")


def test_absent_files(copied: Copied) -> None:
    """Without ``partial`` an absent file is a difference; with it, its tensors are compared by name."""
    folder = copied(source="several")
    absent = shards(folder)[1]
    n_absent = len(load_file(absent))
    absent.unlink()
    found = only_difference(folder).diagnostic
    assert (found.code, found.message) == ("missing-file", f"1 of 5 files is missing: {absent.name}")
    report = verified(folder, partial=True)
    assert report.status == "equal"
    assert (report.name_only_tensors, report.checked_tensors) == (n_absent, 39 - n_absent)
    assert [file.status for file in report.files] == ["present", "absent", "present", "present", "present"]
    for path in shards(folder):
        path.unlink()
    report = verified(folder, partial=True)
    assert (report.status, report.name_only_tensors, report.stored_bytes) == ("equal", 39, 0)
    assert verified(folder, "n_layers=3", partial=True).differences[0].value == 4, "names suffice to count layers"


def test_pointers_of_several_files(copied: Copied) -> None:
    folder = copied(source="several")
    for path in shards(folder)[:2]:
        path.write_text(POINTER, encoding="utf-8")
    found = only_difference(folder).diagnostic
    assert found.message.startswith("2 of 5 files are only pointers of Git LFS: model-00001-of-00005.safetensors, ")


def test_damaged_file_among_several(copied: Copied) -> None:
    folder = copied(source="several")
    shards(folder)[0].write_bytes(b"\xff" * 30)
    report = verified(folder)
    assert report.status == "unreadable"
    assert [each.code for each in report.diagnostics] == ["unreadable-header"]


def test_swapped_entries(copied: Copied) -> None:
    folder = copied(source="several")

    def swap(index: dict[str, Any]) -> None:
        names = index["weight_map"]
        names[EMBEDDING], names["model.norm.weight"] = names["model.norm.weight"], names[EMBEDDING]

    change_index(folder, swap)
    found = verified(folder).diagnostics
    assert {each.code for each in found} == {"index-mismatch"}
    first, last = shards(folder)[0].name, shards(folder)[-1].name
    assert f"model.safetensors.index.json maps {EMBEDDING} to {last}, but it is in {first}" in {
        each.message for each in found
    }


def test_tensor_that_the_index_lacks(copied: Copied) -> None:
    folder = copied(source="several")
    change_index(folder, lambda index: index["weight_map"].pop(EMBEDDING))
    found = only_difference(folder).diagnostic
    assert found.code == "index-mismatch"
    assert found.message.endswith("but model.safetensors.index.json does not list it")


def test_tensor_that_no_file_has(copied: Copied) -> None:
    """It is reported once, as missing, or as an entry of the index if the model does not have it either."""
    folder = copied(source="several")
    change_index(folder, lambda index: index["weight_map"].update({"model.foo": shards(folder)[0].name}))
    assert only_difference(folder).diagnostic.message.endswith("but it is in no file")
    tensors = load_file(shards(folder)[0])
    name = next(iter(tensors))
    del tensors[name]
    save_file(tensors, shards(folder)[0])
    codes = [each.code for each in verified(folder).diagnostics]
    assert sorted(codes) == ["index-mismatch", "index-total-size", "missing-tensor"]


def test_tensor_in_two_files(copied: Copied) -> None:
    folder = copied(source="several")
    tensors = load_file(shards(folder)[-1])
    tensors[EMBEDDING] = load_file(shards(folder)[0])[EMBEDDING]
    save_file(tensors, shards(folder)[-1])
    found = {each.code: each.message for each in verified(folder).diagnostics}
    assert found["duplicate-tensor"] == f"{EMBEDDING} is in {shards(folder)[0].name} and in {shards(folder)[-1].name}"


@pytest.mark.parametrize("total", [1, 36_032.0, None, "36032", True])
def test_total_size(total: Any, copied: Copied) -> None:
    """The parameters of the Llama have 9,008 × 4 bytes; a total that is no number is none."""
    folder = copied(source="several")
    change_index(folder, lambda index: index["metadata"].update(total_size=total))
    found = verified(folder).diagnostics
    assert [each.message for each in found] == (
        ["metadata.total_size is 1, but the tensors have 36,032 bytes"] if total == 1 and total is not True else []
    )


def test_unreadable_index(copied: Copied) -> None:
    folder = copied(source="several")
    (folder / "model.safetensors.index.json").write_text("[]", encoding="utf-8")
    with pytest.raises(WeightsError, match="has no weight_map"):
        verified(folder)


def test_unread_files(copied: Copied) -> None:
    folder = copied()
    (folder / "consolidated.safetensors").write_bytes(b"")
    report = verified(folder)
    assert (report.status, report.unread_files) == ("equal", ("consolidated.safetensors",))
