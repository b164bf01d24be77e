"""The output of ``tinylm design``: its table, or one design as a config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinylm_cli.cli.design_options import DesignOptions
from tinylm_cli.cli.next_steps import export_arguments, is_built_quickly, model_arguments, next_step
from tinylm_cli.cli.options import Output
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.wording import as_options
from tinylm_cli.config.amounts import scientific, stated
from tinylm_cli.config.choices import DEFAULT_DTYPE
from tinylm_cli.errors import AnalysisError, ExitCode, UsageError
from tinylm_cli.reports.constraint import CONSTRAINING
from tinylm_cli.shell_quoting import shell_join
from tinylm_cli.wording import Setting

if TYPE_CHECKING:
    from tinylm_cli.config.amounts import AmountKind
    from tinylm_cli.reports.design import Design, DesignReport

_DEFAULTS = DesignOptions()


def design_output(report: DesignReport, options: DesignOptions, to: Output) -> CommandOutput:
    """Return the table, or the picked design as YAML.

    Raises:
        AnalysisError: If a config is requested but no model matches.
        UsageError: If no design has the picked rank.
    """
    from tinylm_cli.analysis.design.to_config import to_config
    from tinylm_cli.config.yaml_writer import to_commented_yaml
    from tinylm_cli.render.views.constraints import failure_sentences
    from tinylm_cli.render.views.design import design_view

    full = options.full or to.format_ != "text"
    output = CommandOutput(report, lambda: design_view(report, as_options, full=full), to)
    if not report.designs:
        if options.writes_config(to):
            changes = [as_options(*each.settings(report.constraints)) for each in report.relaxations]
            relaxed = [f"Try {' or '.join(changes)}."] if changes else []
            error = AnalysisError("no design to write", help=" ".join([*failure_sentences(report), *relaxed]))
            error.exit_code = ExitCode.FAILED
            raise error
        return output._replace(exit_code=ExitCode.FAILED)
    if not options.writes_config(to):
        arguments = command(report, options).removeprefix("tinylm design ")
        following = next_step("design", "design --output", arguments, f"--output {report.family}.yaml")
        return output._replace(next_step=following)
    chosen = _picked(report, options)
    size = f"{chosen.figures['total_params']:,} parameters"
    config, model = to_config(chosen, report), model_arguments(str(to.file), None) if to.file else ""
    if is_built_quickly(config) and to.file and report.accelerator is None:
        following = next_step("design --output", "export", export_arguments(model, to.file.stem))
    else:
        following = next_step("design --output", "estimate", model, *_conditions(report, options))
    return output._replace(
        document=to_commented_yaml(config, f"{size}, rank {chosen.rank} of {command(report, options)}", as_options),
        next_step=following,
        description=f"rank {chosen.rank} of {report.matches:,}, {size}",
    )


def command(report: DesignReport, options: DesignOptions) -> str:
    """Return the command that repeats this search, in short form: ``125M`` for amounts, defaults omitted."""
    from tinylm_cli.analysis.design.families import FAMILIES

    member = FAMILIES[report.family].config
    parts = ["tinylm design"]
    parts += [
        as_options(Setting(CONSTRAINING[each.figure], each.stated(each.value)))
        for each in report.constraints
        if each.origin == "option"
    ]
    if report.compute is not None:
        parts.append(f"--compute {scientific(report.compute.compute_flops)}")
        if report.compute.train_tokens is not None:
            parts.append(f"--train-tokens {_amount(report.compute.train_tokens, 'count')}")
    if report.accelerator is not None:
        parts.append(shell_join(("--gpu", report.accelerator)))
        parts += [shell_join(("--hardware", options.hardware))] if options.hardware is not None else []
    tie = "--tie" if report.tie_weights else "--no-tie"
    optional = (
        ("--for serving", report.purpose == "serving"),
        (f"--gpus {report.n_gpus}", report.n_gpus > 1),
        (shell_join(("--plan", options.plan or "")), options.plan is not None),
        (f"--utilization {options.utilization}", options.utilization is not None),
        (f"--tolerance {options.tolerance}", options.tolerance != _DEFAULTS.tolerance),
        (f"--family {report.family}", report.family != _DEFAULTS.family),
        (f"--vocab-size {report.vocab_size}", report.vocab_size != member.vocab_size),
        (f"--max-len {report.max_len}", report.max_len != member.max_len),
        (tie, report.tie_weights != member.tie_weights),
        (f"--d-model {options.d_model}", options.d_model is not None),
        (f"--n-layers {options.n_layers}", options.n_layers is not None),
        (f"--d-head {options.d_head}", options.d_head is not None),
        (f"--batch-size {report.batch_size}", report.batch_size != _DEFAULTS.batch_size),
        (f"--seq-len {report.seq_len}", report.seq_len != report.max_len),
        *_training_settings(report),
    )
    return " ".join([*parts, *(part for part, differs in optional if differs)])


def _training_settings(report: DesignReport) -> tuple[tuple[str, bool], ...]:
    """Return options that ``design`` and ``estimate`` share, each with whether its value is not the default."""
    return (
        (f"--dtype {report.dtype}", report.dtype != DEFAULT_DTYPE),
        (f"--optimizer {report.optimizer}", report.optimizer != _DEFAULTS.optimizer),
        (f"--recompute {report.recompute}", report.recompute != _DEFAULTS.recompute),
    )


def _conditions(report: DesignReport, options: DesignOptions) -> list[str]:
    """Return the options of ``tinylm estimate`` under which a design meets the limits of the search."""
    serving = "--serving" if report.purpose == "serving" else "-"
    optional = (
        (shell_join(("--gpu", report.accelerator or "")), report.accelerator is not None),
        (shell_join(("--hardware", options.hardware or "")), options.hardware is not None),
        ("--for serving", report.purpose == "serving"),
        (f"--gpus {report.n_gpus}", report.n_gpus > 1),
        (f"--plan {report.layout.spec}" if report.layout else "", report.n_gpus > 1),
        (f"{serving}-batch-size {report.batch_size}", report.batch_size != _DEFAULTS.batch_size),
        (f"{serving}-seq-len {report.seq_len}", report.seq_len != report.max_len),
        *_training_settings(report),
    )
    return [words for words, applies in optional if applies]


def _amount(value: int, kind: AmountKind) -> str:
    return stated(value, kind).replace(",", "")


def _picked(report: DesignReport, options: DesignOptions) -> Design:
    """Return the design of the picked rank, or the first one shown."""
    pick = options.pick
    picked = next((each for each in report.designs if pick is None or each.rank == pick), None)
    if picked is not None:
        return picked
    assert pick is not None, "the first design is always shown"
    ranks = f"for example {', '.join(str(each.rank) for each in report.designs[:5])}"
    if options.front and pick <= report.matches:
        raise UsageError(f"--pick {pick}: that design is not on the Pareto front", help=ranks)
    raise UsageError(f"--pick {pick}: the search found {report.matches:,} designs", help=ranks)
