"""The view of ``tinylm list --hardware``."""

from __future__ import annotations

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Cell, Note, View
from tinylm_cli.render.units import prefixed
from tinylm_cli.render.views.record_table import RecordColumn, computed, field, record_table
from tinylm_cli.reports.hardware import AcceleratorFigures, HardwareReport


def hardware_view(report: HardwareReport) -> View:
    """Show accelerators as a table, and their aliases."""
    columns = (
        field("GPU", "name", style="name"),
        field("memory", "memory_bytes", binary_bytes),
        field("usable", "usable_memory_bytes", binary_bytes, keep=3),
        field("bandwidth", "memory_bytes_per_second", _rate),
        _peak("float32", keep=4),
        *map(_peak, ("float16", "bfloat16", "float8")),
        field("link", "link_bytes_per_second", _rate, keep=2),
        field("network", "network_bytes_per_second", _rate, keep=1),
        computed("", "aliases", lambda gpu: Cell("", key=" ".join(gpu.aliases))),
    )
    aliases = ("=".join((*gpu.aliases, gpu.name)) for gpu in report.accelerators if gpu.aliases)
    return (
        record_table(report.accelerators, columns, name="hardware", caption="Accelerators"),
        Note(f"Aliases: {', '.join(aliases)}. Peaks are dense, in TFLOP/s.", "muted"),
        Note("usable: memory available to tensors, excluding the driver's context.", "muted", column="usable"),
        Note("Link and network bandwidths are per GPU and direction.", "muted", column="link"),
    )


def _rate(bytes_per_second: int) -> Quantity:
    return prefixed(bytes_per_second, "B/s")


def _peak(dtype: str, keep: int = 9) -> RecordColumn:
    """Return the column of the peaks for one dtype, in TFLOP/s."""

    def cell(gpu: AcceleratorFigures) -> str:
        peak = gpu.peak_flops_per_second.get(dtype)
        return "" if peak is None else Quantity(f"{peak / 1e12:,.1f}", peak)

    return computed(dtype, f"peak_flops_per_second.{dtype}", cell, right=True, keep=keep)
