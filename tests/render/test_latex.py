"""LaTeX: booktabs tables in ASCII, with hostile names; compiled if TeX is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.errors import Diagnostic
from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import (
    Bar,
    Block,
    Branch,
    Cell,
    Column,
    DiagnosticBlock,
    ErrorBlock,
    Heading,
    Listing,
    Note,
    Table,
    Tree,
)
from tinylm_cli.render.latex import latex, to_latex
from tinylm_cli.render.sanitize import OUR_SIGNS

HOSTILE = [
    "a & b \\\\ \\hline",
    r"\input{/etc/passwd}",
    r"\write18{id}",
    "100% $x^2_i$ #1 {~}",
    "^^M^^5cinput",
    "a\n\\end{tabular}\rb",
    "[2pt]",
    "*",
    "--set x=1 --- ''a'' ,,b,, ``c`` ?` !` \"d\"",
    "<a|b>",
    "größe naïve Ångström ğ 宽 🙂",
    "\u202e\x1b[31m\u2028",
    OUR_SIGNS,
    "\udc80",
]

WRITTEN = re.compile(
    r"[A-Za-z0-9 .:;!?/()=+@,'\"-]|\\[{}$&#%_]|\{[][*]\}|\{\}|''"
    r"|\\(?:quad|textbackslash|textasciicircum|textasciitilde|textasciigrave|textless|textgreater|textbar|ldots)\{\}"
    r"|\\(?:ss|ae|AE|o|O|l|L)\{\}|\$(?:-|\^[0-9]|\\[a-zA-Z]+)\$|~|\\[`'^~\"rcv] ?\{\\?[A-Za-z]\}"
)
"""Everything that may come of a text: plain signs, and commands that print one."""


@given(st.one_of(st.sampled_from(HOSTILE), st.text()))
def test_any_text(text: str) -> None:
    written = latex(text)
    assert written.isascii()
    assert not WRITTEN.sub("", written), written
    assert not re.search(r"--|,,", written) or {"—", "–"} & set(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("d_model", r"d\_model"),
        ("4,995,072", "4,995,072"),
        ("12.0%", r"12.0\%"),
        ("256 × 128", r"256 $\times$ 128"),
        ("−12", "$-$12"),
        ("--set", "-{}-set"),
        ("größe", r"gr\"{o}\ss{}e"),
        ("naïve", r"na\"{\i}ve"),
        ("宽", r"\textbackslash{}u5bbd"),
    ],
)
def test_text(text: str, written: str) -> None:
    assert latex(text) == written


def test_table() -> None:
    columns = (Column("part_a"), Column("size", right=True), Column(""))
    table = Table(columns, (("x & y", Cell(binary_bytes(2048), "strong"), Bar(0.5)),), ("total", "2.00 KiB", ""))
    table = table._replace(name="held_parts", caption="What is held")
    assert to_latex([Heading("small", "a 100% view"), table, Note("a\nnote")]) == (
        "% \\usepackage{booktabs}\n\n"
        "% small: a 100% view\n\n"
        "\\begin{table}[htbp]\n"
        "  \\centering\n"
        "  \\caption{What is held. small, a 100\\% view.}\n"
        "  \\label{tab:small-held-parts}\n"
        "  \\begin{tabular}{lr}\n"
        "    \\toprule\n"
        "    part\\_a & size \\\\\n"
        "    \\midrule\n"
        "    x \\& y & \\textbf{2.00 KiB} \\\\\n"
        "    \\midrule\n"
        "    total & 2.00 KiB \\\\\n"
        "    \\bottomrule\n"
        "  \\end{tabular}\n"
        "\\end{table}\n\n"
        "% a\\nnote\n"
    )


def test_tree() -> None:
    leaf = Branch((Cell("leaf"), "1"))
    tree = Tree((Column("module"), Column("n", right=True)), Branch(("root", "2"), (Branch(("in", "1"), (leaf,)),)))
    rows = to_latex([tree]).splitlines()[8:11]
    assert rows == [r"    root & 2 \\", r"    \quad{}in & 1 \\", r"    \quad{}\quad{}leaf & 1 \\"]


def captions(*blocks: Block) -> list[str]:
    return re.findall(r"\\caption\{(.*)\}", to_latex(blocks))


def test_caption() -> None:
    table = Table((Column("a"),), (("1",),), caption="Parts")
    first, second = Heading("small", "5M parameters"), Heading("Memory", "19.1 MiB")
    found = captions(first, table, second, table, Note("x"), table)
    assert found == ["Parts. small, 5M parameters.", "Parts. small, 19.1 MiB.", "Parts. small, 5M parameters."]
    assert captions(table) == ["Parts."]
    assert captions(first, table._replace(caption="")) == ["small, 5M parameters."]
    assert captions(table._replace(caption="")) == []


def test_wrap_column() -> None:
    columns = (Column("n", right=True), Column("what", wrap=True))
    assert r"\begin{tabular}{rp{0.4\linewidth}}" in to_latex([Table(columns, (("1", "words"),))])


def blocks(text: str) -> list[Block]:
    table = Table((Column(text), Column("n", right=True)), ((text, Cell(text, "bad")), ("x", "1")), (text, "1"))
    table = table._replace(name="parts", caption=text)
    return [
        Heading(text, text),
        table,
        Tree((Column("m"),), Branch((text,), (Branch((text,)),))),
        Note(text),
        Listing(text),
        DiagnosticBlock(Diagnostic("wrong-type", text, text)),
        ErrorBlock(text),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_comments(text: str) -> None:
    page = to_latex(blocks(text))
    assert page.count("\n\\begin{table}[htbp]\n") == page.count("\n\\end{table}") > 0
    inside = False
    for line in page.splitlines():
        assert line.isascii()
        assert line.isprintable()
        inside = inside or line == r"\begin{table}[htbp]"
        assert inside or line.startswith("%") or not line
        inside = inside and line != r"\end{table}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no TeX")
def test_compiles(tmp_path: Path) -> None:
    body = "\n\n".join(to_latex(blocks(text)) for text in HOSTILE)
    document = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "page.tex").write_text(document, encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
