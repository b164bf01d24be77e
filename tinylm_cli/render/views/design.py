"""The screen of ``tinylm design``."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import compact, flops, integer, signed_percent, stated_count, unseen
from tinylm_cli.reports.design import Aim, Axis, Design, DesignReport, Obstacle, Sizes
from tinylm_cli.reports.figures import Unit

LIMITS = {
    "total_params": "parameters",
    "active_params": "active parameters",
    "forward_flops_per_token": "a token",
    "kv_cache_bytes": "of keys and values",
    "weights_bytes": "of weights",
}
"""What is said of a figure after its value."""

_SIZES = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head")
"""Sizes that share columns on the screen, and have their own in CSV."""

_COLUMNS = (
    Column("#", right=True, key="rank"),
    Column("d_model × layers", key=None),
    Column("heads", right=True, keep=4, key=None),
    *(Column("", key=size) for size in _SIZES),
    Column("d_ff", right=True, keep=6),
    Column("parameters", right=True, key="total_params"),
    Column("differs", right=True, keep=5, key="error"),
    Column("active", right=True, keep=3, key="active_params"),
    Column("FLOPs a token", right=True, keep=4, key="forward_flops_per_token"),
    Column("KV cache", right=True, keep=4, key="kv_cache_bytes"),
    Column("read a token", right=True, keep=2, key="decode_read_bytes_per_token"),
    Column("front", keep=1, key="on_front"),
)


def design_view(report: DesignReport) -> View:
    """Show the designs and the grid they are the best of; or what is in the way, where there is none."""
    return (
        Heading(f"{report.family}: {aims_words(report)}", _counts(report)),
        *_found(report),
        Note(_assumed(report), "muted"),
        _grid(report.axes),
    )


def aims_words(report: DesignReport) -> str:
    """Return what was asked for, and what followed from it."""
    return ", ".join(_aim_words(aim) for aim in report.aims)


def obstacle_sentence(obstacle: Obstacle) -> str:
    """Return what is in the way of a design, and what comes nearest."""
    aim, nearest = obstacle.aim, quantity(obstacle.nearest, obstacle.aim.unit)
    model = f"a model of {_shape(obstacle.sizes)} with {nearest}"
    what = LIMITS[aim.figure]
    if aim.tolerance is None and obstacle.alone:
        return f"Nothing in the grid keeps to {_aim_words(aim)}: the least is {model}."
    if aim.tolerance is None:
        return f"In the way is {_aim_words(aim)}: with all that is wanted, the least is {model}."
    if obstacle.alone:
        return f"Nothing in the grid has {_aim_words(aim)}: nearest is {model}."
    return f"Within the limits, nearest to {stated_count(aim.wanted)} {what} is {model}."


def quantity(value: int, unit: Unit) -> str:
    """Return a figure in the words of its unit."""
    return {"params": integer, "bytes": binary_bytes, "flops": flops}[unit](value)


def _aim_words(aim: Aim) -> str:
    what = LIMITS[aim.figure]
    if aim.tolerance is None:
        limit = stated_count(aim.wanted) if aim.unit == "params" else quantity(aim.wanted, aim.unit)
        return f"at most {limit} {what}"
    if not aim.chosen:
        return f"within {aim.tolerance * 100:g}% of the most there is room for, {compact(aim.wanted)}"
    return f"{stated_count(aim.wanted)} {what} ± {aim.tolerance * 100:g}%"


def _counts(report: DesignReport) -> str:
    return f"{integer(report.matches)} of {integer(report.candidates)} candidates"


def _found(report: DesignReport) -> Iterator[Block]:
    if not report.designs:
        yield Table(_COLUMNS, (), name="designs")
        yield Note(f"Nothing in the grid of {report.family} meets all of this.", "bad")
        yield from (Note(obstacle_sentence(each), "warn") for each in report.obstacles)
        return
    rows = tuple(_row(each, report) for each in report.designs)
    yield Table(_COLUMNS, rows, name="designs", caption="Designs")
    yield Note(
        "First what is nearest in whole percents; then sizes that hardware likes; then the proportions of the family.",
        "muted",
    )
    yield Note(
        f"On the front, marked ✓ and listed by --front: {integer(report.front)} that no other beats in parameters,"
        " computing, cache and reading. None of these says how well a model learns.",
        "muted",
    )


def _row(design: Design, report: DesignReport) -> Row:
    sizes, figures = design.sizes, design.figures
    total, active = figures["total_params"], figures["active_params"]
    grouped = f"/{sizes.n_kv_heads}" if sizes.n_kv_heads != sizes.n_heads else ""
    differs = any(aim.chosen and aim.tolerance is not None for aim in report.aims)
    return (
        Cell(integer(design.rank), "muted"),
        Cell(f"{sizes.d_model} × {sizes.n_layers}", "name"),
        f"{sizes.n_heads}{grouped}",
        *(unseen(getattr(sizes, size)) for size in _SIZES),
        Quantity(str(sizes.d_ff), sizes.d_ff),
        Cell(integer(total), "strong"),
        signed_percent(design.error) if differs else unseen(design.error),
        compact(active) if active != total else unseen(active),
        flops(figures["forward_flops_per_token"]),
        binary_bytes(figures["kv_cache_bytes"]),
        binary_bytes(figures["decode_read_bytes_per_token"]),
        Cell(Quantity("✓" if design.on_front else "", design.on_front), "good"),
    )


def _assumed(report: DesignReport) -> str:
    head = "a tied head" if report.tie_weights else "a head of its own"
    return (
        f"{report.title}; {counted(report.vocab_size, 'token')}, max_len {integer(report.max_len)}, {head}."
        f" Figures are for a sequence of {counted(report.seq_len, 'token')} in {report.dtype}."
    )


def _grid(axes: tuple[Axis, ...]) -> Table:
    columns = (Column("grid", key="name"), Column("", wrap=True, key="values"), Column("", key="source"))
    rows = tuple((Cell(axis.name, "name"), axis.values, Cell("", key=axis.source)) for axis in axes)
    return Table(columns, rows, name="grid", caption="The grid that was searched")


def _shape(sizes: Sizes) -> str:
    return f"{sizes.d_model} × {sizes.n_layers}"
