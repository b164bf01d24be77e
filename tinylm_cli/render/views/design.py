"""The screen of ``tinylm design``."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.config.amounts import scientific
from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import compact, flops, integer, signed_percent, three_digits, unseen
from tinylm_cli.render.views.constraints import aims_words, obstacles_words
from tinylm_cli.reports.design import AIMS, Aim, Axis, ComputeBudget, Design, DesignReport

_SIZES = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head")
"""Sizes that share columns on the screen, and have their own in CSV."""

_COLUMNS = (
    Column("#", right=True, key="rank"),
    Column("", key="on_front"),
    Column("d_model × layers", key=None),
    Column("heads", right=True, keep=7, key=None),
    *(Column("", key=size) for size in _SIZES),
    Column("d_ff", right=True, keep=7),
    Column("parameters", right=True, key="total_params"),
    Column("differs", right=True, keep=6, key="error"),
    Column("active", right=True, keep=3, key="active_params"),
    Column("tokens", right=True, keep=7, key="budget_tokens"),
    Column("weights", right=True, keep=7, key="weights_bytes"),
    Column("to train", right=True, keep=7, key="train_bytes_per_gpu"),
    Column("to serve", right=True, keep=7, key="serve_bytes"),
    Column("decodes", right=True, keep=7, key="decode_tokens_per_second"),
    Column("trains on", right=True, keep=5, key="train_tokens_per_second"),
    Column("FLOPs a token", right=True, keep=4, key="forward_flops_per_token"),
    Column("KV cache", right=True, keep=4, key="kv_cache_bytes"),
    Column("read a token", right=True, keep=2, key="decode_read_bytes_per_token"),
)


_AIMED_AT = 8
"""What columns of figures that were aimed at are kept as: all others go first."""


def design_view(report: DesignReport) -> View:
    """Show the designs and the grid they are the best of; or what is in the way, where there is none."""
    return (
        Heading(f"{report.family}: {aims_words(report)}", _counts(report)),
        *_found(report),
        *(Note(words, "muted") for words in _assumed(report)),
        _grid(report.axes),
    )


def _counts(report: DesignReport) -> str:
    return f"{integer(report.matches)} of {integer(report.candidates)} candidates"


def _found(report: DesignReport) -> Iterator[Block]:
    if report.compute is not None:
        yield Note(_spent(report.compute, report.aims))
    columns = _columns(report)
    if not report.designs:
        yield Table(columns, (), name="designs")
        first, *more = obstacles_words(report)
        yield Note(first, "bad")
        yield from (Note(words, "warn") for words in more)
        return
    rows = tuple(_row(each, report) for each in report.designs)
    yield Table(columns, rows, name="designs", caption="Designs")
    yield Note(
        "Nearest first, where all within 1% count as equal; then by the proportions usual at that size and what"
        " hardware wastes.",
        "muted",
    )
    speed = "reading" if report.accelerator is None else "time to decode"
    marked = "marked ✓ and " if any(each.on_front for each in report.designs) else ""
    yield Note(
        f"On the front, {marked}listed by --front: {integer(report.front)} that no other beats in parameters,"
        f" computing, cache and {speed}. None of these says how well a model learns.",
        "muted",
    )


def _columns(report: DesignReport) -> tuple[Column, ...]:
    aimed = {aim.figure for aim in report.aims}
    return tuple(
        column._replace(keep=max(column.keep, _AIMED_AT)) if column.key in aimed else column for column in _COLUMNS
    )


def _row(design: Design, report: DesignReport) -> Row:
    sizes, figures = design.sizes, design.figures
    total, active = figures["total_params"], figures["active_params"]
    grouped = f"/{sizes.n_kv_heads}" if sizes.n_kv_heads != sizes.n_heads else ""
    differs = any(aim.origin in ("asked", "compute") and aim.tolerance is not None for aim in report.aims)
    limited = {aim.figure for aim in report.aims}

    def memory(figure: str) -> str:
        return binary_bytes(figures[figure]) if figure in limited else unseen(figures[figure])

    read = figures["decode_read_bytes_per_token"]

    return (
        Cell(integer(design.rank), "muted"),
        Cell(Quantity("✓" if design.on_front else "", design.on_front), "good"),
        Cell(f"{sizes.d_model} × {sizes.n_layers}", "name"),
        f"{sizes.n_heads}{grouped}",
        *(unseen(getattr(sizes, size)) for size in _SIZES),
        Quantity(str(sizes.d_ff), sizes.d_ff),
        Cell(integer(total), "strong"),
        signed_percent(design.error) if differs else unseen(design.error),
        compact(active) if active != total else unseen(active),
        "" if design.budget_tokens is None else compact(design.budget_tokens),
        memory("weights_bytes"),
        memory("train_bytes_per_gpu"),
        memory("serve_bytes"),
        _speed(design.decode_tokens_per_second),
        _speed(design.train_tokens_per_second),
        flops(figures["forward_flops_per_token"]),
        binary_bytes(figures["kv_cache_bytes"]),
        binary_bytes(read) if report.accelerator is None else unseen(read),
    )


def _speed(tokens_per_second: float | None) -> str:
    if tokens_per_second is None:
        return ""
    return Quantity(f"{three_digits(tokens_per_second)}/s", tokens_per_second)


def _spent(compute: ComputeBudget, aims: tuple[Aim, ...]) -> str:
    """Return what compute makes of the size of a model, and by which rule."""
    size = next(f"{compact(compute.params)} {AIMS[aim.figure].words}" for aim in aims if aim.origin == "compute")
    amount = f"{scientific(compute.compute_flops)} FLOPs, 6 for each parameter and token,"
    ratio = f"{three_digits(compute.tokens_per_param)} a parameter"
    if compute.budget_tokens is None:
        return (
            f"{amount} are spent best on {size} and {compact(compute.tokens)} tokens, {ratio}"
            " (Hoffmann et al. 2022, approaches 1 and 2)."
        )
    return (
        f"{amount} train {size} on the {compact(compute.tokens)} tokens asked for: {ratio}, where 20 is"
        " compute-optimal (Hoffmann et al. 2022)."
    )


def _assumed(report: DesignReport) -> Iterator[str]:
    """Yield what all that is shown takes for granted."""
    head = "a tied head" if report.tie_weights else "a head of its own"
    yield (
        f"{report.title}; {counted(report.vocab_size, 'token')}, max_len {integer(report.max_len)}, {head}."
        f" Figures are for {_sequences(report)} in {report.dtype}."
    )
    if any(aim.figure == "train_bytes_per_gpu" for aim in report.aims):
        again = {"none": "nothing", "selective": "attention", "full": "every layer"}[report.recompute]
        yield f"Training is by {report.optimizer}, and computes {again} again."
    if report.accelerator is not None and report.designs:
        training = "" if report.utilization is None else f"; training takes {report.utilization * 100:g}% of its peak"
        yield f"Speeds are in tokens: decoding is bound by what {report.accelerator} can do at most{training}."


def _sequences(report: DesignReport) -> str:
    tokens = counted(report.seq_len, "token")
    if report.batch_size == 1:
        return f"a sequence of {tokens}"
    return f"{counted(report.batch_size, 'sequence')} of {tokens}"


def _grid(axes: tuple[Axis, ...]) -> Table:
    columns = (Column("grid", key="name"), Column("", wrap=True, key="values"), Column("", key="source"))
    rows = tuple((Cell(axis.name, "name"), axis.values, Cell("", key=axis.source)) for axis in axes)
    return Table(columns, rows, name="grid", caption="The grid that was searched")
