"""``--plan``: a parallel layout in words, ``tp=8,pp=2,zero=1``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tinylm_cli.cli.workload_options import written_labels
from tinylm_cli.config.diagnostic_codes import clip, diagnostic, refusal
from tinylm_cli.config.source import option_span
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.errors import Diagnostic, Label, Span
from tinylm_cli.reports.plan import ABBREVIATIONS, Layout

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig

OPTION = "--plan"

FIELDS = {word: field for field, word in ABBREVIATIONS.items()}
"""The field of a layout for each word of a plan."""

_DEGREES = ("data", "tensor", "pipeline", "context")
"""Fields whose product is the number of GPUs."""

_MAX_VALUE = 1_000_000
CHOICES: dict[str, tuple[str, ...]] = {"zero": ("0", "1", "2", "3"), "schedule": ("1f1b", "gpipe")}


class _Word(NamedTuple):
    """One ``key=value`` of a plan, and its place in the option."""

    text: str
    start: int
    written: str

    @property
    def key(self) -> str:
        return self.text.partition("=")[0]

    @property
    def value(self) -> str:
        return self.text.partition("=")[2]

    @property
    def span(self) -> Span:
        return option_span(OPTION, self.written, self.start, self.start + len(self.text))

    @property
    def value_span(self) -> Span:
        return option_span(OPTION, self.written, self.start + len(self.key) + 1, self.start + len(self.text))


def read_layout(written: str, gpus: int, loaded: LoadedConfig | None, seq_len: int | None) -> Layout:
    """Return the layout that ``tp=8,pp=2,zero=1`` describes; ``dp`` follows from the GPUs unless it is stated.

    Args:
        written: The plan as typed.
        gpus: Number of GPUs.
        loaded: The model; None if its config is wrong, and divisibility is not checked.
        seq_len: Tokens per sequence; None if it is not known.

    Raises:
        ConfigError: If the plan is wrong or does not divide the model; holds every mistake, each at its place.
    """
    mistakes: list[Diagnostic] = []
    given: dict[str, _Word] = {}
    for word in _words(written):
        mistake = _mistake(word, given)
        if mistake is None:
            given[FIELDS[word.key]] = word
        else:
            mistakes.append(mistake)
    values: dict[str, Any] = {
        field: word.value if field == "schedule" else int(word.value) for field, word in given.items()
    }
    mistakes += _miscounted(values, written, gpus, sure=not mistakes)
    layout = Layout(**values)
    if "data" not in given:
        layout = replace(layout, data=max(gpus // replace(layout, data=1).n_gpus, 1))
    if loaded is not None:
        mistakes += _mismatches(loaded, layout, seq_len, given, written, sure=not mistakes)
    if mistakes:
        raise refusal(mistakes)
    return layout


def says_micro_batches(written: str) -> bool:
    """Return whether a plan states its micro-batches."""
    return any(FIELDS.get(word.key) == "micro_batches" for word in _words(written))


def require_shared(layout: Layout, written: str | None, *, batch_size: int, global_batch_size: int) -> None:
    """Check that the plan divides the global batch evenly, or makes it up if the plan states ``mb``.

    Args:
        layout: The layout of the plan.
        written: The plan as typed, or None.
        batch_size: Micro-batch: sequences per pass of a replica.
        global_batch_size: Sequences per optimizer step.

    Raises:
        ConfigError: If it does not; points at the option and at the plan.
    """
    option, product = "--global-batch-size", f"dp {layout.data} × --batch-size {batch_size}"
    per_pass = layout.data * batch_size
    if written is not None and says_micro_batches(written):
        made = per_pass * layout.micro_batches
        message = f"{product} × mb {layout.micro_batches} is {made} sequences per step, not {global_batch_size}"
        remedy, wrong = "remove mb from the plan; it follows from the global batch", made != global_batch_size
    else:
        message = f"{option} {global_batch_size} is not a multiple of {product}"
        remedy = f"for example {option} {per_pass * max(round(global_batch_size / per_pass), 1)}"
        wrong = global_batch_size % per_pass != 0
    if wrong:
        labels = () if written is None else (Label(option_span(OPTION, written), "the plan"),)
        where = option_span(option, str(global_batch_size))
        raise refusal([diagnostic("contradiction", message, option, where, help=remedy, labels=labels)])


def _words(written: str) -> Iterator[_Word]:
    start = 0
    for word in written.split(","):
        yield _Word(word.strip(), start + len(word) - len(word.lstrip()), written)
        start += len(word) + 1


def _mistake(word: _Word, given: dict[str, _Word]) -> Diagnostic | None:
    """Return the mistake in one word, by itself or because a word ``given`` before it is the same."""
    key, value = word.key, word.value
    if key not in FIELDS or "=" not in word.text:
        meant = suggest(key, [*FIELDS, *FIELDS.values()])
        remedy = (
            f"did you mean {_short(meant)}?"
            if meant
            else f"the keys are {', '.join(FIELDS)}: for example tp=8,pp=2,zero=1"
        )
        said = f"unknown plan key {clip(word.text)}" if word.text else "an entry of the plan is empty"
        return diagnostic("unknown-key", said, OPTION, word.span, help=remedy)
    if FIELDS[key] in given:
        label = Label(given[FIELDS[key]].span, "first given here")
        message = f"{key} is given twice"
        return diagnostic("duplicate-key", message, OPTION, word.span, help="keep one of them", labels=(label,))
    if key in CHOICES:
        if value in CHOICES[key]:
            return None
        message = f"{key} is one of {', '.join(CHOICES[key])}"
        remedy = f"for example {key}={CHOICES[key][-1]}"
        return diagnostic("unknown-choice", message, OPTION, word.value_span, help=remedy)
    is_number = value.isascii() and value.isdigit()
    if is_number and len(value) < 9 and 0 < int(value) <= _MAX_VALUE:
        return None
    wants = f"{key} must be an integer from 1 to {_MAX_VALUE:,}, not {clip(value) or 'nothing'}"
    code = "out-of-range" if is_number else "wrong-type"
    return diagnostic(code, wants, OPTION, word.value_span, help=f"for example {key}=2")


def _miscounted(values: dict[str, Any], written: str, gpus: int, *, sure: bool) -> Iterator[Diagnostic]:
    """Yield a diagnostic if the degrees do not make up the number of GPUs.

    Args:
        values: Stated fields of the layout.
        written: The plan as typed.
        gpus: Number of GPUs.
        sure: Whether every word of the plan could be read.
    """
    degrees = {short: values[field] for short, field in FIELDS.items() if field in _DEGREES and field in values}
    taken = prod(degrees.values())
    if gpus % taken == 0 and ("dp" not in degrees or taken == gpus or not sure):
        return
    product = f"{' × '.join(f'{short} {value}' for short, value in degrees.items())} is {taken} GPUs"
    there = f"there are {gpus}" if taken > gpus or "dp" in degrees else f"{gpus} is not a multiple of that"
    remedy = "remove dp; it then follows from --gpus"
    if "dp" not in degrees:
        remedy = f"write --gpus {taken * -(-gpus // taken)}, or change the plan: {remedy}"
    labels = (Label(option_span("--gpus", str(gpus)), "the number of GPUs"),)
    whole = option_span(OPTION, written)
    yield diagnostic("contradiction", f"{product}, but {there}", OPTION, whole, help=remedy, labels=labels)


def _mismatches(
    loaded: LoadedConfig, layout: Layout, seq_len: int | None, given: dict[str, _Word], written: str, *, sure: bool
) -> Iterator[Diagnostic]:
    """Yield each size of the model that the layout does not divide, at the word of the plan and in the config.

    If not every word could be read (``sure``), only mismatches with the config are certain.
    """
    from tinylm_cli.analysis.parallel.layouts import layout_mismatches
    from tinylm_cli.analysis.setups import TrainingSetup

    for mismatch in layout_mismatches(loaded.config, TrainingSetup(seq_len=seq_len or layout.context), layout):
        if not sure and not mismatch.config_field:
            continue
        if mismatch.field == "micro_batches" and "micro_batches" not in given:  # they follow from the global batch
            continue
        yield diagnostic(
            "contradiction",
            mismatch.message,
            OPTION,
            given[mismatch.field].span if mismatch.field in given else option_span(OPTION, written),
            field=mismatch.config_field,
            help=mismatch.help,
            labels=written_labels(loaded, mismatch.config_field),
        )


def _short(name: str) -> str:
    return next((short for short, field in FIELDS.items() if name in (short, field)), name)
