"""``tinylm export``: a model in another library's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from tinylm_cli.atomic_write import require_free_folder
from tinylm_cli.cli.model_options import ModelOptions, ModelRequest
from tinylm_cli.cli.next_steps import TRAINING, export_arguments, model_arguments, next_step
from tinylm_cli.cli.options import PageFormat, PageOutput, option, parse_path
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.report_value import require_value
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.record import Record
from tinylm_cli.shell_quoting import shell_quote

Target = Literal["hf"]
"""The formats that a model is exported to."""


class ExportOutput(PageOutput):
    """The options of the report, and the folder to write; the report itself goes to standard output."""

    format_: Annotated[PageFormat, option("Report format.", "--format", "-f")] = "text"
    output: Annotated[
        Path | None, option("The Hugging Face folder to write.", "--output", "-o", metavar="DIR", parser=parse_path)
    ] = None


class ExportRequest(Record):
    """A model to export."""

    model: ModelRequest  # The model.
    target: Target  # The format.
    path: Path  # The file or folder to write.
    to: ExportOutput  # The options of the report.


def export(
    model: ModelOptions,
    *,
    target: Annotated[Target, option("Target format: hf, Hugging Face transformers.", "--to")] = "hf",
    to: ExportOutput,
) -> CommandOutput:
    """Convert a model to a Hugging Face folder.

    The model is exported as the first model family that can express it. If none can, an equivalent model with the same
    logits is exported: sinusoidal positions become learned positions, and an embedding multiplier is folded into the
    embedding. If no equivalent exists, the export fails.

    \b
    Examples:
      tinylm export llama.yaml -o llama-hf
      tinylm export --weights tiny-model -o tiny-hf
    """
    request = ModelRequest.of(model)
    if to.file is None:
        named = export_arguments(
            model_arguments(model.config, model.set_, model.weights, model.ignore), request.loaded.name
        )
        example = f"for example tinylm export {named}" if named else "add --output DIR"
        raise UsageError("export needs a folder to write", help=example)
    return _EXPORTS[target](ExportRequest(request, target, to.file, to))


def _export_hugging_face(request: ExportRequest) -> CommandOutput:
    """Write a Hugging Face folder: config.json and model.safetensors."""
    from tinylm_cli.interop.export_config import FILES, export_config, require_exported
    from tinylm_cli.render.views.export import export_view
    from tinylm_cli.reports.export import ExportReport

    model, directory, overwrite = request.model, request.path, request.to.force
    loaded = model.loaded
    require_exported(directory)
    require_free_folder(directory, FILES, overwrite=overwrite)
    model.require_memory_for()
    exported = export_config(loaded.config)
    stored = loaded.config.storage.quantization
    report = ExportReport(
        name=loaded.name,
        format=request.target,
        family=exported.family,
        rewritten=exported.changes,
        folder=str(directory),
        n_tensors=0,
        is_random=model.weights is None,
        unquantized=None if stored == "none" else stored,
        ignored_keys=loaded.ignored_keys,
    )
    require_value(report, request.to.get)
    module = model.build()
    with working(f"exporting {loaded.name}"):
        from tinylm_cli.interop.weights.export_weights import export_model

        report = replace(report, n_tensors=export_model(module, exported, directory, overwrite=overwrite))
    following = next_step("export", TRAINING, shell_quote(str(directory)))
    return CommandOutput(report, lambda: export_view(report), replace(request.to, output=None), next_step=following)


_EXPORTS: dict[Target, Callable[[ExportRequest], CommandOutput]] = {"hf": _export_hugging_face}
"""The function that writes each format, and returns its report."""
