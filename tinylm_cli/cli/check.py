"""``tinylm check``: test properties of the instantiated model."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.model_options import DeviceOption, ModelOptions, ModelRequest
from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import ReportOutput, option
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.streams import write_stdout
from tinylm_cli.errors import ExitCode

if TYPE_CHECKING:
    from tinylm_cli.model.checks.check import Check
    from tinylm_cli.render.blocks import View
    from tinylm_cli.reports.check import CheckResult


def check(
    model: ModelOptions,
    *,
    device: DeviceOption = "cpu",
    full: Annotated[bool, option("Show the measured value of each check.", "--full")] = False,
    to: ReportOutput,
) -> CommandOutput:
    """Test a model's invariants: causality, gradients, KV cache.

    Each check is printed when it completes, with its measured value if it fails; --full prints the measured value of
    every check. Exits with 1 if any check fails.

    \b
    Examples:
      tinylm check small
      tinylm check my.yaml --format json
    """
    request = ModelRequest.of(model, device)
    loaded, weights = request.loaded, request.weights
    request.require_memory_for()
    module = request.build() if weights is not None else None  # new weights are initialized by the checks

    from tinylm_cli.analysis.params import total_params
    from tinylm_cli.analysis.proof import closed_form
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.render.views.check import check_view, opening_view, verdict_view

    live = to.format_ == "text" and to.file is None
    origin = str(weights) if weights is not None else None
    with working(f"preparing to check {loaded.name}"):
        torch_device = request.torch_device()

        from tinylm_cli.model.checks import ExpectedParams, run_checks
    weights_dtype = request.torch_dtype() if module is None else module.dtype
    if live:
        name = str(weights_dtype).removeprefix("torch.")
        shown_seed = model.seed if module is None else None
        opening = opening_view(loaded.name, device=str(torch_device), dtype=name, seed=shown_seed, weights=origin)
        _print(opening, after="\n")
    with ExitStack() as progress:  # the spinner of the running check

        def start(check: Check) -> None:
            progress.enter_context(working(f"checking {loaded.name}: {check.name}"))

        def finish(result: CheckResult) -> None:
            progress.close()
            if live:
                _print_result(result, full=full)

        report = run_checks(
            loaded.config,
            name=loaded.name,
            source=loaded.source,
            seed=model.seed,
            weights=origin,
            closed_form=ExpectedParams(closed_form(loaded.config), total_params(tensor_table(loaded.config))),
            device=torch_device,
            dtype=weights_dtype,
            model=module,
            on_start=start,
            on_result=finish,
        )
    if live:
        write_stdout("\n")
    if weights is not None:
        report = replace(report, seed=None)
    report = replace(report, ignored_keys=loaded.ignored_keys)
    exit_code = ExitCode.FAILED if report.failed else ExitCode.DONE
    # forward shows where values go wrong, and the scores of a classifier
    following = "forward" if report.failed or not loaded.config.has_lm_head else "generate"
    return CommandOutput(
        report,
        lambda: verdict_view(report) if live else check_view(report, as_table=to.format_ != "text", full=full),
        to,
        exit_code,
        next_step=next_step("check", following, *request.build_arguments()),
    )


def _print_result(result: CheckResult, *, full: bool) -> None:
    from tinylm_cli.render.views.check import results_view

    _print(results_view([result], full=full))


def _print(view: View, *, after: str = "") -> None:
    """Write a part of the output immediately."""
    from tinylm_cli.render.terminal import terminal_of
    from tinylm_cli.render.text import to_text

    write_stdout(to_text(view, terminal_of(sys.stdout)) + after)
