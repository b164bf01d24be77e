"""The reports of ``tinylm list`` and ``tinylm show``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from tinylm_cli.reports.record import Record


class Preset(Record):
    """A built-in config."""

    name: str  # Name of the config.
    path: str  # Path of its YAML file.
    vocab_size: int  # V.
    d_model: int  # D.
    n_heads: int  # Attention heads per layer.
    n_layers: int  # Layers.
    d_ff: int  # F.
    nominal_params: int | None  # The nominal size, or None.
    max_len: int  # Context length.
    total_params: int  # Parameters, tied weights counted once.
    active_params: int  # Parameters that one token uses: of the experts, only the selected ones.
    kv_cache_bytes_per_token: int  # Bytes of the KV cache per token in bfloat16.
    state_bytes_per_sequence: int  # Bytes of states of constant size per sequence in bfloat16.
    mixers: tuple[str, ...]  # The sequence mixers of its layers, in the order in which they first occur.
    family: str | None  # The family of a published model; None for the course's.
    year: int | None  # The year in which it was published; None for the course's.


class PresetsReport(Record):
    """The built-in configs."""

    presets: tuple[Preset, ...]  # The course's four in its order, or the published models that match.


class Origin(Record):
    """The source of a field's value."""

    field: str  # Dotted name.
    value: Any  # Its value.
    source: str  # A preset, a path, ``<stdin>`` or ``--set``; ``default`` for a default.
    line: int | None  # Line in the source; None for a default.
    column: int | None  # Column in the source; None for a default.


class ShowReport(Record):
    """A resolved config."""

    name: str  # Name of the model.
    source: str  # The preset, path or ``<stdin>``.
    config: dict[str, Any]  # Every field, blocks as nested objects; blocks without effect are omitted.
    origins: tuple[Origin, ...]  # The source of each value that has an effect, in the order of the schema.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)
