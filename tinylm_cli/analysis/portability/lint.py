"""The report of ``tinylm lint``: the verdict on each target, and every finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tinylm_cli.analysis.portability.engines import SHAPES
from tinylm_cli.analysis.portability.findings import Request
from tinylm_cli.analysis.portability.kernels import attention_findings
from tinylm_cli.analysis.portability.multiples import multiple_findings
from tinylm_cli.analysis.portability.tensor_parallel import tensor_parallel_findings
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import Severity
from tinylm_cli.reports.lint import Expression, Finding, LintReport, TargetVerdict

_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


def lint(
    loaded: LoadedConfig,
    expressions: Iterable[Expression],
    *,
    tp: int = 1,
    accelerator: Accelerator | None = None,
    strict: bool = False,
) -> LintReport:
    """Return what stands in the way of a model in some targets.

    Args:
        loaded: The config, with the position of each value.
        expressions: How each target expresses it, from ``interop``.
        tp: GPUs of tensor parallelism, >= 1.
        accelerator: The GPU; None for any.
        strict: Whether warnings are errors.
    """
    request = Request(loaded, tuple(expressions), tp, accelerator)
    found = [*_merged(_of_expressions(request.expressions))]
    for check in (tensor_parallel_findings, attention_findings, multiple_findings):
        found += _merged(check(request))
    if strict:
        found = [_strict(each) for each in found]
    if len(request.expressions) > 1:
        found = [_with_targets(each, request.expressions) for each in found]
    found.sort(key=lambda each: _ORDER.index(each.diagnostic.severity))
    return LintReport(
        name=loaded.name,
        path=loaded.source,
        tp=tp,
        gpu=None if accelerator is None else accelerator.name,
        targets=tuple(_verdict(each, found) for each in request.expressions),
        findings=tuple(found),
        ignored_keys=loaded.ignored_keys,
    )


def _of_expressions(expressions: Iterable[Expression]) -> Iterator[Finding]:
    for each in expressions:
        yield from (Finding((each.target,), None, found) for found in each.diagnostics)


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with those merged that differ only in their targets."""
    merged: dict[object, Finding] = {}
    for each in findings:
        same = merged.get(each.diagnostic)
        merged[each.diagnostic] = each if same is None else replace(same, targets=(*same.targets, *each.targets))
    return list(merged.values())


def _with_targets(finding: Finding, expressions: Iterable[Expression]) -> Finding:
    """Return a finding whose message says which targets it concerns, by the name of an engine or in brackets."""
    engines = {each.target: each.engine for each in expressions}
    names = [name for target in finding.targets for name in (SHAPES[target].title, engines[target])]
    found = finding.diagnostic
    if any(name and name in found.message for name in names):
        return finding
    return replace(finding, diagnostic=found._replace(message=f"{found.message} [{', '.join(finding.targets)}]"))


def _strict(finding: Finding) -> Finding:
    if finding.diagnostic.severity != "warning":
        return finding
    return replace(finding, diagnostic=finding.diagnostic._replace(severity="error"))


def _verdict(expression: Expression, findings: Sequence[Finding]) -> TargetVerdict:
    counts = Counter(each.diagnostic.severity for each in findings if expression.target in each.targets)
    return TargetVerdict(
        target=expression.target,
        engine=expression.engine,
        can_express=not counts["error"],
        expressed_as=expression.expressed_as,
        errors=counts["error"],
        warnings=counts["warning"],
        notes=counts["note"],
    )
