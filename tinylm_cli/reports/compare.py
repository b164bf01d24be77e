"""Report of ``tinylm compare``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tinylm_cli.reports.figures import Unit

ClusterUnit = Literal["bytes", "seconds", "share", "usd", "count", "tokens_per_second"]


@dataclass(frozen=True)
class ComparedModel:
    """One of the models compared.

    Attributes:
        name: Its name here, distinct from all others.
        source: Where its config was read.
        changes: Changes on top, each ``key=value``.
        max_len: The most tokens that it reads.
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
    """A figure that differs between models.

    Attributes:
        name: Its name, e.g. ``total_params`` or ``attention_params``.
        unit: What it counts, a word of its name.
        values: The figure of each model.
        differences: Each minus that of the first model, which has 0.
        ratios: Each over that of the first model; None if that is 0.
    """

    name: str
    unit: Unit
    values: tuple[int, ...]
    differences: tuple[int, ...]
    ratios: tuple[float | None, ...]


@dataclass(frozen=True)
class ClusterFigure:
    """A figure of training or serving on the GPUs, for each model.

    Attributes:
        name: ``plan_bytes_per_gpu`` of several GPUs, ``step_seconds``, ``utilization`` (MFU), ``train_tokens``,
            ``train_seconds``, ``train_usd``; ``largest_batch_size``, ``prefill_seconds``, ``decode_tokens_per_second``.
        unit: What it counts.
        values: The figure of each model.
        differences: Each minus that of the first model, which has 0.
        ratios: Each over that of the first model; None if that is 0.
    """

    name: str
    unit: ClusterUnit
    values: tuple[float, ...]
    differences: tuple[float, ...]
    ratios: tuple[float | None, ...]


@dataclass(frozen=True)
class ClusterComparison:
    """Training and serving of every model on the same GPUs.

    Attributes:
        accelerator: The GPU's name.
        n_gpus: GPUs that train each model; one serves it.
        plans: The parallel layout of each model, as ``--plan`` takes it: the one given, or the fastest that fits; None
            on one GPU.
        training_fits: Whether each model trains in the memory of the GPUs.
        serving_fits: Whether each model is served from the memory of one GPU.
        figures: Time, cost and memory, those that are the same for all models included.
    """

    accelerator: str
    n_gpus: int
    plans: tuple[str | None, ...]
    training_fits: tuple[bool, ...]
    serving_fits: tuple[bool, ...]
    figures: tuple[ClusterFigure, ...]


@dataclass(frozen=True)
class CompareReport:
    """Differences between models; fields and figures that are the same are left out.

    Attributes:
        models: In the order given; the first is the base that the others are compared with.
        same: Whether no field and no figure differs.
        batch_size: Sequences that figures assume, the same for all models.
        seq_len: Tokens in each.
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
        path: Its file, from the current folder.
        status: What happened to the file.
        old_path: Its file in the revision, from the top of the repository; None unless it is renamed.
        before_params: Parameters in the revision; None if the file was not there, or was no valid config.
        after_params: Parameters now; None if the file is removed.
        difference_params: The difference; None unless both are known.
        ratio: Parameters now over those before; None unless both are known.
        comparison: The config in the revision beside the config now; None unless both are known.
    """

    path: str
    status: Literal["added", "removed", "modified", "renamed"]
    old_path: str | None
    before_params: int | None
    after_params: int | None
    difference_params: int | None
    ratio: float | None
    comparison: CompareReport | None


@dataclass(frozen=True)
class ChangedReport:
    """Every config that has changed since a git revision: the report of ``tinylm compare --changed``.

    Attributes:
        revision: The revision as typed.
        commit: The commit that is compared with: the merge base of the revision and HEAD.
        same: Whether no config differs.
        configs: In git's order of files.
    """

    revision: str
    commit: str
    same: bool
    configs: tuple[ChangedConfig, ...]
