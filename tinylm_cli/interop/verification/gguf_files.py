"""The GGUF files of a model as a checkpoint: their tensors, and whether positions and sizes are as the format requires.

A file states where the data of a tensor begins, not where it ends: that follows from its type and shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, Keys

from tinylm_cli.gguf_header import GgufHeader, GgufTensor
from tinylm_cli.interop.checkpoint_tensors import Match, match_tensors
from tinylm_cli.interop.gguf.architectures import ARCHITECTURES, READ_ONLY
from tinylm_cli.interop.gguf.model_file import GgufModel, Shard
from tinylm_cli.interop.gguf.rope_factors import EXTRA_TENSORS
from tinylm_cli.interop.gguf.stored_types import type_name
from tinylm_cli.interop.load import ImportedConfig
from tinylm_cli.interop.tensor_pairs import Shape
from tinylm_cli.interop.verification.byte_ranges import FileFinding
from tinylm_cli.interop.verification.stored_files import File, Folder
from tinylm_cli.interop.verification.tensors import Comparer, Comparison, Stored
from tinylm_cli.quantities import counted
from tinylm_cli.safetensors_header import TensorInfo


def as_folder(model: GgufModel) -> Folder:
    """Return the files of a model with the position of each tensor."""
    return Folder(Path(model.path), None, tuple(map(_file, model.shards)), ())


def _file(shard: Shard) -> File:
    header = shard.header
    if header is None:
        return File(shard.path, frozenset(), shard.status, shard.reason)
    infos = {name: _info(tensor, header) for name, tensor in header.tensors.items()}
    return File(shard.path, frozenset(), "present", "", infos, header.data_start, header.file_bytes)


def _info(tensor: GgufTensor, header: GgufHeader) -> TensorInfo:
    start = header.data_start + tensor.offset
    return TensorInfo(_type(tensor), tensor.shape, start, start + (_nbytes(tensor) or 0))


def _type(tensor: GgufTensor) -> str:
    """Return the name of a tensor's type in ggml; its number if ggml has no such type."""
    try:
        return GGMLQuantizationType(tensor.type_id).name
    except ValueError:
        return f"type {tensor.type_id:,}"


def _nbytes(tensor: GgufTensor) -> int | None:
    """Return the bytes of a tensor; None if its type is unknown, or its rows are not whole blocks."""
    if type_name(tensor.type_id) is None:
        return None
    block_len, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.type_id)]
    return None if _row_len(tensor) % block_len else prod(tensor.shape) // block_len * block_bytes


def _row_len(tensor: GgufTensor) -> int:
    return tensor.shape[-1] if tensor.shape else 1


def check_gguf_files(model: GgufModel) -> Iterator[FileFinding]:
    """Yield tensors of unknown types or sizes, gaps, overlaps, truncated files, and shards that do not match."""
    for shard in model.shards:
        if shard.header is not None:
            yield from _check_types(shard, shard.header)
            yield from _check_positions(_file(shard), shard.header)
        elif shard.status == "unreadable":
            yield FileFinding(
                "unreadable-header", shard.reason, str(shard.path), help="copy or download the file again"
            )
    yield from _check_shards(model)


def _check_types(shard: Shard, header: GgufHeader) -> Iterator[FileFinding]:
    source = str(shard.path)
    for name, tensor in header.tensors.items():
        if type_name(tensor.type_id) is None:
            message = f"{{names}} has {_type(tensor)}, which is not a type of weights"
            yield FileFinding("tensor-dtype", message, source, (name,))
        elif _nbytes(tensor) is None:
            block_len, _ = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.type_id)]
            rows = f"rows of {_row_len(tensor):,} values, but {_type(tensor)} stores blocks of {block_len}"
            yield FileFinding("tensor-bytes", f"{{names}} has {rows}", source, (name,))


