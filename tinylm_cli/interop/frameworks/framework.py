"""A framework whose config can be written, and whether it can express a model.

What a framework writes is read back as the model that it builds. Fields that read back differently are in the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinylm_cli.config.canonical import canonical_fields, without_named_kinds
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.export_config import brief, differing_fields
from tinylm_cli.wording import Setting, Text

_MAX_LISTED = 5

Document = dict[str, Any]
"""Names of a framework's config, and their values."""


class Framework(NamedTuple):
    """A framework.

    Attributes:
        title: Its name and version.
        model: Its class of language models.
        write: Returns the config of a model, with its name; parts that it cannot express are left out.
        read: Returns the fields of the model that the framework builds from a config.
        to_text: Formats a config as a file of the framework.
        unties: Whether the framework has no tied LM head, and stores a copy of the embedding instead.
        reorders_pairs: Returns whether RoPE rotates adjacent dimensions of a model: rows of Q and K are reordered.
    """

    title: str
    model: str
    write: Callable[[ModelConfig, str], Document]
    read: Callable[[Document], dict[str, Any]]
    to_text: Callable[[Document], str]
    unties: bool = False
    reorders_pairs: Callable[[ModelConfig], bool] = lambda _: False


class FrameworkConfig(NamedTuple):
    """The config of a framework.

    Attributes:
        config: The model that the framework builds.
        document: Its config.
        changes: Fields in which it differs from the exported model, with the same logits; empty if none do.
    """

    config: ModelConfig
    document: Document
    changes: tuple[str, ...]


def to_framework(config: ModelConfig, name: str, framework: Framework) -> FrameworkConfig:
    """Return the config of a framework that expresses a model.

    Args:
        config: The model.
        name: Its name.
        framework: The framework.

    Raises:
        UnableError: If it cannot express the model; names the fields in the way.
    """
    written = _written(config, name, framework)
    if isinstance(written, FrameworkConfig):
        return written
    listed = ", ".join(f"{field} {value}" for field, value in [*written.items()][:_MAX_LISTED])
    more = ", …" if len(written) > _MAX_LISTED else ""
    raise UnableError(
        f"{framework.title} cannot express this model: it does not support {listed}{more}",
        help=Text("change these fields with ", Setting("set"), ", if the model may change"),
    )


def blocking_fields(config: ModelConfig, framework: Framework) -> dict[str, str]:
    """Return the fields that a framework cannot express, each with its value; empty if it expresses the model."""
    written = _written(config, "", framework)
    return {} if isinstance(written, FrameworkConfig) else written


def _written(config: ModelConfig, name: str, framework: Framework) -> FrameworkConfig | dict[str, str]:
    flat = without_named_kinds(config) if config.layers.kinds else config
    if flat is None:
        return {"layers.kinds": brief(tuple(config.layers.kinds))}
    flat, changes = _equal_model(flat, framework)
    wanted = canonical_fields(flat)
    document = framework.write(flat, name)
    try:
        built = ModelConfig.model_validate(framework.read(document))
    except ValueError:  # of a model with other sizes than the framework can have
        return {"d_model": brief(flat.d_model)}
    differing = differing_fields(wanted, canonical_fields(built))
    if len(differing) > 1 and flat.position.local_theta is None:  # it follows from theta, the scaling and the window
        differing = [field for field in differing if field != "position.local_theta"]
    if differing:
        return {field: brief(wanted[field]) for field in differing}
    return FrameworkConfig(flat, document, changes)


def _equal_model(config: ModelConfig, framework: Framework) -> tuple[ModelConfig, tuple[str, ...]]:
    """Return a model with the same logits in the terms of frameworks, and the fields that differ."""
    update: dict[str, Any] = {}
    changes: list[str] = []
    if config.tie_weights and framework.unties:
        update["tie_weights"] = False
        changes.append("tie_weights: true → false")
    position = config.position
    if position.kind == "rope" and position.pairing == "half" and framework.reorders_pairs(config):
        update["position"] = position.model_copy(update={"pairing": "adjacent"})
        changes.append("position.pairing: half → adjacent")
    experts = config.feed_forward
    is_normalized = experts.router == "softmax" and experts.renormalize and not experts.score_correction
    if experts.n_experts is not None and is_normalized:  # equal to the softmax over the selected logits
        update["feed_forward"] = experts.model_copy(update={"router": "topk_softmax", "renormalize": False})
        changes.append("feed_forward.router: softmax → topk_softmax")
    return config.model_copy(update=update), tuple(changes)
