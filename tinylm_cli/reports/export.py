"""What ``tinylm export`` reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportReport:
    """A model in another library's format.

    Attributes:
        name: The model's name.
        to: Whose format: ``hf``.
        family: The family it is expressed in, as its config.json says: ``llama``.
        rewritten: How the exported model differs from the config, with equal logits; empty where it does not.
        directory: The folder that was written.
        tensors: How many tensors its file holds.
    """

    name: str
    to: str
    family: str
    rewritten: tuple[str, ...]
    directory: str
    tensors: int
