"""The report of ``tinylm generate``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GenerateReport:
    """A continuation of a prompt.

    Attributes:
        name: The model's name.
        source: Source of its config.
        untrained: Whether the weights were initialized, not loaded.
        prompt: The ids of the prompt.
        generated: The generated ids.
        text: Both decoded, by the folder's tokenizer.json, or as UTF-8 bytes if the vocabulary is bytes (256); else
            None.
        stopped: ``length`` or ``stop_token``.
        milliseconds: Time from first to last token, prompt included.
        tokens_per_second: Generated tokens over that time.
    """

    name: str
    source: str
    untrained: bool
    prompt: tuple[int, ...]
    generated: tuple[int, ...]
    text: str | None
    stopped: str
    milliseconds: float
    tokens_per_second: float
