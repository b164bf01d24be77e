"""Differences between models: fields of their configs, figures, and training and serving on the same GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.setups import SHARED_FIELDS, Setups
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.dependencies import applies
from tinylm_cli.config.git_revision import ChangedFile
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.layers import flatten_kinds
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.compare import (
    ChangedConfig,
    ClusterComparison,
    ComparedModel,
    CompareReport,
    FieldDifference,
    FigureDifference,
    FigureUnit,
)
from tinylm_cli.reports.estimate import EstimateReport

MAX_COMPARED_STAGES = 4000
"""Maximum number of different pipeline stages, over all models, whose memory a comparison computes: about 2 seconds."""


def compare(
    models: Sequence[tuple[LoadedConfig, tuple[str, ...]]], setups: Setups, accelerator: Accelerator | None = None
) -> CompareReport:
    """Return the differences between two or more models.

    Explicit defaults and ``nominal_params`` do not count as differences.

    Args:
        models: Configs with distinct names, each with its changes.
        setups: How every model is trained and served, for example :func:`shared_setups`.
        accelerator: The GPU to compare training and serving on; None omits that comparison.

    Raises:
        AnalysisError: If ``setups`` are out of range for a model, or there are too many layouts to search.
        UsageError: If the GPU does not support matmuls in the dtype.
    """
    configs = [each.config for each, _ in models]
    length = setups.training.seq_len or min(config.max_len for config in configs)
    setups = setups.changed(seq_len=length)
    fields = tuple(_fields(configs))
    figures = tuple(_figures(configs, setups))
    return CompareReport(
        models=tuple(
            ComparedModel(each.name, each.source, changes, each.config.max_len, each.ignored_keys)
            for each, changes in models
        ),
        equal=not fields and not figures,
        batch_size=setups.training.batch_size,
        seq_len=length,
        dtype=setups.training.dtype,
        fields=fields,
        figures=figures,
        cluster=None if accelerator is None else _cluster([each for each, _ in models], setups, accelerator),
    )


def changed_config(
    file: ChangedFile,
    before: LoadedConfig | None,
    after: LoadedConfig | None,
    setups: Setups | None,
    accelerator: Accelerator | None = None,
    error: str = "",
) -> ChangedConfig:
    """Compare a config in a git revision with the config in the working tree.

    Args:
        file: The config's file and its git status.
        before: The config in the revision, or None.
        after: The config in the working tree, or None.
        setups: How both are trained and served; None if one of them is missing.
        accelerator: As for :func:`compare`.
        error: The first error of the config in the working tree; empty if it is valid.
    """
    old, new = (None if each is None else total_params(tensor_table(each.config)) for each in (before, after))
    comparison = None
    if before is not None and after is not None and setups is not None:
        comparison = compare([(before, ()), (after, ())], setups, accelerator)
    return ChangedConfig(
        path=file.path,
        status="invalid" if error else file.status,
        old_path=file.before.partition(":")[2] if file.before and file.status == "renamed" else None,
        before_params=old,
        after_params=new,
        difference_params=None if old is None or new is None else new - old,
        ratio=None if old is None or new is None else new / old,
        comparison=comparison,
        error=error,
    )


def shared_setups(configs: Sequence[ModelConfig]) -> Setups:
    """Return the setups that all budgets share, so that figures match those used to check the budgets.

    A field that a budget omits, or on which budgets disagree, gets its default; seq_len defaults to the smallest
    max_len.
    """
    budgets = [config.budget.model_dump(include=set(SHARED_FIELDS)) for config in configs]
    shared = {name: value for name, value in budgets[0].items() if _all_equal([each[name] for each in budgets])}
    common = {name: value for name, value in shared.items() if value is not None}
    return Setups.of(**{"seq_len": min(config.max_len for config in configs), **common})


_ORDERS = ("attention.window_pattern", "layers.pattern")
"""Fields that are compared by the layers that they select, and shown as in the file."""

_UNSET = (None, 0, 1, "none")
"""Values of a disabled or derived field; a field with the same such value in every model is not a difference."""


def _fields(configs: Sequence[ModelConfig]) -> Iterator[FieldDifference]:
    """Yield the fields whose effect differs.

    Derived values (e.g. d_head from n_heads) are not reported separately. If only some models have a component, all its
    fields are listed.
    """
    raw = [flatten(config.model_dump()) for config in configs]
    effective = [{**canonical_fields(config), **_storage(config), **_budget(config)} for config in configs]
    for fields, known in zip(raw, effective, strict=True):  # where kinds of layers differ, the others have the field
        varying = {field for kind in known.get("layers.kinds", ()) for field in kind}
        known |= {field: value for field, value in fields.items() if field in varying}
    for field in raw[0]:
        values = [known.get(field) for known in effective]
        if field == "layers.pattern":  # the order of the kinds, and their fields
            values = [(known.get(field), known.get("layers.kinds")) for known in effective]
        unset = _all_equal([fields[field] for fields in raw]) and raw[0][field] in _UNSET
        if unset or _all_equal(values):
            continue
        if field == "layers.kinds":
            yield from _kinds([fields[field] for fields in raw])
        elif field in _ORDERS:
            pairs = zip(raw, effective, strict=True)
            shown = [fields[field] if field in known else None for fields, known in pairs]
            if field != "layers.pattern" or not _all_equal(shown):
                yield FieldDifference(field, tuple(shown))
        else:
            yield FieldDifference(field, tuple(values))


def _kinds(values: Sequence[Mapping[str, Any]]) -> Iterator[FieldDifference]:
    """Yield the fields of named kinds of layers that differ."""
    by_model = [flatten_kinds(each) for each in values]
    for field in dict.fromkeys(chain.from_iterable(by_model)):
        own = tuple(fields.get(field) for fields in by_model)
        if not _all_equal(own) and {} not in own:
            yield FieldDifference(field, own)


def _storage(config: ModelConfig) -> dict[str, Any]:
    """Return the fields about stored weights that have an effect, by dotted field."""
    values = flatten(config.model_dump(include={"storage"}))
    return {name: value for name, value in values.items() if applies(name, values)}


def _budget(config: ModelConfig) -> dict[str, Any]:
    """Return the budget of a config by dotted field, with defaults for omitted conditions."""
    defaults = Setups.of(seq_len=config.max_len).training._asdict()
    return {
        f"budget.{name}": defaults.get(name) if value is None else value
        for name, value in config.budget.model_dump().items()
    }


def _figures(configs: Sequence[ModelConfig], setups: Setups) -> Iterator[FigureDifference]:
    figures = {name: tuple(figure(name, config, setups) for config in configs) for name in FIGURES}
    if figures["active_params"] == figures["total_params"]:
        del figures["active_params"]
    for name, values in figures.items():
        if not _all_equal(values):
            yield FigureDifference.of(name, FIGURES[name].unit, values)


def _cluster(models: Sequence[LoadedConfig], setups: Setups, accelerator: Accelerator) -> ClusterComparison:
    """Return the training and serving estimates of every model on the same GPUs."""
    # import time: only a comparison with a GPU needs them
    from tinylm_cli.analysis.estimate import estimate
    from tinylm_cli.analysis.parallel.plan import n_searched_stages

    training = setups.training
    if training.n_gpus > 1 and training.layout is None:
        n_stages = sum(n_searched_stages(each.config, training, accelerator.gpus_per_node) for each in models)
        if n_stages > MAX_COMPARED_STAGES:
            message = f"the layouts of {training.n_gpus:,} GPUs have {n_stages:,} different stages of these models"
            remedy = "give a plan, for example tp=8,pp=4,zero=1, fewer models, or another number of GPUs"
            raise AnalysisError(f"{message}; at most {MAX_COMPARED_STAGES:,} are searched", help=remedy)
    estimates = [estimate(model, setups, accelerator, brief=True) for model in models]
    summaries = [each.summary for each in estimates]
    by_model = [_cluster_values(each) for each in estimates]
    figures = []
    for name, unit in by_model[0]:
        values = [each[name, unit] for each in by_model]
        if any(value is not None for value in values):  # a model without an LM head decodes 0 tokens
            figures.append(FigureDifference.of(name, unit, tuple(0.0 if value is None else value for value in values)))
    return ClusterComparison(
        accelerator=accelerator.name,
        n_gpus=setups.training.n_gpus,
        plans=tuple(each.training.plan if each.training is not None else None for each in summaries),
        training_fits=tuple(bool(each.training is not None and each.training.fits) for each in summaries),
        serving_fits=tuple(bool(each.serving is not None and each.serving.fits) for each in summaries),
        figures=tuple(figures),
    )


def _cluster_values(report: EstimateReport) -> dict[tuple[str, FigureUnit], float | None]:
    """Return each figure of one model on the GPUs by name and unit; None where a setup has no such figure."""
    training, serving = report.summary.training, report.summary.serving
    assert training is not None, "both are estimated"
    assert serving is not None
    assert report.serving is not None
    assert report.serving.time is not None
    return {
        ("plan_bytes_per_gpu", "bytes"): training.needed_bytes if training.plan else None,
        ("step_seconds", "seconds"): training.step_seconds,
        ("utilization", "share"): training.utilization,
        ("train_tokens", "count"): training.train_tokens,
        ("train_seconds", "seconds"): training.seconds,
        ("train_usd", "usd"): training.usd,
        ("largest_batch_size", "count"): serving.largest_batch_size,
        ("prefill_seconds", "seconds"): report.serving.time.prefill.seconds,
        ("decode_tokens_per_second", "tokens_per_second"): serving.decode_tokens_per_second,
    }


def _all_equal(values: Sequence[object]) -> bool:
    return all(value == values[0] for value in values)
