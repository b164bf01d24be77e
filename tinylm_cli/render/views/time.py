"""How long training and serving take, as parts of a screen."""

from __future__ import annotations

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Block, Cell, Column, Note, Row, Table
from tinylm_cli.render.units import compact, dollars, duration, flops, integer, prefixed, three_digits
from tinylm_cli.reports.time import ComputeOptimum, PassTime, ServingTime, TrainingTime

_ASSUMED = "The share of the peak is an assumption: large runs report 38 to 46%."


def training_time_blocks(time: TrainingTime, kernel_efficiency: float | None = None) -> tuple[Block, ...]:
    """Return the time and the cost of a budget of tokens.

    Args:
        time: What is shown.
        kernel_efficiency: What the plan whose speed it is takes kernels to reach; None where no plan made it.
    """
    peak = prefixed(time.peak_flops_per_second, "FLOP/s")
    share = f"{time.utilisation * 100:.3g}%"
    rows: list[Row] = [
        ("tokens", compact(time.budget_tokens), f"{flops(time.train_flops_per_token)} each"),
        ("speed", f"{three_digits(time.tokens_per_second)} tokens/s", f"at {share} of {peak} {time.dtype}"),
        ("time", Cell(duration(time.seconds), "strong"), ""),
        ("GPU hours", _hours(time.gpu_hours), ""),
    ]
    if time.usd is not None and time.usd_per_gpu_hour is not None:
        rows.append(("cost", Cell(dollars(time.usd), "strong"), f"at {dollars(time.usd_per_gpu_hour)} a GPU hour"))
    columns = (
        Column(f"training on {_machine(time.n_gpus, time.accelerator)}", shrink=True),
        Column("", right=True),
        Column("", keep=3),
    )
    table = Table(columns, tuple((Cell(str(name), "name"), value, _muted(how)) for name, value, how in rows))
    if kernel_efficiency is None:
        return (table, Note(_ASSUMED, "muted"))
    why = (
        f"The speed is the plan's: {kernel_efficiency * 100:.3g}% of the peak while a GPU computes, an assumption, and"
    )
    return (table, Note(f"{why} {share} of it (MFU) with traffic, waiting and what is computed again.", "muted"))


def compute_optimum_blocks(optimum: ComputeOptimum) -> tuple[Block, ...]:
    """Return where a budget of tokens stands beside the compute-optimal one."""
    ratio = optimum.optimal_ratio
    if 0.95 <= ratio <= 1.05:
        verdict = "about that"
    else:
        verdict = f"{_times(ratio)} as many" if ratio > 1 else f"{ratio * 100:.2g}% of that"
    return (
        Note(
            f"Compute-optimal for {compact(optimum.params)} parameters: {compact(optimum.optimal_tokens)} tokens,"
            f" 20 a parameter (Hoffmann et al. 2022, approaches 1 and 2). {compact(optimum.budget_tokens)} are"
            f" {verdict}."
        ),
        Note(
            f"The same compute is spent best on {compact(optimum.compute_optimal_params)} parameters and"
            f" {compact(optimum.compute_optimal_tokens)} tokens; a model that is served much is worth more tokens.",
            "muted",
        ),
    )


def serving_time_blocks(time: ServingTime) -> tuple[Block, ...]:
    """Return the least time of a first pass and of a decoding step, and what bounds each."""
    columns = (
        Column(f"serving on {_machine(time.n_gpus, time.accelerator)}", shrink=True),
        Column("least time", right=True),
        Column("tokens/s", right=True),
        Column("bound by"),
        Column("FLOPs", right=True, keep=2),
        Column("bytes", right=True, keep=3),
        Column("FLOPs/byte", right=True, keep=4),
    )
    prompts = f"prefill {_by(time.batch_size, time.prompt_tokens)}"
    step = f"decode {_by(time.batch_size, 1)} at {integer(time.context_tokens)}"
    rows = (
        _pass_row(prompts, time.prefill, time.prefill_tokens_per_second),
        _pass_row(step, time.decode, time.decode_tokens_per_second),
    )
    notes = [
        f"The machine has {time.balance_flops_per_byte:,.0f} FLOPs to a byte of bandwidth in {time.dtype};"
        " work with fewer waits for memory.",
        _turning_point(time),
    ]
    if time.batch_size > 1:
        notes.insert(0, f"Each sequence gets at most {three_digits(time.sequence_tokens_per_second)} tokens/s.")
    if time.n_gpus > 1:
        notes.append("What the GPUs say to each other is not counted.")
    return (Table(columns, rows), *(Note(note, "muted") for note in notes))


def _turning_point(time: ServingTime) -> str:
    batch, context = time.compute_bound_batch_size, counted(time.context_tokens, "token")
    if batch is None:
        return f"At {context} of context every batch is bound by memory: each sequence reads a cache of its own."
    return f"Decoding is bound by compute from a batch of {integer(batch)}, if that fits."


def _pass_row(name: str, each: PassTime, tokens_per_second: float) -> Row:
    return (
        Cell(name, "name"),
        Cell(duration(each.seconds), "strong"),
        three_digits(tokens_per_second),
        Cell(each.bound, "good" if each.bound == "compute" else "warn"),
        flops(each.flops),
        prefixed(each.moved_bytes, "B"),
        three_digits(each.intensity_flops_per_byte),
    )


def _machine(n_gpus: int, accelerator: str) -> str:
    return f"{integer(n_gpus)} × {accelerator}"


def _by(batch_size: int, tokens: int) -> str:
    return f"{integer(batch_size)} × {integer(tokens)}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 99.95 else f"{hours:.3g}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 99.5 else f"{ratio:.3g} times"


def _muted(text: object) -> Cell:
    return Cell(str(text), "muted")
