"""docs/json.md is generated from the docstrings of the report classes."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinylm_cli import errors
from tinylm_cli.reports import SCHEMA_VERSION
from tinylm_cli.reports.architecture import BuildReport
from tinylm_cli.reports.check import CheckReport
from tinylm_cli.reports.compare import ChangedReport, CompareReport
from tinylm_cli.reports.design import DesignReport
from tinylm_cli.reports.estimate import EstimateReport
from tinylm_cli.reports.export import ConfigExportReport, ExportReport
from tinylm_cli.reports.failure import FailureReport
from tinylm_cli.reports.families import FamiliesReport
from tinylm_cli.reports.forward import ForwardReport
from tinylm_cli.reports.generate import GenerateReport
from tinylm_cli.reports.hardware import HardwareReport
from tinylm_cli.reports.import_ import ImportReport
from tinylm_cli.reports.lint import LintReport
from tinylm_cli.reports.params import ParamsReport
from tinylm_cli.reports.presets import PresetsReport, ShowReport
from tinylm_cli.reports.sweep import SweepReport
from tinylm_cli.reports.validate import ValidateReport
from tinylm_cli.reports.verify import VerifyReport

_JSON_WORDS = {"None": "null", "True": "true", "False": "false"}

PAGE = Path(__file__).resolve().parents[2] / "docs" / "json.md"

REPORTS: dict[str, type] = {
    "params": ParamsReport,
    "estimate": EstimateReport,
    "design": DesignReport,
    "sweep": SweepReport,
    "compare": CompareReport,
    "compare --changed": ChangedReport,
    "build": BuildReport,
    "forward": ForwardReport,
    "generate": GenerateReport,
    "check": CheckReport,
    "validate": ValidateReport,
    "verify": VerifyReport,
    "lint": LintReport,
    "list": PresetsReport,
    "list --hardware": HardwareReport,
    "list --families": FamiliesReport,
    "show": ShowReport,
    "import": ImportReport,
    "export": ExportReport,
    "export --config-only": ConfigExportReport,
    "any command that fails": FailureReport,
}

HEAD = f"""# JSON

Generated from the report classes; `pytest --update-golden` rewrites it.

With `--format json`, standard output is exactly one JSON document: the report, with raw integers, and
`schema_version`, now {SCHEMA_VERSION}. Adding a field keeps the version; changing or removing a field raises it. A
non-finite number is `null`. A command that fails writes a failure document instead, and exits with its `exit_code`.
`tinylm schema` is the exception: it prints a JSON Schema.

Version 2 renames fields of `params`, `build`, `estimate`, `design`, `sweep` and `check`, and groups those of `estimate`
by training and serving. [CHANGELOG.md](../CHANGELOG.md#renamed-json-names) lists every old and new name.
"""


def test_page(golden: Callable[[Path, str], None]) -> None:
    parts = [HEAD]
    described: set[type] = set()
    for command, report in REPORTS.items():
        title = f"`tinylm {command} --format json`" if not command.startswith("any ") else command.capitalize()
        parts.append(f"## {title}\n")
        parts += [_describe(kind) for kind in _reachable(report) if kind not in described]
        described |= set(_reachable(report))
    golden(PAGE, "\n".join(parts))


def _reachable(kind: type) -> Iterator[type]:
    """Yield a report class and the classes of its fields, each once."""
    found = [kind]
    for each in found:
        for annotation in typing.get_type_hints(each).values():
            found += [inner for inner in _classes(annotation) if inner not in found]
    return iter(found)


def _classes(annotation: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(annotation) or annotation in (errors.Diagnostic, errors.Span, errors.Label):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _classes(inner)


def _describe(kind: type) -> str:
    summary, _, attributes = (inspect.getdoc(kind) or "").partition("Attributes:")
    meanings = dict(re.findall(r"^ {4}(\w+): (.+?)(?=^ {4}\w|\Z)", attributes, re.MULTILINE | re.DOTALL))
    meanings |= dict(_comments(kind))
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields  # type: ignore[attr-defined]
    hints = typing.get_type_hints(kind)
    lines = [f"### {kind.__name__}", "", " ".join(summary.split()).replace("``", "`"), ""]
    lines += ["| field | type | meaning |", "| --- | --- | --- |"]
    for name in names:
        meaning = " ".join(meanings.get(name, "").split()).replace("``", "`").replace("|", "\\|")
        assert meaning, f"{kind.__name__}.{name} has no meaning"
        meaning = re.sub(r"\b(None|True|False)\b", lambda word: _JSON_WORDS[word[0]], meaning)
        lines.append(f"| `{name}` | {_type_words(hints[name])} | {meaning} |")
    return "\n".join(lines) + "\n"


def _comments(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the name and the comment of each field of a class: the lines above it, or the end of its line."""
    above: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        if comment := re.fullmatch(r" {4}# (.+)", line):
            above.append(comment[1])
            continue
        field = re.fullmatch(r" {4}(\w+): [^#]+?(?:  # (.+))?", line)
        if field and (meaning := field[2] or " ".join(above)):
            yield field[1], meaning
        above.clear()


def _type_words(annotation: Any) -> str:
    """Return the name of a type in JSON terms."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of {_type_words(inner[0])}"
    if origin is dict:
        return "object"
    if type(None) in inner:
        return " or ".join(_type_words(each) for each in inner if each is not type(None)) + " or null"
    plain = {int: "integer", float: "number", str: "string", bool: "boolean", Any: "any value"}
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)))
