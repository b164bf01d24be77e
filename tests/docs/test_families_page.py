"""docs/families.md: every causal language model of transformers is imported with equal parameter counts or rejected."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers.initialization import no_init_weights
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from tests.interop.empty_encoder import empty_encoder
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.family_lookup import ALIASES
from tinylm_cli.interop.load import import_config
from tinylm_cli.interop.unsupported_families import REASONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "families.md"

DECODER, MULTIMODAL, ENCODER, ENCODER_DECODER = "decoder", "multimodal", "encoder", "encoder-decoder"
OTHER = "other"
KINDS = {
    DECODER: "Decoder-only text models",
    MULTIMODAL: "Multimodal models, which contain a language model",
    ENCODER: "Encoders",
    ENCODER_DECODER: "Encoder-decoder models",
    OTHER: "Models that are not causal, or that read the states of another model",
}
OTHERS = frozenset(("cpmant", "gemma4_assistant", "gemma4_unified_assistant", "trocr", "xlnet"))
"""Families of the last kind; it cannot be derived from their configs."""
EXACT, REFUSED, WRONG = "exact", "refused", "wrong"

COMPLETED: dict[str, dict[str, Any]] = {
    "aya_vision": {
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 26,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 14,
            "vision_use_head": False,
        }
    },  # the default width is not divisible by the 14 heads
    "bert-generation": {"is_decoder": True},  # an encoder otherwise
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "emu3": {"vocabulary_map": {"<image>": 0}},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "glm4_moe": {"head_dim": 128},  # the default rotates 21 dimensions of a head, an odd number
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 48},
}
"""Keys that transformers needs to build or run a module, although they are absent or null in its default config."""

WITHOUT_ENCODER: dict[str, str] = {"gemma3n": "vision encoder, a MobileNet of timm"}
"""Encoders that transformers does not build itself; an empty module takes their place."""

HEAD = """# Families of transformers

Generated from transformers 5.24; `pytest --update-golden tests/docs/test_families_page.py` rewrites it.

