"""The catalog of diagnostics: complete, enforced, and documented with an example of each code."""

from __future__ import annotations

import ast
import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import FAULTS
from tinylm_cli.cli.validate import validate
from tinylm_cli.cli.verify import verify
from tinylm_cli.cli.wording import worded
from tinylm_cli.cli.workload_options import read_gpu
from tinylm_cli.config.diagnostic_codes import CODES, MAX_REPORTED, clip, config_error, diagnostic
from tinylm_cli.errors import ConfigError, Diagnostic, Span
from tinylm_cli.render.diagnostics import diagnostics_text
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.wording import SET

ROOT = Path(__file__).resolve().parents[2]
BAD = ROOT / "tests" / "bad"

EXAMPLES = {
    "alias": "alias",
    "anchor": "anchor",
    "assertion-syntax": "total_params =< 130M",
    "contradiction": "norm-rms-with-bias",
    "control-character": "nul-byte",
    "data-gap": "gap",
    "data-overlap": "overlap",
    "duplicate-key": "duplicate-key",
    "duplicate-tensor": "twice",
    "empty-document": "only-comments",
    "expert-groups": "experts-groups-too-few",
    "failed-assertion": "total_params < 800K",
    "heads-do-not-divide": "heads-do-not-divide",
    "index-mismatch": "swapped",
    "index-total-size": "total",
    "json-syntax": "hf-json-syntax",
    "key-not-a-name": "complex-key",
    "kv-heads-do-not-divide": "attention-kv-heads-uneven",
    "layers-do-not-divide": "layers-do-not-divide",
    "merge-key": "merge-key",
    "missing-file": "absent-file",
    "missing-key": "missing-one",
    "missing-tensor": "without-norm",
    "needs-field": "rope-scaling-without-length",
    "not-a-mapping": "root-text-lines",
    "not-finite": "value-infinite",
    "not-utf8": "not-utf8-latin1",
    "number-too-long": "float-200-digits",
    "odd-rotary-width": "rope-odd-head",
    "odd-sinusoidal-width": "width-odd-named",
    "out-of-range": "errors-in-block",
    "over-budget": "budget-over",
    "several-documents": "second-document-empty",
    "tag": "tag-python-object",
    "tensor-bytes": "bytes",
    "tensor-dtype": "float32",
    "tensor-shape": "padded",
    "too-deep": "nested-5000-deep",
    "too-many-errors": "too-many-errors",
    "too-many-values": "too-many-values",
    "top-k-above-experts": "experts-top-k-above",
    "truncated-file": "truncated",
    "undefined-kind": "layers-kind-undefined",
    "unknown-choice": "choice-case",
    "unknown-family": "hf-unknown-family",
    "unknown-figure": "total_parms < 130M",
    "unknown-gpu": "h100sxm",
    "unknown-key": "foreign-nanogpt",
    "unknown-setting": "hf-unknown-setting",
    "unknown-tensor": "fourth-layer",
    "unreadable-header": "sign-in",
    "unsupported-setting": "hf-unsupported-setting",
    "without-effect": "latent-fields-without-latent",
    "wrong-type": "yaml11-booleans",
    "yaml-syntax": "missing-space",
}
"""What stands for each code: a file of tests/bad/, what an option is given, or a checkpoint with the fault."""

ASKED: dict[str, tuple[Callable[..., Any], str]] = {
    **dict.fromkeys(
        ("assertion-syntax", "failed-assertion", "unknown-figure"),
        (lambda asserted: validate(["tiny"], assert_=[asserted]), "tinylm validate tiny --assert"),
    ),
    "unknown-gpu": (lambda name: read_gpu(name, None, None), "tinylm estimate --gpu"),
}
"""Codes that speak of the command line alone: the command, and how it is typed before its option's value."""

_MAX_LINES = 14
_LONGEST_LINE = 80


