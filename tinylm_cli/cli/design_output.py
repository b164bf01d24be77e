"""What ``tinylm design`` hands back: its table, or one design as a config."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.design_options import TOLERANCE
from tinylm_cli.cli.options import follow_up, same_model
from tinylm_cli.cli.output import STDOUT, CommandOutput, Format
from tinylm_cli.config.amounts import scientific, stated
from tinylm_cli.errors import AnalysisError, ExitCode, UsageError

if TYPE_CHECKING:
    from tinylm_cli.reports.design import Aim, Design, DesignReport


def is_config(pick: int | None, format_: Format, output: Path | None) -> bool:
    """Return whether one of the designs is written as a config, and not the table."""
    return format_ is Format.text and (pick is not None or output is not None)


def designed_outcome(
    report: DesignReport,
    pick: int | None,
    hardware: str | None,
    format_: Format,
    output: Path | None,
    *,
    front_only: bool,
) -> CommandOutput:
    """Return the table; or, where one of the designs is asked for, that one as YAML.

    Args:
        report: What was found.
        pick: The rank of the one to write.
        hardware: The file in which the GPU is described.
        format_: How to write it.
        output: Where to.
        front_only: Whether the report leaves out those that another beats.

    Raises:
        AnalysisError: If a config is asked for, and none was found.
        UsageError: If there is no such rank.
    """
    from tinylm_cli.render.views.constraints import obstacles_words
    from tinylm_cli.render.views.design import design_view

    as_config = is_config(pick, format_, output)
    if not report.designs:
        if as_config:
            words = " ".join(obstacles_words(report))
            raise AnalysisError("there is no design to write", help=words)
        return CommandOutput(report, lambda: design_view(report), format_, output, exit_code=ExitCode.FAILED)
    if not as_config:
        again = f"tinylm design {_words(report, hardware)} --output {report.family}.yaml"
        return CommandOutput(report, lambda: design_view(report), format_, output, next_step=again)
    named = output is not None and output != STDOUT
    return CommandOutput(
        report, lambda: design_view(report), format_, output,
        document=_yaml(report, _picked(report, pick, front_only=front_only), hardware),
        next_step=follow_up("build", same_model(str(output), None), "--meta") if named else "",
    )  # fmt: skip


def _words(report: DesignReport, hardware: str | None) -> str:
    """Return the options that make the same search, however they were typed."""
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.setups import TYPICAL_UTILIZATION
    from tinylm_cli.reports.design import AIMS

    member = FAMILIES[report.family].config
    words = [f"{AIMS[aim.figure].option} {_typed(aim)}" for aim in report.aims if aim.origin == "asked"]
    if report.compute is not None:
        words.append(f"--compute {scientific(report.compute.compute_flops)}")
        if report.compute.budget_tokens is not None:
            words.append(f"--budget-tokens {stated(report.compute.budget_tokens, 'count').replace(',', '')}")
    if report.accelerator is not None:
        words.append(shlex.join(("--gpu", report.accelerator)))
        words += [shlex.join(("--hardware", hardware))] if hardware is not None else []
    tolerance = next((aim.tolerance for aim in report.aims if aim.tolerance is not None), TOLERANCE)
    tie = "--tie" if report.tie_weights else "--no-tie"
    given = (
        ("--for serving", report.purpose == "serving"),
        (f"--utilization {report.utilization}", report.utilization not in (None, TYPICAL_UTILIZATION)),
        (f"--tolerance {tolerance}", tolerance != TOLERANCE),
        (f"--family {report.family}", report.family != "course"),
        (f"--vocab-size {report.vocab_size}", report.vocab_size != member.vocab_size),
        (f"--max-len {report.max_len}", report.max_len != member.max_len),
        (tie, report.tie_weights != member.tie_weights),
        (f"--batch-size {report.batch_size}", report.batch_size != 1),
        (f"--seq-len {report.seq_len}", report.seq_len != report.max_len),
        (f"--dtype {report.dtype}", report.dtype != "bfloat16"),
        (f"--optimizer {report.optimizer}", report.optimizer != "adamw"),
        (f"--recompute {report.recompute}", report.recompute != "none"),
    )
    return " ".join([*words, *(word for word, wanted in given if wanted)])


def _typed(aim: Aim) -> str:
    """Return an amount as a person would type it: ``125M`` and ``1GiB`` where that is all of it."""
    from tinylm_cli.reports.figures import AMOUNT_KINDS

    if aim.unit == "tokens_per_second":
        return f"{aim.wanted:.15g}"
    return stated(int(aim.wanted), AMOUNT_KINDS[aim.unit]).replace(",", "")


def _picked(report: DesignReport, pick: int | None, *, front_only: bool) -> Design:
    """Return the design to write: that of a rank, or the first shown."""
    found = next((each for each in report.designs if pick is None or each.rank == pick), None)
    if found is not None:
        return found
    assert pick is not None, "the first is always there"
    few = f"for example {', '.join(str(each.rank) for each in report.designs[:5])}"
    if front_only and pick <= report.matches:
        raise UsageError(f"--pick {pick}: another beats that one, and --front leaves it out", help=few)
    raise UsageError(f"--pick {pick}: there is no such rank among the {report.matches:,} designs found", help=few)


def _yaml(report: DesignReport, chosen: Design, hardware: str | None) -> str:
    from tinylm_cli.analysis.design.to_config import written
    from tinylm_cli.config.yaml_writer import to_commented_yaml

    size = f"{chosen.figures['total_params']:,} parameters"
    title = f"{size}, rank {chosen.rank} of tinylm design {_words(report, hardware)}"
    return to_commented_yaml(written(chosen, report), title)
