"""Verify a checkpoint: the headers of its files against the config in its folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tinylm_cli.config.loader import LoadedConfig, parse_config
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.config.yaml_nodes import Node
from tinylm_cli.errors import AnalysisError, ConfigError, Fix, InputError, UsageError, WeightsError
from tinylm_cli.interop.checkpoint_tensors import Match, match_tensors
from tinylm_cli.interop.heads import tensor_names_of
from tinylm_cli.interop.key_effects import Effect, KeyPolicy, require_keys
from tinylm_cli.interop.load import (
    ConfigText,
    ImportedConfig,
    import_text,
    is_gguf,
    is_hub_reference,
    is_hugging_face_text,
    read_config_text,
    saved_config,
)
from tinylm_cli.interop.tensor_names import TensorLayout
from tinylm_cli.interop.tensor_pairs import Pair, Part, Shape
from tinylm_cli.interop.verification.byte_ranges import FileFinding, check_files, check_ranges
from tinylm_cli.interop.verification.causes import Attempt, Changes, ConfigKey, Value, find_causes
from tinylm_cli.interop.verification.collapsed_names import collapse
from tinylm_cli.interop.verification.differences import Context, differences, other_dtype_than_config
from tinylm_cli.interop.verification.quantized import Quantization, looks_quantized
from tinylm_cli.interop.verification.stored_files import Folder, read_folder
from tinylm_cli.interop.verification.tensors import Comparer, Comparison, Finding, Stored, other_dtypes
from tinylm_cli.reports.verify import ApartTensors, Difference, DtypeCount, StoredFile, VerifyReport
from tinylm_cli.wording import SET, Setting, Text

if TYPE_CHECKING:
    from tinylm_cli.interop.gguf.model_file import GgufModel

ShapesOf = Callable[[ModelConfig, int], Mapping[str, Shape]]
"""Returns the shape of each tensor that a checkpoint stores, by the names of tinylm, at most so many."""


MAX_TENSORS = 100_000
"""Tensors that a config may imply; Kimi K2, with 384 experts in each of 60 layers, has 71,000."""


class Checkpoint(NamedTuple):
    """A checkpoint and its config, as text."""

    folder: Folder
    gguf: GgufModel | None  # The headers of GGUF files; None for safetensors files.
    text: ConfigText
    changes: tuple[str, ...]
    shapes_of: ShapesOf


class Read(NamedTuple):
    """The config of a checkpoint, perhaps with some fields changed."""

    loaded: LoadedConfig
    imported: ImportedConfig | None  # None for a folder that tinylm wrote.
    shapes: Mapping[str, Shape]
    is_gguf: bool = False  # Whether the tensors have the names of a GGUF file.


def config_of(path: str, ignored: Sequence[str] = ()) -> ConfigText:
    """Read the config in a folder with weights or of a repository, or the header of a GGUF file as a config.

    Args:
        path: The folder, the GGUF file, or ``hf://org/name``.
        ignored: Keys of a Hugging Face config to leave out. Of keys that are not understood, only those that may change
            tensors are errors.

    Raises:
        ConfigError: If it is not UTF-8.
        InputError: If the path is not a folder, or the folder has no config.
    """
    policy = KeyPolicy(tuple(ignored), Effect.tensors)
    if is_gguf(path) or is_hub_reference(path):
        return read_config_text(path)._replace(policy=policy)
    folder = Path(path)
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        inside = folder.name.endswith((".json", ".safetensors", ".yaml"))
        remedy = f"name its folder: {folder.parent}" if inside else "name a folder with a config and safetensors files"
        raise InputError(f"{folder} {problem}", help=remedy)
    saved = saved_config(folder)
    if saved is None:
        raise InputError(f"{folder} contains neither config.yaml nor config.json", help="name a model folder")
    return read_config_text(saved)._replace(policy=policy)


def verify_checkpoint(
    path: str, text: ConfigText, changes: Sequence[str], shapes_of: ShapesOf, *, partial: bool
) -> VerifyReport:
    """Compare the headers of the files in a folder with its config, or those of GGUF files with what they imply.

    Args:
        path: The folder, a GGUF file, or ``hf://org/name``.
        text: The config in it.
        changes: Fields to change, each ``key=value``.
        shapes_of: Returns the tensors that a config implies.
        partial: Whether files may be absent, whose tensors are then compared by name.

    Raises:
        ConfigError: If the config is invalid.
        WeightsError: If there are no weights, the index cannot be read, or the config implies too many tensors.
        AnalysisError: If the config implies too many tensors.
        UsageError: If the config has no key to leave out, or GGUF files may be absent.
    """
    folder, gguf = _read_files(path, partial=partial)
    checkpoint = Checkpoint(folder, gguf, text, tuple(changes), shapes_of)
    read = _read(checkpoint)
    require_keys(text.policy.ignored, [read.loaded])
    stored = _stored(folder)
    comparison = _compare(read, stored)
    if folder.shards is None and folder.files[0].status != "present":
        comparison = comparison._replace(findings=[])  # nothing is known of the tensors
    causes = find_causes(comparison, lambda more: _attempt(checkpoint, read, stored, more))
    findings = list(comparison.findings)
    of_files = _once(_check_files(checkpoint, partial=partial), findings)
    is_unquantized = gguf is None and _quantization(read.imported) is None
    if is_unquantized:
        findings += other_dtypes(comparison.expected, stored)
        of_files += other_dtype_than_config(read.imported, stored)
    context = Context(
        read.loaded,
        read.imported,
        stored,
        str(folder.files[0].path if folder.shards is None else folder.index_path),
        is_unquantized and looks_quantized(stored),
    )
    return _report(path, read, folder, stored, comparison, differences(findings, of_files, causes, context))


def _read_files(path: str, *, partial: bool) -> tuple[Folder, GgufModel | None]:
    """Read the headers of the files in a folder, or of GGUF files."""
    if is_hub_reference(path):
        from tinylm_cli.interop.hub import find_repository
        from tinylm_cli.interop.verification.hub_files import read_repository

        return read_repository(find_repository(path)), None
    if not is_gguf(path):
        return read_folder(Path(path)), None
    if partial:
        message = Text(Setting("partial", True), " needs an index of the tensors in each file, which GGUF files lack")
        raise UsageError(message, help="download all files")
    from tinylm_cli.interop.gguf.model_file import read_model
    from tinylm_cli.interop.verification.gguf_files import as_folder

    model = read_model(path)
    return as_folder(model), model


def _check_files(checkpoint: Checkpoint, *, partial: bool) -> list[FileFinding]:
    """Return the inconsistencies of the files themselves."""
    if checkpoint.gguf is None:
        return [*check_files(checkpoint.folder, partial=partial), *_ranges(checkpoint.folder)]
    from tinylm_cli.interop.verification.gguf_files import check_gguf_files

    return list(check_gguf_files(checkpoint.gguf))


def _read(checkpoint: Checkpoint, more: Changes = MappingProxyType({})) -> Read:
    """Return the config with some keys changed, and the tensors that it implies."""
    text = checkpoint.text
    edits = [Fix(key.span, json.dumps(value)) for key, value in more.items() if key.key is not None and key.span]
    overrides = [
        f"{key.field}={json.dumps(value)}" for key, value in more.items() if key.key is None or key.span is None
    ]
    source, changes = text.source, (*checkpoint.changes, *overrides)
    if edits:
        from tinylm_cli.config.fixes import apply_fixes

        source = apply_fixes(source, edits)
    if is_hugging_face_text(text.source, expected=text.as_json):
        imported = import_text(source, changes, text.policy)
        if imported.loaded.config.head.n_mtp_layers:
            message = f"multi-token prediction modules are not read from the weights of {imported.family}"
            raise WeightsError(message, help="write head.n_mtp_layers: 0")
        shapes = checkpoint.shapes_of(imported.loaded.config, MAX_TENSORS)
        return Read(imported.loaded, imported, shapes, checkpoint.gguf is not None)
    loaded = parse_config(source, changes)
    if loaded.config.name is None:
        loaded = loaded._replace(name=Path(checkpoint.folder.path).resolve().name)
    return Read(loaded, None, checkpoint.shapes_of(loaded.config, MAX_TENSORS))


def _attempt(checkpoint: Checkpoint, first: Read, stored: Mapping[str, Stored], more: Changes) -> Attempt | None:
    """Return the config with some keys changed; keys of a config.json have their places in the file as it is."""
    try:
        read = _read(checkpoint, more)
    except (AnalysisError, ConfigError, WeightsError):
        return None
    return Attempt({**_values(first), **more}, read.shapes, cache(partial(_compare, read, stored)))


def _values(read: Read) -> dict[ConfigKey, Value]:
    """Return the numbers and booleans of a config: keys of a config.json, and fields that its absent keys would set."""
    fields = {name: value for name, value in flatten(read.loaded.config.model_dump()).items() if isinstance(value, int)}
    if read.imported is None:
        return {ConfigKey(name, None, read.loaded.origins.get(name)): value for name, value in fields.items()}
    changed = {name for name, span in read.loaded.origins.items() if span is not None and span.source == SET}
    present = {key: node for key, node in _entries(read.imported.root) if isinstance(node.scalar, int)}
    field_of = {key: name for name, key in reversed([*read.imported.keys.items()])}
    found: dict[ConfigKey, Value] = {}
    for key, node in present.items():
        if field_of.get(key) not in changed and not key.endswith("_id"):
            assert isinstance(node.scalar, int)
            found[ConfigKey(field_of.get(key, key), key, node.span)] = node.scalar
    for name, key in read.imported.keys.items():
        if name in fields and (key not in present or name in changed):
            found[ConfigKey(name, key, None)] = fields[name]
    return found


def _entries(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield each key of a config.json and its value; those of blocks, such as ``text_config``, by their own names."""
    for key, entry in (root.entries or {}).items():
        yield key, entry.value
        if entry.value.entries is not None and key not in ("quantization_config", "compression_config"):
            yield from ((inner, each.value) for inner, each in entry.value.entries.items())


