"""The family of a config.json, and the families that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from tests.interop.changes import Change, errors_of
from tinylm_cli.cli.wording import worded
from tinylm_cli.config.source import Source
from tinylm_cli.errors import ConfigError, Diagnostic
from tinylm_cli.interop.config_json import read_json
from tinylm_cli.interop.families import FAMILIES, Family
from tinylm_cli.interop.family_lookup import ALIASES, ENCODER_DECODERS, ENCODERS, REASONS, UNSUPPORTED
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.to_tinylm import map_config

SUPPORTED = "tinylm list --families shows the supported families"


def test_unknown_family(changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llama", model_type="lama"))
    (found,) = raised.value.diagnostics
    assert found.code == "unknown-family"
    assert found.help == "did you mean llama?"
    assert errors_of(changed("llama", model_type=3))[0][0] == "wrong-type"


@pytest.mark.parametrize(("alias", "family"), [("gpt-sw3", "gpt2"), ("kimi_k2", "deepseek_v3")])
def test_alias(alias: str, family: str, changed: Change) -> None:
    assert load_config(changed(family, model_type=alias)).config == load_config(changed(family)).config


@pytest.mark.parametrize("name", ["gemma3", "got_ocr2", "llava", "mistral3", "moss_transcribe_diarize"])
@pytest.mark.parametrize("outer", [{}, {"text_config": {}}])
def test_default_language_model(name: str, outer: dict[str, Any], tmp_path: Path) -> None:
    """Some families have other defaults without ``text_config`` than its ``model_type`` has."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": name, **outer}), encoding="utf-8")
    found = load_config(str(path)).config
    theirs = transformers.AutoConfig.for_model(name, **outer).get_text_config()
    expected = (theirs.vocab_size, theirs.hidden_size, theirs.num_hidden_layers, theirs.intermediate_size)
    assert (found.vocab_size, found.d_model, found.n_layers, found.d_ff) == expected


def test_missing_family(changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("mixtral", model_type=...))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field) == ("missing-key", "model_type")
    assert found.help == 'MixtralForCausalLM belongs to the family mixtral: add "model_type": "mixtral"'


def test_encoders_and_decoders() -> None:
    """The kinds of unsupported families agree with transformers."""
    assert ENCODERS | ENCODER_DECODERS < UNSUPPORTED
    kinds = dict.fromkeys(ENCODERS, " encoders") | dict.fromkeys(ENCODER_DECODERS, "an encoder and a decoder")
    for name, kind in kinds.items():
        assert _told(json.dumps({"model_type": name})).message.endswith(kind)
        assert transformers.AutoConfig.for_model(name).is_encoder_decoder == (name in ENCODER_DECODERS)
        assert name in ENCODER_DECODERS or name in MODEL_FOR_MASKED_LM_MAPPING_NAMES


@pytest.mark.parametrize(
    "name",
    [
        "qwen4_exp",
        "kimi_k25",
        "chatglm",
        "qwen",
    ],
)
def test_unsupported_family_without_a_reason(name: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("llama", model_type=name))
    (found,) = raised.value.diagnostics
    assert (found.code, found.message) == ("unknown-family", f"the family {name} is not supported")
    assert worded(found.help) == SUPPORTED


@pytest.mark.parametrize("name", REASONS)
def test_reason(name: str) -> None:
    assert name in UNSUPPORTED
    assert _told(json.dumps({"model_type": name})).message == f"the family {name} is not supported: {REASONS[name]}"


def test_listed_families() -> None:
    assert not UNSUPPORTED & FAMILIES.keys()
    page = (Path(__file__).resolve().parents[2] / "docs" / "architectures.md").read_text(encoding="utf-8")
    listed = re.search(r"the config\.json of these families: (.*?)\.\s", page, re.DOTALL)
    assert listed is not None
    assert re.split(r",\s+|\s+and\s+", listed[1]) == sorted(
        name for name, family in FAMILIES.items() if not family.keys.ignored_outer_keys
    )


def test_every_family_of_transformers() -> None:
    known = set(transformers.CONFIG_MAPPING.keys()) - set(FAMILIES) - set(ALIASES)
    assert len(known) > 100
    for name in known:
        found = _told(json.dumps({"model_type": name}))
        assert not found.help.startswith("did you mean"), name
        assert "famil" in found.message


@pytest.mark.parametrize(
    ("keys", "meant"),
    [
        ({"model_type": "lama"}, "llama"),
        ({"model_type": "qwen-3"}, "qwen3"),
        ({"model_type": "gtp2"}, "gpt2"),
        ({"model_type": "llama5"}, None),
        ({"model_type": "mistrel", "vision_config": {}}, None),
        ({"model_type": "gemma-3", "vision_config": {}, "text_config": {}}, "gemma3"),
        ({"model_type": "falcon_", "mamba_d_state": 256}, None),
    ],
)
def test_misspelled_family(keys: dict[str, Any], meant: str | None) -> None:
    """Another number is another family, and so are keys that the family has not."""
    found = _told(json.dumps(keys))
    assert found.message.startswith("unknown family ")
    assert found.help == (f"did you mean {meant}?" if meant else SUPPORTED)


def test_unsupported_architecture() -> None:
    found = _told(json.dumps({"architectures": ["XLNetLMHeadModel"], "hidden_size": 8}))
    assert found.help == f"XLNetLMHeadModel is not part of a supported family; {SUPPORTED}"


@pytest.mark.parametrize(
    "keys",
    [{}, {"architectures": []}, {"architectures": None}, {"architectures": "LlamaForCausalLM"}, {"architectures": [3]}],
)
def test_no_architecture(keys: dict[str, Any]) -> None:
    found = _told(json.dumps({"hidden_size": 8, **keys}))
    assert (found.code, found.message) == ("missing-key", "model_type is missing; it names the model family")
    assert found.help == f'add "model_type": "llama", or another family; {SUPPORTED}'


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: str(family.model_type))
def test_architectures_of_families(family: Family) -> None:
    """The class of a family's language model leads to the first family with this class, and so does its base class."""
    name = family.architecture
    first = next(each for each in FAMILIES.values() if each.architecture == name)
    expected = f'{name} belongs to the family {first.model_type}: add "model_type": "{first.model_type}"'
    base = name.removesuffix("ForCausalLM").removesuffix("LMHeadModel") + "Model"
    for named in (name, base):
        found = _told(json.dumps({"architectures": ["Other", named], "hidden_size": 8}))
        assert found.help == expected


def _told(text: str) -> Diagnostic:
    root = read_json(Source("config.json", text)).root
    assert root is not None
    (found,) = map_config(root, "config.json").errors
    return worded(found)
