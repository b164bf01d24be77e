"""``tinylm compare``: differences between models, and between versions of a config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tinylm_cli.cli.completion import complete_variant
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import (
    MODEL_PANEL,
    TRAINING_PANEL,
    IgnoreOption,
    ReportOutput,
    SetOption,
    argument,
    config_option,
    explicit_arguments,
    option,
    require_nonempty,
)
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.requested_config import print_left_out
from tinylm_cli.cli.training_options import ClusterOptions, TrainingOptions, TrainTokensOption, training_setup
from tinylm_cli.cli.wording import as_options
from tinylm_cli.cli.workload_options import batch_size_option, read_gpu, require_length, seq_len_option
from tinylm_cli.config.choices import DType
from tinylm_cli.errors import ConfigError, ExitCode, UsageError
from tinylm_cli.reports.record import Record

if TYPE_CHECKING:
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.config.hardware import Accelerator
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.interop.key_effects import KeyPolicy
    from tinylm_cli.render.blocks import View
    from tinylm_cli.reports.compare import ChangedReport, CompareReport


ChangedOption = Annotated[
    str | None,
    option(
        "Compare every config that changed since this git revision, such as origin/main.",
        "--changed", panel=MODEL_PANEL, metavar="REV",
    ),
]  # fmt: skip
BatchSizeOption = Annotated[
    int | None, batch_size_option("Sequences per batch.  [default: the value that all budgets state, else 1]")
]
SeqLenOption = Annotated[
    int | None,
    seq_len_option("Tokens per sequence.  [default: the value that all budgets state, else the smallest max_len]"),
]
DTypeOption = Annotated[
    DType | None,
    option(
        "Data type of weights, activations and caches.  [default: the value that all budgets state, else bfloat16]",
        "--dtype", panel=TRAINING_PANEL,
    ),
]  # fmt: skip


class ConditionOptions(Record):
    """The conditions for every model; None means the value in all budgets."""

    batch_size: BatchSizeOption = None
    seq_len: SeqLenOption = None
    dtype: DTypeOption = None
    train_tokens: TrainTokensOption = None


def compare(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        argument(
            "Presets, published models, files, folders with a config.json, -, or REV:PATH for a file in a git revision;"
            " MODEL@KEY=VALUE,... is a model with changes, @KEY=VALUE,... the first model with changes. With"
            " --changed, files and folders to search.",
            "MODEL...",
            complete_variant,
        ),
    ] = None,
    *,
    config: Annotated[str | None, config_option("Same as the first MODEL.")] = None,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    changed: ChangedOption = None,
    conditions: ConditionOptions,
    cluster: ClusterOptions,
    exit_code: Annotated[
        bool, option("Exit with 1 if the models differ, and with 2 on an error.", "--exit-code")
    ] = False,
    full: Annotated[
        bool, option("Show every field and figure, even with --gpu, --changed or more than two models.", "--full")
    ] = False,
    to: ReportOutput,
) -> CommandOutput:
    """Compare the configs and costs of models or of config versions.

    Shows the fields that differ, including defaults, then parameters, FLOPs, and bytes of weights, KV cache, training
    and serving, each compared with the first model. With --gpu, also compares step time, MFU, days, cost and serving
    speed. With a single model, @ or --set defines the variant to compare it with; with several models, --set applies to
    all of them. All models are compared under the same conditions.

    --changed REV compares each config of the working tree with its version at the merge base of REV and HEAD. An
    invalid config is listed with its first error, and the command exits with 1.

    \b
    Examples:
      tinylm compare small --set n_layers=8
      tinylm compare llama-3-8b mistral-7b qwen3-0.6b
      tinylm compare small @n_layers=8 @n_layers=12
      tinylm compare llama-3-8b@attention.kind=mla,kv_rank=512
      tinylm compare gpt2-xl small --gpu h100 --gpus 8
      tinylm compare HEAD~1:my.yaml my.yaml -f markdown
      tinylm compare old.yaml new.yaml --exit-code
      tinylm compare --changed origin/main configs -f markdown
    """
    if cluster.gpu is None and (cluster.gpus > 1 or conditions.train_tokens is not None):
        option = "--train-tokens" if cluster.gpus == 1 else "--gpus"
        raise UsageError(f"{option} needs a GPU", help="for example --gpu h100-sxm")
    from tinylm_cli.interop.key_effects import Effect, KeyPolicy

    policy = KeyPolicy(tuple(ignore or ()), Effect.costs)
    names = [require_nonempty(name) for name in ([] if config is None else [config]) + (models or [])]
    report: CompareReport | ChangedReport
    any_invalid, following = False, ""
    try:
        if changed is not None:
            changes, view = _compare_changed(require_nonempty(changed), names, set_ or (), policy, conditions, cluster)
            any_invalid = any(each.error for each in changes.configs)
            report = changes
        else:
            report, view, model = _compare_named(names, set_ or (), policy, conditions, cluster)
            repeated = {field.name for field in (*fields(ConditionOptions), *fields(ClusterOptions))}
            step = "estimate" if cluster.gpu is None else "estimate --gpu"
            following = next_step("compare", step, model, explicit_arguments(context, repeated))
    except ConfigError as error:
        if exit_code:  # exit code 1 is reserved for differences, as in diff
            error.exit_code = ExitCode.UNABLE
        raise
    if any_invalid:
        code = ExitCode.UNABLE if exit_code else ExitCode.FAILED
    else:
        code = ExitCode.FAILED if exit_code and not report.equal else ExitCode.DONE
    return CommandOutput(report, lambda: view(full=full or to.format_ != "text"), to, code, next_step=following)


def _setups(
    models: Sequence[LoadedConfig], conditions: ConditionOptions, cluster: ClusterOptions, remedy: str
) -> tuple[Setups, Accelerator | None]:
    """Return the setups and the GPU that models are compared with.

    Args:
        models: The models; all of them must allow the length and the plan.
        conditions: The conditions that options state.
        cluster: The options of the GPUs.
        remedy: Alternative remedy if the length exceeds a model's max_len.

    Raises:
        ConfigError: If a model does not allow them, or the GPU is invalid; contains every error.
    """
    from tinylm_cli.analysis.compare import shared_setups

    errors = ErrorCollector()
    if conditions.seq_len is not None:
        errors.read(require_length, models, conditions.seq_len, remedy)
        errors.raise_if_any()
    shared = shared_setups([each.config for each in models])
    options = {name: getattr(conditions, name) for name in ("batch_size", "seq_len", "dtype")}
    setups = shared.changed(**{field: value for field, value in options.items() if value is not None})
    training = TrainingOptions(
        setups.training.batch_size,
        setups.training.seq_len,
        cast("DType", setups.training.dtype),
        train_tokens=conditions.train_tokens,
    )
    for model in models:
        setups = setups._replace(training=training_setup(training, cluster, model, errors))
    gpu = errors.read(read_gpu, cluster.gpu, cluster.hardware, conditions.dtype, shared.training.dtype)
    errors.raise_if_any()
    return setups, gpu[0] if gpu else None


def _compare_named(
    names: Sequence[str],
    overrides: Sequence[str],
    policy: KeyPolicy,
    conditions: ConditionOptions,
    cluster: ClusterOptions,
) -> tuple[CompareReport, Callable[..., View], str]:
    """Return the report, its view given whether it is ``full``, and the arguments that name the last model."""
    from tinylm_cli.analysis.compare import compare as compare_models
    from tinylm_cli.cli.variants import load_variants, parse_variants
    from tinylm_cli.interop.key_effects import requested_keys, require_keys
    from tinylm_cli.render.views.compare import compare_view

    if not names:
        raise UsageError("nothing to compare", help="name two models: tinylm compare small medium")
    variants = parse_variants(names, overrides)
    loaded = load_variants(variants, policy)
    require_keys(policy.ignored, loaded)
    print_left_out(loaded)
    remedy = f"add @max_len={conditions.seq_len} to the name of each such model"
    setups, accelerator = _setups(loaded, conditions, cluster, remedy)
    models = [(model, variant.all_changes) for model, variant in zip(loaded, variants, strict=True)]
    report = compare_models(models, setups, accelerator)
    last = variants[-1]
    model = model_arguments(last.reference, last.all_changes, ignored=requested_keys(loaded[-1]))
    return report, partial(compare_view, report, as_options), model


def _compare_changed(
    revision: str,
    paths: Sequence[str],
    overrides: Sequence[str],
    policy: KeyPolicy,
    conditions: ConditionOptions,
    cluster: ClusterOptions,
) -> tuple[ChangedReport, Callable[..., View]]:
    """Return the report, and its view given whether it is ``full``."""
    from tinylm_cli.analysis.compare import changed_config
    from tinylm_cli.interop.changed_configs import changed_configs
    from tinylm_cli.render.views.compare import changed_view
    from tinylm_cli.reports.compare import ChangedReport

    if overrides:
        raise UsageError("--set cannot be combined with --changed", help="remove one of them")
    commit, changes = changed_configs(revision, paths, policy)
    configs = []
    for file, before, after, error in changes:
        setups = accelerator = None
        if before is not None and after is not None:
            before, after = before._replace(name=revision), after._replace(name="now")
            setups, accelerator = _setups([before, after], conditions, cluster, "raise max_len")
        configs.append(changed_config(file, before, after, setups, accelerator, error))
    equal = all(each.comparison is not None and each.comparison.equal for each in configs)
    report = ChangedReport(revision, commit, equal, tuple(configs))
    return report, partial(changed_view, report, as_options)
