"""The view of ``tinylm design``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tinylm_cli.config.amounts import scientific
from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Heading, Note, Table, View
from tinylm_cli.render.units import compact, csv_only, flops, integer, signed_percent, three_digits
from tinylm_cli.render.views.constraints import FIGURE_NOUNS, constraints_text, failure_sentences
from tinylm_cli.render.views.record_table import RecordColumn, computed, field, only_csv, record_table
from tinylm_cli.reports.constraint import Constraint, Relaxation
from tinylm_cli.reports.design import ComputeBudget, Design, DesignReport, GridAxis
from tinylm_cli.wording import Command, Setting, Wording

_CONSTRAINED = 8
"""Priority of the columns of constrained figures on a narrow screen: all others are dropped first."""


def design_view(report: DesignReport, wording: Wording, *, full: bool = True) -> View:
    """Show the designs; if none match, the constraints that fail and possible relaxations.

    Args:
        report: The result of a search.
        wording: Words settings and relaxations.
        full: Whether to explain the ranking and to show the grid.
    """
    matches = f"{integer(report.matches)} of {integer(report.candidates)} candidates match"
    return (
        Heading(f"{report.family}: {constraints_text(report)}", matches),
        *_designs(report, wording, full=full),
        *_relaxations(report, wording),
        *_assumptions(report, wording),
        *((_grid(report.grid),) if full else ()),
    )


def _designs(report: DesignReport, wording: Wording, *, full: bool) -> Iterator[Block]:
    if report.compute is not None:
        yield Note(_compute(report.compute, report.constraints))
    yield record_table(report.designs, _columns(report), name="designs", caption="Designs")
    if not report.designs:
        first, *more = failure_sentences(report)
        yield Note(first, "bad")
        yield from (Note(words, "warn") for words in more)
        return
    marked = " (✓)" if any(each.on_pareto_front for each in report.designs) else ""
    front = f"Pareto front{marked}: {counted(report.pareto_front, 'design')}"
    if not full:
        yield Note(f"{front}; {wording(Setting('full', True))} explains the front and the ranking.", "muted")
        return
    yield Note(
        "Ranked by distance from the target in steps of 1%, then by how typical the proportions are for this size and"
        " how well dimensions align with hardware tiles.",
        "muted",
    )
    speed = "bytes read per token" if report.accelerator is None else "decoding time"
    yield Note(
        f"{front} that no other design dominates in parameters, FLOPs, KV cache and {speed}. None of these figures"
        " predicts model quality.",
        "muted",
    )


def _relaxations(report: DesignReport, wording: Wording) -> Iterator[Block]:
    """Yield the changes after which models match, each with its best match."""

    def changes(relaxation: Relaxation) -> Cell:
        return Cell(wording(*relaxation.settings(report.constraints)), "name")

    if report.relaxations:
        columns = (
            computed("what to change", "changes", changes, wrap=True),
            field("matches", "matches", integer, keep=3),
            *_shape("best match", full=False),
            field("parameters", "total_params", integer, style="strong"),
        )
        yield record_table(report.relaxations, columns, name="relaxations", caption="Changes after which models match")


def _shape(header: str, *, full: bool) -> tuple[RecordColumn, ...]:
    """Return the columns of a model's shape, with heads and d_ff in ``full``; CSV has a column for each size."""
    sizes = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head")
    d_ff = field("d_ff" if full else "", "d_ff", _d_ff if full else csv_only, parent="sizes", keep=7)
    heads = (computed("heads", None, _heads, right=True, keep=7),) if full else ()
    return (computed(header, None, _width_and_depth), *heads, *only_csv(*sizes, parent="sizes"), d_ff)


def _width_and_depth(each: Design | Relaxation) -> Cell:
    return Cell(f"{each.sizes.d_model} × {each.sizes.n_layers}", "name")


def _d_ff(size: int) -> Quantity:
    return Quantity(str(size), size)


def _heads(design: Design) -> str:
    sizes = design.sizes
    return f"{sizes.n_heads}/{sizes.n_kv_heads}" if sizes.n_kv_heads != sizes.n_heads else str(sizes.n_heads)


