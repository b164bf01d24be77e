"""Tables too wide for the terminal: gone over several, complete, alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.render.blocks import Cell, Column, Row, Table
from tinylm_cli.render.cell_width import cell_len
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text


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
    return [part.splitlines() for part in shown.split("\n\n")]


def test_what_fits_is_one_table() -> None:
    (lines,) = tables(to_text([table(3)], Terminal(width=80)))
    assert lines[0].split() == ["name", "base", "v1", "ratio", "v2", "ratio", "v3", "ratio"]


def test_ratios_make_room_for_another_value_in_the_same_table() -> None:
    (lines,) = tables(to_text([table(3)], Terminal(width=50)))
    assert lines[0].split() == ["name", "base", "v1", "v2", "v3"]


def test_more_go_under_it_beside_the_first_columns_and_with_their_own_total() -> None:
    first, second = tables(to_text([table(4, total=True)], Terminal(width=45)))
    assert [first[0].split(), second[0].split()] == [["name", "base", "v1", "v2", "v3"], ["name", "base", "v4"]]
    assert [len(part) for part in (first, second)] == [4, 4], "a header, a row, a rule, a total"
    assert set(second[2]) == {"─"}


def test_what_costs_no_table_more_is_shown_in_all_of_them() -> None:
    parts = tables(to_text([table(4)], Terminal(width=50)))
    assert [part[0].count("ratio") for part in parts] == [2, 2]


def test_a_column_is_in_all_tables_or_in_none_however_wide_each_is() -> None:
    columns = [Column("name"), Column("base", right=True)]
    row: list[str | Cell] = ["first", "b" * 8]
    for group, value in ((1, "v" * 30), (2, "v" * 8)):
        columns += [Column(f"v{group}", group=group), Column("change", keep=4, group=group)]
        row += [value, "+1"]
    parts = tables(to_text([Table(tuple(columns), (tuple(row),))], Terminal(width=50)))
    assert [part[0].split() for part in parts] == [["name", "base", "v1"], ["name", "base", "v2"]]


@given(st.integers(0, 12), st.integers(5, 19), st.integers(47, 200))
def test_nothing_that_always_stays_is_left_out(groups: int, widths: int, width: int) -> None:
    parts = tables(to_text([table(groups, widths=widths)], Terminal(width=width)))
    named = [word for part in parts for word in part[0].split() if word.startswith("v")]
    assert named == [f"v{group}" for group in range(1, groups + 1)]
    assert len({"ratio" in part[0] for part in parts}) == 1
    for part in parts:
        assert part[0].split()[:2] == ["name", "base"]
        assert max(map(cell_len, part)) <= width