def _check_positions(file: File, header: GgufHeader) -> Iterator[FileFinding]:
    """Yield tensors that do not begin where the one before ends, rounded up to the alignment, and a wrong end."""
    source, alignment = str(file.path), header.alignment
    end, last = header.data_start, "the header"
    for name, info in sorted(file.tensors.items(), key=lambda item: item[1][2:]):
        expected = _aligned(end, alignment)
        if info.start < end and info.end > info.start:
            yield FileFinding("data-overlap", f"the data of {{names}} overlaps the data of {last}", source, (name,))
        elif info.start % alignment:
            message = f"the data of {{names}} begins at byte {info.start:,}, not at a multiple of {alignment:,}"
            yield FileFinding("data-gap", message, source, (name,))
        elif info.start > expected:
            message = f"{info.start - expected:,} bytes between {last} and {name} belong to no tensor"
            yield FileFinding("data-gap", message, source)
        if info.end > end:
            end, last = info.end, name
    size = file.file_bytes
    if size < end:
        cut = tuple(name for name, info in file.tensors.items() if info.end > size)
        message = f"the file has {size:,} bytes of {end:,}: the data of {{names}} is incomplete"
        yield FileFinding("truncated-file", message, source, cut, "copy or download the file again")
    elif size > _aligned(end, alignment):
        message = f"{size - _aligned(end, alignment):,} bytes after the last tensor belong to no tensor"
        yield FileFinding("data-gap", message, source)


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _check_shards(model: GgufModel) -> Iterator[FileFinding]:
    """Yield tensors in two files, and numbers of files and tensors that the headers state otherwise."""
    homes: dict[str, Path] = {}
    for shard in model.shards:
        for name in {} if shard.header is None else shard.header.tensors:
            if name in homes:
                message = f"{{names}} is in {homes[name].name} and in {shard.path.name}"
                yield FileFinding("duplicate-tensor", message, str(shard.path), (name,))
            homes[name] = shard.path
    for number, shard in enumerate(model.shards):
        metadata = {} if shard.header is None else shard.header.metadata
        for key, found in (
            (Keys.Split.LLM_KV_SPLIT_COUNT, len(model.shards)),
            (Keys.Split.LLM_KV_SPLIT_NO, number),
            (Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT, len(homes)),
        ):
            stated = metadata.get(key, found)
            if stated != found and len(model.headers) == len(model.shards):
                what = counted(found, "tensor") if "tensors" in key else f"{found:,} by the names of the files"
                message = f"{key} is {str(stated)[:40]}, but there are {what}"
                yield FileFinding("index-total-size", message, str(shard.path))


def compare_gguf(
    imported: ImportedConfig, shapes: Mapping[str, Shape], stored: Mapping[str, Stored], max_tensors: int
) -> Comparison:
    """Compare the tensors of a GGUF file with those that its header implies.

    Args:
        imported: The config that the header amounts to.
        shapes: The shape of each tensor of the model.
        stored: The tensors of the file.
        max_tensors: Maximum number of tensors that the config may imply.
    """
    architecture = READ_ONLY.get(imported.family) or ARCHITECTURES[imported.family]
    names = architecture.tensors_in(stored)._replace(recomputed_suffixes=EXTRA_TENSORS)
    found = {name: info.shape for name, info in stored.items()}
    match = match_tensors(imported.loaded.config, names, shapes, found, max_tensors)
    comparison = Comparer(match, _as_expected(match, stored), None, imported.unread_mtp_layers).compare()
    apart = dict(comparison.apart)
    if "recomputed" in apart:
        apart["rope_factors"] = apart.pop("recomputed")
    return comparison._replace(apart=apart)


def _as_expected(match: Match, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Return the tensors with the model's shapes where only the dimensions of a vector, a head or size 1 differ."""
    expected = {pair.stored: pair.stored_shape for pair in match.pairs}
    by_head = {pair.stored for pair in match.pairs if isinstance(pair.parts[0].selection, slice)}
    return {
        name: info._replace(shape=expected[name])
        if name in expected and info.shape is not None and _is_same(info.shape, expected[name], by_head=name in by_head)
        else info
        for name, info in stored.items()
    }


def _is_same(found: Shape, expected: Shape, *, by_head: bool) -> bool:
    if len(expected) == 1:
        return prod(found) == expected[0]
    if by_head and len(found) == 3:
        return expected[1] in found[1:] and prod(found) == prod(expected)
    return [size for size in found if size != 1] == [size for size in expected if size != 1]
