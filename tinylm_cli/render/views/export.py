"""The view of ``tinylm export``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Heading, Listing, Note, View
from tinylm_cli.reports.export import ConfigExportReport, ExportReport


def export_view(report: ExportReport) -> View:
    """Show the family, what changed to fit it, what was written, and how to load it."""
    family = report.family if report.architecture is None else report.architecture
    title = f"as {family}" + (", rewritten with the same logits" if report.rewritten else "")
    kind = "randomly initialized tensor" if report.is_random else "stored tensor"
    tensors = counted(report.n_tensors, kind)
    if report.file_type is None:
        written, code = f"Wrote {tensors} and config.json to {report.folder}.", loading_code(report.folder)
    else:
        written, code = f"Wrote {tensors} to {report.folder} as {report.file_type}.", _llama_cpp_code(report.folder)
    return (
        Heading(report.name, title),
        *(Note(change) for change in report.rewritten),
        *((Note(f"The weights are not quantized to {report.unquantized}."),) if report.unquantized else ()),
        *_tokenizer(report),
        Note(f"{written} Load it in Python:", "good"),
        Listing(code, "python"),
    )


def export_config_view(report: ConfigExportReport) -> View:
    """Show the family or framework, what changed to fit it, and the file."""
    title = f"as {report.expressed_as}" + (", rewritten with the same logits" if report.rewritten else "")
    return (
        Heading(report.name, title),
        *(Note(change) for change in report.rewritten),
        Note(f"Wrote the config of a model with {counted(report.total_params, 'parameter')} to {report.path}.", "good"),
    )


def loading_code(directory: str) -> str:
    """Return the Python lines that load an exported folder with transformers."""
    return (
        "from transformers import AutoModelForCausalLM\n"
        f"model = AutoModelForCausalLM.from_pretrained({json.dumps(directory, ensure_ascii=False)})"
    )


def _tokenizer(report: ExportReport) -> Iterator[Note]:
    """Yield whether a GGUF file has a tokenizer."""
    if report.tokenizer is not None:
        yield Note(f"The tokenizer is the model's, with the pre-tokenizer {report.tokenizer}.")
    elif report.tokenizer_problem:
        yield Note(f"The file has no tokenizer: {report.tokenizer_problem}.", "warn")
    elif report.file_type is not None:
        yield Note("The file has no tokenizer; llama.cpp computes from token ids.", "muted")


def _llama_cpp_code(file: str) -> str:
    """Return the Python lines that load a GGUF file with llama.cpp."""
    return f"from llama_cpp import Llama\nmodel = Llama(model_path={json.dumps(file, ensure_ascii=False)})"
