"""What ``tinylm design`` hands back: its table, or one design as a config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.options import follow_up, same_model
from tinylm_cli.cli.outcome import STDOUT, Format, Outcome
from tinylm_cli.config.amounts import stated
from tinylm_cli.errors import AnalysisError, ExitCode, UsageError

if TYPE_CHECKING:
    from tinylm_cli.reports.design import Design, DesignReport
    from tinylm_cli.reports.figures import Unit

TOLERANCE = 0.02
"""Sizes are known by two digits or three."""

OPTIONS = {
    "total_params": "--params",
    "active_params": "--active-params",
    "forward_flops_per_token": "--max-flops-per-token",
    "kv_cache_bytes": "--max-kv-bytes",
    "weights_bytes": "--max-weights-bytes",
}
"""The option that aims at each figure."""


def designed_outcome(report: DesignReport, pick: int | None, format_: Format, output: Path | None) -> Outcome:
    """Return the table; or, where one of the designs is asked for, that one as YAML."""
    from tinylm_cli.render.views.design import design_view, obstacle_sentence

    written = format_ is Format.text and (pick is not None or output is not None)
    if not report.designs:
        if written:
            sentences = " ".join(map(obstacle_sentence, report.obstacles))
            raise AnalysisError(f"no {report.family} of the grid meets all of this", help=sentences)
        return Outcome(report, lambda: design_view(report), format_, output, exit_code=ExitCode.FAILED)
    if not written:
        again = f"tinylm design {_words(report)} --output {report.family}.yaml"
        return Outcome(report, lambda: design_view(report), format_, output, next_step=again)
    named = output is not None and output != STDOUT
    return Outcome(
        report, lambda: design_view(report), format_, output, document=_yaml(report, _picked(report, pick)),
        next_step=follow_up("build", same_model(str(output), None), "--meta") if named else "",
    )  # fmt: skip


def _words(report: DesignReport) -> str:
    """Return the options that make the same search, however they were typed."""
    from tinylm_cli.analysis.design.families import FAMILIES

    template = FAMILIES[report.family]
    words = [f"{OPTIONS[aim.figure]} {_typed(aim.wanted, aim.unit)}" for aim in report.aims if aim.chosen]
    tolerance = next((aim.tolerance for aim in report.aims if aim.tolerance is not None), TOLERANCE)
    tie = "--tie" if report.tie_weights else "--no-tie"
    given = (
        (f"--tolerance {tolerance:g}", tolerance != TOLERANCE),
        (f"--family {report.family}", report.family != "course"),
        (f"--vocab-size {report.vocab_size}", report.vocab_size != template.vocab_size),
        (f"--max-len {report.max_len}", report.max_len != template.max_len),
        (tie, report.tie_weights != template.tie_weights),
        (f"--seq-len {report.seq_len}", report.seq_len != report.max_len),
        (f"--dtype {report.dtype}", report.dtype != "bfloat16"),
    )
    return " ".join([*words, *(word for word, wanted in given if wanted)])


def _typed(value: int, unit: Unit) -> str:
    """Return an amount as a person would type it: ``125M`` and ``1GiB`` where that is all of it."""
    from tinylm_cli.reports.figures import AMOUNT_KINDS

    return stated(value, AMOUNT_KINDS[unit]).replace(",", "")


def _picked(report: DesignReport, pick: int | None) -> Design:
    """Return the design to write: that of a rank, or the first shown."""
    found = next((each for each in report.designs if pick is None or each.rank == pick), None)
    if found is None:
        few = ", ".join(str(each.rank) for each in report.designs[:5])
        raise UsageError(f"--pick {pick}: there is no such rank among the designs found", help=f"for example {few}")
    return found


def _yaml(report: DesignReport, chosen: Design) -> str:
    from tinylm_cli.analysis.design.analyse import designed
    from tinylm_cli.config.dump import to_commented_yaml

    size = f"{chosen.figures['total_params']:,} parameters"
    title = f"{size}, rank {chosen.rank} of tinylm design {_words(report)}"
    return to_commented_yaml(designed(chosen, report.aims), title)
