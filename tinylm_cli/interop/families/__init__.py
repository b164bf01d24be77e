"""The Hugging Face model families that tinylm supports: one record each, loaded on demand.

Keys, their meanings and defaults follow the configuration and modeling files of transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.shared_keys import Keys
from tinylm_cli.interop.tensor_names import TensorNames


@dataclass(frozen=True)
class Family:
    """Conversion between configs of one ``model_type`` and tinylm configs.

    Attributes:
        model_type: The family's name in config.json.
        architecture: Class name of the language model in ``architectures``.
        title: Its display name.
        keys: The schema of its config.json, with the conversion in both directions.
        constants: tinylm fields with the same value in every model of the family.
        tensor_names: Its tensor names, or a function that returns them for a config.
        ignored: Keys without effect on the model, in addition to ``HARMLESS``.
        aliases: Alternative names of keys.
        language_model_key: Key of the object that holds the language model's keys in a multimodal config; else empty.
            tinylm does not export multimodal configs.
        ignored_outer_keys: Top-level keys of a multimodal config without effect on the language model.
    """

    model_type: str
    architecture: str
    title: str
    keys: type[Keys]
    constants: Mapping[str, Any]
    tensor_names: TensorNames | Callable[[ModelConfig], TensorNames]
    ignored: Collection[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    language_model_key: str = ""
    ignored_outer_keys: Collection[str] = ()

    def tensor_names_for(self, config: ModelConfig) -> TensorNames:
        """Return the names of a model's tensors."""
        return self.tensor_names if isinstance(self.tensor_names, TensorNames) else self.tensor_names(config)


_FILES = {
    "gpt2": "gpt",
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen",
    "qwen3": "qwen",
    "gemma": "gemma",
    "gemma2": "gemma",
    "gemma3_text": "gemma",
    "gemma3": "gemma",
    "mixtral": "llama",
    "qwen3_moe": "qwen",
    "olmo": "olmo",
    "olmo2": "olmo",
    "olmoe": "olmo",
    "gpt_neox": "gpt",
    "gptj": "gpt",
    "opt": "opt",
    "bloom": "bloom",
    "falcon": "falcon",
    "phi": "phi",
    "phi3": "phi",
    "starcoder2": "starcoder",
    "stablelm": "stablelm",
    "deepseek_v2": "deepseek",
    "deepseek_v3": "deepseek",
    "gpt_oss": "gpt_oss",
}
"""File of each ``model_type``, whose record has its name in capitals, in the order in which export tries them."""

MODEL_TYPES = tuple(_FILES)
"""The ``model_type`` of each family."""


@cache
def family_of(model_type: str) -> Family:
    """Return the family of a ``model_type`` in ``MODEL_TYPES``; imports only its file."""
    family = getattr(import_module(f"{__name__}.{_FILES[model_type]}"), model_type.upper())
    assert isinstance(family, Family)
    return family


def all_families() -> tuple[Family, ...]:
    """Return every family, in the order in which export tries them."""
    return tuple(map(family_of, MODEL_TYPES))
