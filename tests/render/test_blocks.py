"""Blocks: the tables of a view by name, the main one, a single one."""

from __future__ import annotations

import pytest

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import (
    Branch,
    Column,
    Heading,
    Note,
    Stack,
    StackBar,
    Table,
    Tree,
    View,
    drawable,
    main_table,
    other_tables,
    single_table,
    tables_by_name,
)
from tinylm_cli.render.csv import to_csv
from tinylm_cli.render.units import csv_only

A = (Column("a"),)
FIRST = Table(A, (("1",),), name="first")
TREE = Tree(A, Branch(("root",)), name="tree")
STACK = Stack("held", ("weights",), (StackBar("", (binary_bytes(1),), binary_bytes(1)),), name="stack")
DRAWN = Table(A, (("1",),))
EMPTY = Table(A, (), name="empty")


def test_tables_by_name() -> None:
    assert tables_by_name((FIRST, Note("x"), DRAWN, TREE, STACK, EMPTY)) == {
        "first": FIRST,
        "tree": TREE,
        "stack": STACK,
        "empty": EMPTY,
    }


def test_main_table() -> None:
    marked = DRAWN._replace(main=True)
    assert main_table((TREE, FIRST)) is TREE
    assert main_table((TREE, FIRST, marked)) is marked


def test_other_tables() -> None:
    assert other_tables((FIRST, TREE, DRAWN, STACK, EMPTY)) == ["tree", "stack"]
    assert other_tables((FIRST, FIRST._replace(name="second", main=True))) == ["first"]
    assert other_tables((FIRST,)) == []


def test_single_table_keeps_its_headings() -> None:
    top, middle, near = Heading("small"), Heading("Memory"), Heading("Time")
    view = (top, FIRST, middle, TREE, Note("x"), near, STACK, EMPTY)
    assert single_table(view, "first") == (top, FIRST)
    assert single_table(view, "tree") == (top, middle, TREE)
    assert single_table(view, "stack") == (top, near, STACK)
    assert single_table(view, "empty") == (top, EMPTY)
    with pytest.raises(KeyError):
        single_table(view, "none")


def test_parts_of_one_table() -> None:
    whole = Table((Column("", key="a"),), ((csv_only(1),),), name="parts")
    parts = [Table(A, ((word,),), name="parts") for word in ("1", "2")]
    view: View = (Heading("small"), whole, *parts, Note("x"), FIRST)
    assert tables_by_name(view) == {"parts": whole, "first": FIRST}
    assert single_table(view, "parts") == (Heading("small"), whole, *parts)
    assert to_csv(view) == "a\n1\n"
    assert list(drawable(single_table(view, "parts"))) == [Heading("small"), *parts]
