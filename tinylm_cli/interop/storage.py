"""Translate the types of stored weights: ``torch_dtype`` and ``quantization_config`` of a config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from tinylm_cli.config.choices import DEFAULT_DTYPE, DType
from tinylm_cli.config.diagnostic_codes import clip
from tinylm_cli.config.fields import fields
from tinylm_cli.config.yaml_nodes import Entry, Node, find_entry
from tinylm_cli.interop.quantization_config import NAME, Scheme, Skipped, read_scheme
from tinylm_cli.interop.translation import Translation

DTYPE_KEYS = ("dtype", "torch_dtype")
"""Keys of the type of weights; transformers 5 writes the first."""

SCHEME_KEYS = (NAME, "compression_config")
"""Keys of the quantization; the second is that of old files of compressed-tensors."""


class StorageKeys(NamedTuple):
    """What the file states about the storage of weights, beside the fields of ``storage``."""

    skipped: Skipped | None = None  # Modules that are not quantized; None without quantization.
    unread: tuple[str, ...] = ()  # Sentences about what is not understood.


def read_storage(root: Node, inner: str, to: Translation) -> StorageKeys:
    """Set the fields of ``storage``, each at the position of its key, unless they have their defaults.

    Args:
        root: The object of a config.json.
        inner: The key of the language model's object in a multimodal config; empty for other configs.
        to: The translation.
    """
    dtype, unread = _read_dtype(root, inner, to)
    to.ignored = [key for key in to.ignored if key not in (*DTYPE_KEYS, *SCHEME_KEYS)]
    found = _entry(root, inner, SCHEME_KEYS)
    if found is None:
        return StorageKeys(unread=unread)
    key, entry = found
    config = entry.value.plain()
    if not isinstance(config, dict):
        return StorageKeys(unread=(*unread, f"{key} {clip(entry.value.written)} is not understood"))
    scheme = read_scheme(config, dtype)
    _put(scheme, key, entry, to)
    is_quantized = "quantization" in scheme.fields
    return StorageKeys(scheme.skipped if is_quantized else None, (*unread, *scheme.unread))


def _put(scheme: Scheme, key: str, entry: Entry, to: Translation) -> None:
    for name, (value, path) in scheme.fields.items():
        field = fields()[f"storage.{name}"]
        if (tuple(value) if isinstance(value, list) else value) != field.default:
            at = find_entry(entry.value, path.split(".")) or entry
            to.put_at(field.name, value, at.value.span if at is not entry else entry.key_span, f"{key}.{path}")


def _read_dtype(root: Node, inner: str, to: Translation) -> tuple[str, tuple[str, ...]]:
    """Return the type of unquantized weights, and a sentence if it is not understood."""
    found = _entry(root, inner, DTYPE_KEYS)
    if found is None:
        return DEFAULT_DTYPE, ()
    key, entry = found
    value = entry.value.plain()
    name = value.removeprefix("torch.") if isinstance(value, str) else ""
    if name not in get_args(DType):
        return DEFAULT_DTYPE, (f"{key} {clip(str(value))} is not understood: weights count in {DEFAULT_DTYPE}",)
    if name != DEFAULT_DTYPE:
        to.put_at("storage.dtype", name, entry.value.span, key)
    return name, ()


def _entry(root: Node, inner: str, keys: tuple[str, ...]) -> tuple[str, Entry] | None:
    """Return the first of ``keys`` that is set, in the file's root or in the language model's object."""
    nested = find_entry(root, [inner]) if inner else None
    objects: list[Mapping[str, Any]] = [root.entries or {}]
    if nested is not None:
        objects.append(nested.value.entries or {})
    for entries in objects:
        for key in keys:
            if key in entries and entries[key].value.plain() is not None:
                return key, entries[key]
    return None
