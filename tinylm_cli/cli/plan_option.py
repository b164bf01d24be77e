"""``--plan``: a parallel layout such as ``tp=8,pp=2,zero=1``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from tinylm_cli.cli.options import as_typed, option_span
from tinylm_cli.cli.workload_options import source_labels
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic, either
from tinylm_cli.config.similar_names import suggest
from tinylm_cli.errors import Diagnostic, Label, Span
from tinylm_cli.reports.plan import ABBREVIATIONS, Layout
from tinylm_cli.wording import Argument

if TYPE_CHECKING:
    from tinylm_cli.analysis.parallel.layouts import LayoutMismatch
    from tinylm_cli.config.loader import LoadedConfig

OPTION = Argument("--plan")

FIELDS = {key: field for field, key in ABBREVIATIONS.items()}
"""The field of a layout for each key of a plan."""

_DEGREES = ("data", "tensor", "pipeline", "context")
"""Fields whose product is the number of GPUs."""

_MAX_VALUE = 1_000_000
CHOICES: dict[str, tuple[str, ...]] = {"zero": ("0", "1", "2", "3"), "schedule": ("1f1b", "gpipe")}


class _Entry(NamedTuple):
    """One ``key=value`` of a plan, and its position in the option."""

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
        ConfigError: If the plan is invalid or does not divide the model; contains every error, each at its position.
    """
    errors: list[Diagnostic] = []
    entries: dict[str, _Entry] = {}
    for entry in _entries(written):
        error = _entry_error(entry, entries)
        if error is None:
            entries[FIELDS[entry.key]] = entry
        else:
            errors.append(error)
    values: dict[str, Any] = {
        field: entry.value if field == "schedule" else int(entry.value) for field, entry in entries.items()
    }
    cluster = _Cluster(gpus, loaded, seq_len)
    wrong_count = _wrong_gpu_count(values, written, cluster, all_parsed=not errors)
    layout = cluster.layout(values)
    if loaded is not None:
        mismatches = list(_mismatches(cluster, layout, entries, written, all_valid=not (errors or wrong_count)))
        if wrong_count is not None and mismatches and not wrong_count.spans:  # the mismatched degrees cause it
            wrong_count = None
        elif wrong_count is not None:  # report each degree once
            mismatches = [each for each in mismatches if each.span is None or each.span not in wrong_count.spans]
        errors += mismatches
    if wrong_count is not None:
        errors.append(wrong_count.diagnostic)
    if errors:
        raise config_error(errors)
    return layout


def states_micro_batches(written: str) -> bool:
    """Return whether a plan states its micro-batches."""
    return any(FIELDS.get(entry.key) == "micro_batches" for entry in _entries(written))


def require_batch_divisible(layout: Layout, written: str | None, *, batch_size: int, global_batch_size: int) -> None:
    """Check that the plan divides the global batch evenly, or equals it if the plan states ``mb``.

    Args:
        layout: The layout of the plan.
        written: The plan as typed, or None.
        batch_size: Micro-batch size: sequences per pass of a replica.
        global_batch_size: Sequences per optimizer step.

    Raises:
        ConfigError: If it does not; points at the option and at the plan.
    """
    option, product = "--global-batch-size", f"dp {layout.data} × --batch-size {batch_size}"
    per_pass = layout.data * batch_size
    if written is not None and states_micro_batches(written):
        per_step = per_pass * layout.micro_batches
        message = f"{product} × mb {layout.micro_batches} makes {per_step} sequences per step, not {global_batch_size}"
        remedy, wrong = "remove mb from the plan; it follows from the global batch", per_step != global_batch_size
    else:
        message = f"{option} {as_typed(global_batch_size)} is not a multiple of {product}"
        remedy = f"for example {option} {per_pass * max(round(global_batch_size / per_pass), 1)}"
        wrong = global_batch_size % per_pass != 0
    if wrong:
        labels = () if written is None else (Label(option_span(OPTION, written), "the plan"),)
        span = option_span(option, as_typed(global_batch_size))
        raise config_error([diagnostic("contradiction", message, span.source, span, help=remedy, labels=labels)])


