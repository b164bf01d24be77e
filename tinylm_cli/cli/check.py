"""``tinylm check``: the laws of a model, each proven on the real module."""

from __future__ import annotations

from dataclasses import replace

from tinylm_cli.cli.model_options import (
    DeviceOption,
    DTypeOption,
    ModelConfigOption,
    ModelRequest,
    SeedOption,
    WeightsOption,
)
from tinylm_cli.cli.options import FormatOption, OutputOption, SetOption, follow_up, same_model
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.requested_config import requested_config
from tinylm_cli.errors import ExitCode


def check(
    config: ModelConfigOption = None,
    device: DeviceOption = "cpu",
    dtype: DTypeOption = None,
    seed: SeedOption = 0,
    weights: WeightsOption = None,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    output: OutputOption = None,
) -> CommandOutput:
    """Test the invariants of a model: causality, tying, gradients, KV cache and more.

    Causality, tying, gradients, caching and more: each law passes or fails with the figure that was measured. Exits
    with 1 when one fails.

    \b
    Examples:
      tinylm check small
      tinylm check my.yaml --format json
    """
    loaded = requested_config(config, set_ or (), weights)
    request = ModelRequest(loaded, device, dtype, seed, weights=weights)
    request.require_room()
    model = request.build() if weights is not None else None  # drawn weights are the checks' own to draw

    from tinylm_cli.analysis.params import total_params
    from tinylm_cli.analysis.proof import closed_form
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.render.views.check import check_view

    with working(f"checking {loaded.name}") as progress:
        where = request.torch_device()

        from tinylm_cli.model.checks import ClosedForm, run_checks

        report = run_checks(
            loaded.config,
            name=loaded.name,
            source=loaded.source,
            seed=seed,
            weights=str(weights) if weights is not None else None,
            closed_form=ClosedForm(closed_form(loaded.config), total_params(tensor_table(loaded.config))),
            device=where,
            dtype=request.torch_dtype(),
            model=model,
            on_start=lambda law: progress.say(f"checking {loaded.name}: {law}"),
        )
    if weights is not None:
        report = replace(report, seed=None)
    exit_code = ExitCode.FAILED if report.failed else ExitCode.DONE
    model_words = same_model(config, set_, weights)
    next_step = follow_up("forward" if report.failed else "generate", model_words, request.words(), "--tokens")
    return CommandOutput(report, lambda: check_view(report), format_, output, exit_code, next_step=next_step)
