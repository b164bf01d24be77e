"""The Hugging Face model families that tinylm supports: one record each, loaded on demand.

Keys, their meanings and defaults follow the configuration and modeling files of transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.shared_keys import Keys
from tinylm_cli.interop.tensor_names import TensorNames
from tinylm_cli.interop.translation import Translation


@dataclass(frozen=True)
class Family:
    """Conversion between configs of one ``model_type`` and tinylm configs.

    Attributes:
        model_type: The family's name in config.json.
        architecture: Class name of the language model in ``architectures``.
        title: Its display name.
        keys: The schema of its config.json. A key annotated with ``fills`` is copied to a tinylm field.
        constants: tinylm fields with the same value in every model of the family.
        to_tinylm: Maps the keys whose meaning depends on other keys; takes the validated keys.
        from_tinylm: Returns the keys of config.json that ``fills`` does not cover; None if export is not supported.
        tensor_names: Its tensor names, or a function that returns them for a config.
        ignored: Keys without effect on the model, in addition to ``HARMLESS``.
        aliases: Alternative names of keys.
        language_model_key: Key of the object that holds the language model's keys in a multimodal config; else empty.
        ignored_outer_keys: Top-level keys of a multimodal config without effect on the language model.
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
    language_model_key: str = ""
    ignored_outer_keys: frozenset[str] = frozenset()

    def tensor_names_for(self, config: ModelConfig) -> TensorNames:
        """Return the names of a model's tensors."""
        return self.tensor_names if isinstance(self.tensor_names, TensorNames) else self.tensor_names(config)


_RECORDS = {
    "gpt2": "gpt.GPT2",
    "llama": "llama.LLAMA",
    "mistral": "llama.MISTRAL",
    "qwen2": "qwen.QWEN2",
    "qwen3": "qwen.QWEN3",
    "gemma": "gemma.GEMMA",
    "gemma2": "gemma.GEMMA2",
    "gemma3_text": "gemma.GEMMA3_TEXT",
    "gemma3": "gemma.GEMMA3",
    "mixtral": "llama.MIXTRAL",
    "qwen3_moe": "qwen.QWEN3_MOE",
    "olmo": "olmo.OLMO",
    "olmo2": "olmo.OLMO2",
    "olmoe": "olmo.OLMOE",
    "gpt_neox": "gpt.GPT_NEOX",
    "gptj": "gpt.GPTJ",
    "opt": "opt.OPT",
    "bloom": "bloom.BLOOM",
    "falcon": "falcon.FALCON",
    "phi": "phi.PHI",
    "phi3": "phi.PHI3",
    "starcoder2": "starcoder.STARCODER2",
    "stablelm": "stablelm.STABLELM",
    "deepseek_v2": "deepseek.DEEPSEEK_V2",
    "deepseek_v3": "deepseek.DEEPSEEK_V3",
    "gpt_oss": "gpt_oss.GPT_OSS",
}
"""Module and name of each family's record, in the order in which export tries them."""

MODEL_TYPES = tuple(_RECORDS)
"""The ``model_type`` of each family."""


@cache
def family_of(model_type: str) -> Family:
    """Return the family of a ``model_type`` in ``MODEL_TYPES``; imports only its file."""
    module, name = _RECORDS[model_type].split(".")
    family = getattr(import_module(f"{__name__}.{module}"), name)
    assert isinstance(family, Family)
    return family


def all_families() -> tuple[Family, ...]:
    """Return every family, in the order in which export tries them."""
    return tuple(map(family_of, MODEL_TYPES))
