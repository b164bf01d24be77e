"""A tinylm config as the config.json of the family that expresses it, or that expresses an equivalent model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from tinylm_cli.config.dependencies import defaults
from tinylm_cli.config.schema import ModelConfig, canonical_fields, flatten
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_writer import short_scalar
from tinylm_cli.errors import ConfigError, UnableError
from tinylm_cli.interop.config_json import read_json
from tinylm_cli.interop.families import Family, all_families
from tinylm_cli.interop.shared_keys import ACTIVATIONS, filled_fields
from tinylm_cli.interop.to_tinylm import map_config

MOST_NAMED = 3
WEIGHTY = ("attention.kind", "feed_forward.n_experts", "feed_forward.router", "position.kind")
"""Fields that make a family what it is, the weightiest first."""

WINDOW, PATTERN = "attention.window", "attention.window_pattern"

_WORDS = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}

_ROUNDING = 4 * sys.float_info.epsilon


class Expressed(NamedTuple):
    """A model in the words of a family.

    Attributes:
        family: Its ``model_type``.
        document: The contents of config.json.
    """

    family: str
    document: dict[str, Any]


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
    for candidate in (config, *_equivalents(config)):
        try:
            return Choice(
                candidate, express(candidate), tuple(_changes(canonical_fields(config), canonical_fields(candidate)))
            )
        except UnableError as error:
            refusal = error  # of the most rewritten, which lacks the least
    assert refusal is not None
    raise refusal


def _equivalents(config: ModelConfig) -> Iterator[ModelConfig]:
    """Yield configs of equal models, other than ``config`` itself, the least rewritten first.

    The factor on token vectors goes into them, which then cannot be the head's as well. Beyond that, where positions
    are added to the embeddings, a table of sinusoids becomes learned positions, and no positions a table of zeros; and
    a bias that is absent becomes one of zeros.
    """
    values = config.model_dump(exclude_unset=True)
    unscaled: dict[str, Any] = {"embedding": {**values.get("embedding", {}), "multiplier": 1.0}}
    if config.embedding.multiplier != 1:
        unscaled["tie_weights"] = False
        yield ModelConfig.model_validate(values | unscaled)
    if config.position.kind in ("sinusoidal", "learned", "none") and not config.embedding.norm:
        learned: dict[str, Any] = {
            "position": {"kind": "learned"},
            "attention": {**values.get("attention", {}), "bias": True, "out_bias": None},
            "feed_forward": {**values.get("feed_forward", {}), "bias": True},
        }
        rewritten = ModelConfig.model_validate(values | unscaled | learned)
        if rewritten != config:
            yield rewritten


def _changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [
        f"{name}: {brief(before[name])} → {brief(after[name])}"
        for name in after
        if name in before and before[name] != after[name]
    ]


def express(config: ModelConfig) -> Expressed:
    """Return ``config`` in the first family that says exactly the same.

    What a family says is found out by reading it back: whatever would be lost or changed on the way out is a difference
    then.

    Raises:
        UnableError: If no family does; names the one that comes nearest, and what it cannot say.
    """
    wanted = canonical_fields(config)
    nearest: _Near | None = None
    for family in all_families():
        if family.from_tinylm is None:
            continue
        document = hub_config(config, family)
        found, complaints = _read_back(document)
        if found is None:
            continue
        differences = [field for field in wanted if not _same(wanted[field], found.get(field))]
        if not differences and not complaints:
            return Expressed(family.model_type, document)
        near = _Near(family.model_type, sorted(differences, key=_weightiest_first), complaints)
        if nearest is None or near.distance < nearest.distance:
            nearest = near
    assert nearest is not None, "every config can be said as a gpt2's, if not without loss"
    raise UnableError(
        f"no family of Hugging Face expresses this model; {nearest.family} comes nearest, {nearest.lacks(config)}",
        help="change what it has no word for with --set, if weights allow",
    )


class _Near(NamedTuple):
    """A family that almost expresses a model.

    Attributes:
        family: Its ``model_type``.
        differences: Fields that it says otherwise, the weightiest first.
        complaints: What it does not take of what it says alike.
    """

    family: str
    differences: list[str]
    complaints: list[str]

    @property
    def distance(self) -> tuple[bool | int, ...]:
        """How far it is: another kind of part is further than any number of other fields."""
        kinds = (kind in self.differences for kind in WEIGHTY)
        return (*kinds, len(self.differences) + len(self.complaints))

    def lacks(self, config: ModelConfig) -> str:
        """Return what it has no word for of the model, after its name."""
        said = canonical_fields(config) | {PATTERN: config.attention.window_pattern}
        fields = list(dict.fromkeys(_as_written(field, config) for field in self.differences))
        listed = ", ".join(f"{field} {brief(said[field])}" for field in fields[:MOST_NAMED])
        more = ", …" if len(fields) > MOST_NAMED else ""
        return f"and has no {listed}{more}" if fields else f"where {self.complaints[0]}"


def _as_written(field: str, config: ModelConfig) -> str:
    """Return the field in which a difference is written: with no pattern of its own a window is every layer's."""
    everywhere = config.attention.window_pattern == defaults()[PATTERN]
    return WINDOW if field == PATTERN and everywhere else field


def _weightiest_first(field: str) -> int:
    return WEIGHTY.index(field) if field in WEIGHTY else len(WEIGHTY)


def hub_config(config: ModelConfig, family: Family) -> dict[str, Any]:
    """Return the config.json of a model as one of ``family``, whether or not that says all of it."""
    values = canonical_fields(config) | flatten(config.model_dump(include={"attention": {"d_head"}}))
    document: dict[str, Any] = {"architectures": [family.architecture], "model_type": family.model_type}
    document |= dict.fromkeys(
        ("bos_token_id", "eos_token_id", "pad_token_id")
    )  # the family's may not be in this vocabulary
    for key, info in family.keys.model_fields.items():
        for name in filled_fields(family.keys, key)[:1]:
            value = values.get(name) if name != "attention.d_head" else config.d_head
            document[key] = _activation(str(value), info.default) if name == "feed_forward.activation" else value
    if family.from_tinylm is not None:
        document |= family.from_tinylm(config)
    return document


def _activation(activation: str, usual: Any) -> str:
    """Return a family's name of an activation: its usual one where it fits, as others are computed another way."""
    return str(usual) if ACTIVATIONS.get(str(usual)) == activation else _WORDS[activation]


def brief(value: Any) -> str:
    """Return a value as a sentence can hold it: a number to six digits, a long list by its ends."""
    return f"{value:g}" if isinstance(value, float) else short_scalar(value)


def _same(wanted: Any, found: Any) -> bool:
    """Return whether two values are one: a number that a family writes as another is worked out again by rounding."""
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(wanted, found, rel_tol=_ROUNDING, abs_tol=0.0)
    return bool(wanted == found)


def _read_back(document: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return what a config.json says, None where it contradicts itself; and what of it is not supported."""
    source = Source("config.json", json.dumps(document))
    try:
        root = read_json(source).root
        assert root is not None
        mapped = map_config(root, source.name)
        found = canonical_fields(ModelConfig.model_validate(mapped.root.plain()))
        return found, [mistake.message for mistake in mapped.mistakes]
    except (ConfigError, ValueError):
        return None, []