def _entries(written: str) -> Iterator[_Entry]:
    start = 0
    for text in written.split(","):
        yield _Entry(text.strip(), start + len(text) - len(text.lstrip()), written)
        start += len(text) + 1


def _entry_error(entry: _Entry, previous: dict[str, _Entry]) -> Diagnostic | None:
    """Return the error in one entry: invalid, or a duplicate of an entry in ``previous``."""
    key, value = entry.key, entry.value
    if key not in FIELDS or "=" not in entry.text:
        suggestion = suggest(key, [*FIELDS, *FIELDS.values()])
        if suggestion is not None:
            remedy = f"did you mean {ABBREVIATIONS.get(suggestion, suggestion)}?"
        else:
            remedy = f"the keys are {', '.join(FIELDS)}: for example tp=8,pp=2,zero=1"
        message = f"unknown plan key {clip(entry.text)}" if entry.text else "an entry of the plan is empty"
        return diagnostic("unknown-key", message, OPTION, entry.span, help=remedy)
    if FIELDS[key] in previous:
        label = Label(previous[FIELDS[key]].span, "first given here")
        message = f"{key} is given twice"
        return diagnostic("duplicate-key", message, OPTION, entry.span, help="remove one of them", labels=(label,))
    if key in CHOICES:
        if value in CHOICES[key]:
            return None
        message = f"{key} is one of {', '.join(CHOICES[key])}"
        remedy = f"for example {key}={CHOICES[key][-1]}"
        return diagnostic("unknown-choice", message, OPTION, entry.value_span, help=remedy)
    is_number = value.isascii() and value.isdigit()
    if is_number and len(value) < 9 and 0 < int(value) <= _MAX_VALUE:
        return None
    message = f"{key} must be an integer from 1 to {_MAX_VALUE:,}, not {clip(value) or 'nothing'}"
    code = "out-of-range" if is_number else "wrong-type"
    return diagnostic(code, message, OPTION, entry.value_span, help=f"for example {key}=2")


class _Cluster(NamedTuple):
    """The GPUs, the model and the sequence length that a layout must divide; None if unknown."""

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

    def valid_degrees(self, field: str, values: dict[str, Any]) -> list[int]:
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
    """The error of a plan for another number of GPUs, and the spans of the entries that its help changes."""

    diagnostic: Diagnostic
    spans: tuple[Span, ...]


def _wrong_gpu_count(
    values: dict[str, Any], written: str, cluster: _Cluster, *, all_parsed: bool
) -> _WrongGpuCount | None:
    """Return a diagnostic if the degrees do not multiply to the number of GPUs.

    Args:
        values: Stated fields of the layout.
        written: The plan as typed.
        cluster: The GPUs and the model.
        all_parsed: Whether every entry of the plan is valid.
    """
    gpus = cluster.gpus
    degrees = {key: values[field] for key, field in FIELDS.items() if field in _DEGREES and field in values}
    used = prod(degrees.values())
    if gpus % used == 0 and ("dp" not in degrees or used == gpus or not all_parsed):
        return None
    product = " × ".join(f"{key} {degree}" for key, degree in degrees.items())
    reason = f"--gpus is {gpus}" if used > gpus or "dp" in degrees else f"{gpus} is not a multiple of that"
    message = f"{product} uses {used} GPUs, but {reason}"
    remedy, changed_key = _suggest_gpu_count(values, degrees, cluster)
    spans = tuple(entry.span for entry in _entries(written) if entry.key == changed_key)
    labels = (Label(option_span("--gpus", as_typed(gpus)), "the number of GPUs"),)
    error = diagnostic("contradiction", message, OPTION, option_span(OPTION, written), help=remedy, labels=labels)
    return _WrongGpuCount(error, spans)


