"""docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinylm_cli.cli.app import COMMANDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"

WIDE = {"COLUMNS": "120"}  # a page has room, and at 80 most options take two lines

HEAD = """# The command line

Generated from the commands themselves; `pytest --update-golden` rewrites it.

One grammar for all:
`tinylm VERB [CONFIG] [--set key=value]… [--format text|json|markdown|csv|latex] [--output FILE]`.

- `CONFIG` is a preset, a published model, a YAML file, a folder with a `config.json`, or `-`. `--config CONFIG` says
  the same.
- `--output FILE` infers the format from the suffix: `.json`, `.md`, `.csv`, `.tex`, `.txt`, and `.yaml` for the
  commands that write a config. `--format` wins over the suffix. An existing file is replaced only with `--force`.
- `--get PATH` prints one value of the JSON report and nothing else: `tinylm params small --get models.0.total_params`.
  A list takes an index or the name of a row: `models.small.components.attention.params`.

Standard output is data and standard error is talk. Wherever a config is named, `REV:PATH` is a file as git has it:
`HEAD~1:configs/small.yaml`, `:PATH` as it is staged, `REV:./PATH` from the current folder. A file of that very name
comes first.

Commands that show tables write them as CSV and as LaTeX too. CSV is one table, the one that was asked for: a header of
the names that JSON has, exact numbers (bytes, not MiB; shares of 1, not percent), every row, no sum at the end, and for
a tree the depth of each row. Where JSON has objects in a row, a column is called by the path: `values.small`. A text
that a spreadsheet would take for a formula gets an apostrophe in front. LaTeX has a `table` for each, with a caption, a
label and the rules of the package booktabs, in ASCII, and what else there is to say in comments.

A report of several tables has others beside the main one. `--table NAME` writes one alone, as CSV, LaTeX or markdown:

| command | tables |
| --- | --- |
| `params` | `models` of all presets; of one `components`, `layers` or `tensors` by `--by`, `tying`, `counts` |
| `params --explain` | `formulas`; of routed experts `active`; where the nominal size is wrong `nominal_changes` |
| `estimate` | `flops`, `flops_per_token`, `training_memory`, `inference_memory`, `serving` |
| `estimate --by layer` | `activations`, `layer_activations`, and `layer_activations_2` where layers differ |
| `estimate --gpu` | `training_time`, `serving_time`; where memory is short `training_fit`, `inference_fit` |
| `estimate --gpus` | `layouts`, `plan`, `traffic` |
| `compare` | `figures`, `fields` |
| `sweep` | `points` |
| `design` | `designs`, `grid` |
| `build` | `architecture`, `tying` |
| `forward` | `stages`, `candidates` |

| exit code | meaning |
| ---: | --- |
| 0 | done |
| 1 | the config was read and is wrong, or a check, a budget or an assertion failed |
| 2 | it could not be carried out: usage, unreadable input, too large for this machine, an internal error |
| 130 | interrupted |
| 141 | the reader of the output has gone |

Color follows the terminal, `NO_COLOR` and `FORCE_COLOR`; width follows the terminal and `COLUMNS`. Shell completion
for commands, presets, field names and their values: `tinylm --install-completion`.
"""


def test_the_page_is_what_the_commands_say(tinylm: Callable[..., Any], golden: Callable[[Path, str], None]) -> None:
    parts = [HEAD, _section("tinylm", tinylm("--help", env=WIDE).out)]
    parts += [_section(f"tinylm {name}", tinylm(name, "--help", env=WIDE).out) for name in COMMANDS]
    golden(PAGE, "\n".join(parts))


def test_every_command_shows_worked_examples(tinylm: Callable[..., Any]) -> None:
    for name in COMMANDS:
        text = tinylm(name, "--help").out
        assert f"Examples:\n    tinylm {name}" in text or "| tinylm" in text, name


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.rstrip()}\n```\n"