tinylm reads the default config of each family with a causal language model, and of the multimodal families whose
language model it supports. The vision encoder and the projector of a multimodal model are counted apart if the
encoder is a plain vision transformer; otherwise, the row states how many parameters are not counted. A family is
*exact* if tinylm counts as many trainable parameters as transformers' module has, built on the meta device, and
*wrong* if the counts differ. tinylm has no tensors that a module allocates but never uses: their row states both
counts. For every supported family, `tests/interop/test_parity.py` also compares the logits. Some default configs
lack keys that their module needs; the [last section](#completed-default-configs) lists the values used here.
"""

COMPLETED_HEAD = """
## Completed default configs

With the default config alone, transformers' modules of these families do not build or run, or are not causal
(bert-generation). These keys were added:

| family | keys |
| --- | --- |
"""


class Row(NamedTuple):
    """One family.

    Attributes:
        model_type: Its name in config.json.
        kind: A key of ``KINDS``.
        result: ``exact``, ``refused`` or ``wrong``.
        detail: The parameters, the reason of the refusal, or the difference.
    """

    model_type: str
    kind: str
    result: str
    detail: str


def kind_of(config: Any) -> str:
    """Return the kind of a family's models."""
    if config.model_type in OTHERS:
        return OTHER
    if config.is_encoder_decoder:
        return ENCODER_DECODER
    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return ENCODER
    parts = " ".join(config.sub_configs)
    return MULTIMODAL if any(part in parts for part in ("text", "vision", "audio", "encoder")) else DECODER


def read_family(model_type: str, folder: Path) -> Row:
    """Read the family's default config with tinylm, and compare the parameters with transformers' module."""
    try:
        config = transformers.AutoConfig.for_model(model_type, **COMPLETED.get(model_type, {}))
    except StrictDataclassError:
        kind = OTHER if model_type in OTHERS else DECODER
        return Row(model_type, kind, REFUSED, REASONS.get(model_type, "not supported; its default config is invalid"))
    kind = kind_of(config)
    if kind in (ENCODER, ENCODER_DECODER):
        return Row(model_type, kind, REFUSED, f"an {kind}")
    family = FAMILIES.get(ALIASES.get(model_type, model_type))
    reason = REASONS.get(model_type) or REASONS.get(config.get_text_config(decoder=True).model_type)
    if family is None:
        return Row(model_type, kind, REFUSED, reason or "not supported")
    config.save_pretrained(folder)
    try:
        loaded = import_config(str(folder)).loaded
        counted = total_params(tensor_table(loaded.config))
    except ConfigError as error:
        return Row(model_type, kind, REFUSED, f"its default config: {error.diagnostics[0].message}")
    classes = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES | MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    module_class = getattr(transformers, classes[model_type])
    with torch.device("meta"), no_init_weights(), empty_encoder():
        module = module_class(config)
    module.tie_weights()
    others = family.keys.tensor_names.skipped_prefixes
    parameters = [
        (parameter.numel(), bool(others) and name.startswith(others))
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    ]
    expected = sum(size for size, is_other in parameters if not is_other)
    left = sum(size for size, is_other in parameters if is_other)
    vision = sum(loaded.other_params.values())
    unused = sum(math.prod(shape) for shape in family.keys.tensor_names.unused_tensors(loaded.config).values())
    if counted + unused != expected:
        return Row(model_type, kind, WRONG, f"{counted:,} parameters instead of {expected:,}")
    if vision not in (0, left):
        return Row(model_type, kind, WRONG, f"{vision:,} parameters beside the language model instead of {left:,}")
    parts = "vision encoder and projector, counted apart" if vision else "other parts are not counted"
    more = f"; {left:,} of its {parts}" if left else ""
    more += f"; transformers has {counted + unused:,}, {unused:,} of them never used" if unused else ""
    more += f", nor its {WITHOUT_ENCODER[model_type]}" if model_type in WITHOUT_ENCODER else ""
    return Row(model_type, kind, EXACT, f"{counted:,} parameters{more}")


def _keys(added: dict[str, Any]) -> str:
    """Return keys and values as code; a list that repeats a pair is shortened."""
    texts = []
    for key, value in added.items():
        repeats = len(value) // 2 if isinstance(value, list) else 1
        short = repeats > 1 and value == value[:2] * repeats
        texts.append(f"`{key}: {json.dumps(value[:2])} * {repeats}`" if short else f"`{key}: {json.dumps(value)}`")
    return ", ".join(texts)


def page(rows: Sequence[Row]) -> str:
    """Return docs/families.md."""
    lines = [
        HEAD,
        "| kind | families | exact | refused | wrong |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind, title in KINDS.items():
        counts = Counter(row.result for row in rows if row.kind == kind)
        lines.append(f"| {title} | {counts.total()} | {counts[EXACT]} | {counts[REFUSED]} | {counts[WRONG]} |")
    for kind, title in KINDS.items():
        lines += ["", f"## {title}", "", "| family | result | detail |", "| --- | --- | --- |"]
        lines += [f"| {row.model_type} | {row.result} | {row.detail} |" for row in rows if row.kind == kind]
    keys = [f"| {name} | {_keys(added)} |" for name, added in sorted(COMPLETED.items())]
    return "\n".join(lines) + "\n" + COMPLETED_HEAD + "\n".join(keys) + "\n"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("families")
    multimodal = {name for name, family in FAMILIES.items() if family.language_models}
    return [read_family(name, folder) for name in sorted({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *multimodal})]


def test_no_family_is_wrong(rows: list[Row]) -> None:
    assert [row for row in rows if row.result == WRONG] == []
    assert {row.model_type for row in rows if row.result == EXACT} >= COMPLETED.keys()


@pytest.mark.skipif(
    not transformers.__version__.startswith("5.24."), reason="the page lists transformers 5.24's families"
)
def test_families_page(rows: list[Row], golden: Callable[[Path, str], None]) -> None:
    golden(PAGE, page(rows))
