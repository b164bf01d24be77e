"""The screen of ``tinylm design``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm_cli.config.amounts import scientific
from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import compact, csv_only, flops, integer, signed_percent, three_digits
from tinylm_cli.render.views.constraints import FIGURE_WORDS, constraints_words, failure_sentences
from tinylm_cli.reports.constraint import Constraint
from tinylm_cli.reports.design import ComputeBudget, Design, DesignReport, GridAxis

_SIZES = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head")
"""Sizes that share columns on the screen, and have their own in CSV."""

_COLUMNS = (
    Column("#", right=True, key="rank"),
    Column("", key="on_pareto_front"),
    Column("d_model × layers", key=None),
    Column("heads", right=True, keep=7, key=None),
    *(Column("", key=size) for size in _SIZES),
    Column("d_ff", right=True, keep=7),
    Column("parameters", right=True, key="total_params"),
    Column("off by", right=True, keep=6, key="deviation"),
    Column("active", right=True, keep=3, key="active_params"),
    Column("tokens", right=True, keep=7, key="train_tokens"),
    Column("weights", right=True, keep=7, key="weights_bytes"),
    Column("training", right=True, keep=7, key="train_bytes_per_gpu"),
    Column("serving", right=True, keep=7, key="serve_bytes"),
    Column("decodes", right=True, keep=7, key="decode_tokens_per_second"),
    Column("trains", right=True, keep=5, key="train_tokens_per_second"),
    Column("FLOPs/token", right=True, keep=4, key="forward_flops_per_token"),
    Column("KV cache", right=True, keep=4, key="kv_cache_bytes"),
    Column("read/token", right=True, keep=2, key="decode_read_bytes_per_token"),
)

_CONSTRAINED = 8
"""Priority of the columns of constrained figures on a narrow screen: all others go first."""


def design_view(report: DesignReport, relaxations: Sequence[str] = (), *, full: bool = True) -> View:
    """Show the designs; if none match, the constraints that fail and possible relaxations.

    Args:
        report: The result of a search.
        relaxations: The words of each relaxation of the report.
        full: Whether to show the grid too.
    """
    return (
        Heading(f"{report.family}: {constraints_words(report)}", _counts(report)),
        *_designs(report),
        *_relaxations(report, relaxations),
        *(Note(words, "muted") for words in _assumptions(report)),
        *((_grid(report.grid),) if full else ()),
    )


def _counts(report: DesignReport) -> str:
    return f"{integer(report.matches)} of {integer(report.candidates)} candidates match"


def _designs(report: DesignReport) -> Iterator[Block]:
    if report.compute is not None:
        yield Note(_compute(report.compute, report.constraints))
    columns = _columns(report)
    if not report.designs:
        yield Table(columns, (), name="designs")
        first, *more = failure_sentences(report)
        yield Note(first, "bad")
        yield from (Note(words, "warn") for words in more)
        return
    rows = tuple(_row(each, report) for each in report.designs)
    yield Table(columns, rows, name="designs", caption="Designs")
    yield Note(
        "Ranked by distance from the target in steps of 1%, then by how usual the proportions are at that size and how"
        " well they fill hardware tiles.",
        "muted",
    )
    speed = "bytes read per token" if report.accelerator is None else "decoding time"
    marked = " (✓)" if any(each.on_pareto_front for each in report.designs) else ""
    yield Note(
        f"Pareto front{marked}: {counted(report.pareto_front, 'design')} that no other beats in parameters, FLOPs, KV"
        f" cache and {speed}. None of these figures says how well a model learns.",
        "muted",
    )


def _relaxations(report: DesignReport, words: Sequence[str]) -> Iterator[Block]:
    """Yield the changes after which models match, each with the first of them."""
    if not report.relaxations:
        return
    columns = (
        Column("what to change", wrap=True, key="changes"),
        Column("matches", right=True, keep=3),
        Column("first", key=None),
        *(Column("", key=size) for size in (*_SIZES, "d_ff")),
        Column("parameters", right=True, key="total_params"),
    )
    rows: list[Row] = []
    for change, each in zip(words, report.relaxations, strict=True):
        sizes = each.sizes
        rows.append(
            (
                Cell(change, "name"),
                integer(each.matches),
                f"{sizes.d_model} × {sizes.n_layers}",
                *(csv_only(getattr(sizes, size)) for size in (*_SIZES, "d_ff")),
                Cell(integer(each.total_params), "strong"),
            )
        )
    yield Table(columns, tuple(rows), name="relaxations", caption="Changes after which models match")


def _columns(report: DesignReport) -> tuple[Column, ...]:
    constrained = {each.figure for each in report.constraints}
    return tuple(
        column._replace(keep=max(column.keep, _CONSTRAINED)) if column.key in constrained else column
        for column in _COLUMNS
    )


def _row(design: Design, report: DesignReport) -> Row:
    sizes, figures = design.sizes, design.figures
    total, active = figures["total_params"], figures["active_params"]
    grouped = f"/{sizes.n_kv_heads}" if sizes.n_kv_heads != sizes.n_heads else ""
    has_target = any(each.is_target and each.origin != "largest" for each in report.constraints)
    constrained = {each.figure for each in report.constraints}

    def memory(figure: str) -> str:
        return binary_bytes(figures[figure]) if figure in constrained else csv_only(figures[figure])

    read = figures["decode_read_bytes_per_token"]
    return (
        Cell(integer(design.rank), "muted"),
        Cell(Quantity("✓" if design.on_pareto_front else "", design.on_pareto_front), "good"),
        Cell(f"{sizes.d_model} × {sizes.n_layers}", "name"),
        f"{sizes.n_heads}{grouped}",
        *(csv_only(getattr(sizes, size)) for size in _SIZES),
        Quantity(str(sizes.d_ff), sizes.d_ff),
        Cell(integer(total), "strong"),
        signed_percent(design.deviation) if has_target else csv_only(design.deviation),
        compact(active) if active != total else csv_only(active),
        "" if design.train_tokens is None else compact(design.train_tokens),
        memory("weights_bytes"),
        memory("train_bytes_per_gpu"),
        memory("serve_bytes"),
        _rate(design.decode_tokens_per_second),
        _rate(design.train_tokens_per_second),
        flops(figures["forward_flops_per_token"]),
        binary_bytes(figures["kv_cache_bytes"]),
        binary_bytes(read) if report.accelerator is None else csv_only(read),
    )


def _rate(tokens_per_second: float | None) -> str:
    if tokens_per_second is None:
        return ""
    return Quantity(f"{three_digits(tokens_per_second)}/s", tokens_per_second)


def _compute(compute: ComputeBudget, constraints: Sequence[Constraint]) -> str:
    """Return the size that a compute budget trains, and the rule."""
    target = next(each for each in constraints if each.origin == "compute_budget")
    size = f"{compact(compute.params)} {FIGURE_WORDS[target.figure]}"
    budget = f"{scientific(compute.compute_flops)} FLOPs, at 6 per parameter and token,"
    ratio = f"{three_digits(compute.tokens_per_param)} per parameter"
    if compute.train_tokens is None:
        return (
            f"{budget} are compute-optimal for {size} and {compact(compute.tokens)} tokens, {ratio}"
            " (Hoffmann et al. 2022, approaches 1 and 2)."
        )
    return (
        f"{budget} train {size} on {compact(compute.tokens)} tokens: {ratio}, where 20 is compute-optimal"
        " (Hoffmann et al. 2022)."
    )


def _assumptions(report: DesignReport) -> Iterator[str]:
    """Yield the conditions that the figures hold under."""
    head = "a tied LM head" if report.tie_weights else "an untied LM head"
    yield (
        f"{report.title}; {counted(report.vocab_size, 'token')}, max_len {integer(report.max_len)}, {head}."
        f" Figures are for {_sequences(report)} in {report.dtype}."
    )
    if report.layout is not None:
        yield f"Training is on {counted(report.n_gpus, 'GPU')} with the plan {report.layout.spec}."
    if any(each.figure == "train_bytes_per_gpu" for each in report.constraints):
        recomputes = {"none": "nothing", "selective": "attention", "full": "every layer"}[report.recompute]
        yield f"Training uses {report.optimizer} and recomputes {recomputes}."
    if report.accelerator is not None and report.designs:
        training = ""
        if report.utilization is not None:
            training = f", training at {report.utilization * 100:g}% of its peak"
        elif report.purpose == "training":
            training = ", training as tinylm estimate plans it"
        yield f"Speeds are in tokens: decoding at the roofline bound of {report.accelerator}{training}."


def _sequences(report: DesignReport) -> str:
    tokens = counted(report.seq_len, "token")
    if report.batch_size == 1:
        return f"a sequence of {tokens}"
    return f"{counted(report.batch_size, 'sequence')} of {tokens}"


def _grid(axes: Sequence[GridAxis]) -> Table:
    columns = (Column("grid", key="name"), Column("", wrap=True, key="values"), Column("", key="source"))
    rows = tuple((Cell(axis.name, "name"), axis.values, Cell("", key=axis.source)) for axis in axes)
    return Table(columns, rows, name="grid", caption="The grid that was searched")
