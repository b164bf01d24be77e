"""``tinylm export``: a model in another library's format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tinylm_cli.atomic_write import require_free_file, require_free_folder, write_file, write_folder
from tinylm_cli.cli.model_options import ModelOptions, ModelRequest
from tinylm_cli.cli.next_steps import TRAINING, export_arguments, model_arguments, next_step
from tinylm_cli.cli.options import PageFormat, PageOutput, option, parse_path
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.report_value import require_value
from tinylm_cli.cli.tokens import tokenizer_file
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.choices import WrittenGgufType
from tinylm_cli.reports.record import Record
from tinylm_cli.shell_quoting import shell_quote

if TYPE_CHECKING:
    from tinylm_cli.config.schema import ModelConfig

Target = Literal["hf", "gguf", "litgpt", "megatron", "torchtitan"]
"""The formats that a model is exported to."""


class ExportOutput(PageOutput):
    """The options of the report, and the folder or file to write; the report itself goes to standard output."""

    format_: Annotated[PageFormat, option("Report format.", "--format", "-f")] = "text"
    output: Annotated[
        Path | None,
        option("The Hugging Face folder or the file to write.", "--output", "-o", metavar="PATH", parser=parse_path),
    ] = None


class ExportRequest(Record):
    """A model to export."""

    model: ModelRequest  # The model.
    target: Target  # The format.
    config_only: bool  # Whether to write a Hugging Face config without weights.
    gguf_type: WrittenGgufType | None  # The type of a GGUF file; None for the one of the weights.
    path: Path  # The file or folder to write.
    to: ExportOutput  # The options of the report.


def export(
    model: ModelOptions,
    *,
    target: Annotated[
        Target,
        option("Target format: hf, Hugging Face transformers; gguf, llama.cpp; others: only a config.", "--to"),
    ] = "hf",
    config_only: Annotated[bool, option("hf: write only config.json, without weights.", "--config-only")] = False,
    gguf_type: Annotated[
        WrittenGgufType | None,
        option("gguf: type of the file.  [default: the data type of the weights]", "--type", case_sensitive=False),
    ] = None,
    to: ExportOutput,
) -> CommandOutput:
    """Convert a model to a Hugging Face folder or another format.

    The model is exported as the first model family that can express it. If none can, an equivalent model with the same
    logits is exported: sinusoidal positions become learned positions, and an embedding multiplier is folded into the
    embedding. If no equivalent exists, the export fails. So does --to gguf if llama.cpp would compute other logits.

    --to litgpt writes model_config.yaml, --to megatron the arguments of Megatron-LM, one a line, and --to torchtitan a
    Python file with a flavor of its llama3 or qwen3. They fail if the framework has no such model. Like --config-only,
    they write no weights and do not import torch.

    \b
    Examples:
      tinylm export llama.yaml -o llama-hf
      tinylm export --weights tiny-model -o tiny-hf
      tinylm export --weights tiny-hf --to gguf -o tiny.gguf
      tinylm export llama-3-8b --config-only -o llama-config
      tinylm export llama-3-8b --to litgpt -o llama.yaml
      tinylm export llama-3-8b --to megatron -o llama.args
    """
    if gguf_type is not None and target != "gguf":
        raise UsageError("--type has no effect without --to gguf", help="add --to gguf")
    request = ModelRequest.of(model)
    if config_only and target != "hf":
        writes = "a file with weights" if target == "gguf" else "only a config"
        raise UsageError(f"--to {target} writes {writes}, so --config-only has no effect", help="remove it")
    if config_only or target not in ("hf", "gguf"):
        _require_no_weights(model, "--config-only" if config_only else f"--to {target}")
    if to.file is None:
        named = export_arguments(
            model_arguments(model.config, model.set_, model.weights, model.ignore), request.loaded.name
        )
        example = f"for example tinylm export {named}" if named and target == "hf" else "add --output PATH"
        raise UsageError(f"export needs a {'folder' if target == 'hf' else 'file'} to write", help=example)
    return _EXPORTS[target](ExportRequest(request, target, config_only, gguf_type, to.file, to))


def _require_no_weights(model: ModelOptions, option: str) -> None:
    """Reject the options of weights, which a config does not have.

    Raises:
        UsageError: If one is given.
    """
    given = (
        ("--weights", model.weights is not None),
        ("--dtype", model.dtype is not None),
        ("--seed", model.seed != 0),
    )
    for name, is_given in given:
        if is_given:
            raise UsageError(f"{option} writes no weights, so {name} has no effect", help="remove one of them")


def _export_hugging_face(request: ExportRequest) -> CommandOutput:
    """Write a Hugging Face folder: config.json and model.safetensors."""
    if request.config_only:
        return _export_hugging_face_config(request)
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


def _export_hugging_face_config(request: ExportRequest) -> CommandOutput:
    """Write a Hugging Face folder with a config.json alone."""
    import json

    from tinylm_cli.interop import CONFIG_FILE
    from tinylm_cli.interop.export_config import EXPORT_MARKER, export_config, require_exported

    directory, overwrite = request.path, request.to.force
    require_exported(directory)
    require_free_folder(directory, (CONFIG_FILE,), overwrite=overwrite)
    exported = export_config(request.model.loaded.config)
    text = json.dumps(EXPORT_MARKER | exported.document, indent=2) + "\n"

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8", newline="\n")

    def write_all() -> None:
        write_folder(directory, (CONFIG_FILE,), write, overwrite=overwrite, needed_bytes=len(text.encode()))

    return _config_output(request, exported.family, exported.changes, exported.config, write_all)


def _export_framework(request: ExportRequest) -> CommandOutput:
    """Write the config of a training framework."""
    from tinylm_cli.interop.frameworks import FRAMEWORKS
    from tinylm_cli.interop.frameworks.framework import to_framework

    assert request.target not in ("hf", "gguf")
    framework, path, overwrite = FRAMEWORKS[request.target], request.path, request.to.force
    if not overwrite:
        require_free_file(path)
    loaded = request.model.loaded
    exported = to_framework(loaded.config, loaded.name, framework)
    text = framework.to_text(exported.document)
    return _config_output(
        request,
        framework.title,
        exported.changes,
        exported.config,
        lambda: write_file(path, text, overwrite=overwrite),
    )


def _config_output(
    request: ExportRequest, expressed_as: str, changes: tuple[str, ...], config: ModelConfig, write: Callable[[], None]
) -> CommandOutput:
    """Write a config, and return its report.

    Args:
        request: The request.
        expressed_as: The family or framework.
        changes: Fields in which the exported model differs.
        config: The exported model.
        write: Writes it.
    """
    from tinylm_cli.analysis.params import total_params
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.render.views.export import export_config_view
    from tinylm_cli.reports.export import ConfigExportReport

    report = ConfigExportReport(
        name=request.model.loaded.name,
        format=request.target,
        expressed_as=expressed_as,
        rewritten=changes,
        path=str(request.path),
        total_params=total_params(tensor_table(config)),
        ignored_keys=request.model.loaded.ignored_keys,
    )
    require_value(report, request.to.get)
    write()
    return CommandOutput(report, lambda: export_config_view(report), replace(request.to, output=None))


def _export_gguf(request: ExportRequest) -> CommandOutput:
    """Write a GGUF file."""
    from tinylm_cli.interop.gguf.package import require_gguf

    require_gguf("exports to GGUF files")
    from tinylm_cli.interop.gguf.export_plan import plan_gguf, require_gguf_file
    from tinylm_cli.render.views.export import export_view
    from tinylm_cli.reports.export import ExportReport

    model, path, overwrite = request.model, request.path, request.to.force
    loaded = model.loaded
    require_gguf_file(path)
    if not overwrite:
        require_free_file(path)
    plan = plan_gguf(loaded.config, loaded.name, tokenizer_file(model.options.config, model.weights))
    model.require_memory_for()
    stored = loaded.config.storage.quantization
    report = ExportReport(
        name=loaded.name,
        format=request.target,
        family=plan.family,
        rewritten=plan.changes,
        folder=str(path),
        n_tensors=0,
        is_random=model.weights is None,
        unquantized=None if stored == "none" else stored,
        ignored_keys=loaded.ignored_keys,
        architecture=plan.architecture.name,
        file_type=request.gguf_type,
        tokenizer=plan.tokenizer,
        tokenizer_problem=plan.tokenizer_problem,
    )
    require_value(report, request.to.get)
    module = model.build()
    with working(f"exporting {loaded.name}"):
        from tinylm_cli.interop.weights.export_gguf import export_gguf, own_type

        file_type = request.gguf_type or own_type(module)
        n_tensors = export_gguf(module, plan, file_type, path, overwrite=overwrite)
        report = replace(report, n_tensors=n_tensors, file_type=file_type)
    return CommandOutput(report, lambda: export_view(report), replace(request.to, output=None))


_EXPORTS: dict[Target, Callable[[ExportRequest], CommandOutput]] = {
    "hf": _export_hugging_face,
    "gguf": _export_gguf,
    "litgpt": _export_framework,
    "megatron": _export_framework,
    "torchtitan": _export_framework,
}
"""The function that writes each format, and returns its report."""
