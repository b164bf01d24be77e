"""A report together with its view: what the Python API returns, and what a notebook shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tinylm_cli.errors import TinylmError
from tinylm_cli.render.blocks import Heading, View, main_table, tables_by_name

if TYPE_CHECKING:
    import pandas
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, repr=False)
class Report(Generic[T_co]):
    """A report that shows itself, and passes every other attribute through to the record it holds.

    ``report.total_params`` is ``report.data.total_params``; only the second is known to a type checker.
    ``print(report)`` writes the text of the command at 80 columns, ``rich.print(report)`` at the console's width and in
    its colors, and a notebook shows tables.

    Attributes:
        data: The record, with the fields that docs/json.md lists.
        view: Makes what people see.
        tables: Makes the view whose tables :meth:`to_frame` reads, if it has more of them than ``view``.
    """

    data: T_co
    view: Callable[[], View]
    tables: Callable[[], View] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain dictionaries, lists and numbers, as ``--format json`` writes it."""
        from tinylm_cli.render.json import plain

        return cast("dict[str, Any]", plain(self.data))

    def to_frame(self, table: str | None = None) -> pandas.DataFrame:
        """Return one table as a pandas data frame: the columns and exact values of ``--format csv``.

        Args:
            table: What ``--table`` takes; None for the main table.

        Raises:
            TinylmError: If pandas is not installed, or no table has that name.
        """
        try:
            import pandas
        except ImportError as error:
            raise TinylmError("to_frame() needs pandas", help="pip install pandas") from error
        from tinylm_cli.render.csv import to_records

        view = (self.tables or self.view)()
        tables = tables_by_name(view)
        if table is not None and table not in tables:
            raise TinylmError(f"no table is called {table}", help=f"the tables are {', '.join(tables)}")
        names, rows = to_records(main_table(view) if table is None else tables[table])
        return pandas.DataFrame(rows, columns=names)

    def __str__(self) -> str:
        """Return the text that the command prints, 80 columns wide and without color."""
        from tinylm_cli.render.terminal import Terminal
        from tinylm_cli.render.text import to_text

        return to_text(self.view(), Terminal())

    def __repr__(self) -> str:
        """Return the class of the record and the first heading of its view."""
        heading = next((block for block in self.view() if isinstance(block, Heading)), Heading(""))
        return f"<{type(self.data).__name__} {heading.text}: {heading.detail}>" if heading.text else f"<{self.data!r}>"

    def __rich__(self) -> RichView:
        """Return what rich prints at the width and in the colors of its console."""
        return RichView(self.view())

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from tinylm_cli.render.html import to_html

        return to_html(self.view())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("data", "view", "tables"):  # absent while a copy is being made
            raise AttributeError(name)
        try:
            return getattr(self.data, name)
        except AttributeError:
            raise AttributeError(f"{type(self.data).__name__} has no attribute {name}") from None

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *(name for name in dir(self.data) if not name.startswith("_"))})


@dataclass(frozen=True)
class RichView:
    """A view that rich can print.

    Attributes:
        view: The blocks.
    """

    view: View

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        from tinylm_cli.render.terminal import Terminal
        from tinylm_cli.render.text import to_text

        color = console.is_terminal and not console.no_color
        terminal = Terminal(options.max_width, color=color, unicode=not options.ascii_only)
        yield Text.from_ansi(to_text(self.view, terminal).rstrip("\n"), no_wrap=True)
