"""CSV: one table, numbers as they are, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Bar, Branch, Cell, Column, Heading, Note, Row, Table, Tree
from tinylm_cli.render.csv import to_csv
from tinylm_cli.render.markdown import to_markdown
from tinylm_cli.render.sanitize import escape_controls
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.units import csv_only, fixed, integer, percent


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def cell(value: str | Cell | Bar) -> str:
    """Return the value that a CSV reader finds in a cell."""
    return read(to_csv([Table((Column("a"),), ((value,),))]))[1][0]


def test_exact_numbers() -> None:
    columns = (Column("part", key="name"), Column("weights", right=True, key="weights_bytes"), Column("share"))
    rows: tuple[Row, ...] = ((Cell("a, b", "name"), binary_bytes(19_980_288), percent(1 / 3)),)
    text = to_csv([Heading("x"), Note("y"), Table(columns, rows, ("total", "19.1 MiB", "100%"))])
    assert text == 'name,weights_bytes,share\n"a, b",19980288,0.3333333333333333\n'


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (integer(-4_995_072), "-4995072"),
        (integer(10**30), "1" + "0" * 30),
        (fixed(0.02538215775182567, 3), "0.02538215775182567"),
        (Quantity("✓", value=True), "true"),
        (Quantity("✗ not finite", value=False), "false"),
        (Quantity("∞", float("inf")), ""),
        (Quantity("?", float("nan")), ""),
        (Cell(Quantity("tied", 0), "muted"), "0"),
        (Cell("✓ pass", "good", "pass"), "pass"),
        (Bar(0.5), ""),
        ("", ""),
    ],
)
def test_cells(said: str | Cell | Bar, written: str) -> None:
    assert cell(said) == written


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "＝1", "=cmd|' /C calc'!A0"])
def test_formula_injection(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert read(to_csv([Table((Column(text),), (("x",),))]))[0] == [f"'{text}"]


@given(st.text())
def test_text_round_trip(text: str) -> None:
    found = read(to_csv([Table((Column("a"), Column("b")), ((text, "x"),))]))
    assert [len(row) for row in found] == [2, 2]
    assert found[1][0].removeprefix("'") == escape_controls(text).removeprefix("'")
    assert found[1][0].lstrip()[:1] not in tuple("=+-@＝＋－＠")


def test_column_without_a_key() -> None:
    columns = (Column("name"), Column(""), Column("", key="tied_to"), Column("nominal"), Column("a × b", key=None))
    assert to_csv([Table(columns, (("a", Bar(0.5), "b", "", "2 × 3"),))]) == "name,tied_to,nominal\na,b,\n"


def test_csv_only_column() -> None:
    table = Table((Column("sizes", key=None), Column("", key="d_model")), (("2 × 3", csv_only(2)),))
    assert to_csv([table]) == "d_model\n2\n"
    assert to_text([table], Terminal(width=80)) == "sizes\n2 × 3\n"
    assert "d" not in to_markdown([table]).replace("sizes", "")


def test_tree_depth() -> None:
    tree = Tree((Column("module"), Column("n")), Branch(("root", integer(2)), (Branch((Cell("leaf"), integer(1000))),)))
    assert to_csv([tree]) == "depth,module,n\n0,root,2\n1,leaf,1000\n"


def test_main_table() -> None:
    first, main = (Table((Column(name),), (("1",),), main=name == "main") for name in ("first", "main"))
    assert to_csv([first, first]) == "first\n1\n"
    assert to_csv([first, main, first]) == "main\n1\n"


def test_empty_table() -> None:
    empty = Table((Column("a"), Column("b")), ())
    assert to_csv([empty]) == "a,b\n"


def test_view_without_a_table() -> None:
    with pytest.raises(AssertionError, match="without a table"):
        to_csv([Note("x")])
