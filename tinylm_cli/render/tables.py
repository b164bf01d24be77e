"""The tables of a view by their names: which there are, the main one, and one of them alone."""

from __future__ import annotations

from tinylm_cli.render.blocks import Heading, Stack, Table, Tree, View


def named(view: View) -> dict[str, Table | Tree | Stack]:
    """Return what a program is given of each name, in order; what has none says nothing new."""
    found: dict[str, Table | Tree | Stack] = {}
    for block in view:
        if isinstance(block, Table | Tree | Stack) and block.name:
            found.setdefault(block.name, block)
    return found


def main(view: View) -> Table | Tree | Stack:
    """Return the table that was asked for: the one marked as main, else the first."""
    tables = [block for block in view if isinstance(block, Table | Tree | Stack)]
    assert tables, "a command without a table does not offer CSV"
    return next((table for table in tables if isinstance(table, Table) and table.main), tables[0])


def others(view: View) -> list[str]:
    """Return the names of the tables beside the main one that have something in them."""
    chosen = main(view)
    return [
        name
        for name, table in named(view).items()
        if table is not chosen and (not isinstance(table, Table) or table.rows)
    ]


def alone(view: View, name: str) -> View:
    """Return the parts of one table, below the first heading of the view and the one that stands right above the table.

    Raises:
        KeyError: If no table is called that.
    """
    table = named(view)[name]
    place = view.index(table)
    headings = [index for index, block in enumerate(view[:place]) if isinstance(block, Heading)]
    above = [view[index] for index in headings if index in (headings[0], place - 1)]
    return (
        *above,
        *(block for block in view[place:] if isinstance(block, Table | Tree | Stack) and block.name == name),
    )