def _suggest_gpu_count(values: dict[str, Any], degrees: dict[str, int], cluster: _Cluster) -> tuple[str, str]:
    """Return a remedy for a wrong number of GPUs, and the key whose value it changes; empty if it changes none."""
    model_parallel = prod(degree for key, degree in degrees.items() if key != "dp")
    if "dp" in degrees and cluster.gpus % model_parallel == 0:
        return "remove dp; it then follows from --gpus", "dp"
    if "dp" in degrees:
        kept = _keep_data_parallelism(values, degrees, cluster)
        if kept is not None:
            return kept
    choices = {key: cluster.valid_degrees(FIELDS[key], values) for key in degrees if key != "dp"}
    changed = next((key for key, valid in choices.items() if valid), "")
    larger = cluster._replace(gpus=model_parallel * -(-cluster.gpus // model_parallel))  # the next multiple
    others = {field: value for field, value in values.items() if field != "data"}
    remedies = [f"write {changed}={either(choices[changed])}"] if changed else []
    if not larger.mismatches(larger.layout(others)):
        remedies.append(f"write --gpus {larger.gpus}")
    if not remedies:
        return f"the product of {', '.join(choices)} must divide {cluster.gpus}", ""
    removal = "remove dp, and " if "dp" in degrees else ""
    return f"{removal}{', or '.join(remedies)}", changed


def _keep_data_parallelism(
    values: dict[str, Any], degrees: dict[str, int], cluster: _Cluster
) -> tuple[str, str] | None:
    """Return a remedy that changes the number of GPUs or another degree than dp, and the key of that degree."""
    used = prod(degrees.values())
    remedies, changed = [], ""
    for key in [key for key in degrees if key != "dp"]:
        degree, rest = divmod(cluster.gpus, used // degrees[key])
        if not rest and degree and not cluster.mismatches(cluster.layout({**values, FIELDS[key]: degree})):
            remedies, changed = [f"write {key}={degree}"], key
    same = cluster._replace(gpus=used)
    if not same.mismatches(same.layout(values)):
        remedies.append(f"write --gpus {used}")
    return (", or ".join(remedies), changed) if remedies else None


def _mismatches(
    cluster: _Cluster, layout: Layout, entries: dict[str, _Entry], written: str, *, all_valid: bool
) -> Iterator[Diagnostic]:
    """Yield one error per degree that does not divide sizes of the model, at the entry and in the config.

    Unless the plan is ``all_valid`` otherwise, only mismatches with a field of the config are certain.
    """
    assert cluster.loaded is not None
    by_field: dict[str, list[LayoutMismatch]] = {}
    for mismatch in cluster.mismatches(layout):
        if not all_valid and not mismatch.config_field:
            continue
        if mismatch.field == "micro_batches" and "micro_batches" not in entries:  # they follow from the global batch
            continue
        by_field.setdefault(mismatch.field, []).append(mismatch)
    values = {field: getattr(layout, field) for field in entries}
    for field, (first, *more) in by_field.items():
        undivided = [first.message, *(each.message.rpartition("does not divide ")[2] for each in more)]
        valid = cluster.valid_degrees(field, values) if more else []
        yield diagnostic(
            "contradiction",
            f"{', '.join(undivided[:-1])} and {undivided[-1]}" if more else first.message,
            OPTION,
            entries[field].span if field in entries else option_span(OPTION, written),
            field=first.config_field,
            help=f"write {ABBREVIATIONS[field]}={either(valid)}" if valid else _other_sharding(first, values, cluster),
            labels=tuple(
                label for each in (first, *more) for label in source_labels(cluster.loaded, each.config_field)
            ),
        )


def _other_sharding(mismatch: LayoutMismatch, values: dict[str, Any], cluster: _Cluster) -> str:
    """Return the remedy for a mismatch; for context parallelism in a model without it, the plan with other sharding."""
    if (mismatch.field, mismatch.config_field) != ("context", "block.mixer"):
        return mismatch.help
    degree = values["context"]
    for field in ("tensor", "pipeline", "data"):
        changed = {**values, "context": 1, field: degree * values.get(field, 1)}
        if not cluster.mismatches(cluster.layout(changed)):
            return f"write {ABBREVIATIONS[field]}={changed[field]} instead of cp={degree}"
    return mismatch.help
