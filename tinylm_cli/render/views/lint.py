"""The view of ``tinylm lint``."""

from __future__ import annotations

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Cell, DiagnosticBlock, Heading, Style, Table, View
from tinylm_cli.render.views.record_table import computed, field, record_table
from tinylm_cli.reports.lint import LintReport, TargetVerdict


def lint_view(report: LintReport) -> View:
    """Show the verdict on each target, then every finding."""
    return (
        Heading(report.name, _conditions(report)),
        _verdicts(report),
        *(DiagnosticBlock(each.diagnostic) for each in report.findings),
    )


def summary(report: LintReport) -> str:
    """Return the verdicts in one line: ``hf: yes; vllm: no, with 1 error``."""
    return "; ".join(f"{each.target}: {_verdict(each)}" for each in report.targets)


def _conditions(report: LintReport) -> str:
    gpus = [] if report.tp == 1 else [f"tensor parallelism over {report.tp} GPUs"]
    return ", ".join([*gpus, *filter(None, [report.gpu])])


def _verdicts(report: LintReport) -> Table:
    columns = (
        field("target", "target", style="name"),
        computed("verdict", "can_express", lambda each: Cell(_verdict(each), _style(each)), wrap=True),
        field("as", "expressed_as", shrink=True, keep=5),
        field("checked against", "engine", keep=4),
    )
    return record_table(report.targets, columns, name="targets")


def _verdict(verdict: TargetVerdict) -> str:
    kinds = (("error", verdict.errors), ("warning", verdict.warnings))
    counts = " and ".join(counted(number, kind) for kind, number in kinds if number)
    with_ = f", with {counts}" if counts else ""
    return f"{'yes' if verdict.can_express else 'no'}{with_}"


def _style(verdict: TargetVerdict) -> Style:
    return "bad" if verdict.errors else "warn" if verdict.warnings else "good"
