"""GGUF files against their headers: every converted family is equal, and every fault is reported."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from gguf.constants import GGMLQuantizationType

from tests.interop.families import configs
from tests.interop.gguf import written_files
from tests.interop.gguf.test_config_keys import converted
from tests.interop.gguf.test_stored_types import LLAMA, MIXTRAL, PHI3, q4_k_m
from tests.interop.gguf.written_files import write_model
from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.errors import InputError, UsageError
from tinylm_cli.gguf_header import read_gguf_header
from tinylm_cli.interop.verification.verify import config_of, verify_checkpoint
from tinylm_cli.reports.verify import VerifyReport

SIZES = {
    "block_count": 2,
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 64,
    "attention.head_count": 2,
    "attention.head_count_kv": 1,
}
TENSORS = {"token_embd.weight": (10, 32), "output_norm.weight": (32,)} | {
    f"blk.{layer}.{name}.weight": shape
    for layer in range(2)
    for name, shape in {
        "attn_norm": (32,),
        "attn_q": (32, 32),
        "attn_k": (16, 32),
        "attn_v": (16, 32),
        "attn_output": (32, 32),
        "ffn_norm": (32,),
        "ffn_gate": (64, 32),
        "ffn_up": (64, 32),
        "ffn_down": (32, 64),
    }.items()
}
"""The tensors of a Llama of two layers."""

Tensors = dict[str, tuple[int, ...]]


def verified(path: Path, *changes: str, partial: bool = False) -> VerifyReport:
    return verify_checkpoint(str(path), config_of(str(path)), changes, stored_shapes, partial=partial)


def write(path: Path, tensors: Tensors = TENSORS, **sizes: int) -> Path:
    """Write a Llama with these tensors, in Q8_0 and float32."""
    writer = GGUFWriter(path, "llama")
    for key, value in (SIZES | sizes).items():
        writer.add_uint32(f"llama.{key}", value)
    for name, shape in tensors.items():
        if len(shape) == 1:
            writer.add_tensor(name, np.zeros(shape, np.float32))
        else:
            data = np.zeros((*shape[:-1], shape[-1] // 32 * 34), np.uint8)
            writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def only_error(report: VerifyReport) -> tuple[str, str]:
    (difference,) = report.differences
    return difference.diagnostic.code, str(difference.diagnostic.message)


@pytest.mark.parametrize("family", written_files.ARCHITECTURES)
@pytest.mark.filterwarnings("ignore")
def test_every_family(family: str, tmp_path: Path) -> None:
    """Every tensor of a converted model is checked, and all bytes of the file belong to a tensor."""
    for number, (_, written) in enumerate(converted(family, tmp_path)):
        report = verified(written.path)
        assert report.status == "equal", report.diagnostics
        assert report.checked_tensors == report.expected_tensors > 0
        extra = sum(each.tensors for each in report.apart)
        assert report.checked_tensors + extra == report.stored_tensors
        assert report.stored_bytes == written.tensor_bytes + written.extra_bytes
        if number == 1:
            return


@pytest.mark.parametrize("keys", [LLAMA, MIXTRAL, PHI3])
@pytest.mark.filterwarnings("ignore")
def test_mixed_types(keys: dict[str, object], tmp_path: Path) -> None:
    report = verified(write_model(tmp_path / "model.gguf", dict(keys), q4_k_m).path)
    assert (report.status, report.differences) == ("equal", ())
    assert {each.dtype for each in report.dtypes} == {"Q4_K", "Q6_K", "F32"}
    assert (report.quantized_tensors, report.name_only_tensors) == (0, 0)


def test_rope_factors(tmp_path: Path) -> None:
    """The factors of RoPE are stored beside the model's tensors."""
    keys = next(keys for keys in configs("llama", 24) if keys.get("rope_parameters", {}).get("rope_type") == "llama3")
    report = verified(write_model(tmp_path / "model.gguf", {**keys, "model_type": "llama"}).path)
    (apart,) = report.apart
    assert (report.status, apart.kind, apart.names) == ("equal", "rope_factors", ("rope_freqs.weight",))


def _without(tensors: Tensors) -> None:
    del tensors["blk.1.ffn_up.weight"]


def _with(tensors: Tensors) -> None:
    tensors["blk.1.ffn_other.weight"] = (3, 32)


def _reshaped(tensors: Tensors) -> None:
    tensors["blk.1.ffn_norm.weight"] = (33,)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (_without, "missing-tensor", "blk.1.ffn_up.weight, of shape (64, 32), is missing"),
        (_with, "unknown-tensor", "blk.1.ffn_other.weight, of shape (3, 32), is not in the model"),
        (_reshaped, "tensor-shape", "blk.1.ffn_norm.weight has shape (33,), not (32,)"),
    ],
)
def test_other_tensors(tmp_path: Path, change: Callable[[Tensors], None], code: str, message: str) -> None:
    tensors = dict(TENSORS)
    change(tensors)
    assert only_error(verified(write(tmp_path / "model.gguf", tensors))) == (code, message)


