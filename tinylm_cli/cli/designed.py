"""What ``tinylm design`` hands back: its table, or one design as a config."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.design_options import TOLERANCE
from tinylm_cli.cli.options import follow_up, same_model
from tinylm_cli.cli.outcome import STDOUT, Format, Outcome
from tinylm_cli.config.amounts import scientific, stated
from tinylm_cli.errors import AnalysisError, ExitCode, UsageError

if TYPE_CHECKING:
    from tinylm_cli.reports.design import Aim, Design, DesignReport

OPTIONS = {
    "total_params": "--params",
    "active_params": "--active-params",
    "forward_flops_per_token": "--max-flops-per-token",
    "kv_cache_bytes": "--max-kv-bytes",
    "weights_bytes": "--max-weights-bytes",
    "train_bytes_per_gpu": "--max-train-bytes-per-gpu",
    "serve_bytes": "--max-serve-bytes",
    "decode_tokens_per_second": "--min-decode-tokens-per-second",
}
"""The option that aims at each figure."""


def designed_outcome(
    report: DesignReport, pick: int | None, hardware: str | None, format_: Format, output: Path | None
) -> Outcome:
    """Return the table; or, where one of the designs is asked for, that one as YAML."""
    from tinylm_cli.render.views.design import design_view, obstacle_sentence

    as_config = format_ is Format.text and (pick is not None or output is not None)
    if not report.designs:
        if as_config:
            sentences = " ".join(map(obstacle_sentence, report.obstacles, [report] * len(report.obstacles)))
            raise AnalysisError(f"no {report.family} of the grid meets all of this", help=sentences)
        return Outcome(report, lambda: design_view(report), format_, output, exit_code=ExitCode.FAILED)
    if not as_config:
        again = f"tinylm design {_words(report, hardware)} --output {report.family}.yaml"
        return Outcome(report, lambda: design_view(report), format_, output, next_step=again)
    named = output is not None and output != STDOUT
    return Outcome(
        report, lambda: design_view(report), format_, output, document=_yaml(report, _picked(report, pick), hardware),
        next_step=follow_up("build", same_model(str(output), None), "--meta") if named else "",
    )  # fmt: skip


def _words(report: DesignReport, hardware: str | None) -> str:
    """Return the options that make the same search, however they were typed."""
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.roofline import TYPICAL_UTILISATION

    member = FAMILIES[report.family].config
    words = [f"{OPTIONS[aim.figure]} {_typed(aim)}" for aim in report.aims if aim.origin == "asked"]
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
        (f"--utilisation {report.utilisation}", report.utilisation not in (None, TYPICAL_UTILISATION)),
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


def _picked(report: DesignReport, pick: int | None) -> Design:
    """Return the design to write: that of a rank, or the first shown."""
    found = next((each for each in report.designs if pick is None or each.rank == pick), None)
    if found is None:
        few = ", ".join(str(each.rank) for each in report.designs[:5])
        raise UsageError(f"--pick {pick}: there is no such rank among the designs found", help=f"for example {few}")
    return found


def _yaml(report: DesignReport, chosen: Design, hardware: str | None) -> str:
    from tinylm_cli.analysis.design.written import written
    from tinylm_cli.config.dump import to_commented_yaml

    size = f"{chosen.figures['total_params']:,} parameters"
    title = f"{size}, rank {chosen.rank} of tinylm design {_words(report, hardware)}"
    return to_commented_yaml(written(chosen, report), title)
