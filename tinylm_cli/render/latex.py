"""Convert blocks to LaTeX: a ``table`` environment with a caption for each table, comments for everything else.

The output is pure ASCII, so that every TeX engine and document encoding accepts it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from tinylm_cli.render.blocks import Bar, Block, Cell, Column, Heading, Row, Stack, Style, Table, Tree, drawable
from tinylm_cli.render.document import DocumentFormat, cell_text
from tinylm_cli.render.sanitize import escape_controls, to_ascii

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
    "²": "$^2$",
    "³": "$^3$",
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
    "\N{EM SPACE}": r"\quad{}",  # before the name of a node of a tree
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
            parts.append(list(_Latex().lines(block)))
    return "\n".join("".join(f"{line}\n" for line in part) for part in parts)


class _Latex(DocumentFormat):
    def heading(self, text: str, detail: str) -> Iterator[str]:
        yield _comment(f"{text}: {detail}" if detail else text)

    def note(self, text: str, style: Style) -> Iterator[str]:  # noqa: ARG002 - a comment has no style
        yield _comment(text)

    def listing(self, lines: Sequence[str], language: str) -> Iterator[str]:  # noqa: ARG002
        yield from map(_comment, lines)

    def error(self, place: str, message: str, remedy: str) -> Iterator[str]:  # noqa: ARG002 - the fact is enough
        yield _comment(f"{place}: {message}")

    def table(self, columns: Sequence[Column], rows: Sequence[Row], total: Row | None) -> Iterator[str]:
        yield rf"\begin{{tabular}}{{{''.join(map(_alignment, columns))}}}"
        yield r"  \toprule"
        yield _row(latex(column.header) for column in columns)
        yield r"  \midrule"
        yield from (_row(map(_cell, row)) for row in rows)
        if total is not None:
            yield r"  \midrule"
            yield _row(map(_cell, total))
        yield r"  \bottomrule"
        yield r"\end{tabular}"


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
    yield from (f"  {line}" for line in _Latex().lines(block))
    yield r"\end{table}"


def _comment(text: str) -> str:
    return f"% {to_ascii(escape_controls(text))}".rstrip()


def _alignment(column: Column) -> str:
    return "r" if column.right else _WRAPPED_COLUMN if column.wrap else "l"


def _row(cells: Iterable[str]) -> str:
    return rf"  {' & '.join(cells)} \\"


def _cell(cell: str | Cell | Bar) -> str:
    text = latex(cell_text(cell))
    return rf"\textbf{{{text}}}" if text and isinstance(cell, Cell) and cell.style in ("strong", "bad") else text


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
