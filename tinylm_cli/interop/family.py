"""The record of a family of Hugging Face models: its keys, their tinylm fields both ways, and its tensor names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.shared_keys import Keys
from tinylm_cli.interop.tensor_names import TensorNames
from tinylm_cli.interop.translation import Translation


@dataclass(frozen=True)
class Family:
    """How the configs of one ``model_type`` become tinylm configs, and back.

    Attributes:
        model_type: The family's name in config.json.
        architecture: The class of its language models in ``architectures``.
        title: Its name for people.
        keys: The schema of its config.json. A key annotated with ``fills`` becomes a tinylm field as it is.
        constants: tinylm fields that are the same in every model of the family.
        to_tinylm: Maps the keys whose meaning depends on others; gets the validated keys.
        from_tinylm: Returns the keys of config.json that ``fills`` does not give; None for a family without export.
        tensor_names: Names of its tensors, or a function from a config to them.
        ignored: Keys of the family without effect on the model, beside ``HARMLESS``.
        aliases: Other spellings of keys.
        inside: The key of the object that holds the language model, where it is a part of a larger model.
        outside: Keys beside ``inside`` without effect on the language model.
    """

    model_type: str
    architecture: str
    title: str
    keys: type[Keys]
    constants: Mapping[str, Any]
    tensor_names: TensorNames | Callable[[ModelConfig], TensorNames]
    to_tinylm: Callable[[Any, Translation], None] = lambda keys, to: None  # noqa: ARG005
    from_tinylm: Callable[[ModelConfig], Mapping[str, Any]] | None = None
    ignored: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    inside: str = ""
    outside: frozenset[str] = frozenset()

    def tensor_names_for(self, config: ModelConfig) -> TensorNames:
        """Return the names of a model's tensors."""
        return self.tensor_names if isinstance(self.tensor_names, TensorNames) else self.tensor_names(config)
