"""The view of ``tinylm list``."""

from __future__ import annotations

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Cell, Note, View
from tinylm_cli.render.units import compact, csv_only, integer, stated_count
from tinylm_cli.render.views.record_table import computed, field, record_table
from tinylm_cli.reports.presets import Preset, PresetsReport


def presets_view(report: PresetsReport, *, others: str = "") -> View:
    """Show the presets as a table, and a sentence about ``others``."""
    columns = (
        field("preset", "name", style="name"),
        field("vocab_size", "vocab_size", integer, keep=3),
        field("d_model", "d_model", integer),
        field("n_heads", "n_heads", integer, keep=2),
        field("n_layers", "n_layers", integer),
        field("d_ff", "d_ff", integer, keep=1),
        field("max_len", "max_len", integer, keep=3),
        computed("nominal", "nominal_params", _nominal, right=True, keep=4),
        field("parameters", "total_params", integer, style="strong"),
    )
    table = record_table(report.presets, columns, name="presets", caption="Every preset")
    return (table, Note(others, "muted")) if others else (table,)


def gallery_view(report: PresetsReport, *, others: str) -> View:
    """Show published models as a table; if there are none, a sentence about ``others``."""
    columns = (
        field("model", "name", style="name"),
        field("year", "year", keep=5),
        field("parameters", "total_params", compact, style="strong"),
        computed("active", "active_params", _active, right=True, keep=6),
        field("KV/token", "kv_cache_bytes_per_token", _bytes, keep=7),
        field("states", "state_bytes_per_sequence", _bytes, keep=7),
        field("context", "max_len", integer, keep=4),
        computed("other mixers", "mixers", _mixers, keep=3),
        field("d_model", "d_model", integer, keep=1),
        field("n_layers", "n_layers", integer, keep=1),
    )
    table = record_table(report.presets, columns, name="presets", caption="Every published model", names_hidden=True)
    if not report.presets:
        return table, Note(f"No published model matches. {others}", "muted")
    notes = {
        "KV/token": "KV/token: KV cache per token in bfloat16.",
        "states": "states: recurrent states of a sequence, whatever its length.",
        "other mixers": "other mixers: besides attention.",
    }
    return table, *(Note(text, "muted", column) for column, text in notes.items())


def _bytes(count: int) -> Quantity:
    return binary_bytes(count) if count else csv_only(count)


def _mixers(preset: Preset) -> Cell:
    """Return the mixers besides attention; CSV has all."""
    return Cell(", ".join(each for each in preset.mixers if each != "attention"), key=", ".join(preset.mixers))


def _nominal(preset: Preset) -> str:
    """Return the nominal size if it differs from the exact count."""
    nominal = preset.nominal_params
    if nominal is None:
        return ""
    return stated_count(nominal) if nominal != preset.total_params else csv_only(nominal)


def _active(preset: Preset) -> str:
    """Return the active parameters if they differ from the total."""
    active = preset.active_params
    return compact(active) if active != preset.total_params else csv_only(active)
