"""Suggested commands: bash parses them back to the same words, and no log or terminal interprets a part of them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzzing.mutate import HOSTILE
from tinylm_cli.render.sanitize import escape_controls, without_workflow_commands
from tinylm_cli.shell_quoting import shell_join, shell_quote

BASH = shutil.which("bash")

WORDS = [
    *("", "plain", "a b", "it's", "$(id)", "`id`", "~", "*", "!!", "-n", "\\", "\\x41", "é 表 ﷽", "a\u00a0b"),
    *(
        "\udcff",
        "m\udcff'\\\udc80.yaml",
        "\udcc3\udca9",
        "a\nb",
        "\t",
        "\x1b[31m",
        "\x7f9",
        "\u202eb",
        "\ufeff",
        "\U000e0001",
    ),
    *("::error::x", "a ::error::x", "a::b", "##[error]", "x##vso[task]1", "#", "##"),
    *(text.replace("\0", "").replace("\ud800", "") for text in HOSTILE),
]
"""Words that a shell, a terminal or a CI runner could read as something else."""


def words_of_bash(command: str) -> list[bytes]:
    """Return the arguments that bash passes to a command."""
    assert BASH is not None
    script = os.fsencode(f"printf '%s\\0' {command}")
    done = subprocess.run([BASH, "-c", script], capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=True)
    return done.stdout.split(b"\0")[:-1]


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_bash_reads_it_back() -> None:
    quoted = shell_join(WORDS)
    assert words_of_bash(quoted) == [os.fsencode(word) for word in WORDS]


@pytest.mark.skipif(BASH is None, reason="needs bash")
@settings(max_examples=20)
@given(words=st.lists(st.binary(max_size=40).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))))
def test_any_bytes(words: list[str]) -> None:
    assert words_of_bash(shell_join(["x", *words]))[1:] == [os.fsencode(word) for word in words]


@pytest.mark.parametrize("word", WORDS)
def test_printed_as_it_is(word: str) -> None:
    """Nothing that sanitizes output changes a suggested command, which would then name another file."""
    quoted = shell_quote(word)
    assert escape_controls(quoted) == without_workflow_commands(quoted) == quoted
    assert without_workflow_commands(quoted.replace(" ", "\n")) == quoted.replace(" ", "\n"), "wherever it is wrapped"
    assert quoted.encode(), "nothing that UTF-8 cannot encode"


def test_plain_words_stay_readable() -> None:
    assert shell_join(["tinylm", "params", "my model.yaml", "norm.kind=rmsnorm", "é.yaml"]) == (
        "tinylm params 'my model.yaml' norm.kind=rmsnorm 'é.yaml'"
    )
    assert shell_quote("m\udcff.yaml") == "$'m\\xff.yaml'"
    assert shell_quote("\ud800") == "$'\\xed\\xa0\\x80'", "not a file name, but printed"
