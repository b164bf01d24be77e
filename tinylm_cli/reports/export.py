"""The report of ``tinylm export``."""

from __future__ import annotations

from tinylm_cli.reports.record import Record


class ExportReport(Record):
    """A model in another library's format."""

    name: str  # The model's name.
    format: str  # Target format: ``hf``.
    family: str  # The ``model_type`` of the exported config.json: ``llama``.
    # Changes to the exported config that keep the logits; empty if there are none.
    rewritten: tuple[str, ...]
    folder: str  # The folder that was written.
    n_tensors: int  # Number of tensors in model.safetensors.
