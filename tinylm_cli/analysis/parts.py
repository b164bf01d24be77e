"""What a GPU holds, named part by part."""

from __future__ import annotations

from tinylm_cli.reports.memory import MemoryPart


def parts_of(named: dict[str, int]) -> tuple[MemoryPart, ...]:
    """Return the parts that are there, each with its share of their sum."""
    total = sum(named.values())
    return tuple(MemoryPart(name, size, size / total) for name, size in named.items() if size)