def test_cause(tmp_path: Path) -> None:
    """A size of the header that contradicts the tensors is named."""
    (difference,) = verified(write(tmp_path / "model.gguf", feed_forward_length=96)).differences
    assert (difference.field, difference.value, difference.tensors) == ("d_ff", 64, 6)
    assert '"intermediate_size": 64' in difference.diagnostic.help
    (difference,) = verified(write(tmp_path / "model.gguf", block_count=3)).differences
    assert (difference.field, difference.value, difference.tensors) == ("n_layers", 2, 9)


def offset_of(path: Path, name: str) -> int:
    """Return the position of the offset of a tensor in its header entry."""
    at = path.read_bytes().index(struct.pack("<Q", len(name)) + name.encode())
    n_dimensions: int
    (n_dimensions,) = struct.unpack_from("<I", path.read_bytes(), at + 8 + len(name))
    return at + 8 + len(name) + 4 + 8 * n_dimensions + 4


def patched(path: Path, position: int, data: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[position : position + len(data)] = data
    path.write_bytes(whole)
    return path


def test_positions(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf")
    with path.open("rb") as file:
        header = read_gguf_header(file)
    name = "blk.0.ffn_up.weight"
    offset, at = header.tensors[name].offset, offset_of(path, name)
    intact = path.read_bytes()
    found = verified(patched(path, at, struct.pack("<Q", offset - 32)))
    assert [each.code for each in found.diagnostics] == ["data-overlap", "data-gap"]
    assert str(found.diagnostics[0].message) == f"the data of {name} overlaps the data of blk.0.ffn_gate.weight"
    path.write_bytes(intact)
    found = verified(patched(path, at, struct.pack("<Q", offset + 8)))
    assert [each.code for each in found.diagnostics] == ["data-gap", "data-overlap"]
    path.write_bytes(intact)
    assert "data-overlap" in [each.code for each in verified(patched(path, at, struct.pack("<Q", 0))).diagnostics]
    path.write_bytes(intact)
    found = verified(patched(path, at, struct.pack("<Q", 2**62)))
    assert "truncated-file" in [each.code for each in found.diagnostics]


@pytest.mark.parametrize("missing", [1, 100, 20_000])
def test_truncated(tmp_path: Path, missing: int) -> None:
    path = write(tmp_path / "model.gguf")
    whole = path.read_bytes()
    end = len(whole) - len(whole) % 32
    path.write_bytes(whole[: end - missing])
    code, message = only_error(verified(path))
    assert code == "truncated-file"
    assert message.startswith(f"the file has {end - missing:,} bytes of ")


def test_bytes_after_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes() + bytes(33))
    assert only_error(verified(path)) == ("data-gap", "33 bytes after the last tensor belong to no tensor")


def test_scalar(tmp_path: Path) -> None:
    """A tensor without dimensions is one value, which is no whole block."""
    path = write(tmp_path / "model.gguf")
    name = "output_norm.weight"
    at = path.read_bytes().index(struct.pack("<Q", len(name)) + name.encode()) + 8 + len(name)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + struct.pack("<II", 0, 12) + whole[at + 16 :] + bytes(8))
    assert "tensor-bytes" in [each.code for each in verified(path).diagnostics]


@pytest.mark.parametrize(
    ("type_id", "code", "message"),
    [
        (99, "tensor-dtype", "blk.1.ffn_norm.weight has type 99, which is not a type of weights"),
        (26, "tensor-dtype", "blk.1.ffn_norm.weight has I32, which is not a type of weights"),
        (12, "tensor-bytes", "blk.1.ffn_norm.weight has rows of 32 values, but Q4_K stores blocks of 256"),
    ],
)
def test_types(tmp_path: Path, type_id: int, code: str, message: str) -> None:
    path = write(tmp_path / "model.gguf")
    at = offset_of(path, "blk.1.ffn_norm.weight") - 4
    report = verified(patched(path, at, struct.pack("<I", type_id)))
    found = {each.code: str(each.message) for each in report.diagnostics}
    assert found[code] == message
    assert report.status == "different"


def shards(folder: Path) -> list[Path]:
    writer = GGUFWriter(folder / "model.gguf", "llama", split_max_tensors=8)
    for key, value in SIZES.items():
        writer.add_uint32(f"llama.{key}", value)
    for name, shape in TENSORS.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("*.gguf"))


def test_shards(tmp_path: Path) -> None:
    first, second, third = shards(tmp_path)
    report = verified(second)
    assert (report.status, report.stored_tensors, len(report.files)) == ("equal", 20, 3)
    third.write_bytes(second.read_bytes())
    codes = [each.code for each in verified(first).diagnostics]
    assert {"duplicate-tensor", "index-total-size", "missing-tensor"} <= set(codes)
    third.unlink()
    with pytest.raises(InputError, match="is missing: model-00003"):
        verified(first)


def test_partial(tmp_path: Path) -> None:
    """The names of the tensors in an absent file are not known."""
    with pytest.raises(UsageError):
        verified(write(tmp_path / "model.gguf"), partial=True)
