"""The reports of ``tinylm list`` and ``tinylm show``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A built-in config.

    Attributes:
        name: Name of the config.
        path: Path of its YAML file.
        vocab_size: V.
        d_model: D.
        n_heads: Attention heads per layer.
        n_layers: Layers.
        d_ff: F.
        nominal_params: The advertised size, or None.
        max_len: Context length.
        total_params: Parameters, tied weights counted once.
        active_params: Parameters that one token uses, of experts only the selected ones.
    """

    name: str
    path: str
    vocab_size: int
    d_model: int
    n_heads: int
    n_layers: int
    d_ff: int
    nominal_params: int | None
    max_len: int
    total_params: int
    active_params: int


@dataclass(frozen=True)
class PresetsReport:
    """The built-in configs.

    Attributes:
        presets: The course's four first, in its order.
    """

    presets: tuple[Preset, ...]


@dataclass(frozen=True)
class Origin:
    """The source of a field's value.

    Attributes:
        field: Dotted name.
        value: Its value.
        source: A preset, a path, ``<stdin>`` or ``--set``; ``default`` for a default.
        line: Line in the source; None for a default.
        column: Column in the source; None for a default.
    """

    field: str
    value: Any
    source: str
    line: int | None
    column: int | None


@dataclass(frozen=True)
class ShowReport:
    """A resolved config.

    Attributes:
        name: Name of the model.
        source: The preset, path or ``<stdin>``.
        config: Every field, blocks as nested objects.
        origins: The source of each value that has an effect, in the order of the schema.
    """

    name: str
    source: str
    config: dict[str, Any]
    origins: tuple[Origin, ...]
