"""The family of a config.json, and unsupported families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.interop.changes import Change, errors_of
from tests.interop.family_errors import SUPPORTED, told
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.families import FAMILIES, Family
from tinylm_cli.interop.load import load_config


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


@pytest.mark.parametrize(
    "name",
    ["gemma3", "got_ocr2", "internvl", "llava", "llava_next", "mistral3", "moss_transcribe_diarize", "paligemma"],
)
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
    found = told(json.dumps(keys))
    assert found.message.startswith("unknown family ")
    assert found.help == (f"did you mean {meant}?" if meant else SUPPORTED)


def test_unsupported_architecture() -> None:
    found = told(json.dumps({"architectures": ["XLNetLMHeadModel"], "hidden_size": 8}))
    assert found.help == f"XLNetLMHeadModel is not part of a supported family; {SUPPORTED}"


@pytest.mark.parametrize(
    "keys",
    [{}, {"architectures": []}, {"architectures": None}, {"architectures": "LlamaForCausalLM"}, {"architectures": [3]}],
)
def test_no_architecture(keys: dict[str, Any]) -> None:
    found = told(json.dumps({"hidden_size": 8, **keys}))
    assert (found.code, found.message) == ("missing-key", "model_type is missing; it names the model family")
    assert found.help == f'add the family, such as "model_type": "llama"; {SUPPORTED}'


@pytest.mark.parametrize(
    ("sample", "model_type", "name"),
    [
        ("deepseek_v3", "some_k3", "DeepseekV3ForCausalLM"),
        ("llama", "Yi", "LlamaForCausalLM"),
        ("falcon", "RefinedWebModel", "FalconForCausalLM"),
        ("mpt", "my_pretrained_transformer", "MPTForCausalLM"),
        ("qwen3_moe", "coder_flash", "Qwen3MoeForCausalLM"),
    ],
)
def test_class_of_another_type(sample: str, model_type: str, name: str, changed: Change) -> None:
    """A publisher may give a type of its own to a model that is read by another family's class."""
    path = changed(sample, model_type=model_type, architectures=[name])
    assert load_config(path).config == load_config(changed(sample)).config


@pytest.mark.parametrize(
    ("model_type", "names"),
    [
        ("llama5", ["Llama5ForCausalLM"]),
        ("lama", ["LlamaForCausalLM"]),
        ("bert", ["LlamaForCausalLM"]),
        ("own", ["OwnForCausalLM", "LlamaForCausalLM"]),
        ("own", []),
        ("own", None),
        ("own", [3]),
    ],
)
def test_class_that_decides_nothing(model_type: str, names: Any, changed: Change) -> None:
    """A misspelled type is corrected, an encoder stays one, and only the first class counts."""
    found = errors_of(changed("llama", model_type=model_type, architectures=names))
    assert [code for code, _ in found] == ["unknown-family"]


@pytest.mark.parametrize(
    ("keys", "message", "remedy"),
    [
        (
            {"peft_type": "LORA", "base_model_name_or_path": "someone/some-7b", "r": 8},
            "this file describes an adapter, not a model",
            "tinylm params hf://someone/some-7b --lora config.json counts its parameters, with the config from the Hub",
        ),
        (
            {"peft_type": "LORA", "base_model_name_or_path": "./here"},
            "this file describes an adapter, not a model",
            "tinylm params BASE --lora config.json counts its parameters, where BASE is the config.json of ./here",
        ),
        ({"peft_type": "IA3"}, "this file describes an adapter, not a model", "name the config.json of its base model"),
        (
            {"metadata": {}, "weight_map": {}},
            "this file describes the index of weights files, not a model",
            "name the config.json beside it",
        ),
    ],
)
def test_other_files(keys: dict[str, Any], message: str, remedy: str) -> None:
    found = told(json.dumps(keys))
    assert (found.message, found.help) == (message, remedy)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model_type": "whisper"}, "the family whisper is not supported: its models have an encoder and a decoder"),
        (
            {"model_type": "own_speech", "encoder_layers": 2, "decoder_layers": 2},
            "unknown family own_speech: its models have an encoder and a decoder, by its keys",
        ),
        (
            {"model_type": "own_vision", "vision_config": {}},
            "unknown family own_vision: its models are multimodal, by its keys",
        ),
        ({"model_type": "own"}, "unknown family own"),
        ({"architectures": ["OwnForCausalLM"]}, "model_type is missing; it names the model family"),
        ({"n_layer": 2, "ssm_cfg": {}}, "model_type is missing; it names the model family"),
    ],
)
def test_d_model_of_another_library(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A foreign file with d_model is not taken for tinylm's own, which would lack d_ff."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"d_model": 64, "vocab_size": 500, **keys}), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(str(path))
    assert [each.message for each in raised.value.diagnostics] == [message]


@pytest.mark.parametrize("left_out", [(), ("d_ff",), ("d_ff", "n_heads")])
def test_d_model_of_tinylm(left_out: tuple[str, ...], tmp_path: Path) -> None:
    own = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8}
    path = tmp_path / "own.json"
    path.write_text(json.dumps({key: size for key, size in own.items() if key not in left_out}), encoding="utf-8")
    if left_out:
        with pytest.raises(ConfigError) as raised:
            load_config(str(path))
        assert {each.field for each in raised.value.diagnostics} == {*left_out}
    else:
        assert load_config(str(path)).config.d_ff == 8


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: str(family.model_type))
def test_architectures_of_families(family: Family) -> None:
    """The class of a family's language model leads to the first family with this class, and so does its base class."""
    name = family.architecture
    first = next(each for each in FAMILIES.values() if each.architecture == name)
    expected = f'{name} belongs to the family {first.model_type}: add "model_type": "{first.model_type}"'
    base = name.removesuffix("ForCausalLM").removesuffix("LMHeadModel") + "Model"
    for named in (name, base):
        found = told(json.dumps({"architectures": ["Other", named], "hidden_size": 8}))
        assert found.help == expected
