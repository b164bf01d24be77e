"""``--plan``: how work is divided among GPUs, in a few words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tinylm_cli.config.codes import clip, diagnostic, refusal
from tinylm_cli.config.guesses import suggest
from tinylm_cli.config.source import Source
from tinylm_cli.errors import Diagnostic, Label, Span, UsageError
from tinylm_cli.reports.plan import Layout

if TYPE_CHECKING:
    from tinylm_cli.analysis.parallel.job import Job
    from tinylm_cli.config.loader import LoadedConfig

OPTION = "--plan"

FIELDS = {
    "dp": "data",
    "tp": "tensor",
    "pp": "pipeline",
    "cp": "context",
    "ep": "expert",
    "zero": "zero",
    "mb": "micro_batches",
    "schedule": "schedule",
    "vp": "virtual",
}
"""What a plan may say, and the field of a layout that each word is."""

_LARGEST = 1_000_000
_CHOICES: dict[str, tuple[str, ...]] = {"zero": ("0", "1", "2", "3"), "schedule": ("1f1b", "gpipe")}


def read_layout(written: str, gpus: int) -> Layout:
    """Return the layout that ``tp=8,pp=2,zero=1`` describes; ``dp`` is what is left of the GPUs unless it is given.

    Raises:
        ConfigError: If it is wrong; holds every mistake found, each at its place.
    """
    source = Source(OPTION, written, line_text=f"{OPTION} {written}", shift=len(OPTION) + 1)
    mistakes: list[Diagnostic] = []
    given: dict[str, Any] = {}
    for word, start in _words(written):
        key, equals, value = word.partition("=")
        at = source.span(start, start + max(len(word), 1))
        value_at = source.span(start + len(key) + 1, start + len(word)) if equals else at
        if key not in FIELDS or not equals:
            meant = suggest(key, [*FIELDS, *FIELDS.values()])
            remedy = f"did you mean {_short(meant)}?" if meant else "for example tp=8,pp=2,zero=1"
            mistakes.append(diagnostic("unknown-key", f"a plan has no {clip(word)}", OPTION, at, help=remedy))
        elif FIELDS[key] in given:
            mistakes.append(diagnostic("duplicate-key", f"{key} is given twice", OPTION, at, help="keep one of them"))
        elif key in _CHOICES and value not in _CHOICES[key]:
            wants = ", ".join(_CHOICES[key])
            mistakes.append(diagnostic("unknown-choice", f"{key} is one of {wants}", OPTION, value_at, field=key))
        elif key != "schedule" and not (value.isascii() and value.isdigit() and 0 <= int(value[:9]) <= _LARGEST):
            wants = f"{key} must be an integer from 1 to {_LARGEST:,}, not {clip(value) or 'nothing'}"
            mistakes.append(diagnostic("wrong-type", wants, OPTION, value_at, help=f"for example {key}=2"))
        elif key not in _CHOICES and int(value) == 0:
            wants = f"{key} must be an integer from 1 to {_LARGEST:,}, not 0"
            mistakes.append(diagnostic("out-of-range", wants, OPTION, value_at, help=f"for example {key}=2"))
        else:
            given[FIELDS[key]] = value if key == "schedule" else int(value)
    layout = Layout(**given)
    if not mistakes and "data" not in given:
        rest = replace(layout, data=1).gpus
        layout = replace(layout, data=max(gpus // rest, 1))
    if not mistakes and layout.gpus != gpus:
        product = " × ".join(f"{short} {getattr(layout, field)}" for short, field in list(FIELDS.items())[:4])
        message = f"{product} is {layout.gpus} GPUs, and there are {gpus}"
        whole = source.span(0, len(written))
        mistakes.append(diagnostic("contradiction", message, OPTION, whole, help="dp is worked out if it is left out"))
    if mistakes:
        raise refusal(mistakes)
    return layout


def with_micro_batches(
    layout: Layout, written: str, *, batch_size: int, sequences: int, global_batch: int | None
) -> Layout:
    """Return a layout that reads ``sequences`` between updates, unless the plan says its ``mb``.

    Args:
        layout: What the plan says.
        written: The plan.
        batch_size: Sequences in one pass of a replica.
        sequences: Sequences in a step where the plan does not say.
        global_batch: Those asked for, or None.

    Raises:
        UsageError: If replicas do not share what is asked for evenly, or the plan says otherwise.
    """
    at_once = layout.data * batch_size
    if "mb" in (word.partition("=")[0] for word, _ in _words(written)):
        if global_batch is not None and global_batch != at_once * layout.micro_batches:
            product = f"mb {layout.micro_batches} × dp {layout.data} × --batch-size {batch_size}"
            message = f"--global-batch {global_batch} is not {product}, {at_once * layout.micro_batches} sequences"
            raise UsageError(message, help="leave mb out: it is worked out")
        return layout
    if sequences % at_once:
        nearest = at_once * max(round(sequences / at_once), 1)
        message = f"--global-batch {sequences} is no multiple of dp {layout.data} × --batch-size {batch_size}"
        raise UsageError(message, help=f"for example --global-batch {nearest}")
    return replace(layout, micro_batches=sequences // at_once)


def require_even(loaded: LoadedConfig, job: Job, layout: Layout, written: str) -> None:
    """Refuse a layout that the model does not allow.

    Raises:
        ConfigError: Holds each way in which it does not come out even, at the word of the plan and of the config.
    """
    from tinylm_cli.analysis.parallel.layouts import uneven

    source = Source(OPTION, written, line_text=f"{OPTION} {written}", shift=len(OPTION) + 1)
    mistakes = [
        diagnostic(
            "contradiction",
            wrong.message,
            OPTION,
            _place(wrong.field, written, source),
            field=wrong.config_field,
            help=wrong.help,
            labels=_labels(loaded, wrong.config_field),
        )
        for wrong in uneven(job, layout)
    ]
    if mistakes:
        raise refusal(mistakes)


def _words(written: str) -> Iterator[tuple[str, int]]:
    start = 0
    for word in written.split(","):
        yield word.strip(), start + len(word) - len(word.lstrip())
        start += len(word) + 1


def _short(name: str) -> str:
    return next((short for short, field in FIELDS.items() if name in (short, field)), name)


def _place(field: str, written: str, source: Source) -> Span:
    found = (
        source.span(start, start + len(word))
        for word, start in _words(written)
        if FIELDS.get(word.partition("=")[0]) == field
    )
    return next(found, source.span(0, len(written)))


def _labels(loaded: LoadedConfig, field: str) -> tuple[Label, ...]:
    from tinylm_cli.config.schema import flatten

    span = loaded.origins.get(field)
    values = flatten(loaded.config.model_dump())
    return (Label(span, f"{field} is {values[field]}"),) if span is not None else ()
