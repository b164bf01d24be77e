"""Which family a model is exported in, and as which equal model if not as itself."""

from __future__ import annotations

from typing import NamedTuple

from tinylm_cli.config.canonical import meaning
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.equivalents import equals
from tinylm_cli.interop.export import Expressed, brief, express


class Choice(NamedTuple):
    """How a model is exported.

    Attributes:
        config: The model itself, or an equal one.
        expressed: That in the words of a family.
        changes: How the equal model differs from the model: ``position.kind: sinusoidal → learned``; empty for itself.
    """

    config: ModelConfig
    expressed: Expressed
    changes: tuple[str, ...]


def choose(config: ModelConfig) -> Choice:
    """Return the first family that expresses the model, or an equal one, the least rewritten first.

    Raises:
        UnableError: If none does; says what the nearest family lacks.
    """
    refusal: UnableError | None = None
    for candidate in (config, *equals(config)):
        try:
            return Choice(candidate, express(candidate), tuple(_changes(meaning(config), meaning(candidate))))
        except UnableError as error:
            refusal = error  # of the most rewritten, which lacks the least
    assert refusal is not None
    raise refusal


def _changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [
        f"{name}: {brief(before[name])} → {brief(after[name])}"
        for name in after
        if name in before and before[name] != after[name]
    ]