def _columns(report: DesignReport) -> Iterator[RecordColumn]:
    """Yield the columns of the designs; a narrow screen drops figures without constraints first."""
    constrained = {each.figure for each in report.constraints}
    has_target = any(each.is_target and each.origin != "largest" for each in report.constraints)

    def figure(header: str, name: str, text: Callable[[int], str], keep: int) -> RecordColumn:
        keep = max(keep, _CONSTRAINED) if name in constrained else keep
        return computed(header, name, lambda design: text(design.figures[name]), right=True, keep=keep)

    def memory(header: str, name: str) -> RecordColumn:
        return figure(header, name, binary_bytes if name in constrained else csv_only, keep=7)

    def active(design: Design) -> str:
        params = design.figures["active_params"]
        return compact(params) if params != design.figures["total_params"] else csv_only(params)

    yield field("#", "rank", integer, style="muted")
    yield computed("", "on_pareto_front", _front)
    yield from _shape("d_model × layers", full=True)
    yield computed(
        "parameters", "total_params", lambda each: Cell(integer(each.figures["total_params"]), "strong"), right=True
    )
    yield field("off by", "deviation", signed_percent if has_target else csv_only, keep=6)
    yield computed("active", "active_params", active, right=True, keep=8 if "active_params" in constrained else 3)
    yield field("tokens", "train_tokens", compact, keep=7)
    yield memory("weights", "weights_bytes")
    yield memory("training", "train_bytes_per_gpu")
    yield memory("serving", "serve_bytes")
    yield field(
        "decode/s", "decode_tokens_per_second", _rate, keep=8 if "decode_tokens_per_second" in constrained else 7
    )
    yield field("train/s", "train_tokens_per_second", _rate, keep=5)
    yield figure("FLOPs/token", "forward_flops_per_token", flops, keep=4)
    yield figure("KV cache", "kv_cache_bytes", binary_bytes, keep=4)
    read = binary_bytes if report.accelerator is None else csv_only
    yield figure("decode bytes/token", "decode_read_bytes_per_token", read, keep=2)


def _front(design: Design) -> Cell:
    return Cell(Quantity("✓" if design.on_pareto_front else "", design.on_pareto_front), "good")


def _rate(tokens_per_second: float) -> str:
    return Quantity(three_digits(tokens_per_second), tokens_per_second)


def _compute(compute: ComputeBudget, constraints: Sequence[Constraint]) -> str:
    """Return the size that a compute budget trains, and the rule."""
    target = next(each for each in constraints if each.origin == "compute_budget")
    size = f"{compact(compute.params)} {FIGURE_NOUNS[target.figure]}"
    budget = f"{scientific(compute.compute_flops)} FLOPs, at 6 per parameter per token,"
    ratio = f"{three_digits(compute.tokens_per_param)} per parameter"
    if compute.train_tokens is None:
        return (
            f"{budget} are spent optimally on {size} and {compact(compute.tokens)} tokens, {ratio}"
            " (Hoffmann et al. 2022, approaches 1 and 2)."
        )
    return (
        f"{budget} train {size} on {compact(compute.tokens)} tokens: {ratio}, where 20 is compute-optimal"
        " (Hoffmann et al. 2022)."
    )


def _assumptions(report: DesignReport, wording: Wording) -> Iterator[Note]:
    """Yield the conditions of the figures."""
    head = "a tied LM head" if report.tie_weights else "an untied LM head"
    vocabulary, length = counted(report.vocab_size, "token"), integer(report.max_len)
    figures = f"Figures are for {_sequences(report)} in {report.dtype}."
    if any(each.sizes.n_kv_heads != each.sizes.n_heads for each in report.designs):
        yield Note("heads: query heads/KV heads.", "muted", column="heads")
    yield Note(f"{report.title}; {vocabulary}, max_len {length}, {head}. {figures}", "muted")
    if report.layout is not None:
        yield Note(f"Training uses {counted(report.n_gpus, 'GPU')} with the plan {report.layout.spec}.", "muted")
    if any(each.figure == "train_bytes_per_gpu" for each in report.constraints):
        recomputes = {"none": "nothing", "selective": "attention", "full": "every layer"}[report.recompute]
        yield Note(f"Training uses {report.optimizer} and recomputes {recomputes}.", "muted")
    if report.accelerator is not None and report.designs:
        of_one = f"one {report.accelerator}, whether or not the model fits on it"
        bound = of_one if report.n_gpus > 1 else f"{report.accelerator}, in tokens/s"
        bound = f"Decode speed is the roofline bound of {bound}."
        yield Note(bound, "muted", column="decode/s")
        if report.utilization is not None:
            share = f"{report.utilization * 100:g}% of its peak"
            yield Note(f"Training speed assumes {share}.", "muted", column="train/s")
        elif report.purpose == "training":
            estimate = wording(Command("estimate"))
            yield Note(f"Training speed is that of the plan in {estimate}.", "muted", column="train/s")


def _sequences(report: DesignReport) -> str:
    tokens = counted(report.seq_len, "token")
    if report.batch_size == 1:
        return f"a sequence of {tokens}"
    return f"{counted(report.batch_size, 'sequence')} of {tokens}"


def _grid(axes: Sequence[GridAxis]) -> Table:
    columns = (field("grid", "name", style="name"), field("", "values", wrap=True), *only_csv("source"))
    return record_table(axes, columns, name="grid", caption="The grid that was searched")
