"""A report shows itself: as text, in rich's colors, as a data frame, in a notebook."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

import tinylm_cli as tinylm

TINY = tinylm.load("tiny")


def test_text_equals_command_output(tinylm: Callable[..., Any]) -> None:
    assert f"{TINY.params(convention='untied')}\n" == tinylm("params", "tiny", "--convention", "untied").out


@pytest.mark.parametrize(("width", "color"), [(60, True), (100, False)])
def test_rich_prints_at_the_width_of_the_console(*, width: int, color: bool, tinylm: Callable[..., Any]) -> None:
    written = StringIO()
    console = Console(file=written, width=width, force_terminal=color, color_system="standard", _environ={})
    console.print(TINY.params(by="tensor", convention="untied"))
    env = {"COLUMNS": str(width), "FORCE_COLOR": "1" if color else None}
    expected = tinylm("params", "tiny", "--by", "tensor", "--convention", "untied", env=env).out
    assert [line.rstrip() for line in written.getvalue().splitlines()] == expected.splitlines()


def test_a_data_frame_holds_exact_numbers() -> None:
    report = TINY.params(by="tensor")
    frame = report.to_frame()
    assert frame["params"].sum() == report.total_params
    assert list(report.to_frame("tying")["params"]) == [858_880, 826_112, 32_768]
    with pytest.raises(tinylm.TinylmError, match="no such table: x"):
        report.to_frame("x")


def test_missing_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(tinylm.TinylmError) as raised:
        TINY.params().to_frame()
    assert raised.value.help == "pip install pandas"


def test_notebook_html() -> None:
    html = TINY.params()._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 2
    assert "826,112" in html


def test_attributes_pass_through() -> None:
    report = TINY.params()
    assert "total_params" in dir(report)
    assert repr(report) == "<ModelParams tiny: 826K parameters, 3.15 MiB in float32>"
    assert copy.copy(report).total_params == 826_112
    with pytest.raises(AttributeError, match="ModelParams has no attribute total"):
        report.total  # noqa: B018
