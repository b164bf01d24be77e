"""``tinylm build``: build the PyTorch model, show its architecture, prove its parameter count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tinylm_cli.atomic_write import require_free_folder
from tinylm_cli.cli.model_options import (
    DeviceOption,
    DTypeOption,
    MetaOption,
    ModelConfigOption,
    ModelRequest,
    SeedOption,
    WeightsOption,
    import_torch,
)
from tinylm_cli.cli.next_steps import config_words, model_words, next_step
from tinylm_cli.cli.options import (
    OUTPUT_PANEL,
    FormatOption,
    GetOption,
    OutputOption,
    SetOption,
    TableOption,
    parse_path,
)
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.report_value import require_value
from tinylm_cli.cli.requested_config import requested_config
from tinylm_cli.errors import ExitCode, UsageError


def build(
    config: ModelConfigOption = None,
    device: DeviceOption = "cpu",
    dtype: DTypeOption = None,
    seed: SeedOption = 0,
    meta: MetaOption = False,
    weights: WeightsOption = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=parse_path,
            help="Write weights and config to a new folder.",
            show_default=False,
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Let --save replace a folder that it wrote, and --output a file.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    expand: Annotated[
        bool,
        typer.Option(
            "--expand", help="Show every block, instead of one for all identical blocks.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    depth: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Levels of the tree to show.",
            show_default=False,
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
    get: GetOption = None,
) -> CommandOutput:
    """Build the PyTorch model and prove its parameter count.

    Shows shape, parameters and share of every module, the savings of weight tying, the stated size and the true
    one, and the proof that closed form and module agree. Exits with 1 if they do not.

    \b
    Examples:
      tinylm build small
      tinylm build base --meta --expand
      tinylm build tiny --seed 7 --save tiny-model
    """
    if meta and save is not None:
        raise UsageError("--meta builds no weights, so --save has nothing to write", help="remove one of them")
    if force and save is None and output is None:
        raise UsageError("--force needs --save or --output", help="add one of them, or remove --force")
    loaded = requested_config(config, set_ or (), weights)
    request = ModelRequest(loaded, device, dtype, seed, meta, weights)
    request.require_room()
    if save is not None:
        with working(f"building {loaded.name}"):
            import_torch()
            from tinylm_cli.model.checkpoint import FILES

            require_free_folder(save, FILES, overwrite=force)
    model = request.build()

    from tinylm_cli.analysis.params import analyze_params
    from tinylm_cli.analysis.proof import prove
    from tinylm_cli.model.module_tree import module_tree
    from tinylm_cli.model.state_dict import parameter_shapes, unique_params
    from tinylm_cli.render.views.build import build_view
    from tinylm_cli.reports.architecture import BuildReport

    built_dtype = str(model.lm_head.weight.dtype).removeprefix("torch.")
    proof = prove(loaded.config, parameter_shapes(model), unique_params(model))
    report = BuildReport(
        model=analyze_params(loaded, dtype=built_dtype),
        device=str(model.lm_head.weight.device),
        dtype=built_dtype,
        seed=None if meta or weights is not None else seed,
        weights=str(weights) if weights is not None else None,
        saved_to=str(save) if save is not None and proof.holds else None,
        architecture=module_tree(model, expand=expand),
        proof=proof,
    )
    require_value(report, get)
    if save is not None and proof.holds:
        from tinylm_cli.config.yaml_writer import to_yaml
        from tinylm_cli.model.checkpoint import save_model

        save_model(model, save, config_text=to_yaml(loaded.config), overwrite=force)
    exit_code = ExitCode.DONE if proof.holds else ExitCode.FAILED
    if report.saved_to is not None:  # the next command uses the saved folder
        request = replace(request, weights=save, dtype=None)
        following = next_step("build --save", "forward", model_words(None, None, save), request.words(), "--tokens")
    else:
        following = next_step("build", "estimate", config_words(config, set_, weights))
    return CommandOutput(
        report, lambda: build_view(report, depth), format_, output, exit_code, next_step=following, table=table
    )
