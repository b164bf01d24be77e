"""What ``tinylm list`` and ``tinylm show`` report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A shipped config.

    Attributes:
        name: What ``--config`` takes.
        path: Where its YAML lies on this machine.
        vocab_size: V.
        d_model: D.
        n_heads: Attention heads per layer.
        n_layers: Blocks.
        d_ff: F.
        nominal_params: The size it is known by, or None.
        max_len: Longest sequence it reads.
        total_params: The true count, a tied tensor counted once.
        active_params: What one token uses: of experts, those it is sent to.
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
    """Every shipped config.

    Attributes:
        presets: The course's four first, in its order.
    """

    presets: tuple[Preset, ...]


@dataclass(frozen=True)
class Origin:
    """Where a field's value was written.

    Attributes:
        field: Dotted name.
        value: Its value.
        source: The preset, path, ``<stdin>`` or ``--set`` it stands in; ``default`` when it is in none.
        line: Line there, or None for a default.
        column: Column there, or None for a default.
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
        name: The model's name.
        source: Where it was read.
        config: Every field, blocks as nested objects.
        origins: Where each value that means something here came from, in the order of the schema.
    """

    name: str
    source: str
    config: dict[str, Any]
    origins: tuple[Origin, ...]
