"""Tables in a terminal: fitted to its width, and aligned by cells, not by characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.render.blocks import Bar, Branch, Cell, Column, Row, Table, Tree
from tinylm_cli.render.sanitize import for_terminal
from tinylm_cli.render.styled_lines import cell_len
from tinylm_cli.render.table_layout import TableLayout, split_table, tree_rows
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text

words = st.text(alphabet="ab 宽é─\u0301🙂\x1b", max_size=30)


def _lines(layout: TableLayout) -> list[str]:
    header = ["".join(cell.text for cell in layout.header())] if layout.has_headers else []
    return [*header, *("".join(cell.text for cell in row) for lines in layout.lines() for row in lines)]


def _row(*cells: str | Cell | Bar) -> Row:
    return cells


def test_alignment() -> None:
    layout = TableLayout(
        (Column("name"), Column("size", right=True)), (_row("a", "1"), _row("longer", "1,000")), Terminal()
    )
    assert _lines(layout) == ["name     size", "a           1", "longer  1,000"]
    assert layout.rule() == "─" * 13


def test_wide_characters() -> None:
    layout = TableLayout((Column("n"), Column("x", right=True)), (_row("宽宽", "1"), _row("abcd", "22")), Terminal())
    assert _lines(layout) == ["n      x", "宽宽   1", "abcd  22"]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (80, ["law  measured", "one  one two three four five six seven", "two  short"]),
        (40, ["law  measured", "one  one two three four five six seven", "two  short"]),
        (30, ["law  measured                 ", "one  one two three four five  ", "     six seven", "two  short"]),
        (25, ["law", "one", "        one two three", "        four five six", "        seven", "two", "        short"]),
    ],
)
def test_wrap_column(width: int, lines: list[str]) -> None:
    columns = (Column("law"), Column("measured", wrap=True))
    rows = (_row("one", "one two three four five six seven"), _row("two", "short"))
    found = _lines(TableLayout(columns, rows, Terminal(width)))
    assert [line.rstrip() for line in found] == [line.rstrip() for line in lines]


def test_widest_column_is_cut() -> None:
    columns = (Column("name", shrink=True), Column("source", shrink=True))
    (line,) = _lines(TableLayout(columns, (_row("a" * 20, "b" * 40),), Terminal(50)))[1:]
    assert line == "a" * 20 + "  " + "b" * 9 + "…" + "b" * 18


NAMES = ("decode_flops_per_token", "decode_read_bytes_per_token")


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (25, ["decode…ps_per_token  1234", "decode…es_per_token  1234"]),
        (20, ["decode_flops_p  1234", "er_token", "decode_read_by  1234", "tes_per_token"]),
    ],
)
def test_cut_names_stay_distinct(width: int, lines: list[str]) -> None:
    rows = tuple(_row(name, "1234") for name in NAMES)
    found = _lines(TableLayout((Column("", shrink=True), Column("")), rows, Terminal(width)))
    assert [line.rstrip() for line in found] == lines


@given(st.lists(words, min_size=1, max_size=4, unique=True), st.integers(12, 40))
def test_cut_names_stay_distinct_at_any_width(names: list[str], width: int) -> None:
    layout = TableLayout(
        (Column("", shrink=True), Column("")), tuple(_row(name, "1") for name in names), Terminal(width)
    )
    told = ["".join("".join(cell.text for cell in line[:1]).rstrip() for line in lines) for lines in layout.lines()]
    assert len(set(told)) == len({for_terminal(name, Terminal(width)).rstrip() for name in names})


def test_empty_column() -> None:
    layout = TableLayout((Column("a"), Column("b"), Column("c")), (_row("1", "", "3"), _row("4", "", "6")), Terminal())
    assert _lines(layout) == ["a  c", "1  3", "4  6"]


def test_bar_scale() -> None:
    layout = TableLayout(
        (Column(""), Column("")), (_row("a", Bar(0.5)), _row("b", Bar(0.25)), _row("c", Bar(1e-9))), Terminal()
    )
    assert [line.rstrip() for line in _lines(layout)] == ["a  " + "█" * 20, "b  " + "█" * 10, "c  ▏"]
    plain = TableLayout((Column(""),), (_row(Bar(0.5)), _row(Bar(0.1)), _row(Bar(0.0))), Terminal(unicode=False))
    assert [line.rstrip() for line in _lines(plain)] == ["#" * 20, "#" * 4, ""]


def test_order_of_shrinking() -> None:
    columns = (
        Column("name", shrink=True),
        Column("always", right=True),
        Column("late", keep=6),
        Column("first", keep=1),
        Column("second", keep=2),
    )
    row = _row("a name of quite some length, forty", "1" * 10, "2" * 10, "3" * 10, "4" * 10)
    kept = {
        width: TableLayout(columns, (row,), Terminal(width)).has_headers
        and "".join(cell.text for cell in TableLayout(columns, (row,), Terminal(width)).header()).split()
        for width in (90, 78, 60, 50, 40)
    }
    assert kept == {
        90: ["name", "always", "late", "first", "second"],
        78: ["name", "always", "late", "second"],
        60: ["name", "always", "late"],
        50: ["name", "always", "late"],
        40: ["name", "always", "late"],
    }
    cut = _lines(TableLayout(columns, (row,), Terminal(50)))[1]
    assert "…" in cut
    assert cell_len(cut) == 50


@given(
    st.integers(40, 120),
    st.booleans(),
    st.lists(st.tuples(words, words, words), min_size=1, max_size=4),
)
def test_lines_fit(width: int, unicode: bool, cells: list[tuple[str, str, str]]) -> None:
    columns = (Column("a name", shrink=True), Column("b", right=True, keep=8), Column("宽", keep=1))
    layout = TableLayout(columns, cells, Terminal(width, unicode=unicode))
    lines = _lines(layout)
    assert all(cell_len(line) <= width for line in lines)
    assert len({cell_len(line) for line in lines}) == 1


@given(st.text("ab宽", min_size=41, max_size=90), st.integers(16, 40), st.booleans())
def test_cut_in_the_middle(text: str, width: int, unicode: bool) -> None:
    terminal = Terminal(width, unicode=unicode)
    (line,) = _lines(TableLayout((Column("", shrink=True),), (_row(text),), terminal))
    assert cell_len(line) <= width
    head, mark, tail = line.partition("…" if unicode else "...")
    assert mark
    assert for_terminal(text, terminal).startswith(head.rstrip())
    assert for_terminal(text, terminal).endswith(tail.strip())
    assert 3 < cell_len(head) < cell_len(tail)


def test_row_length_is_checked() -> None:
    with pytest.raises(AssertionError, match="2 cells under 1 columns"):
        TableLayout((Column("a"),), (_row("1", "2"),), Terminal())


def test_tree_guides() -> None:
    leaf = Branch((Cell("leaf"), "1"))
    root = Branch((Cell("root"), "3"), (Branch((Cell("a"), "2"), (leaf, leaf)), leaf))
    assert [(row[0].text if isinstance(row[0], Cell) else row[0]) for row in tree_rows(root)] == [
        "root",
        "├─ a",
        "│  ├─ leaf",
        "│  └─ leaf",
        "└─ leaf",
    ]
    text = to_text([Tree((Column("m"), Column("n", right=True)), root)], Terminal(unicode=False))
    assert text.isascii()
    assert "|  `- leaf  1" in text


def test_total() -> None:
    table = Table((Column("a"), Column("n", right=True)), (_row("x", "1"),), _row("total", "1"))
    assert to_text([table], Terminal()) == "a      n\nx      1\n────────\ntotal  1\n"


def table(groups: int, *, widths: int = 8, total: bool = False) -> Table:
    """Return a table of a name, a base, and for each group a value and a ratio that may be left out."""
    columns = [Column("name"), Column("base", right=True)]
    row: list[str | Cell] = ["first", "b" * widths]
    for group in range(1, groups + 1):
        columns += [Column(f"v{group}", right=True, group=group), Column("ratio", right=True, keep=6, group=group)]
        row += [f"{group}".rjust(widths, "v"), f"×{group}".ljust(5, "0")]
    cells: Row = tuple(row)
    return Table(tuple(columns), (cells,), total=cells if total else None)


def tables(shown: str) -> list[list[str]]:
    """Return the lines of each table, without the note on hidden columns."""
    return [part.splitlines() for part in shown.split("\n\n") if not part.startswith("Hidden column")]


def test_split_not_needed() -> None:
    (lines,) = tables(to_text([table(3)], Terminal(width=80)))
    assert lines[0].split() == ["name", "base", "v1", "ratio", "v2", "ratio", "v3", "ratio"]


def test_split_drops_optional_columns_first() -> None:
    (lines,) = tables(to_text([table(3)], Terminal(width=50)))
    assert lines[0].split() == ["name", "base", "v1", "v2", "v3"]


def test_split_repeats_the_first_columns() -> None:
    first, second = tables(to_text([table(4, total=True)], Terminal(width=45)))
    assert [first[0].split(), second[0].split()] == [["name", "base", "v1", "v2", "v3"], ["name", "base", "v4"]]
    assert [len(part) for part in (first, second)] == [4, 4], "a header, a row, a rule, a total"
    assert set(second[2]) == {"─"}


def test_split_keeps_free_columns() -> None:
    parts = tables(to_text([table(4)], Terminal(width=50)))
    assert [part[0].count("ratio") for part in parts] == [2, 2]


def test_split_columns() -> None:
    columns = [Column("name"), Column("base", right=True)]
    row: list[str | Cell] = ["first", "b" * 8]
    for group, value in ((1, "v" * 30), (2, "v" * 8)):
        columns += [Column(f"v{group}", group=group), Column("change", keep=4, group=group)]
        row += [value, "+1"]
    parts = tables(to_text([Table(tuple(columns), (tuple(row),))], Terminal(width=50)))
    assert [part[0].split() for part in parts] == [["name", "base", "v1"], ["name", "base", "v2"]]


@given(st.integers(0, 12), st.integers(5, 19), st.integers(47, 200))
def test_split_keeps_every_group(groups: int, widths: int, width: int) -> None:
    parts = tables(to_text([table(groups, widths=widths)], Terminal(width=width)))
    named = [word for part in parts for word in part[0].split() if word.startswith("v")]
    assert named == [f"v{group}" for group in range(1, groups + 1)]
    assert len({"ratio" in part[0] for part in parts}) == 1
    for part in parts:
        assert part[0].split()[:2] == ["name", "base"]
        assert max(map(cell_len, part)) <= width


@pytest.mark.parametrize("unicode", [True, False])
def test_cut_lists_of_layers(*, unicode: bool) -> None:
    """A shortened list of layers is never cut into something that reads like other layers."""
    dots = "…" if unicode else "..."
    texts = [
        "2, 8..12, …, 21..25 × 12 local, each (window 1,024)",
        "blocks.{2, 8..12, …, 25}.feed_forward.up_proj.weight",
    ]
    starts = (f"2, {dots}, 21..25 ", f"blocks.{{2, {dots}, 25}}.")
    for width in (46, 60):
        columns = (Column("module", shrink=True), Column("parameters", right=True))
        lines = _lines(TableLayout(columns, [(text, "1") for text in texts], Terminal(width=width, unicode=unicode)))
        assert all(line.startswith(start) for line, start in zip(lines[1:], starts, strict=True)), lines


def test_parts_of_differences_omit_equal_rows() -> None:
    columns = (Column("field"), Column("base"), *(Column(name, group=i) for i, name in enumerate("abc", start=1)))
    rows = (_row("x" * 20, "1", "1", "2", "1"), _row("y" * 20, "1", "3", "1", ""), _row("z" * 20, "0", "0", "0", "4"))
    for of_differences, kept in ((True, ["y", "x", "z"]), (False, ["xyz"] * 3)):
        parts = split_table(columns, rows, Terminal(30), of_differences=of_differences)
        assert ["".join(str(row[0])[0] for row in part.rows) for part in parts] == kept
    (whole,) = split_table(columns, rows, Terminal(80), of_differences=True)
    assert len(whole.rows) == 3
