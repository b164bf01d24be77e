"""Report of ``tinylm compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, Self

from tinylm_cli.reports.record import Record

FigureUnit = Literal["params", "bytes", "flops", "seconds", "share", "usd", "count", "tokens_per_second"]


class ComparedModel(Record):
    """One of the models compared."""

    name: str  # Unique name in the comparison.
    source: str  # Source of its config.
    changes: tuple[str, ...]  # Changes to the config, each ``key=value``.
    max_len: int  # Maximum sequence length.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)


class FieldDifference(Record):
    """A field of the config that differs between models."""

    field: str  # Dotted name.
    values: tuple[Any, ...]  # Its value in each model, defaults filled in; None if it is absent or has no effect.


class FigureDifference(Record):
    """A figure of each model."""

    # Name of the figure, such as ``total_params`` or ``attention_params``. On the GPUs: ``plan_bytes_per_gpu`` (with
    # several GPUs), ``step_seconds``, ``utilization`` (MFU), ``train_tokens``, ``train_seconds``, ``train_usd``;
    # ``largest_batch_size``, ``prefill_seconds``, ``decode_tokens_per_second``.
    name: str
    unit: FigureUnit  # Unit of the values.
    values: tuple[float, ...]  # The figure of each model.
    differences: tuple[float, ...]  # Value of each model minus the value of the first model.
    ratios: tuple[float | None, ...]  # Value of each model over the value of the first model; None if the latter is 0.

    @classmethod
    def of(cls, name: str, unit: FigureUnit, values: Sequence[float]) -> Self:
        """Compare the values with the first of them."""
        base = values[0]
        differences = tuple(value - base for value in values)
        return cls(name, unit, tuple(values), differences, tuple(value / base if base else None for value in values))


class ClusterComparison(Record):
    """Training and serving of every model on the same GPUs."""

    accelerator: str  # The GPU's name.
    n_gpus: int  # GPUs that train each model; one serves it.
    # The parallel layout of each model, in the syntax of ``--plan``: the requested layout, or the fastest that fits;
    # None with one GPU.
    plans: tuple[str | None, ...]
    training_fits: tuple[bool, ...]  # Whether training of each model fits in the memory of the GPUs.
    serving_fits: tuple[bool, ...]  # Whether serving of each model fits in the memory of one GPU.
    figures: tuple[FigureDifference, ...]  # Time, cost and memory, including figures that are the same for all models.


class CompareReport(Record):
    """Differences between models; equal fields and figures are omitted."""

    models: tuple[ComparedModel, ...]  # In the order of the command line; all others are compared with the first.
    equal: bool  # Whether no field and no figure differs.
    batch_size: int  # Sequences per batch, the same for all models.
    seq_len: int  # Tokens per sequence.
    dtype: str  # Data type of weights, activations and caches.
    fields: tuple[FieldDifference, ...]  # Fields of the config that differ, in the order of the schema.
    figures: tuple[FigureDifference, ...]  # Figures that differ.
    cluster: ClusterComparison | None = None  # Training and serving on named GPUs; None without a GPU.


class ChangedConfig(Record):
    """A config that has changed since a git revision."""

    path: str  # Path of the file, relative to the current folder.
    # Git status of the file, or ``invalid`` if it is not a valid config in the working tree.
    status: Literal["added", "removed", "modified", "renamed", "invalid"]
    # Path in the revision, relative to the top of the repository; None unless the file is renamed.
    old_path: str | None
    before_params: int | None  # Parameters in the revision; None if the file did not exist or was not a valid config.
    after_params: int | None  # Parameters in the working tree; None if the file is removed or invalid.
    difference_params: int | None  # ``after_params - before_params``; None unless both are known.
    ratio: float | None  # ``after_params / before_params``; None unless both are known.
    comparison: CompareReport | None  # Comparison of the two versions; None unless both are known.
    error: str = ""  # The first error of an invalid config, with its place and the number of others; else empty.


class ChangedReport(Record):
    """Every config that has changed since a git revision: the report of ``tinylm compare --changed``."""

    revision: str  # The revision as typed.
    commit: str  # The base commit: the merge base of the revision and HEAD.
    equal: bool  # Whether no config differs.
    configs: tuple[ChangedConfig, ...]  # In git's order of files.
