"""Time and cost of training, and lower bounds on the time of serving."""

from __future__ import annotations

from tinylm_cli.quantities import Quantity, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Note, Row, Style, Table
from tinylm_cli.render.units import compact, dollars, duration, flops, integer, prefixed, three_digits
from tinylm_cli.reports.time import ComputeOptimum, PassTime, ServingTime, TrainingTime
from tinylm_cli.wording import Setting, Wording


def training_time_blocks(time: TrainingTime, *, planned: bool, recomputes: bool) -> tuple[Block, ...]:
    """Return the time and the cost of training on a number of tokens.

    Args:
        time: The time.
        planned: Whether a plan gives the utilization; otherwise it is an assumption.
        recomputes: Whether the backward pass recomputes activations.
    """
    machine = f"{integer(time.n_gpus)} × {time.accelerator}"
    speed = Quantity(f"{three_digits(time.tokens_per_second)} tokens/s", time.tokens_per_second)
    pace = f"at {time.utilization * 100:.3g}% of {prefixed(time.peak_flops_per_second, 'FLOP/s')} in {time.dtype}"
    rows: list[Row] = [
        _figure("tokens", "train_tokens", compact(time.train_tokens), f"{flops(time.train_flops_per_token)} per token"),
        _figure("speed", "tokens_per_second", speed, pace),
        _figure("time", "seconds", duration(time.seconds), style="strong"),
        _figure("GPU hours", "gpu_hours", _hours(time.gpu_hours)),
    ]
    if time.usd is not None and time.usd_per_gpu_hour is not None:
        price = f"at {dollars(time.usd_per_gpu_hour)} per GPU hour"
        rows.append(_figure("cost", "usd", dollars(time.usd), price, style="strong"))
    columns = (
        Column(f"training on {machine}", shrink=True, key="figure"),
        Column("", right=True, key="value"),
        Column("", keep=3),
    )
    table = Table(columns, tuple(rows), name="training_time", caption=f"Training time on {machine}")
    if planned:
        return (table,)
    again = " Recomputation takes time, but its FLOPs are not counted in it." if recomputes else ""
    return (table, Note(f"The utilization is an assumption: large runs report 38 to 46%.{again}", "muted"))


def _figure(name: str, key: str, value: Quantity, how: str = "", style: Style = "plain") -> Row:
    return (Cell(name, "name", key), Cell(value, style), Cell(how, "muted"))


def _hours(hours: float) -> Quantity:
    return Quantity(f"{hours:,.0f}" if hours >= 99.95 else f"{hours:.3g}", hours)


def compute_optimum_blocks(optimum: ComputeOptimum, wording: Wording, *, tokens_are_given: bool) -> tuple[Block, ...]:
    """Return how the training tokens compare with the compute-optimal number, their default."""
    tokens = "20 per active parameter (Hoffmann et al. 2022)"
    if not tokens_are_given:
        words = f"{compact(optimum.optimal_tokens)} tokens are compute-optimal, {tokens}; a heavily served model"
        return (Note(f"{words} repays more ({wording(Setting('train_tokens'))})."),)
    given, ratio = compact(optimum.train_tokens), optimum.optimal_ratio
    if 0.95 <= ratio <= 1.05:
        return (Note(f"{given} tokens are about compute-optimal, {tokens}."),)
    share = f"{three_digits(ratio)} times" if ratio > 1 else f"{ratio * 100:.2g}% of"
    best = f"{compact(optimum.compute_optimal_params)} parameters on {compact(optimum.compute_optimal_tokens)} tokens"
    return (
        Note(
            f"{given} tokens are {share} the compute-optimal {compact(optimum.optimal_tokens)}, {tokens};"
            f" for the same compute, the optimum is {best}."
        ),
    )


def serving_time_blocks(time: ServingTime) -> tuple[Block, ...]:
    """Return lower bounds on the time of prefill and of a decoding step, and the bottleneck of each."""
    columns = (
        Column(f"serving on {time.accelerator}", shrink=True, key="pass"),
        Column("min time", right=True, key="seconds"),
        Column("tokens/s", right=True, key="tokens_per_second"),
        Column("bound by", key="bound"),
        Column("FLOPs", right=True, keep=2, key="flops"),
        Column("bytes", right=True, keep=3, key="moved_bytes"),
        Column("FLOPs/byte", right=True, keep=4, key="intensity_flops_per_byte"),
    )
    reading = f"{'pass over' if time.decode is None else 'prefill'} {_size(time.batch_size, time.prompt_tokens)}"
    rows = [_pass_row(Cell(reading, "name", "prefill"), time.prefill, time.prefill_tokens_per_second)]
    notes = [
        f"{time.accelerator} has a machine balance of {time.balance_flops_per_byte:,.0f} FLOPs per byte in"
        f" {time.dtype}; a pass with a lower arithmetic intensity is memory-bound.",
    ]
    if time.decode is not None and time.decode_tokens_per_second is not None:
        step = f"decode {_size(time.batch_size, 1)} at {integer(time.context_tokens)}"
        rows.append(_pass_row(Cell(step, "name", "decode"), time.decode, time.decode_tokens_per_second))
        notes.append(_compute_bound_note(time))
    if time.batch_size > 1 and time.sequence_tokens_per_second is not None:
        notes.insert(0, f"Each sequence decodes at most {three_digits(time.sequence_tokens_per_second)} tokens/s.")
    table = Table(columns, tuple(rows), name="serving_time", caption=f"Minimum serving time on {time.accelerator}")
    return (table, *(Note(note, "muted") for note in notes))


def _compute_bound_note(time: ServingTime) -> str:
    batch, context = time.compute_bound_batch_size, counted(time.context_tokens, "token")
    if batch is None:
        return f"At {context} of context every batch is memory-bound: each sequence reads its own cache."
    return f"Decoding is compute-bound from a batch of {integer(batch)}, if it fits."


def _pass_row(name: Cell, each: PassTime, tokens_per_second: float) -> Row:
    return (
        name,
        Cell(duration(each.seconds), "strong"),
        three_digits(tokens_per_second),
        Cell(each.bound, "good" if each.bound == "compute" else "warn"),
        flops(each.flops),
        prefixed(each.moved_bytes, "B"),
        three_digits(each.intensity_flops_per_byte),
    )


def _size(batch_size: int, tokens: int) -> str:
    return f"{integer(batch_size)} × {integer(tokens)}"
