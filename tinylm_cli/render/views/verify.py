"""The view of ``tinylm verify``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm_cli.quantities import binary_bytes, counted
from tinylm_cli.render.blocks import Column, DiagnosticBlock, Heading, Row, Table, View
from tinylm_cli.reports.verify import ApartKind, ApartTensors, VerifyReport

_APART: dict[ApartKind, str] = {
    "tied_head": "LM head tied to the embedding; its values are not compared",
    "recomputed": "recomputed when the model is loaded",
    "constant": "constant in the code of the family",
    "unused": "required by the code of the family, but not used",
    "multi_token_prediction": "multi-token prediction modules, which transformers does not load",
    "other_part": "another part of the model",
    "rope_factors": "factors of RoPE scaling, which the config states",
    "quantization": "scales and the like of quantized weights",
}


def verify_view(report: VerifyReport) -> View:
    """Show the verdict, every difference, and what was compared."""
    columns = (Column("", key=None), Column("", wrap=True, key=None))
    summary = Table(columns, tuple(_rows(report)), name="summary", caption="Checkpoint")
    return (Heading(report.name, verdict(report)), *map(DiagnosticBlock, report.diagnostics), summary)


def verdict(report: VerifyReport) -> str:
    """Return whether the checkpoint equals its config, without any text from the checkpoint."""
    subject = f"{report.family or 'tinylm'} checkpoint"
    if report.status == "unreadable":
        return f"{subject}, not completely readable"
    if report.status == "different":
        return f"{subject}, {counted(len(report.differences), 'difference')} from its config"
    if report.name_only_tensors == report.expected_tensors:
        return f"{subject}, equal to its config by names alone"
    return f"{subject}, equal to its config{' where present' if report.name_only_tensors else ''}"


def _rows(report: VerifyReport) -> Iterator[Row]:
    found, total = report.checked_tensors + report.quantized_tensors, report.expected_tensors
    packed = f", {report.quantized_tensors:,} of them packed" if report.quantized_tensors else ""
    named = f", {report.name_only_tensors:,} only by name" if report.name_only_tensors else ""
    of = f"{found:,} of " if found < total else ""
    yield "tensors", f"{of}{total:,} as the config implies{packed}{named}"
    present, n_files = sum(file.status == "present" for file in report.files), len(report.files)
    files = counted(n_files, "file") if present == n_files else f"{present:,} of {counted(n_files, 'file')}"
    yield "files", f"{files}, {binary_bytes(report.stored_bytes)} of {_dtypes(report)}"
    for number, each in enumerate(report.apart):
        yield "" if number else "also stored", _apart(each)
    if report.unread_files:
        yield "not read", _first(report.unread_files)


def _dtypes(report: VerifyReport) -> str:
    first, *others = report.dtypes or (None,)
    if first is None:
        return "data"
    return f"{first.dtype}" + "".join(f", {each.tensors:,} in {each.dtype}" for each in others if each is not None)


def _apart(each: ApartTensors) -> str:
    return f"{counted(each.tensors, 'tensor')}: {_APART[each.kind]} ({_first(each.names)})"


def _first(names: Sequence[str]) -> str:
    """Return a name, or two, or the first one and the number of the others."""
    return " and ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1:,} more"
