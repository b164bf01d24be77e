"""Families that are not supported: each has a reason, and the kinds of transformers' models agree with its tasks."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
import transformers
from transformers.models.auto import modeling_auto

from tests.interop.changes import Change
from tests.interop.family_errors import SUPPORTED, told
from tinylm_cli.cli.wording import worded
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.family_lookup import ALIASES
from tinylm_cli.interop.load import import_config, load_config
from tinylm_cli.interop.unsupported_families import (
    AUDIO,
    ENCODER_DECODERS,
    ENCODERS,
    KINDS,
    LANGUAGE_MODELS,
    MULTIMODAL,
    MULTIMODAL_ENCODERS,
    PARTS,
    REASONS,
    TIME_SERIES,
    TYPES,
    UNSUPPORTED,
    VISION,
)

IMAGES = {VISION, MULTIMODAL, MULTIMODAL_ENCODERS, PARTS}


KINDS_OF_TASKS = {
    "AUDIO_CLASSIFICATION": {AUDIO, ENCODER_DECODERS},
    "BACKBONE": {VISION, PARTS, MULTIMODAL_ENCODERS},
    "CTC": {AUDIO},
    "IMAGE_CLASSIFICATION": IMAGES,
    "IMAGE_TEXT_TO_TEXT": {MULTIMODAL, ENCODER_DECODERS, PARTS},
    "MASKED_LM": {ENCODERS, ENCODER_DECODERS, MULTIMODAL_ENCODERS},
    "MULTIMODAL_LM": {MULTIMODAL, ENCODER_DECODERS, PARTS},
    "OBJECT_DETECTION": {VISION},
    "SEMANTIC_SEGMENTATION": {VISION},
    "SEQ_TO_SEQ_CAUSAL_LM": {ENCODER_DECODERS, MULTIMODAL},
    "SPEECH_SEQ_2_SEQ": {ENCODER_DECODERS, MULTIMODAL, AUDIO},
    "TIME_SERIES_PREDICTION": {TIME_SERIES},
    "ZERO_SHOT_IMAGE_CLASSIFICATION": {MULTIMODAL_ENCODERS, MULTIMODAL},
}
"""The kinds that a model of a task of transformers may be."""


@pytest.mark.parametrize("task", KINDS_OF_TASKS)
def test_kinds_agree_with_tasks(task: str) -> None:
    found = {name: KINDS[name] for name in getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES") if name in KINDS}
    assert found
    assert {name: kind for name, kind in found.items() if kind not in KINDS_OF_TASKS[task]} == {}


def test_encoders_and_decoders() -> None:
    """transformers calls no encoder an encoder-decoder, and every encoder-decoder one."""
    names = [name for name, kind in KINDS.items() if kind in (ENCODERS, ENCODER_DECODERS)]
    assert {"bert", "led", "m2m_100", "speech-encoder-decoder"} < set(names)
    for name in names:
        config = transformers.CONFIG_MAPPING[name]
        is_encoder_decoder = config.is_encoder_decoder or config().is_encoder_decoder  # some need arguments
        assert is_encoder_decoder == (KINDS[name] == ENCODER_DECODERS), name


@pytest.mark.parametrize("name", ["chatglm", "qwen"])
def test_unsupported_family_without_a_reason(name: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llama", model_type=name))
    (found,) = raised.value.diagnostics
    assert (found.code, found.message) == ("unknown-family", f"the family {name} is not supported")
    assert worded(found.help) == SUPPORTED


@pytest.mark.parametrize(
    ("name", "reason"),
    [*REASONS.items(), ("led", ENCODER_DECODERS), ("funnel", ENCODERS), ("sam2", VISION), ("qwen3_vl_text", PARTS)],
)
def test_reason(name: str, reason: str) -> None:
    assert told(json.dumps({"model_type": name})).message == f"the family {name} is not supported: {reason}"


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_model_is_read_alone(name: str, tmp_path: Path) -> None:
    family = LANGUAGE_MODELS[name]
    found = told(json.dumps({"model_type": name}))
    assert found.message == f"the family {name} is not supported: its models are multimodal"
    assert (
        found.help == f"save text_config as a config.json to read the language model, by default of the family {family}"
    )
    path = tmp_path / "config.json"
    text = transformers.AutoConfig.for_model(name).text_config.to_dict()
    if family == "cohere_compass_text":  # the RoPE of its default config is empty
        text["rope_parameters"] = {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    path.write_text(json.dumps(text), encoding="utf-8")
    assert import_config(str(path)).family == family


def test_unread_language_models() -> None:
    unread = [name for name, kind in KINDS.items() if kind == MULTIMODAL and name not in LANGUAGE_MODELS]
    assert {"glm4v", "qwen3_vl_moe"} < set(unread)
    for name in unread:
        end = "its models are multimodal, and tinylm does not read their language model"
        assert told(json.dumps({"model_type": name})).message == f"the family {name} is not supported: {end}"
        with suppress(ValueError, KeyError):  # a name of classes without a config
            text = getattr(transformers.AutoConfig.for_model(name), "text_config", None)
            assert text is None or text.model_type not in FAMILIES, name


def test_listed_families() -> None:
    assert not UNSUPPORTED & FAMILIES.keys()
    page = (Path(__file__).resolve().parents[2] / "docs" / "architectures.md").read_text(encoding="utf-8")
    listed = re.search(r"the config\.json of these families: (.*?)\.\s", page, re.DOTALL)
    assert listed is not None
    assert re.split(r",\s+|\s+and\s+", listed[1]) == sorted(
        name for name, family in FAMILIES.items() if not family.keys.ignored_outer_keys
    )


@pytest.mark.skipif(not transformers.__version__.startswith("5.24."), reason="the kinds list transformers 5.24's types")
def test_every_type_of_transformers() -> None:
    """Every value of ``model_type`` that transformers maps to a class is supported, or refused with a reason."""
    mappings = [names for key, names in vars(modeling_auto).items() if key.endswith("_MAPPING_NAMES")]
    assert len(mappings) > 40
    refused = {*transformers.CONFIG_MAPPING, *(name for names in mappings for name in names)} - {*FAMILIES, *ALIASES}
    assert len(refused) > 600
    for name in refused:
        found = told(json.dumps({"model_type": name}))
        assert found.message.startswith(f"the family {name} is not supported: "), name
        assert found.help == SUPPORTED or name in LANGUAGE_MODELS, name


def test_each_type_has_one_reason() -> None:
    assert not KINDS.keys() & REASONS.keys()
    listed = [name for names in TYPES.values() for name in names.split()]
    assert len(listed) == len(set(listed))
