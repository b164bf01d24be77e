"""The summary of ``tinylm estimate``: a verdict and the main figures for training, and for serving."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from tinylm_cli.quantities import binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Note, Row, Style, Table
from tinylm_cli.render.units import compact, dollars, duration, integer, percent, three_digits
from tinylm_cli.render.views.memory import lora_text
from tinylm_cli.render.views.plan import layout_text, rank_text
from tinylm_cli.render.views.record_table import csv_value
from tinylm_cli.render.views.remedies import changes_text
from tinylm_cli.render.views.serving import window_sentences
from tinylm_cli.reports.choices import Purpose
from tinylm_cli.reports.estimate import EstimateReport, ServingSummary, TrainingSummary
from tinylm_cli.reports.memory_fit import Fit
from tinylm_cli.reports.serving import CacheShape
from tinylm_cli.wording import Setting, Wording

_MILLION = 10**6

MAX_REMEDIES = 2
"""Largest number of remedies in a summary; the full report shows all."""


def summary_blocks(report: EstimateReport, wording: Wording) -> tuple[Block, ...]:
    """Return the verdicts and their figures, of training before serving."""
    summary = report.summary
    columns = (Column("", key=None), Column("", wrap=True, key=None))
    parts: list[tuple[Note, Table]] = []
    if summary.training is not None and report.training is not None:
        n_gpus = summary.training.n_gpus
        verdict = _verdict("Training", f"{integer(n_gpus)} × " if n_gpus > 1 else "", summary.training, report)
        remedies = _remedy_rows(report.training.fit, "training", wording)
        rows = (*_training_rows(summary.training, report, wording), *remedies)
        parts.append((verdict, Table(columns, rows, name="summary", caption="Training")))
    if summary.serving is not None and report.serving is not None:
        several = summary.training is not None and summary.training.n_gpus > 1
        verdict = _verdict("Serving", "one " if several else "", summary.serving, report)
        remedies = _remedy_rows(report.serving.fit, "serving", wording)
        rows = (*_serving_rows(summary.serving, report), *remedies)
        parts.append((verdict, Table(columns, rows, name="summary", caption="Serving")))
    return (_values(report), *(block for part in parts for block in part))


def _verdict(purpose: str, count: str, summary: TrainingSummary | ServingSummary, report: EstimateReport) -> Note:
    """Return whether memory is sufficient and the difference; without a GPU, the memory needed."""
    if summary.fits is None or summary.spare_bytes is None:
        gpu = "each GPU" if isinstance(summary, TrainingSummary) and summary.n_gpus > 1 else "one GPU"
        return Note(f"{purpose} takes {binary_bytes(summary.needed_bytes)} on {gpu}.", "strong")
    where = f"{purpose} on {count}{report.accelerator}"
    each = " on each" if isinstance(summary, TrainingSummary) and summary.n_gpus > 1 else ""
    if summary.fits:
        return Note(f"{where}: fits, {binary_bytes(summary.spare_bytes)} to spare{each}.", "good")
    return Note(f"{where}: does not fit, {binary_bytes(-summary.spare_bytes)} short{each}.", "bad")


def _training_rows(summary: TrainingSummary, report: EstimateReport, wording: Wording) -> Iterator[Row]:
    assert report.training is not None
    memory, plan = report.training.memory, report.training.plan
    batch = f"{counted(memory.batch_size, 'sequence')} of {counted(memory.seq_len, 'token')}"
    loss = "" if memory.logits_bytes else "; no head, so no loss is counted"
    yield _row("memory", f"{_memory(summary)}, {batch} in {memory.dtype}, {memory.optimizer}{loss}")
    if memory.lora is not None:
        yield _row("LoRA", lora_text(memory.lora))
    if plan is not None:
        tried, fitting = report.training.layouts_tried, report.training.layouts_fitting
        yield _row("plan", layout_text(plan.layout))
        rank = f"  ({rank_text(fitting)})" if fitting and tried is not None else ""
        yield _row("", f"{wording(Setting('plan', plan.layout.spec))}{rank}", "name")
    if plan is not None or summary.step_seconds is not None:
        n_tokens = summary.tokens_per_step
        per_step = f"{compact(n_tokens)} tokens" if n_tokens >= _MILLION else counted(n_tokens, "token")
        yield _row("batch", f"{per_step} per optimizer step")
    if summary.fits is False:
        return
    if summary.step_seconds is not None and summary.utilization is not None:
        speed = three_digits(summary.tokens_per_step / summary.step_seconds)
        yield _row("step", f"{duration(summary.step_seconds)} at {percent(summary.utilization)} MFU, {speed} tokens/s")
    if memory.lora is not None and not report.training.tokens_are_given:
        yield _row("run", f"{wording(Setting('train_tokens', metavar='COUNT'))} adds its time and cost")
        return
    optimal = "" if report.training.tokens_are_given else " (compute-optimal)"
    tokens = f"{compact(summary.train_tokens)} tokens{optimal}"
    if summary.seconds is not None and summary.gpu_hours is not None:
        cost = f", {dollars(summary.usd)}" if summary.usd is not None else ""
        hours = three_digits(summary.gpu_hours)
        yield _row("run", f"{duration(summary.seconds)} for {tokens}, {hours} GPU hours{cost}")
    else:
        gpu = wording(Setting("gpu", metavar="NAME"))
        yield _row("run", f"{tokens}; add {gpu} for time and cost")


def _serving_rows(summary: ServingSummary, report: EstimateReport) -> Iterator[Row]:
    assert report.serving is not None
    batch = f"{counted(summary.batch_size, 'sequence')} of {counted(summary.seq_len, 'token')}"
    yield _row("memory", f"{_memory(summary)}, {batch}")
    stored = " as stored" if summary.weights_are_stored else ""
    types = "as the file stores them" if summary.weights_dtype == "gguf" else f"in {summary.weights_dtype}{stored}"
    working = binary_bytes(report.serving.memory.working_bytes)
    yield _row("weights", f"{binary_bytes(summary.weights_bytes)} {types}; working memory {working}")
    if report.serving.cache is not None:
        yield _cache_row(summary, report.serving.cache)
    if summary.largest_batch_size is not None:
        largest = counted(summary.largest_batch_size, "sequence")
        none = "none: one sequence of this length does not fit"
        yield _row("largest batch", f"{largest} of this length" if summary.largest_batch_size else none)
    if summary.fits and summary.decode_tokens_per_second is not None:
        yield _row("decode", f"at most {three_digits(summary.decode_tokens_per_second)} tokens/s")
    time = report.serving.time
    if summary.fits and time is not None and time.decode is None:
        yield _row("pass", f"at most {three_digits(time.prefill_tokens_per_second)} tokens/s; nothing is decoded")


def _cache_row(summary: ServingSummary, cache: CacheShape) -> Row:
    """Return the size of the cached keys and values, of the states, and of both together."""
    per_token = f"{binary_bytes(cache.token_bytes)} per token in {cache.dtype}"
    states = f"{binary_bytes(cache.state_bytes)} per sequence"
    total = f"{binary_bytes(summary.kv_cache_bytes)} in total"
    windows = "".join(f"; {sentence}" for sentence in window_sentences(cache))
    if not cache.state_bytes:
        return _row("KV cache", f"{per_token}, {total}{windows}")
    if not cache.token_bytes:
        return _row("states", f"{states}, {total}")
    return _row("cache", f"keys and values of {per_token}, states of {states}, {total}{windows}")


def _remedy_rows(fit: Fit | None, purpose: Purpose, wording: Wording) -> Iterator[Row]:
    if fit is None or fit.fits:
        return
    for number, remedy in enumerate(fit.remedies[:MAX_REMEDIES]):
        changes = changes_text(remedy, purpose, wording)
        yield _row("" if number else "to fit", f"{changes}  ({binary_bytes(remedy.needed_bytes)})", "name")
    if not fit.remedies:
        yield _row("to fit", "no tested change is enough")


def _memory(summary: TrainingSummary | ServingSummary) -> str:
    needed = binary_bytes(summary.needed_bytes)
    if summary.capacity_bytes is None:
        return str(needed)
    capacity = binary_bytes(summary.capacity_bytes)
    return f"{needed} of {capacity}" if summary.fits else f"{needed} > {capacity}"


def _row(name: str, text: str, style: Style = "plain") -> Row:
    return (Cell(name, "muted"), Cell(text, style))


def _values(report: EstimateReport) -> Table:
    """Return the figures for CSV: one row each, in base units."""
    parts = (("training", report.summary.training), ("serving", report.summary.serving))
    rows = tuple(
        (Cell("", key=f"{name}.{field.name}"), csv_value(getattr(part, field.name)))
        for name, part in parts
        if part is not None
        for field in fields(part)
    )
    return Table((Column("", key="figure"), Column("", key="value")), rows, main=True, name="summary")
