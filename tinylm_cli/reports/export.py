"""The report of ``tinylm export``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportReport:
    """A model in another library's format.

    Attributes:
        name: The model's name.
        to: Whose format: ``hf``.
        family: The ``model_type`` of the exported config.json: ``llama``.
        rewritten: How the exported config differs from the model's, with the same logits; empty if it does not.
        directory: The folder that was written.
        tensors: Number of tensors in model.safetensors.
    """

    name: str
    to: str
    family: str
    rewritten: tuple[str, ...]
    directory: str
    tensors: int
