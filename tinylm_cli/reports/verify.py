"""The report of ``tinylm verify``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from tinylm_cli.errors import Diagnostic
from tinylm_cli.reports.record import Record
from tinylm_cli.reports.validate import FileResult, FileStatus

VerifyStatus = Literal["equal", "different", "unreadable"]
ApartKind = Literal[
    "tied_head",
    "recomputed",
    "constant",
    "unused",
    "multi_token_prediction",
    "other_part",
    "quantization",
    "rope_factors",
]
"""What tensors are that the config does not imply, but that do not contradict it either."""
StoredStatus = Literal["present", "absent", "unreadable"]

_FILE_STATUS: dict[VerifyStatus, FileStatus] = {"equal": "valid", "different": "invalid", "unreadable": "unreadable"}


class StoredFile(Record):
    """A file of the checkpoint."""

    path: str  # Its path.
    status: StoredStatus  # ``absent`` also for a pointer of Git LFS and a broken link.
    tensors: int  # Tensors in its header; of a file that is not there, tensors that the index maps to it.
    file_bytes: int | None  # Its size; None if it is absent.


class DtypeCount(Record):
    """The tensors of one dtype."""

    dtype: str  # The dtype as the file format names it, e.g. ``BF16`` or ``Q4_K``.
    tensors: int  # Number of tensors.
    stored_bytes: int  # Bytes of their values.


class ApartTensors(Record):
    """Stored tensors that the model of the config does not have, and that are no difference."""

    # ``tied_head``: an LM head that repeats the embedding; ``recomputed``: buffers, such as causal masks and RoPE
    # frequencies; ``constant``: scalars with the value that the code of the family gives them; ``unused``: required by
    # that code, but not used; ``multi_token_prediction``: modules that transformers does not load; ``other_part``: of a
    # multimodal model; ``quantization``: scales, zero points and the like; ``rope_factors``: in a GGUF file, those of
    # RoPE scaling.
    kind: ApartKind
    tensors: int  # Number of tensors.
    names: tuple[str, ...]  # Their names; equal tensors of several layers or experts have one: ``h.{0..11}.attn.bias``.
    stored_bytes: int  # Bytes of their values, as far as their files are there.


class Difference(Record):
    """A difference between the checkpoint and its config, or an inconsistency of its files."""

    tensors: int  # Number of tensors that differ in this way; 0 if the difference concerns files.
    names: tuple[str, ...]  # Their names; equal tensors of several layers or experts have one.
    expected: tuple[int, ...] | None  # The shape that the config implies; None if there is not one such shape.
    found: tuple[int, ...] | None  # The stored shape; None if there is not one such shape.
    # The config field that would explain the difference, or the key of the config.json if it sets no field directly;
    # empty if none is known.
    field: str
    value: int | bool | None  # The value of ``field``, or of its key, with which there would be no such difference.
    diagnostic: Diagnostic  # The error.


class VerifyReport(Record):
    """The comparison of a checkpoint with its config."""

    name: str  # The model's name.
    path: str  # The folder or the GGUF file, as given.
    config: str  # Path of its config; the GGUF file, whose header is its config.
    family: str | None  # ``model_type`` of a Hugging Face folder; None for a folder that tinylm wrote.
    status: VerifyStatus  # ``equal``, ``different``, or ``unreadable`` if the header of a file could not be read.
    expected_tensors: int  # Tensors that the config implies.
    checked_tensors: int  # Implied tensors that are stored with the expected shape.
    name_only_tensors: int  # Implied tensors of absent files, whose names are in the index.
    quantized_tensors: int  # Implied tensors that are stored quantized.
    stored_tensors: int  # Tensors in the files.
    stored_bytes: int  # Bytes of their values.
    dtypes: tuple[DtypeCount, ...]  # The stored tensors by dtype, most bytes first.
    apart: tuple[ApartTensors, ...]  # Stored tensors that the config does not imply, and that are no difference.
    files: tuple[StoredFile, ...]  # The files of the checkpoint.
    unread_files: tuple[str, ...]  # Other ``*.safetensors`` files of the folder, which no loader reads.
    differences: tuple[Difference, ...]  # Every difference.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The error of each difference."""
        return tuple(each.diagnostic for each in self.differences)

    def as_file(self) -> FileResult:
        """Return the report as the result for one file, which the formats for CI services show."""
        return FileResult(self.path, _FILE_STATUS[self.status], None, "", "", self.diagnostics)
