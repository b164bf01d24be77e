"""``--plan``: a parallel layout in words, ``tp=8,pp=2,zero=1``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tinylm_cli.cli.options import as_typed
from tinylm_cli.cli.workload_options import source_labels
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic
from tinylm_cli.config.source import option_span
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.errors import Diagnostic, Label, Span
from tinylm_cli.reports.plan import ABBREVIATIONS, Layout

if TYPE_CHECKING:
    from tinylm_cli.analysis.parallel.layouts import LayoutMismatch
    from tinylm_cli.config.loader import LoadedConfig

OPTION = "--plan"

FIELDS = {word: field for field, word in ABBREVIATIONS.items()}
"""The field of a layout for each word of a plan."""

_DEGREES = ("data", "tensor", "pipeline", "context")
"""Fields whose product is the number of GPUs."""

_MAX_VALUE = 1_000_000
CHOICES: dict[str, tuple[str, ...]] = {"zero": ("0", "1", "2", "3"), "schedule": ("1f1b", "gpipe")}


class _Entry(NamedTuple):
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
        loaded: The model; None if its config is invalid, and divisibility is not checked.
        seq_len: Tokens per sequence; None if it is not known.

    Raises:
        ConfigError: If the plan is wrong or does not divide the model; holds every error, each at its place.
    """
    errors: list[Diagnostic] = []
    given: dict[str, _Entry] = {}
    for word in _words(written):
        error = _error(word, given)
        if error is None:
            given[FIELDS[word.key]] = word
        else:
            errors.append(error)
    values: dict[str, Any] = {
        field: word.value if field == "schedule" else int(word.value) for field, word in given.items()
    }
    cluster = _Cluster(gpus, loaded, seq_len)
    wrong_count = _wrong_gpu_count(values, written, cluster, sure=not errors)
    layout = cluster.layout(values)
    if loaded is not None:
        found = list(_mismatches(cluster, layout, given, written, sure=not (errors or wrong_count)))
        if wrong_count is not None and found and not wrong_count.spans:  # the degrees of ``found`` cause it
            wrong_count = None
        elif wrong_count is not None:  # the same degree is reported once
            found = [each for each in found if each.span is None or each.span not in wrong_count.spans]
        errors += found
    if wrong_count is not None:
        errors.append(wrong_count.diagnostic)
    if errors:
        raise config_error(errors)
    return layout


def states_micro_batches(written: str) -> bool:
    """Return whether a plan states its micro-batches."""
    return any(FIELDS.get(word.key) == "micro_batches" for word in _words(written))


