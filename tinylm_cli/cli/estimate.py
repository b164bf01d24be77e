"""``tinylm estimate``: memory, time and cost of training and serving a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from tinylm_cli.analysis.setups import Setups
from tinylm_cli.cli.completion import complete_section
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.lora_option import LoraOption, adapter_beside, adapters_to_train
from tinylm_cli.cli.next_steps import design_arguments, export_arguments, is_built_quickly, model_arguments, next_step
from tinylm_cli.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    IgnoreOption,
    ReportOutput,
    SetOption,
    explicit_arguments,
    explicit_options,
    option,
    wrong_value,
)
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.requested_config import print_left_out
from tinylm_cli.cli.serving_options import ServingOptions, serving_setup
from tinylm_cli.cli.training_options import ClusterOptions, TrainingOptions, training_setup
from tinylm_cli.cli.wording import as_options
from tinylm_cli.cli.workload_options import read_gpu
from tinylm_cli.errors import TinylmError, UsageError
from tinylm_cli.reports.choices import AttentionCount, Purpose
from tinylm_cli.shell_quoting import shell_join

if TYPE_CHECKING:
    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.render.blocks import View
    from tinylm_cli.reports.estimate import EstimateReport

By = Literal["component", "layer"]

SectionOption = Annotated[
    str | None,
    option(
        "Show one section of --full: summary, flops, training_memory, plan, training_time, inference_memory, serving,"
        " serving_time.",
        metavar="NAME", complete=complete_section,
    ),
]  # fmt: skip
AttentionFlopsOption = Annotated[
    AttentionCount, option("Count only the query-key pairs that the causal mask allows, or all pairs.")
]

_ONE_PURPOSE: dict[Purpose, frozenset[str]] = {
    "training": frozenset({
        "optimizer", "grad_dtype", "master_weights", "train_tokens", "global_batch_size",
        "gpus", "plan", "kernel_efficiency", "utilization", "price", "lora",
    }),
    "serving": frozenset(field.name for field in fields(ServingOptions)),
}  # fmt: skip
"""Parameters that have an effect on one purpose only."""

QUANTIZATION = frozenset({"quantize", "group_size", "quantize_head"})
"""Parameters of serving that, with adapters, have an effect on training too."""

WORKLOAD = {field.name for group in (TrainingOptions, ServingOptions, ClusterOptions) for field in fields(group)} | {
    "purpose",
    "lora",
}
"""Parameters that the next command repeats."""

TRAINING_SECTIONS = ("training_memory", "plan", "training_time")
SERVING_SECTIONS = ("inference_memory", "serving", "serving_time")


def estimate(
    context: typer.Context,
    training: TrainingOptions,
    serving: ServingOptions,
    cluster: ClusterOptions,
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    lora: LoraOption = None,
    purpose: Annotated[Purpose | None, option("Estimate only training or only serving.", "--for")] = None,
    full: Annotated[bool, option("Show every section.", "--full")] = False,
    section: SectionOption = None,
    by: Annotated[By, option("Break FLOPs down by component or layer.")] = "component",
    attention_flops: AttentionFlopsOption = "causal",
    to: ReportOutput,
) -> CommandOutput:
    """Check whether a model fits on a GPU; estimate FLOPs and cost.

    If the model does not fit on --gpu, shows changes that would make it fit. FLOPs count matmuls only; a
    multiply-add is two FLOPs. --full shows every section.

    \b
    Examples:
      tinylm estimate llama-3-8b
      tinylm estimate base --gpu rtx-4090
      tinylm estimate qwen3-0.6b --quantize int4 --for serving
      tinylm estimate llama-3-8b --gpu h100 --gpus 64
      tinylm estimate llama-3-8b --lora r=16 --quantize nf4
    """
    from tinylm_cli.analysis.estimate import estimate as estimated
    from tinylm_cli.interop.key_effects import Effect, KeyPolicy, require_keys
    from tinylm_cli.interop.load import load_config

    _require_effect(to.format_, section, full=full)
    adapter = lora or (adapter_beside(config) if cluster.gpus == 1 else None)
    _require_purpose(explicit_options(context), purpose, quantizes_training=adapter is not None)
    errors = ErrorCollector()
    policy = KeyPolicy(tuple(ignore or ()), Effect.costs)
    loaded = errors.read(load_config, config, set_ or (), policy)
    setups = Setups(training_setup(training, cluster, loaded, errors), serving_setup(serving, training, loaded, errors))
    if loaded is not None and purpose != "serving":
        setups = errors.read(adapters_to_train, adapter, loaded, setups) or setups
    gpu = errors.read(read_gpu, cluster.gpu, cluster.hardware, training.dtype)
    errors.raise_if_any()
    assert loaded is not None
    require_keys(policy.ignored, [loaded])
    print_left_out([loaded])
    accelerator, accelerators = gpu or (None, ())
    report = estimated(
        loaded, setups, accelerator, purpose=purpose, accelerators=accelerators, attention=attention_flops
    )
    model = model_arguments(config, set_, ignored=[*loaded.ignored_keys])
    everything = full or by == "layer" or to.table is not None
    return CommandOutput(
        report,
        lambda: _view(report, by, to.format_, section, full=everything),
        to,
        next_step=_next_step(context, report, loaded.config, model),
    )


def _next_step(context: typer.Context, report: EstimateReport, config: ModelConfig, model: str) -> str:
    """Return the next command for the verdict: add a GPU, export the model, make it fit, or search for models that fit.

    A model too large to build, or with named kinds of layers, is not exported; its full estimate is shown instead.

    Args:
        context: The command line, whose workload the next estimate repeats.
        report: The estimate.
        config: The model's config.
        model: The arguments that name the model; empty for standard input.
    """
    workload = explicit_arguments(context, WORKLOAD)
    if report.accelerator is None:
        return next_step("estimate", "estimate --gpu", model, workload, "--gpu h100-sxm")
    section = context.params["section"]
    estimates = {
        "training": None if section in SERVING_SECTIONS else report.training,
        "serving": None if section in TRAINING_SECTIONS else report.serving,
    }
    purpose, fit = next(
        ((name, each.fit) for name, each in estimates.items() if each and each.fit and not each.fit.fits), ("", None)
    )
    if fit is None:
        if is_built_quickly(config) and not config.layers.kinds:  # which most families cannot express
            return next_step("estimate --gpu", "export", export_arguments(model, report.name))
        if context.params["full"]:
            return ""
        return next_step("estimate --gpu", "estimate --full", model, workload, "--full")
    if fit.remedies:
        from tinylm_cli.render.views.remedies import changes_text

        changes = changes_text(fit.remedies[0], cast("Purpose", purpose), as_options)
        kept = explicit_arguments(context, WORKLOAD, without=changes.split())
        return next_step("estimate --gpu, too large", "estimate --gpu", model, kept, changes)
    gpu = shell_join(("--gpu", report.accelerator))
    cluster = explicit_arguments(context, ["gpus"]) if purpose == "training" else "--for serving"
    return next_step("estimate --gpu, too large", "design", gpu, cluster, design_arguments(config))


def _require_effect(format_: str, section: str | None, *, full: bool) -> None:
    """Reject ``--section`` and ``--full`` if they have no effect.

    Raises:
        UsageError: If one of them has no effect.
    """
    for name, given in (("--section", section is not None), ("--full", full)):
        if given and format_ == "json":
            raise UsageError(
                f"{name} has no effect on JSON, which contains every section", help="--get PATH prints one value"
            )
    if full and section is not None:
        raise UsageError("--full cannot be combined with --section", help="remove one of them")


def _require_purpose(explicit: Mapping[str, str], purpose: Purpose | None, *, quantizes_training: bool) -> None:
    """Reject serving options with ``--for training``, and training options with ``--for serving``.

    Args:
        explicit: The options on the command line, from :func:`explicit_options`.
        purpose: The purpose that is estimated; None for both.
        quantizes_training: Whether quantization also applies to the frozen weights of training.

    Raises:
        UsageError: If there is such an option.
    """
    for other, names in _ONE_PURPOSE.items():
        for name, typed_option in explicit.items():
            has_effect = quantizes_training and name in QUANTIZATION
            if purpose not in (None, other) and name in names and not has_effect:
                raise UsageError(f"{typed_option} has no effect on {purpose}", help=f"remove it, or --for {purpose}")


def _view(report: EstimateReport, by: By, format_: str, section: str | None, *, full: bool) -> View:
    """Return the summary, one section, or every section; CSV prints one table of the view.

    Raises:
        ConfigError: If there is no such section; points at it.
        UsageError: If the section needs other options.
    """
    from tinylm_cli.render.views.estimate import SECTIONS, estimate_full_view, estimate_sections, estimate_view

    every = format_ == "csv"  # list all layouts, as JSON does
    if section is not None:
        sections = {str(name): view for name, view in estimate_sections(report, by, as_options, every=every).items()}
        if section not in sections:
            raise _unknown_section(section, SECTIONS, report)
        return sections[section]
    if full or format_ == "csv":
        return estimate_full_view(report, by, as_options, every=every)
    return estimate_view(report, as_options)


def _unknown_section(section: str, known: Sequence[str], report: EstimateReport) -> TinylmError:
    from tinylm_cli.config.similar_names import suggest

    if section in known:
        training = section in TRAINING_SECTIONS
        if (report.training if training else report.serving) is None:
            other = "serving" if training else "training"
            return UsageError(f"--section {section} cannot be combined with --for {other}", help="remove --for")
        option = "--gpu NAME and --gpus N" if section == "plan" else "--gpu NAME"
        if section == "plan" and report.accelerator is not None:
            option = "--gpus N"
        return UsageError(
            f"--section {section} needs {option.replace(' NAME', '').replace(' N', '')}", help=f"add {option}"
        )
    listed = f"the sections are {', '.join(known)}"
    suggestion = suggest(section, known)
    remedy = f"did you mean {suggestion}?" if suggestion else listed
    return wrong_value("--section", section, "unknown section", remedy, "unknown-choice")