def _stored(folder: Folder) -> dict[str, Stored]:
    """Return every stored tensor; of files that are not read, the names in the index."""
    found: dict[str, Stored] = {}
    for file in folder.files:
        path = str(file.path)
        if file.status != "present":
            found |= dict.fromkeys(sorted(file.listed), Stored(None, None, None, path))
        for name, info in file.tensors.items():
            found[name] = Stored(info.shape, info.dtype, info.end - info.start, path)
    return found


def _compare(read: Read, stored: Mapping[str, Stored]) -> Comparison:
    imported = read.imported
    if imported is None:
        return Comparer(_own_match(read.shapes, stored), stored, None, 0).compare()
    if read.is_gguf:
        from tinylm_cli.interop.verification.gguf_files import compare_gguf

        return compare_gguf(imported, read.shapes, stored, MAX_TENSORS)
    config = read.loaded.config
    shapes = {name: info.shape for name, info in stored.items()}
    match = match_tensors(config, tensor_names_of(imported.family, config), read.shapes, shapes, MAX_TENSORS)
    return Comparer(match, stored, _quantization(imported), imported.unread_mtp_layers).compare()


def _own_match(shapes: Mapping[str, Shape], stored: Iterable[str]) -> Match:
    """Match the tensors in a folder that tinylm wrote, where each has the name that the model gives it."""
    pairs = [Pair(name, (Part(name, None, shape),), TensorLayout.plain, shape) for name, shape in shapes.items()]
    return Match(pairs, {}, {}, (), (), (), tuple(name for name in stored if name not in shapes))


