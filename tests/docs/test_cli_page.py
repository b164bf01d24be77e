"""docs/cli.md is generated from the help of the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.app import COMMANDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"

WIDTH = 120  # at 80 most options take two lines

HEAD = """# The command line

Generated from the commands themselves; `pytest --update-golden` rewrites it.

Most commands have the form
`tinylm VERB [CONFIG] [--set key=value]… [--format text|json|markdown|csv|latex] [--output FILE]`.

- `CONFIG` is a preset, a published model, a YAML file, a folder with a `config.json`, or `-`. `--config CONFIG` is
  equivalent.
- `--set key=value` changes a field. Lengths and `vocab_size` may have units: `--set max_len=8k` is 8,192 tokens, as
  everywhere in lengths; `--set vocab_size=32k` is 32,000, as everywhere in counts.
- `--output FILE` infers the format from the suffix: `.json`, `.md`, `.csv`, `.tex`, `.txt`, and `.yaml` for the
  commands that write a config. Any other suffix needs `--format`, which takes precedence. An existing file is
  replaced only with `--force`. A replaced file keeps its mode, and its owner if the system permits it; its other hard
  links keep the old content. A symbolic link is followed.
- `--get PATH` prints one value of the JSON report and nothing else: `tinylm params small --get models.0.total_params`.
  A list takes an index or the name of a row: `models.small.components.attention.params`.

Standard output contains only data; messages, progress and next steps go to standard error. Every command that takes a
config also takes a file from a git revision: `HEAD~1:configs/small.yaml` from a commit, `:PATH` from the index,
`REV:./PATH` relative to the current folder. A file with exactly that name takes precedence.

Commands that print tables also write CSV and LaTeX. CSV holds one table, by default the main one: a header with the
names of the JSON fields, exact numbers (bytes, not MiB; fractions, not percentages), all rows, no total, and for a
tree the depth of each row. Nested JSON fields become dotted column names, such as `values.small`. Text that a
spreadsheet would run as a formula is prefixed with an apostrophe. LaTeX output has one `table` environment per table,
with a caption, a label and booktabs rules, in ASCII; other sentences of the report become comments.

`--table NAME` selects one table of a report, as CSV, LaTeX or markdown:

| command | tables |
| --- | --- |
| `params` without CONFIG | `models` |
| `params CONFIG` | `components`, `layers` or `tensors`, as `--by` selects; `tying`, `counts` |
| `params --gguf` | `gguf_files`; of one type also `gguf_tensors` |
| `params --lora` | `modules`, or `tensors` with `--by tensor` |
| `params --explain` | `formulas`, `nominal_changes`, and with experts `active` |
| `params --gguf` | `gguf_files` with `all`, `gguf_tensors` with a type |
| `estimate` | `summary`, `flops`, `flops_per_token`, `training_memory`, `inference_memory`, `serving` |
| `estimate --by layer` | `activations`, `layer_activations`, and `layer_activations_2` if layers differ |
| `estimate --gpu` | `training_time`, `serving_time`; if memory is insufficient `training_fit`, `serving_fit` |
| `estimate --gpus` | `layouts`, `plan`, `traffic` |
| `compare` | `figures`, `fields`; with `--gpu` `plans`, `cluster` |
| `sweep` | `points` |
| `design` | `designs`, `grid` |
| `build` | `architecture`, `tying` |
| `forward` | `stages`, `next_tokens` |
| `check`, `list`, `list --hardware`, `list --families` | `checks`, `presets`, `hardware`, `families` |
| `show --origin` | `origins` |

| exit code | meaning |
| ---: | --- |
| 0 | done |
| 1 | the config is invalid, or a check, a budget or an assertion failed |
| 2 | the command could not run: wrong usage, unreadable input, too large for this machine, an internal error |
| 129 | the terminal was closed (SIGHUP) |
| 130 | interrupted (SIGINT, Ctrl-C) |
| 141 | the reader of the output closed the pipe (SIGPIPE) |
| 143 | terminated (SIGTERM) |

The exit code is also 1 if `design` finds no model, if every value of `sweep` is invalid, and if `compare --exit-code`
finds a difference. A file that is not UTF-8 is unreadable.

Exit code 141 means that the output is incomplete and the result unknown: under `set -o pipefail`,
`tinylm check | head` fails even if the check passes. `tinylm check -o check.txt` writes the complete output, and exits
with the result.

The terminal, `NO_COLOR` and `FORCE_COLOR` determine color; the terminal and `COLUMNS` determine the width.
`tinylm --install-completion` completes commands, presets, field names and their values in the shell.
"""


@pytest.fixture
def pages(here: Callable[..., Any]) -> dict[str, str]:
    """Return the help of every command, and of the command line under an empty name."""
    return {name: here(*filter(None, [name]), "--help", columns=WIDTH).out for name in ("", *COMMANDS)}


def test_page(pages: dict[str, str], golden: Callable[[Path, str], None]) -> None:
    golden(PAGE, "\n".join([HEAD, *(_section(f"tinylm {name}".rstrip(), text) for name, text in pages.items())]))


def test_examples_in_help(pages: dict[str, str]) -> None:
    for name in COMMANDS:
        assert f"Examples:\n    tinylm {name}" in pages[name] or "| tinylm" in pages[name], name


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.rstrip()}\n```\n"
