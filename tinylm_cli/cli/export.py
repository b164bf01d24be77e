"""``tinylm export``: a model as a Hugging Face folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from tinylm_cli.atomic_write import require_free_folder
from tinylm_cli.cli.completion import complete_config
from tinylm_cli.cli.model_options import ModelOptions, ModelRequest
from tinylm_cli.cli.next_steps import TRAINING, next_step
from tinylm_cli.cli.options import PageOutput, argument, option, parse_path
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.report_value import require_value
from tinylm_cli.config.presets import shipped
from tinylm_cli.errors import UsageError
from tinylm_cli.shell_quoting import shell_join, shell_quote


def complete_argument(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the config, and after it only the folder."""
    configs = complete_config(incomplete)
    has_config = any(context.params.get(name) for name in ("arguments", "config", "weights"))
    return [name for name in configs if name.endswith("/")] if has_config else configs


def export(
    model: ModelOptions,
    arguments: Annotated[
        list[str],
        argument(
            "The config (omit it with --config or --weights) and the output folder.", "[CONFIG] DIR", complete_argument
        ),
    ],
    *,
    target: Annotated[Literal["hf"], option("Target format: hf, Hugging Face transformers.", "--to")] = "hf",
    to: PageOutput,
) -> CommandOutput:
    """Convert a model to a Hugging Face folder.

    The model is exported as the first model family that can express it. If none can, an equivalent model with the same
    logits is exported: sinusoidal positions become learned positions, and an embedding multiplier is folded into the
    embedding. If no equivalent exists, the export fails.

    \b
    Examples:
      tinylm export llama.yaml llama-hf
      tinylm export tiny-hf --weights tiny-model
    """
    from tinylm_cli.interop.export_config import FILES, export_config, require_exported
    from tinylm_cli.render.views.export import export_view
    from tinylm_cli.reports.export import ExportReport

    config, directory = _config_and_folder(arguments, model.config, model.weights)
    request = ModelRequest.of(replace(model, config=config))
    loaded = request.loaded
    require_exported(directory)
    require_free_folder(directory, FILES, overwrite=to.force)
    request.require_memory_for()
    exported = export_config(loaded.config)
    report = ExportReport(
        name=loaded.name,
        to=target,
        family=exported.family,
        rewritten=exported.changes,
        directory=str(directory),
        tensors=0,
    )
    require_value(report, to.get)
    module = request.build()
    with working(f"exporting {loaded.name}"):
        from tinylm_cli.interop.weights.export_weights import export_model

        report = replace(report, tensors=export_model(module, exported, directory, overwrite=to.force))
    return CommandOutput(
        report, lambda: export_view(report), to, next_step=next_step("export", TRAINING, shell_quote(str(directory)))
    )


def _config_and_folder(arguments: list[str], config: str | None, weights: Path | None) -> tuple[str | None, Path]:
    """Return the named config, or None, and the folder.

    Raises:
        UsageError: If there are too many arguments, an empty one, two configs, or a config but no folder.
    """
    *named, folder = arguments
    if len(named) > 1:
        raise UsageError(
            f"export takes a config and a folder, not {len(arguments)} arguments", help="see tinylm export --help"
        )
    if named and config is not None:
        message = f"the config is given twice: {named[0]} and --config {config}"
        raise UsageError(message, help="remove one of them")
    from tinylm_cli.config.git_revision import names_revision
    from tinylm_cli.interop.load import names_config

    directory = parse_path(folder)
    if not named and config is None and weights is None and (names_config(folder) or names_revision(folder)):
        corrected = shell_join((folder, f"{_stem(folder)}-hf"))
        raise UsageError(
            f"{folder} is a config, and no output folder is given",
            help=f"name an output folder: tinylm export {corrected}",
        )
    return named[0] if named else config, directory


def _stem(config: str) -> str:
    """Return the model's name according to the name of its config."""
    path = Path(config)
    if config == "-":
        return "stdin"
    if config in shipped():  # whose names may contain dots: qwen3-0.6b
        return config
    return path.resolve().name if path.is_dir() else path.stem