def _page(checkpoints: Path) -> str:
    rows = "\n".join(f"| [`{code}`](#{code}) | {meaning} |" for code, meaning in CODES.items())
    return (
        "# Diagnostics\n\n"
        "Generated from the catalog and the broken configs of the tests; `pytest --update-golden` rewrites it.\n\n"
        "`tinylm` reports every error of a config at once: its position, a stable code, and what to write instead.\n"
        "The code is `code` in JSON, `ruleId` in SARIF, `type` in JUnit XML and the title of a GitHub annotation.\n"
        "If the correction is certain, `fix` in JSON contains the edit that `tinylm validate --fix` makes.\n"
        "A file that cannot be read has the code `unreadable`.\n\n"
        "| code | meaning |\n| --- | --- |\n" + rows + "\n\n" + "\n".join(_section(code, checkpoints) for code in CODES)
    )


def _section(code: str, checkpoints: Path) -> str:
    example = EXAMPLES[code]
    if code in FAULTS:
        FAULTS[code](checkpoints / example)
        with contextlib.chdir(checkpoints):
            found = verify(example).report.diagnostics  # type: ignore[attr-defined]
        asked = f"```bash\ntinylm verify {example}\n```"
    elif code in ASKED:
        command, typed = ASKED[code]
        found, asked = _found(command, example), f"```bash\n{typed} {shlex.quote(example)}\n```"
    else:
        found, lines = _found(validate, [f"{example}.yaml"]), "\n".join(_excerpt(BAD / f"{example}.yaml"))
        asked = f"```yaml\n{lines}\n```"
    shown = diagnostics_text([next(each for each in found if each.code == code)], Terminal())
    return f"## {code}\n\n{CODES[code]}\n\n{asked}\n\n```text\n{shown}```\n"


def _found(command: Callable[..., Any], asked: object) -> tuple[Diagnostic, ...]:
    try:
        report: Any = command(asked).report
    except ConfigError as error:
        return worded(error.diagnostics)
    return tuple(report.files[0].diagnostics)


def _excerpt(path: Path) -> Iterator[str]:
    lines = path.read_bytes().decode("utf-8", "backslashreplace").splitlines()
    for line in lines[:_MAX_LINES]:
        text = escape_controls(line)
        yield text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"
    if len(lines) > _MAX_LINES:
        yield "…"


def test_the_page_is_up_to_date(
    golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(BAD)
    golden(ROOT / "docs" / "diagnostics.md", _page(tmp_path))


def test_codes_have_meaning_and_example() -> None:
    assert list(CODES) == list(EXAMPLES) == sorted(CODES)
    for code, meaning in CODES.items():
        assert code == code.lower().replace(" ", "-")
        assert meaning.endswith(".")
        assert len(meaning) < 120


def test_unknown_code() -> None:
    with pytest.raises(KeyError, match="no-such-code"):
        diagnostic("no-such-code", "…", "x.yaml")


def test_diagnostics_use_catalog() -> None:
    made = {
        path.name
        for path in (ROOT / "tinylm_cli" / "config").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Diagnostic", "ConfigError")
    }
    assert made == {"diagnostic_codes.py"}


def _at(line: int, source: str = "x.yaml") -> Diagnostic:
    return diagnostic("wrong-type", f"line {line}", source, Span(source, line, 1, 2, "…"))


def test_refusal_order() -> None:
    nowhere = diagnostic("heads-do-not-divide", "by default", "x.yaml")
    found = config_error([nowhere, _at(1, SET), _at(7), _at(2)]).diagnostics
    assert found == (_at(2), _at(7), _at(1, SET), nowhere)


@pytest.mark.parametrize(
    ("count", "last"), [(0, "line 49"), (1, "1 more error is not shown"), (2000, "2,000 more errors are not shown")]
)
def test_refusal_limit(count: int, last: str) -> None:
    found = config_error(_at(line) for line in range(MAX_REPORTED + count)).diagnostics
    assert len(found) == MAX_REPORTED + (count > 0)
    assert found[-1].message == last


def test_a_quotation_is_one_short_line() -> None:
    assert clip("a\nb\r") == "a\\nb\\r"
    assert clip("x" * 40) == "x" * 40
    assert clip("x" * 41) == "x" * 39 + "…"
