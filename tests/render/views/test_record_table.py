"""A column reads its field: its text in the terminal and in CSV."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import Bar
from tinylm_cli.render.csv import to_csv
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.units import percentages
from tinylm_cli.render.views.record_table import (
    bar,
    computed,
    field,
    listed,
    only_csv,
    record_table,
    repeats,
    shape_cell,
)


@dataclass
class Size:
    total_bytes: int


@dataclass
class Part:
    name: str
    count: int
    size: Size
    shape: tuple[int, ...] | None
    share: float
    note: str | None = None


PARTS = [Part("a", 1, Size(1024), (2, 3), 0.25), Part("b", 4, Size(3072), None, 0.75, "x")]


def test_columns() -> None:
    columns = (
        field("part", "name", style="name"),
        repeats(),
        field("bytes", "total_bytes", binary_bytes, parent="size"),
        computed("shape", "shape", lambda part: shape_cell(part.shape)),
        listed("share", "share", percentages([part.share for part in PARTS])),
        bar("share"),
        *only_csv("note"),
    )
    table = record_table(PARTS, columns, name="parts")
    assert [column.right for column in table.columns[:5]] == [False, True, True, False, True]
    assert isinstance(table.rows[0][5], Bar)
    lines = to_text([table], Terminal()).splitlines()
    assert [line.split()[:5] for line in lines] == [
        ["part", "bytes", "shape", "share"],
        ["a", "1.00", "KiB", "2", "×"],
        ["b", "×", "4", "3.00", "KiB"],
    ]
    assert "note" not in lines[0]
    assert to_csv([table]).splitlines() == [
        "name,count,total_bytes,shape,share,note",
        'a,1,1024,"[2, 3]",0.25,',
        "b,4,3072,,0.75,x",
    ]


def test_none_is_empty() -> None:
    assert to_csv([record_table(PARTS, [field("note", "note")])]).splitlines() == ["note", '""', "x"]
