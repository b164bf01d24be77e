"""Describe the differences between a checkpoint and its config: grouped, with the config field that explains them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tinylm_cli.config.diagnostic_codes import MAX_REPORTED, diagnostic
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import Span
from tinylm_cli.interop.load import ImportedConfig
from tinylm_cli.interop.verification.byte_ranges import FileFinding
from tinylm_cli.interop.verification.causes import Cause, ConfigKey, Value
from tinylm_cli.interop.verification.collapsed_names import collapse, common_layers
from tinylm_cli.interop.verification.tensors import Finding, Stored, main_dtype
from tinylm_cli.quantities import counted
from tinylm_cli.reports.verify import Difference

MAX_LISTED = 4
"""Names in one message; the report has them all."""
MAX_NAME = 160
"""Characters of a name in a message."""

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
_DTYPE_KEYS = ("dtype", "torch_dtype")


class Context(NamedTuple):
    """What a difference is described with."""

    loaded: LoadedConfig
    imported: ImportedConfig | None  # None for a folder that tinylm wrote.
    stored: Mapping[str, Stored]
    weights: str  # The file that holds all tensors, or the index.
    is_quantized: bool  # Whether the config does not say so, but the tensors look quantized.


def _assignment(key: ConfigKey, value: Value) -> str:
    """Return a key and its value as the config spells them."""
    return f"{key.field}: {json.dumps(value)}" if key.key is None else f'"{key.key}": {json.dumps(value)}'


def differences(
    findings: Sequence[Finding], of_files: Sequence[FileFinding], causes: Sequence[Cause], context: Context
) -> tuple[Difference, ...]:
    """Return the differences, of files first: equal ones are merged, and after the 50th they are only counted."""
    found = [*_of_files(of_files), *_of_tensors(findings, causes, context)]
    hidden = len(found) - MAX_REPORTED
    if hidden > 0:
        message = f"{counted(hidden, 'more difference')} {'are' if hidden > 1 else 'is'} not shown"
        last = diagnostic("too-many-errors", message, context.weights, help="these may have one cause")
        found = [*found[:MAX_REPORTED], Difference(0, (), None, None, "", None, last)]
    return tuple(found)


def _of_files(findings: Sequence[FileFinding]) -> Iterator[Difference]:
    groups: dict[FileFinding, list[str]] = {}
    for each in findings:
        groups.setdefault(each._replace(names=()), []).extend(each.names)
    for each, names in groups.items():
        message = each.message.replace("{names}", _listed(names)[0])
        error = diagnostic(each.code, message, each.source, each.span, help=each.help)
        yield Difference(len(names), collapse(names), None, None, "", None, error)


def _of_tensors(findings: Sequence[Finding], causes: Sequence[Cause], context: Context) -> Iterator[Difference]:
    cause_of = {key: cause for cause in causes for key in cause.explained}
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for each in findings:
        cause = cause_of.get((each.code, each.name))
        shapes = (each.expected, each.found) if cause is None and each.code == "tensor-shape" else ()
        groups.setdefault((each.code, cause, shapes, each.detail), []).append(each)
    for (_, found, *_), group in sorted(groups.items(), key=lambda item: item[0][1] is None):
        yield _difference(group, found if isinstance(found, Cause) else None, context)


def _difference(group: list[Finding], cause: Cause | None, context: Context) -> Difference:
    first = group[0]
    expected = {each.expected for each in group}
    found = {each.found for each in group}
    source, span = _place(first, cause, context)
    error = diagnostic(
        first.code,
        _message(group, cause),
        source,
        span,
        field="" if cause is None else cause.key.field,
        help=_help(group, cause, context),
    )
    return Difference(
        len(group),
        collapse(each.name for each in group),
        first.expected if len(expected) == 1 else None,
        first.found if len(found) == 1 else None,
        "" if cause is None else cause.key.field,
        None if cause is None else cause.value,
        error,
    )


def _place(first: Finding, cause: Cause | None, context: Context) -> tuple[str, Span | None]:
    """Return the place of a difference: the field that explains it, else the file of the tensor."""
    if cause is not None:
        span = cause.key.span
        return (context.loaded.source if span is None else span.source), span
    info = context.stored.get(first.name)
    return (context.weights if info is None else info.path), None


def _message(group: list[Finding], cause: Cause | None) -> str:
    first = group[0]
    listed, verb = _listed([each.name for each in group])
    implied = "" if cause is None else f", but the config has {_assignment(cause.key, cause.before)}"
    match first.code:
        case "missing-tensor":
            shape = f", of shape {first.expected}," if len(group) == 1 else ""
            return f"{listed}{shape} {verb} missing{implied}"
        case "unknown-tensor":
            shape = f", of shape {first.found}," if len(group) == 1 and first.found is not None else ""
            return f"{listed}{shape} {verb} {'stored' if cause else 'not in the model'}{implied}"
        case "tensor-shape":
            same = [each.name for each in group if (each.expected, each.found) == (first.expected, first.found)]
            listed, verb = _listed(same)
            has, n_others = "has" if verb == "is" else "have", len(group) - len(same)
            more = (
                f"; {counted(n_others, 'more tensor')} {'differs' if n_others == 1 else 'differ'}" if n_others else ""
            )
            return f"{listed} {has} shape {first.found}, not {first.expected}{more}"
    return f"{listed} {verb} {first.detail}"


def _help(group: list[Finding], cause: Cause | None, context: Context) -> str:
    if cause is None:
        if context.is_quantized and group[0].code != "tensor-shape":
            return "the tensors look quantized, but the config has no quantization_config"
        return ""
    fits = "this tensor fits" if len(group) == 1 else f"these {len(group):,} tensors fit"
    if group[0].code == "missing-tensor":
        fits = "the checkpoint fits"
    padding = ""
    if cause.key.field == "vocab_size" and cause.value > cause.before:
        padding = f"; the last {counted(cause.value - cause.before, 'row')} may be padding"
    return f"{fits} {_assignment(cause.key, cause.value)}{padding}"


def _listed(names: Sequence[str]) -> tuple[str, str]:
    """Return the first names, collapsed, and the verb that follows them."""
    collapsed = collapse(names)
    within = common_layers(collapsed)
    if len(collapsed) > MAX_LISTED and within:
        collapsed = (f"{within}.*",)
    shown = [name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…" for name in collapsed[:MAX_LISTED]]
    shown = [name or '""' for name in shown]
    if len(collapsed) > MAX_LISTED:
        shown.append(f"{len(collapsed) - MAX_LISTED:,} more")
    text = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
    count = f" ({len(names):,} tensors)" if len(names) > len(collapsed) else ""
    return f"{text}{count}", "is" if len(names) == 1 else "are"


def other_dtype_than_config(imported: ImportedConfig | None, stored: Mapping[str, Stored]) -> Iterator[FileFinding]:
    """Yield the difference between the dtype of most weights and the dtype that a config.json names."""
    entries = {} if imported is None or imported.root.entries is None else imported.root.entries
    key = next((key for key in _DTYPE_KEYS if key in entries), None)
    main = main_dtype(stored)
    if key is not None and main is not None:
        node = entries[key].value
        name = str(node.scalar).removeprefix("torch.")
        if name in _DTYPES.values() and name != _DTYPES[main]:
            message = f'most weights are {main}, but the config has "{key}": "{name}"'
            help_ = f'the weights fit "{key}": "{_DTYPES[main]}"'
            yield FileFinding("tensor-dtype", message, node.span.source, help=help_, span=node.span)
