"""Report of ``tinylm compare``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

FigureUnit = Literal["params", "bytes", "flops", "seconds", "share", "usd", "count", "tokens_per_second"]


@dataclass(frozen=True)
class ComparedModel:
    """One of the models compared.

    Attributes:
        name: Unique name in the comparison.
        source: Source of its config.
        changes: Changes of the config, each ``key=value``.
        max_len: Maximum sequence length.
    """

    name: str
    source: str
    changes: tuple[str, ...]
    max_len: int


@dataclass(frozen=True)
class FieldDifference:
    """A field of the config that differs between models.

    Attributes:
        field: Dotted name.
        values: Its value in each model, defaults filled in; None if it is absent or has no effect.
    """

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class FigureDifference:
    """A figure of each model.

    Attributes:
        name: Name of the figure, such as ``total_params`` or ``attention_params``. On the GPUs: ``plan_bytes_per_gpu``
            (with several GPUs), ``step_seconds``, ``utilization`` (MFU), ``train_tokens``, ``train_seconds``,
            ``train_usd``; ``largest_batch_size``, ``prefill_seconds``, ``decode_tokens_per_second``.
        unit: Unit of the values.
        values: The figure of each model.
        differences: Value of each model minus the value of the first model.
        ratios: Value of each model over the value of the first model; None if the latter is 0.
    """

    name: str
    unit: FigureUnit
    values: tuple[float, ...]
    differences: tuple[float, ...]
    ratios: tuple[float | None, ...]

    @classmethod
    def of(cls, name: str, unit: FigureUnit, values: Sequence[float]) -> Self:
        """Compare the values with the first of them."""
        base = values[0]
        differences = tuple(value - base for value in values)
        return cls(name, unit, tuple(values), differences, tuple(value / base if base else None for value in values))


@dataclass(frozen=True)
class ClusterComparison:
    """Training and serving of every model on the same GPUs.

    Attributes:
        accelerator: The GPU's name.
        n_gpus: GPUs that train each model; one serves it.
        plans: The parallel layout of each model, in the syntax of ``--plan``: the requested layout, or the fastest that
            fits; None with one GPU.
        training_fits: Whether training of each model fits in the memory of the GPUs.
        serving_fits: Whether serving of each model fits in the memory of one GPU.
        figures: Time, cost and memory, including figures that are the same for all models.
    """

    accelerator: str
    n_gpus: int
    plans: tuple[str | None, ...]
    training_fits: tuple[bool, ...]
    serving_fits: tuple[bool, ...]
    figures: tuple[FigureDifference, ...]


@dataclass(frozen=True)
class CompareReport:
    """Differences between models; equal fields and figures are omitted.

    Attributes:
        models: In the order of the command line; all others are compared with the first.
        same: Whether no field and no figure differs.
        batch_size: Sequences per batch, the same for all models.
        seq_len: Tokens per sequence.
        dtype: Type of weights, activations and caches.
        fields: Fields of the config that differ, in the order of the schema.
        figures: Figures that differ.
        cluster: Training and serving on named GPUs; None without a GPU.
    """

    models: tuple[ComparedModel, ...]
    same: bool
    batch_size: int
    seq_len: int
    dtype: str
    fields: tuple[FieldDifference, ...]
    figures: tuple[FigureDifference, ...]
    cluster: ClusterComparison | None = None


@dataclass(frozen=True)
class ChangedConfig:
    """A config that has changed since a git revision.

    Attributes:
        path: Path of the file, relative to the current folder.
        status: Git status of the file, or ``wrong`` if it is not a valid config in the working tree.
        old_path: Path in the revision, relative to the top of the repository; None unless the file is renamed.
        before_params: Parameters in the revision; None if the file did not exist or was not a valid config.
        after_params: Parameters in the working tree; None if the file is removed or wrong.
        difference_params: ``after_params - before_params``; None unless both are known.
        ratio: ``after_params / before_params``; None unless both are known.
        comparison: Comparison of the two versions; None unless both are known.
        mistake: The first mistake of a wrong config, with its place and the number of others; else empty.
    """

    path: str
    status: Literal["added", "removed", "modified", "renamed", "wrong"]
    old_path: str | None
    before_params: int | None
    after_params: int | None
    difference_params: int | None
    ratio: float | None
    comparison: CompareReport | None
    mistake: str = ""


@dataclass(frozen=True)
class ChangedReport:
    """Every config that has changed since a git revision: the report of ``tinylm compare --changed``.

    Attributes:
        revision: The revision as typed.
        commit: The base commit: the merge base of the revision and HEAD.
        same: Whether no config differs.
        configs: In git's order of files.
    """

    revision: str
    commit: str
    same: bool
    configs: tuple[ChangedConfig, ...]
