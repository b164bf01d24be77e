"""``tinylm build``: build the PyTorch model, show its architecture, verify its parameter count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from tinylm_cli.atomic_write import require_free_folder
from tinylm_cli.cli.model_options import DeviceOption, MetaOption, ModelOptions, ModelRequest
from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import ReportOutput, option, parse_path
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.report_value import require_value
from tinylm_cli.errors import ExitCode, UsageError


def build(
    model: ModelOptions,
    *,
    device: DeviceOption = "cpu",
    meta: MetaOption = False,
    save: Annotated[
        Path | None, option("Write weights and config to a new folder.", metavar="DIR", parser=parse_path)
    ] = None,
    expand: Annotated[
        bool, option("Show every block; by default, identical blocks are shown once.", "--expand")
    ] = False,
    depth: Annotated[int | None, option("Levels of the tree to show.  [default: 3]", metavar="N", min=0)] = None,
    to: ReportOutput,
) -> CommandOutput:
    """Build the PyTorch model and verify its parameter count.

    Shows the shape, parameters and share of every module, the savings from weight tying, the nominal size and the exact
    count, and whether the closed form equals the module. Exits with 1 if it does not.

    \b
    Examples:
      tinylm build small
      tinylm build base --meta --expand
      tinylm build tiny --seed 7 --save tiny-model
    """
    if meta and save is not None:
        raise UsageError("--meta builds no weights, so --save has nothing to write", help="remove one of them")
    from tinylm_cli.interop.load import SAVED_FILES

    request = ModelRequest.of(model, device, meta)
    loaded = request.loaded
    request.require_memory_for()
    if save is not None:
        require_free_folder(save, SAVED_FILES, overwrite=to.force)
    module = request.build()

    from tinylm_cli.analysis.params import analyze_params
    from tinylm_cli.analysis.proof import prove
    from tinylm_cli.model.module_tree import module_tree
    from tinylm_cli.model.state_dict import parameter_shapes, unique_params
    from tinylm_cli.render.views.build import DEPTH, build_view
    from tinylm_cli.reports.architecture import BuildReport

    dtype = str(module.dtype).removeprefix("torch.")
    proof = prove(loaded.config, parameter_shapes(module), unique_params(module))
    report = BuildReport(
        model=analyze_params(loaded, dtype=dtype),
        device=str(module.device),
        dtype=dtype,
        seed=None if meta or request.weights is not None else model.seed,
        weights=str(request.weights) if request.weights is not None else None,
        saved_to=str(save) if save is not None and proof.holds else None,
        architecture=module_tree(module, expand=expand),
        proof=proof,
    )
    require_value(report, to.get)
    if save is not None and proof.holds:
        from tinylm_cli.config.yaml_writer import to_yaml
        from tinylm_cli.model.checkpoint import save_model

        save_model(module, save, config_text=to_yaml(loaded.config), overwrite=to.force)
        saved = replace(request, options=ModelOptions(weights=save))  # the next command uses the saved folder
        following = next_step("build --save", "forward", *saved.build_arguments())
    else:
        following = next_step("build", "estimate", request.config_arguments())
    exit_code = ExitCode.DONE if proof.holds else ExitCode.FAILED
    if depth is None and not expand and to.format_ == "text":
        depth = DEPTH
    return CommandOutput(report, lambda: build_view(report, depth), to, exit_code, next_step=following)
