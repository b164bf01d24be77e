"""The report of ``tinylm export``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tinylm_cli.reports.choices import WrittenGgufType
from tinylm_cli.reports.record import Record


class ExportReport(Record):
    """A model in another library's format."""

    name: str  # The model's name.
    format: str  # Target format: ``hf`` or ``gguf``.
    family: str  # The Hugging Face family that expresses the model, the ``model_type`` of a config.json: ``llama``.
    # Changes to the exported config that keep the logits; empty if there are none.
    rewritten: tuple[str, ...]
    folder: str  # The folder, or the GGUF file, that was written.
    n_tensors: int  # Number of tensors that were written.
    is_random: bool  # Whether the weights are the initial ones, since no weights were given.
    # ``storage.quantization`` of the config if its weights were quantized, which the exported ones are not; else None.
    unquantized: str | None
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)
    architecture: str | None = None  # ``general.architecture`` of a GGUF file; None for a folder.
    file_type: WrittenGgufType | None = None  # The type of a GGUF file; None for a folder.
    # The pre-tokenizer of the tokenizer in a GGUF file, as llama.cpp names it: ``llama-bpe``; None without a tokenizer.
    tokenizer: str | None = None
    tokenizer_problem: str = ""  # Why the tokenizer.json of the model is not in a GGUF file.


class ConfigExportReport(Record):
    """A config in another library's format, without weights."""

    name: str  # The model's name.
    format: str  # Target format: ``hf``, ``litgpt``, ``megatron`` or ``torchtitan``.
    expressed_as: str  # The ``model_type`` of the config.json, or the framework with its version.
    # Fields in which the exported config differs from the model, with the same logits; empty if there are none.
    rewritten: tuple[str, ...]
    path: str  # The folder or file that was written.
    total_params: int  # Parameters of the exported model.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)
