"""The return type of the Python API: a record with its view, printable and displayable in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tinylm_cli.config.similar_names import suggest
from tinylm_cli.errors import UnableError, UsageError
from tinylm_cli.render.blocks import AnyTable, Heading, View, main_table, tables_by_name

if TYPE_CHECKING:
    import pandas
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

T_co = TypeVar("T_co", covariant=True)


class Viewed:
    """An object that is displayed as a view: printed, by rich, or in a notebook."""

    def _view(self) -> View:
        """Return the view."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Return the view as text, 80 columns wide, without color and without the last line break."""
        from tinylm_cli.render.terminal import Terminal
        from tinylm_cli.render.text import to_text

        return to_text(self._view(), Terminal()).removesuffix("\n")

    def __repr__(self) -> str:
        """Return the class of the object and the first heading of its view, or else the last line, a summary."""
        heading = next((block for block in self._view() if isinstance(block, Heading)), None)
        shown = f"{heading.text}: {heading.detail}" if heading else str(self).rpartition("\n")[2]
        return f"<{self._kind()} {shown}>"

    def _kind(self) -> str:
        return type(self).__name__

    def __rich__(self) -> RichView:
        """Return a rich renderable of the view."""
        return RichView(self._view())

    def _repr_html_(self) -> str:
        """Return the HTML that a notebook displays."""
        from tinylm_cli.render.html import to_html

        return to_html(self._view())


@dataclass(frozen=True, repr=False)
class Report(Viewed, Generic[T_co]):
    """A record with its view; attributes of the record can be read directly from the report.

    ``report.total_params`` is ``report.data.total_params``; only ``report.data.…`` is typed.
    ``print(report)`` prints the output of the command at 80 columns, with keyword arguments in place of options.
    ``rich.print(report)`` uses the width and colors of the console. A notebook displays tables.

    Attributes:
        data: The record; docs/json.md lists its fields.
        view: Returns the view to display.
        tables: Returns the view that :meth:`to_frame` reads, if its tables differ from the tables of ``view``.
        listing: The command's report, if it lists ``data`` among the results for several models.
    """

    data: T_co
    view: Callable[[], View]
    tables: Callable[[], View] | None = None
    listing: object = None

    def to_dict(self) -> dict[str, Any]:
        """Return the document that the command writes with ``--format json``, as dictionaries, lists and numbers.

        It has a ``schema_version``. The documents of ``params`` and ``validate`` list their results, here one, as
        ``models`` and ``files``.
        """
        from tinylm_cli.render.json import as_document

        return as_document(self.data if self.listing is None else self.listing)

    def to_frame(self, table: str | None = None) -> pandas.DataFrame:
        """Return a table as a pandas data frame, with the columns and exact values of ``--format csv``.

        Args:
            table: Name of the table, as for ``--table``; None for the main table.

        Raises:
            UnableError: If pandas is not installed.
            UsageError: If the report has no table, or none of that name.
        """
        try:
            import pandas
        except ImportError as error:
            raise UnableError("to_frame() needs pandas", help="pip install pandas") from error
        from tinylm_cli.render.csv import to_records

        view = (self.tables or self.view)()
        if not any(isinstance(block, AnyTable) for block in view):
            raise UsageError("this report has no table", help="to_dict() returns its data")
        tables = tables_by_name(view)
        if table is not None and table not in tables:
            suggestion = suggest(str(table), tables)
            listed = f"the tables are {', '.join(tables)}"
            raise UsageError(f"no such table: {table}", help=f"did you mean {suggestion}?" if suggestion else listed)
        names, rows = to_records(main_table(view) if table is None else tables[table])
        return pandas.DataFrame(rows, columns=names)

    def _view(self) -> View:
        from tinylm_cli.render.views.ignored_keys import with_ignored_keys

        return with_ignored_keys(self.view(), self.data if self.listing is None else self.listing)

    def _kind(self) -> str:
        return type(self.data).__name__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in (
            "data",
            "view",
            "tables",
            "listing",
        ):  # not set yet while the object is being copied
            raise AttributeError(name)
        try:
            return getattr(self.data, name)
        except AttributeError:
            raise AttributeError(f"{type(self.data).__name__} has no attribute {name}") from None

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *(name for name in dir(self.data) if not name.startswith("_"))})


@dataclass(frozen=True)
class RichView:
    """A rich renderable of a view.

    Attributes:
        view: The view.
    """

    view: View

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        from tinylm_cli.render.terminal import Terminal
        from tinylm_cli.render.text import to_text

        color = console.is_terminal and not console.no_color
        terminal = Terminal(options.max_width, color=color, unicode=not options.ascii_only)
        yield Text.from_ansi(to_text(self.view, terminal).rstrip("\n"), no_wrap=True)