def require_batch_divisible(layout: Layout, written: str | None, *, batch_size: int, global_batch_size: int) -> None:
    """Check that the plan divides the global batch evenly, or equals it if the plan states ``mb``.

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
    if written is not None and states_micro_batches(written):
        made = per_pass * layout.micro_batches
        message = f"{product} × mb {layout.micro_batches} makes {made} sequences per step, not {global_batch_size}"
        remedy, wrong = "remove mb from the plan; it follows from the global batch", made != global_batch_size
    else:
        message = f"{option} {as_typed(global_batch_size)} is not a multiple of {product}"
        remedy = f"for example {option} {per_pass * max(round(global_batch_size / per_pass), 1)}"
        wrong = global_batch_size % per_pass != 0
    if wrong:
        labels = () if written is None else (Label(option_span(OPTION, written), "the plan"),)
        where = option_span(option, as_typed(global_batch_size))
        raise config_error([diagnostic("contradiction", message, option, where, help=remedy, labels=labels)])


def _words(written: str) -> Iterator[_Entry]:
    start = 0
    for word in written.split(","):
        yield _Entry(word.strip(), start + len(word) - len(word.lstrip()), written)
        start += len(word) + 1


def _error(word: _Entry, given: dict[str, _Entry]) -> Diagnostic | None:
    """Return the error in one entry: invalid, or a duplicate of an entry ``given`` before it."""
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
        return diagnostic("duplicate-key", message, OPTION, word.span, help="remove one of them", labels=(label,))
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


class _Cluster(NamedTuple):
    """What a layout must divide: the GPUs, the model (None if its config is invalid), and the length, where known."""

    gpus: int
    loaded: LoadedConfig | None
    seq_len: int | None

    def layout(self, values: dict[str, Any]) -> Layout:
        """Return the layout of the stated fields; ``dp`` follows from the GPUs unless it is stated."""
        layout = Layout(**values)
        if "data" in values:
            return layout
        return replace(layout, data=max(self.gpus // replace(layout, data=1).n_gpus, 1))

    def mismatches(self, layout: Layout) -> tuple[LayoutMismatch, ...]:
        """Return each size of the model that the layout does not divide; none if the config is invalid."""
        from tinylm_cli.analysis.parallel.layouts import layout_mismatches
        from tinylm_cli.analysis.setups import TrainingSetup

        if self.loaded is None:
            return ()
        return layout_mismatches(self.loaded.config, TrainingSetup(seq_len=self.seq_len or layout.context), layout)

    def working(self, field: str, values: dict[str, Any]) -> list[int]:
        """Return the values of one degree that divide the GPUs and the model, given the other degrees."""
        others = {name: value for name, value in values.items() if name not in (field, "data")}
        available, remainder = divmod(self.gpus, Layout(**others).n_gpus)
        degrees = [] if remainder else [n for n in range(1, available + 1) if available % n == 0]
        return [
            degree
            for degree in degrees
            if all(each.field != field for each in self.mismatches(self.layout({**others, field: degree})))
        ]


class _WrongGpuCount(NamedTuple):
    """A plan that does not make up the number of GPUs, and the words that its help changes."""

    diagnostic: Diagnostic
    spans: tuple[Span, ...]


def _wrong_gpu_count(values: dict[str, Any], written: str, cluster: _Cluster, *, sure: bool) -> _WrongGpuCount | None:
    """Return a diagnostic if the degrees do not multiply to the number of GPUs.

    Args:
        values: Stated fields of the layout.
        written: The plan as typed.
        cluster: The GPUs and the model.
        sure: Whether every word of the plan could be read.
    """
    gpus = cluster.gpus
    degrees = {short: values[field] for short, field in FIELDS.items() if field in _DEGREES and field in values}
    taken = prod(degrees.values())
    if gpus % taken == 0 and ("dp" not in degrees or taken == gpus or not sure):
        return None
    product = f"{' × '.join(f'{short} {value}' for short, value in degrees.items())} uses {taken} GPUs"
    there = f"--gpus is {gpus}" if taken > gpus or "dp" in degrees else f"{gpus} is not a multiple of that"
    remedy, changed = _suggest_gpu_count(values, degrees, cluster)
    spans = tuple(word.span for word in _words(written) if word.key == changed)
    labels = (Label(option_span("--gpus", as_typed(gpus)), "the number of GPUs"),)
    error = diagnostic(
        "contradiction", f"{product}, but {there}", OPTION, option_span(OPTION, written), help=remedy, labels=labels
    )
    return _WrongGpuCount(error, spans)


def _suggest_gpu_count(values: dict[str, Any], degrees: dict[str, int], cluster: _Cluster) -> tuple[str, str]:
    """Return how a plan comes to make up the number of GPUs, and the degree that changes; empty if none does."""
    without = prod(value for short, value in degrees.items() if short != "dp")
    if "dp" in degrees and cluster.gpus % without == 0:
        return "remove dp; it then follows from --gpus", "dp"
    choices = {short: cluster.working(FIELDS[short], values) for short in degrees if short != "dp"}
    short = next((each for each, working in choices.items() if working), "")
    fewest = without * -(-cluster.gpus // without)
    larger = cluster._replace(gpus=fewest)
    others = {field: value for field, value in values.items() if field != "data"}
    remedies = [f"write {_either(short, choices[short])}"] if short else []
    if not larger.mismatches(larger.layout(others)):
        remedies.append(f"write --gpus {fewest}")
    if not remedies:
        return f"the product of {', '.join(choices)} must divide {cluster.gpus}", ""
    dropped = " and remove dp" if "dp" in degrees else ""
    return f"{', or '.join(remedies)}{dropped}", short


def _either(short: str, working: Sequence[int]) -> str:
    """Return ``tp=1, 2 or 4``."""
    *first, last = map(str, working)
    return f"{short}={', '.join(first)} or {last}" if first else f"{short}={last}"


def _mismatches(
    cluster: _Cluster, layout: Layout, given: dict[str, _Entry], written: str, *, sure: bool
) -> Iterator[Diagnostic]:
    """Yield the degrees that do not divide sizes of the model, each once, at the word of the plan and in the config.

    If not every word could be read (``sure``), only mismatches with the config are certain.
    """
    assert cluster.loaded is not None
    by_field: dict[str, list[LayoutMismatch]] = {}
    for mismatch in cluster.mismatches(layout):
        if not sure and not mismatch.config_field:
            continue
        if mismatch.field == "micro_batches" and "micro_batches" not in given:  # they follow from the global batch
            continue
        by_field.setdefault(mismatch.field, []).append(mismatch)
    values = {field: getattr(layout, field) for field in given}
    for field, (first, *more) in by_field.items():
        said = [first.message, *(each.message.rpartition("does not divide ")[2] for each in more)]
        working = cluster.working(field, values) if more else []
        yield diagnostic(
            "contradiction",
            f"{', '.join(said[:-1])} and {said[-1]}" if more else first.message,
            OPTION,
            given[field].span if field in given else option_span(OPTION, written),
            field=first.config_field,
            help=f"write {_either(ABBREVIATIONS[field], working)}" if working else first.help,
            labels=tuple(
                label for each in (first, *more) for label in source_labels(cluster.loaded, each.config_field)
            ),
        )


def _short(name: str) -> str:
    return next((short for short, field in FIELDS.items() if name in (short, field)), name)
