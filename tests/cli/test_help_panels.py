"""``--help`` in panels and groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tinylm_cli.cli.app import COMMANDS, GROUPS, create_app
from tinylm_cli.cli.options import PANELS

Here = Callable[..., Any]

SCREEN = 24


def sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the lines of each section of a help page."""
    title, lines = "", list[str]()
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            yield title, lines
            title, lines = line.removesuffix(":"), []
        elif line:
            lines.append(line)
    yield title, lines


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_groups(columns: int, here: Here) -> None:
    found = dict(sections(here("--help", columns=columns).out))
    for group, names in GROUPS.items():
        assert [line.split()[0] for line in found[group] if line[2] != " "] == list(names)


def test_top_page_words(here: Here) -> None:
    page = here("--help").out
    assert "..." not in page.replace("[ARGS]...", ""), "no summary is cut off"
    for word in ("KV cache", "FLOPs", "fits", "Hugging Face", "cost"):
        assert word in " ".join(page.split())


def test_top_page_length(here: Here) -> None:
    page = here("--help").out.splitlines()
    assert len(page) <= 2 * SCREEN
    found = dict(sections("\n".join(page)))
    assert all(len(found[group]) == len(names) for group, names in GROUPS.items()), "each summary takes one line"


@pytest.mark.parametrize("name", COMMANDS)
def test_panels(name: str, here: Here) -> None:
    page = here(name, "--help").out
    found = dict(sections(page))
    assert set(found) <= {"", "Arguments", *PANELS, "Options"}
    assert [title for title in found if title in PANELS] == [title for title in PANELS if title in found]
    assert [line for line in found["Options"] if line.startswith("  -")] == [
        line for line in found["Options"] if "--help" in line
    ], "only --help has no panel"
    assert all(len(line) <= 80 for line in page.splitlines())
    assert "x>=" not in page
    assert "<=x" not in page
    if len(page.splitlines()) > 2 * SCREEN:
        assert len(found) > 4, "a long page has panels to look things up in"


def test_every_option_has_help() -> None:
    import typer

    commands = typer.main.get_command(create_app()).commands  # type: ignore[attr-defined]
    assert commands.keys() == set(COMMANDS)
    for command in commands.values():
        for parameter in command.params:
            assert parameter.help, f"{command.name} {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_choices_wrap(name: str, here: Here) -> None:
    lines = here(name, "--help", columns=60).out.splitlines()
    assert [line for line in lines if line.startswith("  -") and len(line) > 60] == []
