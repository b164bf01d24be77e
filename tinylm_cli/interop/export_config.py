"""Convert a tinylm config to the config.json of a Hugging Face family that expresses it or an equivalent model."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.dependencies import defaults
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.layers import Layers
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.config.source import MAX_JSON_BYTES
from tinylm_cli.config.yaml_nodes import Node
from tinylm_cli.config.yaml_scalar import short_scalar
from tinylm_cli.errors import ConfigError, OutputError, Span, UnableError
from tinylm_cli.interop import CONFIG_FILE
from tinylm_cli.interop.config_json import data_to_node, is_readable
from tinylm_cli.interop.families import FAMILIES, Family
from tinylm_cli.interop.heads import class_name, head_keys
from tinylm_cli.interop.key_validation import EXPORTED_BY
from tinylm_cli.interop.load import SAVED_WEIGHTS
from tinylm_cli.interop.shared_keys import ACTIVATIONS, Keys, activation_name, filled_fields
from tinylm_cli.interop.to_tinylm import Mapped, map_config
from tinylm_cli.regular_file import read_regular
from tinylm_cli.wording import Setting, Text

EXPORT_MARKER = {EXPORTED_BY: "tinylm"}
"""Added to each exported config.json; a folder whose config.json lacks it is never replaced."""

FILES = (SAVED_WEIGHTS, CONFIG_FILE)
"""The files of an exported folder."""

KINDS = ("block.mixer", "attention.kind", "feed_forward.n_experts", "feed_forward.router", "position.kind")
"""Fields that distinguish families most, in order of importance, for choosing the nearest family."""

KINDS_OF_LAYERS, ORDER = "layers.kinds", "layers.pattern"
WINDOW, PATTERN = "attention.window", "attention.window_pattern"

_MAX_LISTED = 3
_ROUNDING = 4 * sys.float_info.epsilon


class ExportedConfig(NamedTuple):
    """The config.json of an exported model."""

    config: ModelConfig  # The model's config, or the config of an equivalent model.
    family: str  # The ``model_type`` that expresses it.
    document: dict[str, Any]  # The contents of config.json.
    # Fields in which an equivalent differs, e.g. ``position.kind: sinusoidal → learned``; empty if none.
    changes: tuple[str, ...] = ()


MAX_LISTED_LAYERS = 10_000
"""Layers of several kinds that are written as the config.json of each family in turn, which takes about a second."""


def require_exported(directory: Path) -> None:
    """Raise if ``directory`` holds a model that tinylm did not export.

    Raises:
        OutputError: If its config.json lacks ``EXPORT_MARKER``.
    """
    try:
        document = json.loads(read_regular(directory / CONFIG_FILE, MAX_JSON_BYTES))
    except (FileNotFoundError, NotADirectoryError):  # write_folder reports it
        return
    except (OSError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not EXPORT_MARKER.items() <= document.items():
        raise OutputError(f"{directory} contains a model that tinylm did not export", help="name another folder")


def export_config(config: ModelConfig) -> ExportedConfig:
    """Return the config.json of the model, or of the equivalent with the fewest changes that a family can express.

    Raises:
        UnableError: If no family expresses either; names the fields that the nearest family lacks.
    """
    fields = canonical_fields(config)
    for candidate in (config, *_equivalents(config)):
        exported = _express(candidate)
        if exported is None:
            last = candidate  # the last candidate lacks the least
            continue
        changed = {
            name: value for name, value in canonical_fields(candidate).items() if value != fields.get(name, value)
        }
        changes = tuple(f"{name}: {brief(fields[name])} → {brief(value)}" for name, value in changed.items())
        return exported._replace(changes=changes)
    raise _inexpressible(last)


def express(config: ModelConfig) -> ExportedConfig:
    """Return the config.json of the model in the first family that expresses it exactly.

    Each family's config.json is written and read back: the family cannot express a field that reads back differently.

    Raises:
        UnableError: If none does; names the nearest family and the fields it cannot express.
    """
    exported = _express(config)
    if exported is None:
        raise _inexpressible(config)
    return exported


def _express(config: ModelConfig) -> ExportedConfig | None:
    """Return the config.json of the model in the first family that expresses it exactly, or None."""
    return next(all_exact(config), None)


def all_exact(config: ModelConfig) -> Iterator[ExportedConfig]:
    """Yield the config.json of the model in each family that expresses it exactly."""
    wanted, values = canonical_fields(config), _values_to_write(config)
    for family in _exported_families(config):
        if constants_differ(wanted, family):
            continue
        document = _document(config, values, family)
        mapped = _map(document)
        if mapped is None or mapped.errors or _switches_differ(wanted, mapped.root):
            continue
        fields_read_back = _validated_fields(mapped)
        if fields_read_back is not None and not differing_fields(wanted, fields_read_back):
            yield ExportedConfig(config, family.model_type, document)


def all_exports(config: ModelConfig) -> Iterator[ExportedConfig]:
    """Yield the config.json of the model in each family that expresses it; if none does, of its equivalents.

    Raises:
        UnableError: As :func:`export_config`.
    """
    exported = export_config(config)
    for each in all_exact(exported.config):
        yield each._replace(changes=exported.changes)


def nearest_family(config: ModelConfig) -> Nearest:
    """Return the family that lacks the least of a model that no family expresses, nor an equivalent."""
    return _nearest([config, *_equivalents(config)][-1])


def _inexpressible(config: ModelConfig) -> UnableError:
    """Return the error that names the nearest family of a model that none expresses."""
    nearest = _nearest(config)
    return UnableError(
        f"no Hugging Face family can express this model: the nearest, {nearest.family}, {nearest.lacks()}",
        help=Text("change these fields with ", Setting("set"), ", if the model may change"),
    )


def _nearest(config: ModelConfig) -> Nearest:
    wanted, values = canonical_fields(config), _values_to_write(config)
    nearest: Nearest | None = None
    for family in _exported_families(config):
        mapped = _map(_document(config, values, family))
        fields_read_back = None if mapped is None else _validated_fields(mapped)
        if mapped is None or fields_read_back is None:
            continue
        differences = sorted(differing_fields(wanted, fields_read_back), key=_by_importance)
        candidate = Nearest(config, family.model_type, differences, [error.message for error in mapped.errors])
        if nearest is None or candidate.distance < nearest.distance:
            nearest = candidate
    assert nearest is not None, "gpt2 can write every config, with differences"
    return nearest


def _exported_families(config: ModelConfig) -> Iterator[Family]:
    """Yield the families of language models alone that have a class with the head of the model.

    Raises:
        UnableError: If the model has too many layers of several kinds, which each config.json would list one by one.
    """
    if config.n_layers > MAX_LISTED_LAYERS and len(layer_pattern(config).kinds) > 1:
        message = f"{config.n_layers:,} layers of several kinds are too many to write as a config.json"
        raise UnableError(message, help=f"at most {MAX_LISTED_LAYERS:,}, because it lists each layer")
    for family in FAMILIES.values():
        if not family.keys.ignored_outer_keys and class_name(family, config.head.kind) is not None:
            yield family


def constants_differ(wanted: Mapping[str, Any], family: Family) -> bool:
    """Return whether a constant of a family rules out the model with these canonical fields.

    Only switches and kinds are compared. A key may set a constant to another value, copied or, for positions, derived:
    families with RoPE can omit it in all layers, and some choose its pairing. Only an LM head has the constant bias.
    """
    return any(
        wanted.get(name, value) not in (value, alternative) for name, value, alternative in _constants(family.keys)
    )


@cache
def _constants(keys: type[Keys]) -> list[tuple[str, bool | str, bool | str]]:
    """Return the switches and kinds that no key of a family sets: name, value, and another value that it can have."""
    filled = {field for key in keys.model_fields for field in filled_fields(keys, key)}
    return [
        (name, value, "none" if name == "position.kind" else value)
        for name, value in keys.constants.items()
        if isinstance(value, bool | str) and name not in filled and name not in ("position.pairing", "head.bias")
    ]


def _switches_differ(wanted: Mapping[str, Any], root: Node) -> bool:
    """Return whether a switch or kind that a config.json sets for all layers differs from the model's.

    Other values are compared only in their canonical form, which takes longer to compute.
    """
    fields = flatten(root.plain())
    return not fields.get("layers.kinds") and any(
        isinstance(value, bool | str) and name != PATTERN and wanted.get(name, value) != value
        for name, value in fields.items()
    )


def _equivalents(config: ModelConfig) -> Iterator[ModelConfig]:
    """Yield configs of other models with the same logits, with the fewest changes first.

    The embedding multiplier is folded into the embedding table, which then cannot be tied to the LM head. Sinusoids
    become learned positions. Absent positions and biases become learned ones with the value zero.
    """
    values = config.model_dump(exclude_unset=True)
    unscaled: dict[str, Any] = {"embedding": {**values.get("embedding", {}), "multiplier": 1.0}}
    if config.embedding.multiplier != 1:
        unscaled["tie_weights"] = False
        yield ModelConfig.model_validate(values | unscaled)
    kinds = layer_pattern(config).kinds
    adds_positions = all(kind.block.mixer == "attention" and kind.attention.kind != "latent" for kind in kinds)
    if config.position.kind in ("sinusoidal", "learned", "none") and not config.embedding.norm and adds_positions:
        learned: dict[str, Any] = {
            "position": {"kind": "learned"},
            "attention": {**values.get("attention", {}), "bias": True, "out_bias": None},
            "feed_forward": {**values.get("feed_forward", {}), "bias": True},
        }
        if config.head.kind == "token_classification":
            learned["head"] = {**values["head"], "bias": True}
        equivalent = ModelConfig.model_validate(values | unscaled | learned)
        if equivalent != config:
            yield equivalent


class Nearest(NamedTuple):
    """The family that lacks the least of a model that none expresses."""

    config: ModelConfig  # The model, or an equivalent.
    family: str  # Its ``model_type``.
    differences: list[str]  # Fields that read back differently, in order of importance.
    unsupported: list[str]  # Messages about values that read back as unsupported.

    @property
    def distance(self) -> tuple[bool | int, ...]:
        """Distance from the model: a different kind of attention, router or position outweighs all other fields."""
        kinds = (kind in self.differences for kind in KINDS)
        return (*kinds, len(self.differences) + len(self.unsupported))

    def unsupported_values(self) -> dict[str, str]:
        """Return the fields that the family cannot express, each with its value as a message shows it."""
        config = self.config
        values = canonical_fields(config) | {PATTERN: config.attention.window_pattern}
        if KINDS_OF_LAYERS in values:
            values |= {
                KINDS_OF_LAYERS: tuple(layer_pattern(config).names),
                ORDER: config.layers.pattern or "of its own",
            }
        fields = dict.fromkeys(_field_to_name(field, config) for field in self.differences)
        return {field: brief(values[field]) for field in fields}

    def lacks(self) -> str:
        """Return a clause that lists the fields that the family cannot express."""
        values = self.unsupported_values()
        listed = ", ".join(f"{field} {value}" for field, value in [*values.items()][:_MAX_LISTED])
        more = ", …" if len(values) > _MAX_LISTED else ""
        return f"does not support {listed}{more}" if values else f"reports: {self.unsupported[0]}"


def _field_to_name(field: str, config: ModelConfig) -> str:
    """Return the field to name in a message: a window in every layer is named by its size, not its pattern."""
    everywhere = config.attention.window_pattern == defaults()[PATTERN]
    return WINDOW if field == PATTERN and everywhere else field


def _by_importance(field: str) -> int:
    return KINDS.index(field) if field in KINDS else len(KINDS)


def to_config_json(config: ModelConfig, family: Family) -> dict[str, Any]:
    """Return the config.json of a model in ``family``, even if the family cannot express all of it."""
    return _document(config, _values_to_write(config), family)


def _values_to_write(config: ModelConfig) -> dict[str, Any]:
    """Return the values of the fields that keys are copied from, by dotted name."""
    common = config.model_copy(update={"layers": Layers()})  # what kinds of layers do not override
    values = canonical_fields(common) | {"attention.d_head": config.d_head}
    # fields without effect in a model without an LM head, whose keys may not be null
    values |= {"tie_weights": config.tie_weights, "head.logit_scale": config.head.logit_scale}
    for kind in layer_pattern(config).kinds if config.layers.kinds else ():
        for name, value in canonical_fields(kind).items():
            values.setdefault(name, value)
    return values


def _document(config: ModelConfig, values: Mapping[str, Any], family: Family) -> dict[str, Any]:
    document: dict[str, Any] = {**head_keys(config, family), "model_type": family.model_type}
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    document |= dict.fromkeys(tokens)  # the family's default ids may exceed this vocabulary
    keys = family.keys
    for key, info in keys.model_fields.items():
        for name in filled_fields(keys, key)[:1]:
            value = values.get(name)
            # the family's own name of the function, if there are several
            if name == "feed_forward.activation" and value is not None:
                value = info.default if ACTIVATIONS.get(info.default) == value else activation_name(value)
            document[key] = value
    return document | keys.from_tinylm(config)


def brief(value: Any) -> str:
    """Format a value for a message: six significant digits, and only the ends of a long list."""
    return f"{value:g}" if isinstance(value, float) else short_scalar(value)


def _equal(wanted: Any, actual: Any) -> bool:
    """Return whether two values are equal, up to rounding where a family stores a number derived from another."""
    if isinstance(wanted, float) and isinstance(actual, float):
        return math.isclose(wanted, actual, rel_tol=_ROUNDING, abs_tol=0.0)
    return bool(wanted == actual)


def _map(document: dict[str, Any]) -> Mapped | None:
    """Return a config.json translated to a tinylm config; None if it has too many values or an invalid one."""
    if not is_readable(document):
        return None
    try:
        return map_config(data_to_node(document, Span(CONFIG_FILE, 1, 1, 2, "")), CONFIG_FILE)
    except (ConfigError, ValueError):
        return None


def _validated_fields(mapped: Mapped) -> dict[str, Any] | None:
    """Return the canonical fields of a translated config.json; None if they are invalid."""
    try:
        return canonical_fields(ModelConfig.model_validate(mapped.root.plain()))
    except ValueError:
        return None


def differing_fields(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Return the canonical fields of a model whose values another model does not have."""
    # a field without effect in the other model has its default there
    return [field for field in wanted if not _equal(wanted[field], actual.get(field, defaults().get(field)))]
