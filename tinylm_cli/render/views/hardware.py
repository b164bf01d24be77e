"""The screen of ``tinylm list --hardware``."""

from __future__ import annotations

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import prefixed
from tinylm_cli.reports.hardware import HardwareReport

_SHOWN = (("float32", 4), ("float16", 9), ("bfloat16", 9), ("float8", 9))
"""The types with a column, and how long each is kept."""


def hardware_view(report: HardwareReport) -> View:
    """Show accelerators as a table."""
    columns = (
        Column("GPU", key="name"),
        Column("memory", right=True, key="memory_bytes"),
        Column("usable", right=True, keep=3, key="usable_memory_bytes"),
        Column("bandwidth", right=True, key="memory_bytes_per_second"),
        *(Column(dtype, right=True, keep=keep, key=f"peak_flops_per_second.{dtype}") for dtype, keep in _SHOWN),
        Column("link", right=True, keep=2, key="link_bytes_per_second"),
        Column("network", right=True, keep=1, key="network_bytes_per_second"),
    )
    rows: tuple[Row, ...] = tuple(
        (
            Cell(each.name, "name"),
            binary_bytes(each.memory_bytes),
            binary_bytes(each.usable_memory_bytes),
            prefixed(each.memory_bytes_per_second, "B/s"),
            *(_teraflops(each.peak_flops_per_second.get(dtype)) for dtype, _ in _SHOWN),
            prefixed(each.link_bytes_per_second, "B/s"),
            prefixed(each.network_bytes_per_second, "B/s"),
        )
        for each in report.accelerators
    )
    return (
        Heading("Accelerators", "peaks in TFLOP/s, dense"),
        Table(columns, rows, name="hardware"),
        Note(
            "In a wide terminal, usable is the memory available to tensors, without the driver's context;"
            " a link or a network is one GPU's, in one direction. --format json adds sources.",
            "muted",
        ),
    )


def _teraflops(flops_per_second: int | None) -> str:
    return "" if flops_per_second is None else Quantity(f"{flops_per_second / 1e12:,.1f}", flops_per_second)
