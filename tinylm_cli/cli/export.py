"""``tinylm export``: a model as another library's folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tinylm_cli.cli.model_options import (
    DTypeOption,
    ModelConfigOption,
    ModelRequest,
    SeedOption,
    WeightsOption,
    import_torch,
    require_writable,
)
from tinylm_cli.cli.options import OutputOption, PageFormatOption, SetOption
from tinylm_cli.cli.output import CommandOutput, Format, PageFormat
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.requested_config import requested_config


class Target(StrEnum):
    """Whose folder to write."""

    hf = "hf"


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write, new.")],
    to: Annotated[Target, typer.Option("--to", help="Whose format: hf, Hugging Face's transformers.")] = Target.hf,
    config: ModelConfigOption = None,
    dtype: DTypeOption = None,
    seed: SeedOption = 0,
    weights: WeightsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder it wrote before.")] = False,
    set_: SetOption = None,
    format_: PageFormatOption = PageFormat.text,
    output: OutputOption = None,
) -> CommandOutput:
    """Write a model as a folder that another library loads.

    In the family that expresses the model; where none has its words, as an equal model that one does express: sinusoids
    become learned positions, a scaled embedding is scaled once and for all. Refuses what no family expresses.

    \b
    Examples:
      tinylm export --to hf tiny-hf --weights tiny-model
      tinylm export llama-hf --config llama.yaml
    """
    from tinylm_cli.interop.family_choice import choose
    from tinylm_cli.render.views.export import export_view
    from tinylm_cli.reports.export import ExportReport

    loaded = requested_config(config, set_ or (), weights)
    choice = choose(loaded.config)
    with working(f"exporting {loaded.name}"):
        import_torch()
        from tinylm_cli.interop.weights.export_weights import FILES, export_model, require_own

        require_own(directory)
        require_writable(directory, FILES, force=force)
    model = ModelRequest(loaded, "cpu", dtype, seed, weights=weights).build()
    with working(f"exporting {loaded.name}"):
        tensors = export_model(model, choice, directory, overwrite=force)
    report = ExportReport(
        name=loaded.name,
        to=to.value,
        family=choice.expressed.family,
        rewritten=choice.changes,
        directory=str(directory),
        tensors=tensors,
    )
    return CommandOutput(
        report, lambda: export_view(report), Format(format_), output, next_step=f"tinylm import {directory}"
    )
