"""A tinylm config as the config.json of the family that expresses it."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from tinylm_cli.config.dump import scalar
from tinylm_cli.config.needs import applies
from tinylm_cli.config.schema import LABELS, ModelConfig, flatten
from tinylm_cli.config.source import Source
from tinylm_cli.errors import ConfigError, UnableError
from tinylm_cli.interop.document import read_json
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.family import Family
from tinylm_cli.interop.mapping import map_config
from tinylm_cli.interop.parts import ACTIVATIONS
from tinylm_cli.interop.writers import WRITERS

MOST_NAMED = 3


class Expressed(NamedTuple):
    """A model in the words of a family.

    Attributes:
        family: Its ``model_type``.
        document: The contents of config.json.
    """

    family: str
    document: dict[str, Any]


def express(config: ModelConfig) -> Expressed:
    """Return ``config`` in the first family that says exactly the same.

    What a family says is found out by reading it back: whatever would be lost or changed on the way out is a difference
    then.

    Raises:
        UnableError: If no family does; names the one that comes nearest, and what it cannot say.
    """
    wanted = meaning(config)
    by_type = {family.model_type: family for family in FAMILIES}
    nearest: tuple[str, list[str]] | None = None
    for model_type in WRITERS:
        document = hub_config(config, by_type[model_type])
        found = _read_back(document)
        if found is None:
            continue
        differences = [name for name in wanted if wanted[name] != found.get(name)]
        if not differences:
            return Expressed(model_type, document)
        if nearest is None or len(differences) < len(nearest[1]):
            nearest = (model_type, differences)
    assert nearest is not None, "every config differs from gpt2's in something"
    family, differences = nearest
    listed = ", ".join(f"{name} {brief(wanted[name])}" for name in differences[:MOST_NAMED])
    more = ", …" if len(differences) > MOST_NAMED else ""
    raise UnableError(
        f"no family of Hugging Face expresses this model; {family} comes nearest, and has no {listed}{more}",
        help="change what it has no word for with --set, if weights allow",
    )


def hub_config(config: ModelConfig, family: Family) -> dict[str, Any]:
    """Return the config.json of a model as one of ``family``, whether or not that says all of it."""
    values = meaning(config) | flatten(config.model_dump(include={"attention": {"d_head"}}))
    words = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    document: dict[str, Any] = {"architectures": [family.architecture], "model_type": family.model_type}
    document |= dict.fromkeys(
        ("bos_token_id", "eos_token_id", "pad_token_id")
    )  # the family's may not be in this vocabulary
    for key, (name, *_) in family.fields.items():
        value = values.get(name) if name != "attention.d_head" else config.d_head
        document[key] = words[str(value)] if name == "feed_forward.activation" else value
    return document | WRITERS[family.model_type](config)


def meaning(config: ModelConfig) -> dict[str, Any]:
    """Return what a config says, the same for all that describe one model: every field that applies, none left open."""
    values = flatten(config.model_dump())
    applying = {name: value for name, value in values.items() if applies(name, values)}
    feed_forward, attention = config.feed_forward, config.attention
    resolved = {
        "embedding.multiplier": math.sqrt(config.d_model)
        if config.embedding.multiplier is None
        else config.embedding.multiplier,
        "norm.bias": config.norm.has_bias,
        "attention.n_kv_heads": config.n_kv_heads,
        "attention.d_head": config.d_head,
        "attention.out_bias": attention.has_out_bias,
        "attention.scale": config.d_head**-0.5 if attention.scale is None else attention.scale,
        "feed_forward.d_expert": config.d_expert,
        "feed_forward.top_k": feed_forward.top_k,
        "position.local_theta": config.position.local_theta or config.position.theta,
    }
    kept = {name: resolved.get(name, value) for name, value in applying.items() if name not in LABELS}
    if attention.window is not None:
        kept["attention.window_pattern"] = tuple(config.window(layer) for layer in range(config.n_layers))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def brief(value: Any) -> str:
    """Return a value as a sentence can hold it: a number to six digits, a long list by its length."""
    if isinstance(value, float):
        return f"{value:g}"
    return f"of {len(value)} layers" if isinstance(value, list) else scalar(value)


def _read_back(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a config.json says; None where it contradicts itself."""
    source = Source("config.json", json.dumps(document))
    try:
        root = read_json(source).root
        assert root is not None
        mapped = map_config(root, source.name)
        return None if mapped.mistakes else meaning(ModelConfig.model_validate(mapped.root.plain()))
    except (ConfigError, ValueError):
        return None