def _quantization(imported: ImportedConfig | None) -> Quantization | None:
    entries = {} if imported is None or imported.root.entries is None else imported.root.entries
    found = entries.get("quantization_config") or entries.get("compression_config")
    return None if found is None else Quantization.of(found.value.plain())


def _ranges(folder: Folder) -> Iterator[FileFinding]:
    return (finding for file in folder.files if file.status == "present" for finding in check_ranges(file))


def _once(of_files: Iterable[FileFinding], findings: Iterable[Finding]) -> list[FileFinding]:
    """Leave out the tensors of the index that are reported as missing, or as not in the model."""
    reported = {each.name for each in findings if each.code in ("missing-tensor", "unknown-tensor")}
    return [each for each in of_files if each.code != "index-mismatch" or not reported.issuperset(each.names)]


def _report(
    path: str,
    read: Read,
    folder: Folder,
    stored: Mapping[str, Stored],
    comparison: Comparison,
    found: tuple[Difference, ...],
) -> VerifyReport:
    known = {name: info for name, info in stored.items() if info.dtype is not None}
    sizes: Counter[str] = Counter()
    for info in known.values():
        sizes[info.dtype or ""] += info.nbytes or 0
    counts = Counter(info.dtype or "" for info in known.values())
    is_unreadable = any(file.status == "unreadable" for file in folder.files)
    files = (
        StoredFile(
            str(file.path),
            file.status,
            len(file.tensors or file.listed),
            None if file.status == "absent" else file.file_bytes,
        )
        for file in folder.files
    )
    return VerifyReport(
        name=read.loaded.name,
        path=path,
        config=read.loaded.source,
        family=None if read.imported is None else read.imported.family,
        status="unreadable" if is_unreadable else "different" if found else "equal",
        expected_tensors=len(comparison.expected),
        checked_tensors=comparison.checked,
        name_only_tensors=comparison.name_only,
        quantized_tensors=comparison.quantized,
        stored_tensors=len(known),
        stored_bytes=sizes.total(),
        dtypes=tuple(DtypeCount(dtype, counts[dtype], size) for dtype, size in sizes.most_common()),
        apart=tuple(
            ApartTensors(kind, len(names), collapse(names), sum(stored[name].nbytes or 0 for name in names))
            for kind, names in comparison.apart.items()
        ),
        files=tuple(files),
        unread_files=folder.unread,
        differences=found,
        ignored_keys=read.loaded.ignored_keys,
    )
