"""Tables by name: which there are, which is the main one, and one alone."""

from __future__ import annotations

import pytest

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import Branch, Column, Heading, Note, Stack, StackBar, Table, Tree, View, drawn
from tinylm_cli.render.csv import to_csv
from tinylm_cli.render.tables import alone, main, named, others
from tinylm_cli.render.units import unseen

A = (Column("a"),)
FIRST = Table(A, (("1",),), name="first")
TREE = Tree(A, Branch(("root",)), name="tree")
STACK = Stack("held", ("weights",), (StackBar("", (binary_bytes(1),), binary_bytes(1)),), name="stack")
DRAWN = Table(A, (("1",),))
EMPTY = Table(A, (), name="empty")


def test_what_has_a_name_is_found_by_it() -> None:
    assert named((FIRST, Note("x"), DRAWN, TREE, STACK, EMPTY)) == {
        "first": FIRST,
        "tree": TREE,
        "stack": STACK,
        "empty": EMPTY,
    }


def test_the_main_table_is_the_marked_one_or_the_first() -> None:
    marked = DRAWN._replace(main=True)
    assert main((TREE, FIRST)) is TREE
    assert main((TREE, FIRST, marked)) is marked


def test_the_others_are_those_with_something_in_them() -> None:
    assert others((FIRST, TREE, DRAWN, STACK, EMPTY)) == ["tree", "stack"]
    assert others((FIRST, FIRST._replace(name="second", main=True))) == ["first"]
    assert others((FIRST,)) == []


def test_one_alone_keeps_the_first_heading_and_the_one_right_above() -> None:
    top, middle, near = Heading("small"), Heading("Memory"), Heading("Time")
    view = (top, FIRST, middle, TREE, Note("x"), near, STACK, EMPTY)
    assert alone(view, "first") == (top, FIRST)
    assert alone(view, "tree") == (top, middle, TREE)
    assert alone(view, "stack") == (top, near, STACK)
    assert alone(view, "empty") == (top, EMPTY)
    with pytest.raises(KeyError):
        alone(view, "none")


def test_parts_of_one_name_are_one_table_of_which_a_program_is_given_the_first() -> None:
    whole = Table((Column("", key="a"),), ((unseen(1),),), name="parts")
    parts = [Table(A, ((word,),), name="parts") for word in ("1", "2")]
    view: View = (Heading("small"), whole, *parts, Note("x"), FIRST)
    assert named(view) == {"parts": whole, "first": FIRST}
    assert alone(view, "parts") == (Heading("small"), whole, *parts)
    assert to_csv(view) == "a\n1\n"
    assert list(drawn(alone(view, "parts"))) == [Heading("small"), *parts]
