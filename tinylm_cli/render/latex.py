"""Convert blocks to LaTeX: a ``table`` environment with a caption for each table, comments for everything else.

The output is pure ASCII, so that every TeX engine and document encoding accepts it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from tinylm_cli.render.blocks import (
    Bar,
    Block,
    Branch,
    Cell,
    Column,
    Failure,
    Heading,
    Listing,
    Mistake,
    Note,
    Row,
    Stack,
    Table,
    Tree,
    drawable,
)
from tinylm_cli.render.sanitize import escape_controls, to_ascii
from tinylm_cli.render.stacked_bars import legend

_PACKAGE = r"% \usepackage{booktabs}"

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line break, \\[ starts a length and \\* forbids a page break
    "]": "{]}",
    "*": "{*}",
    '"': "''",
}
_SYMBOLS = {
    "×": r"$\times$",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "−": "$-$",
    "…": r"\ldots{}",
    "—": "---",
    "–": "--",
    "·": r"$\cdot$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "√": r"$\surd$",
    "→": r"$\rightarrow$",
    "✓": r"$\surd$",
    "✗": r"$\times$",
    "Δ": r"$\Delta$",
    "\N{NO-BREAK SPACE}": "~",
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r ",
    "\N{COMBINING CEDILLA}": "c ",
    "\N{COMBINING CARON}": "v ",
}
_LETTERS = {"ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}"}
_REPLACEMENTS = _SPECIAL | _SYMBOLS | _LETTERS
_LIGATURES = frozenset("-',")
"""Characters that TeX combines into one when doubled: a dash or a quotation mark."""
_NOT_IN_LABELS = re.compile("[^a-z0-9]+")
_WRAPPED_COLUMN = r"p{0.4\linewidth}"


def to_latex(blocks: Iterable[Block]) -> str:
    """Return the blocks as LaTeX for the body of a paper, with a final newline.

    A caption consists of the table's caption, the first heading, and the detail of the heading directly above the table
    or of the first heading. A label consists of the first heading and the table's name. If a table is split, only its
    first part has a label.
    """
    shown = list(drawable(blocks))
    first = next((block for block in shown if isinstance(block, Heading)), Heading(""))
    parts, labeled = [[_PACKAGE]], {""}
    for above, block in zip([first, *shown], shown, strict=False):
        if isinstance(block, Table | Tree | Stack):
            label = "" if block.name in labeled else _label(first.text, block.name)
            labeled.add(block.name)
            detail = (above if isinstance(above, Heading) else first).detail
            parts.append(list(_table(block, _caption(block.caption, first.text, detail), label)))
        else:
            parts.append(list(_lower(block)))
    return "\n".join("".join(f"{line}\n" for line in part) for part in parts)


def _lower(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, detail):
            yield _comment(f"{text}: {detail}" if detail else text)
        case Note(text):
            yield _comment(text)
        case Listing(text):
            yield from map(_comment, text.splitlines())
        case Mistake(found):
            yield _comment(f"{found.source}: {found.code}: {found.message}")
        case Failure(message):
            yield _comment(f"error: {message}")
        case Table(columns, rows, total):
            yield from _tabular(columns, rows, total)
        case Tree(columns, root):
            yield from _tabular(columns, tuple(_tree_rows(root)), None, list(_depths(root, 0)))
        case Stack():
            yield from _lower(legend(block))


def _caption(caption: str, subject: str, detail: str) -> str:
    about = ", ".join(text for text in (subject, detail) if text)
    return ". ".join(text for text in (caption, about) if text)


def _label(subject: str, name: str) -> str:
    return _NOT_IN_LABELS.sub("-", f"{subject}-{name}".lower()).strip("-")


def _table(block: Table | Tree | Stack, caption: str, label: str) -> Iterator[str]:
    yield r"\begin{table}[htbp]"
    yield r"  \centering"
    if caption:
        yield rf"  \caption{{{latex(caption)}.}}"
    if label:
        yield rf"  \label{{tab:{label}}}"
    yield from (f"  {line}" for line in _lower(block))
    yield r"\end{table}"


def _comment(text: str) -> str:
    return f"% {to_ascii(escape_controls(text))}".rstrip()


def _tabular(
    columns: tuple[Column, ...], rows: tuple[Row, ...], total: Row | None, depths: list[int] | None = None
) -> Iterator[str]:
    """Yield the lines of a table; ``depths`` indents the first cell of each row of a tree."""
    filled = [i for i in range(len(columns)) if any(_text(row[i]) for row in rows)]
    yield rf"\begin{{tabular}}{{{''.join(_alignment(columns[i]) for i in filled)}}}"
    yield r"  \toprule"
    yield _row(latex(columns[i].header) for i in filled)
    yield r"  \midrule"
    for row, depth in zip(rows, depths or [0] * len(rows), strict=True):
        indent = rf"\hspace*{{{depth}em}}" if depth else ""
        yield _row((indent if i == 0 else "") + _cell(row[i]) for i in filled)
    if total is not None:
        yield r"  \midrule"
        yield _row(_cell(total[i]) for i in filled)
    yield r"  \bottomrule"
    yield r"\end{tabular}"


def _alignment(column: Column) -> str:
    return "r" if column.right else _WRAPPED_COLUMN if column.wrap else "l"


def _tree_rows(branch: Branch) -> Iterator[Row]:
    yield branch.cells
    for child in branch.children:
        yield from _tree_rows(child)


def _depths(branch: Branch, depth: int) -> Iterator[int]:
    yield depth
    for child in branch.children:
        yield from _depths(child, depth + 1)


def _row(cells: Iterable[str]) -> str:
    return rf"  {' & '.join(cells)} \\"


def _cell(cell: str | Cell | Bar) -> str:
    text = latex(_text(cell))
    return rf"\textbf{{{text}}}" if text and isinstance(cell, Cell) and cell.style in ("strong", "bad") else text


def _text(cell: str | Cell | Bar) -> str:
    return "" if isinstance(cell, Bar) else cell.text if isinstance(cell, Cell) else cell


def latex(text: str) -> str:
    """Return LaTeX source for ``text``, in ASCII: accents as TeX commands, other characters as escapes."""
    safe = escape_controls(text)
    pairs = zip(safe, ["", *safe], strict=False)
    return "".join(_tex_character(c) if c != before or c not in _LIGATURES else "{}" + c for c, before in pairs)


def _tex_character(character: str) -> str:
    if character in _REPLACEMENTS:
        return _REPLACEMENTS[character]
    return character if character.isascii() else _non_ascii(character)


def _non_ascii(character: str) -> str:
    letter, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) == 1 and letter.isascii() and marks[0] in _ACCENTS:
        dotless = rf"\{letter}" if letter in "ij" and _ACCENTS[marks[0]] != "c " else letter
        return rf"\{_ACCENTS[marks[0]]}{{{dotless}}}"
    return "".join(map(_tex_character, to_ascii(character)))
