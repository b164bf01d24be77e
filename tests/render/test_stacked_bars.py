"""Stacked bars: positions of the parts, one scale for all bars, and a complete legend."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Bar, Cell, Heading, Stack, StackBar, View
from tinylm_cli.render.csv import to_csv
from tinylm_cli.render.markdown import to_markdown
from tinylm_cli.render.stacked_bars import legend
from tinylm_cli.render.styled_lines import cell_len
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.reports.flops import COMPONENTS

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
GIB = 2**30
PARTS = ("weights", "master weights", "gradients", "optimizer state", "activations", "logits", "buffers")


def bar(name: str, *gibibytes: float) -> StackBar:
    sizes = [int(size * GIB) for size in gibibytes]
    return StackBar(name, tuple(map(binary_bytes, sizes)), binary_bytes(sum(sizes)))


ONE = Stack("memory", PARTS, (bar("", 14.9, 29.9, 14.9, 59.8, 3.2, 1.1, 0.02),))
SEVERAL = Stack(
    "memory per GPU",
    PARTS,
    (
        bar("stage 0", 1.9, 3.7, 1.9, 7.5, 28, 0, 0.5),
        bar("stage 1", 1.8, 3.6, 1.8, 7.2, 21, 0, 0.5),
        bar("stage 7", 2.9, 5.7, 2.9, 11.5, 4.5, 8.2, 0.5),
    ),
    limit=binary_bytes(40 * GIB),
    limit_name="NVIDIA A100 40GB",
)
VIEW: View = (Heading("llama-3-8b", "a training step"), ONE, SEVERAL)


def drawn(stack: Stack, terminal: Terminal) -> list[str]:
    """Return the lines of the bars, without what stands under them."""
    return to_text([stack], terminal).splitlines()[: len(stack.bars)]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_screens(width: int, golden: Callable[..., None]) -> None:
    pages = [to_text(VIEW, Terminal(width, unicode=unicode)) for unicode in (True, False)]
    golden(GOLDEN / "text" / f"stack-{width}.txt", "\n".join(pages))


def test_legend_in_documents() -> None:
    assert to_markdown([ONE]).splitlines()[:3] == [
        "| memory |  | share |",
        "| --- | ---: | ---: |",
        "| weights | 14.9 GiB | 12.0% |",
    ]
    assert to_csv([ONE]).splitlines()[:2] == ["name,part_bytes,share", f"weights,{int(14.9 * GIB)},0.12033597157045413"]
    header, *_, last = to_csv([SEVERAL]).splitlines()
    assert header == "name,part_bytes.stage 0,part_bytes.stage 1,part_bytes.stage 7"
    assert last == "buffers,536870912,536870912,536870912"


def test_color() -> None:
    colored = to_text(VIEW, Terminal(color=True))
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == to_text(VIEW, Terminal())
    first = next(line for line in colored.splitlines() if "█" in line)
    hues = re.findall(r"\x1b\[(\d+)m[█▒▚░▓▄▖▞]", first)
    assert len(hues) == 7
    assert all(one != other for one, other in pairwise(hues))


@pytest.mark.parametrize("unicode", [True, False])
def test_every_component_has_its_own_sign(unicode: bool) -> None:
    """Of a model with all components of FLOPs, in a terminal without color."""
    stack = Stack("forward pass", COMPONENTS, (bar("", *(1.0 for _ in COMPONENTS)),))
    (shown, *table) = to_text([stack], Terminal(unicode=unicode)).splitlines()
    keys = [line[0] for line in table if line[3:].split(" ")[0] in COMPONENTS]
    assert len(keys) == len(COMPONENTS)
    assert len(set(keys)) == len(keys)
    assert all(key in shown for key in keys)
    assert unicode or "".join(keys).isascii()


def test_small_parts() -> None:
    """Each takes a cell; in a bar with fewer cells than parts, the smallest are in the legend alone."""
    lines = to_text([ONE], Terminal()).splitlines()
    assert lines[0].count("▖") == 1
    assert any(line.startswith("▖  buffers ") and line.endswith("0.0%") for line in lines)
    short = ONE._replace(limit=binary_bytes(6000 * GIB))
    assert "▖" not in drawn(short, Terminal())[0]
    assert any(line.startswith("   buffers ") for line in to_text([short], Terminal()).splitlines())


def test_limit() -> None:
    over, under, _ = drawn(SEVERAL, Terminal())
    assert over.index("┃") == under.index("┃")
    assert over[over.index("┃") + 1] not in " "
    assert under[under.index("┃") - 1] == " "
    full = Stack("memory", ("all",), (bar("", 80),), limit=binary_bytes(80 * GIB))
    assert re.fullmatch(r"█+┃  80\.0 GiB", drawn(full, Terminal())[0])


amounts = st.lists(st.integers(0, 10**15), min_size=3, max_size=3)


@given(st.lists(amounts, min_size=1, max_size=4), st.integers(40, 200), st.none() | st.integers(1, 10**15))
def test_scale(sizes: list[list[int]], width: int, limit: int | None) -> None:
    bars = tuple(
        StackBar(f"bar {i}", tuple(map(binary_bytes, each)), binary_bytes(sum(each))) for i, each in enumerate(sizes)
    )
    stack = Stack("memory", ("a", "b", "c"), bars, limit=None if limit is None else binary_bytes(limit))
    lines = drawn(stack, Terminal(width))
    assert all(cell_len(line) == width for line in lines)
    full = max([limit or 0, *map(sum, sizes)])
    for line, each in zip(lines, sizes, strict=True):
        found = [line.count(sign) for sign in "█▒▚"]
        room = width - len("bar 0  ") - 2 - max(len(bar.total) for bar in bars) - (limit is not None)
        for count, size in zip(found, each, strict=True):
            exact = size / full * room if full else 0
            small = sum(0 < other / full * room < 1 for other in each) if full else 0  # each takes one of the longest
            assert exact - 1 - small <= count <= exact + 1
            assert count or not size or max(found) <= 1
    assert all(row[0] == Cell(name, "name") for row, name in zip(legend(stack).rows, "abc", strict=True))


def test_empty_bar() -> None:
    nothing = Stack("memory", ("a",), (StackBar("", (binary_bytes(0),), binary_bytes(0)),))
    assert drawn(nothing, Terminal())[0].strip() == "0 B"
    assert "%" not in to_text([nothing], Terminal())
    limited = nothing._replace(limit=Quantity("0 B", 0))
    assert "┃" in drawn(limited, Terminal())[0]


def test_hostile_names() -> None:
    hostile = Stack("\x1b[31m" * 9, ("\u202eab" * 9,), (bar("宽" * 40, 1), bar("b", 2)))
    text = to_text([hostile], Terminal(60))
    assert "\x1b" not in text
    assert all(cell_len(line) <= 60 for line in text.splitlines()[:2])


def test_many_parts() -> None:
    many = Stack("memory", tuple(map(str, range(20))), (bar("", *[1] * 20),))
    runs = re.sub(r"(.)\1*", r"\1", drawn(many, Terminal(120))[0].split("  ")[0])
    assert len(runs) == 20
    assert not any(isinstance(cell, Bar) for row in legend(many).rows for cell in row)
