"""The families of Hugging Face models that tinylm reads and writes: one record each, loaded when it is needed.

Keys, their meanings and their defaults are those of transformers 5.24: the family's configuration and modeling files.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tinylm_cli.interop.family import Family

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
"""The module and the name of each family's record, in the order in which export tries them."""

MODEL_TYPES = tuple(_RECORDS)
"""The ``model_type`` of each family."""


@cache
def family_of(model_type: str) -> Family:
    """Return the family of a ``model_type`` in ``MODEL_TYPES``; imports its file alone."""
    module, name = _RECORDS[model_type].split(".")
    family = getattr(import_module(f"{__name__}.{module}"), name)
    assert isinstance(family, Family)
    return family


def all_families() -> tuple[Family, ...]:
    """Return every family, in the order in which export tries them."""
    return tuple(map(family_of, MODEL_TYPES))
