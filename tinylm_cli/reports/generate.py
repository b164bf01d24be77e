"""What ``tinylm generate`` reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GenerateReport:
    """A continuation of a prompt.

    Attributes:
        name: The model's name.
        source: Where its config came from.
        untrained: True when the weights were drawn, not loaded.
        prompt: The given ids.
        generated: The ids that followed.
        text: Both decoded as UTF-8 bytes when the vocabulary is bytes (256), else None.
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
