"""The catalog of ``tinylm lint``: each code is found by its example, and documented with its sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lint_cases import CASES, CLEAN, FILE
from tinylm_cli.cli.app import create_app
from tinylm_cli.config.diagnostic_codes import CODES
from tinylm_cli.config.lint_codes import LINT_CODES
from tinylm_cli.errors import Diagnostic
from tinylm_cli.render.diagnostics import diagnostics_text
from tinylm_cli.render.terminal import Terminal

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lint.md"

HEAD = f"""# Lint

Generated from the catalog of checks; `pytest --update-golden` rewrites it.

`tinylm lint CONFIG --for vllm,gguf --tp 8` answers whether other libraries and engines can express a model. Without
`--for`, it checks all of them:

| target | what *yes* means |
| --- | --- |
| `hf` | a family of transformers expresses the model, or an equivalent with the same logits |
| `vllm` | vLLM implements, or runs through transformers, a class of such a family |
| `gguf` | llama.cpp converts a class of such a family |
| `litgpt` | `litgpt.Config` has the model; `tinylm export --to litgpt` writes it |
| `megatron` | Megatron-LM has arguments for the model; `tinylm export --to megatron` writes them |
| `torchtitan` | llama3 or qwen3 of torchtitan has the model; `tinylm export --to torchtitan` writes it |

A class is compared by its name in the registry of the engine; an engine may still refuse a value that transformers
accepts, where no check below mentions it. Tensor parallelism is checked for vLLM, llama.cpp and Megatron-LM.

An error stands in the way, a warning has a cost, and a note may matter on some GPUs or with some types. The verdict
counts errors and warnings. `--strict` makes warnings errors. A finding points at the line of its field, and states what
to write instead: a padded size with its parameters, bytes and forward FLOPs, computed from the padded config. A padded
d_model keeps the size of the heads.

Facts were looked up in these releases; each code states its sources. In Python, `load(…).lint(for_=("vllm", "gguf"),
tp=8)` returns the report.

The examples are about `{FILE}`:

```yaml
{CLEAN.rstrip()}
```

| code | meaning |
| --- | --- |
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which holds the config of the examples."""
    (tmp_path / FILE).write_text(CLEAN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(words: str) -> list[Diagnostic]:
    """Return the diagnostics of a command."""
    result = create_app(["lint"])(["lint", *words.split()], prog_name="tinylm", standalone_mode=False)
    return [each.diagnostic for each in result.report.findings]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("code", LINT_CODES)
def test_found_and_absent(code: str) -> None:
    case = CASES[code]
    assert code in [each.code for each in found(case.found)]
    assert code not in [each.code for each in found(case.absent)]


def test_catalog() -> None:
    assert list(LINT_CODES) == sorted(LINT_CODES) == list(CASES)
    assert not LINT_CODES.keys() & CODES.keys()
    for entry in LINT_CODES.values():
        assert entry.meaning.endswith(".")
        assert len(entry.meaning) < 120
        assert entry.sources


@pytest.mark.usefixtures("folder")
def test_page(golden: Callable[[Path, str], None]) -> None:
    rows = "\n".join(f"| [`{code}`](#{code}) | {entry.meaning} |" for code, entry in LINT_CODES.items())
    golden(PAGE, HEAD + rows + "\n\n" + "\n".join(map(_section, LINT_CODES)))


def _section(code: str) -> str:
    entry, case = LINT_CODES[code], CASES[code]
    shown = diagnostics_text([next(each for each in found(case.found) if each.code == code)], Terminal())
    sources = "\n".join(f"- {source}" for source in entry.sources)
    command = f"tinylm lint {case.found}"
    return f"## {code}\n\n{entry.meaning}\n\n{sources}\n\n```bash\n{command}\n```\n\n```text\n{shown}```\n"
