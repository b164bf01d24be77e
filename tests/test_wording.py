"""Settings and commands in messages: as Python, and kept when a message is joined or changed."""

from __future__ import annotations

import copy

import pytest

from tinylm_cli.wording import SET, Argument, Command, Override, Reference, Setting, ShellNote, Text, map_text


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (Setting("full"), "full"),
        (Setting("full", True), "full=True"),
        (Setting("hardware", metavar="FILE"), "hardware=FILE"),
        (Setting("gpus", 8), "gpus=8"),
        (Setting("plan", "tp=8"), 'plan="tp=8"'),
        (Setting("assert_", 'a < "b"'), """assert_='a < "b"'"""),
        (Setting("set", ("a=1", "b=2")), 'set=["a=1", "b=2"]'),
        (Setting("d_head", (16, 32)), "d_head=(16, 32)"),
        (Setting("d_model", range(32, 257, 32)), "d_model=range(32, 257, 32)"),
        (Command("list", (Setting("hardware", True),)), "the list command"),
        (ShellNote("in quotes"), ""),
    ],
)
def test_as_python(reference: Reference, words: str) -> None:
    assert str(reference) == words


def test_a_text_keeps_its_references() -> None:
    inner = Text("add ", Setting("gpus", 8))
    text = Text("too large; ", inner, "!")
    assert text == "too large; add gpus=8!"
    assert text.worded(lambda *each: f"<{each[0].__class__.__name__}>") == "too large; add <Setting>!"
    assert copy.copy(text).parts == text.parts == ("too large; ", "add ", Setting("gpus", 8), "!")


def test_changes_of_plain_texts() -> None:
    changed = map_text(Text("gpus: ", Setting("gpus", 8)), str.upper)
    assert (changed, changed.parts) == ("GPUS: gpus=8", ("GPUS: ", Setting("gpus", 8)))  # type: ignore[attr-defined]
    assert map_text("gpus", str.upper) == "GPUS"


def test_overrides_are_arguments() -> None:
    assert isinstance(SET, Override)
    assert issubclass(Override, Argument)
