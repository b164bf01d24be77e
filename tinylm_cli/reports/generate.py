"""The report of ``tinylm generate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tinylm_cli.reports.record import Record


class GenerateReport(Record):
    """A continuation of a prompt."""

    name: str  # The model's name.
    source: str  # Source of its config.
    untrained: bool  # Whether the weights were initialized, not loaded.
    n_codebooks: int  # C, the ids of each position.
    prompt: tuple[int, ...]  # The ids of the prompt, T · C, position by position.
    generated: tuple[int, ...]  # The generated ids, position by position.
    # Both decoded, by the folder's tokenizer.json, or as UTF-8 bytes if the vocabulary is bytes (256); else None.
    text: str | None
    stopped: str  # ``length`` or ``stop_token``.
    milliseconds: float  # Time from first to last token, prompt included.
    tokens_per_second: float  # Generated positions over that time.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)
