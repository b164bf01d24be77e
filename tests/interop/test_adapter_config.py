"""The keys of an adapter_config.json, and the errors in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.config.lora import LoraConfig
from tinylm_cli.config.source import MAX_JSON_BYTES, Source
from tinylm_cli.errors import ConfigError, Diagnostic, InputError
from tinylm_cli.interop import adapter_config
from tinylm_cli.interop.adapter_config import OTHER_KINDS, parse_adapter, read_adapter


def parsed(**keys: Any) -> LoraConfig:
    return parse_adapter(Source("adapter_config.json", json.dumps(keys, indent=1)))


def errors(**keys: Any) -> list[Diagnostic]:
    with pytest.raises(ConfigError) as raised:
        parsed(**keys)
    return list(raised.value.diagnostics)


def test_written_by_peft(tmp_path: Path) -> None:
    """Every key that peft writes is known, and the values come back."""
    import peft

    theirs = peft.LoraConfig(
        r=12,
        target_modules=["v_proj", "q_proj"],
        lora_alpha=32,
        lora_dropout=0.05,
        modules_to_save=["lm_head"],
        layers_to_transform=[1, 2],
        layers_pattern="layers",
        rank_pattern={"q_proj": 4},
        bias="lora_only",
        base_model_name_or_path="someone/some-7b",
    )
    theirs.save_pretrained(str(tmp_path))
    ours = read_adapter(str(tmp_path))
    assert ours == read_adapter(str(tmp_path / "adapter_config.json"))
    assert {each.text for each in ours.target_modules or ()} == {"q_proj", "v_proj"}
    assert [each.text for each in (*ours.modules_to_save, *ours.layers_pattern)] == ["lm_head", "layers"]
    assert [(name.text, rank) for name, rank in ours.rank_pattern] == [("q_proj", 4)]
    assert (ours.rank, ours.dropout, ours.bias, ours.layers_to_transform) == (12, 0.05, "lora_only", (1, 2))
    assert ours.base_model == "someone/some-7b"
    assert not ours.use_dora


def test_defaults() -> None:
    lora = parsed(target_modules=["q_proj"])
    assert (lora.rank, lora.dropout, lora.bias, lora.base_model) == (8, 0.0, "none", "")
    pattern = parsed(target_modules="ALL-LINEAR").target_pattern
    assert pattern is not None
    assert pattern.text == "all-linear"


@pytest.mark.parametrize("kind", ["IA3", "PREFIX_TUNING", "PROMPT_TUNING", "ADALORA", "SOMETHING"])
def test_other_kinds(kind: str) -> None:
    (found,) = errors(peft_type=kind, r="no matter")
    assert found.code == "unsupported-setting"
    assert found.message == f"this adapter is {OTHER_KINDS.get(kind, kind)}, which is not supported"


@pytest.mark.parametrize(
    ("keys", "code", "message"),
    [
        ({"r": 0}, "out-of-range", "r must be from 1 to 1,048,576, not 0"),
        ({"r": 1.5}, "wrong-type", "r must be an integer, not 1.5"),
        ({"r": True}, "wrong-type", "r must be an integer, not true"),
        ({"target_modules": [1]}, "wrong-type", "target_modules must be a list of names, not [1]"),
        ({"target_modules": 3}, "wrong-type", "target_modules must be a list of names, not 3"),
        ({"target_modules": "(a+)+"}, "unsupported-setting", "target_modules (a+)+ is not a regular expression"),
        ({"rank_pattern": [1]}, "wrong-type", "rank_pattern must be an object, not [1]"),
        ({"rank_pattern": {"q_proj": 0}}, "out-of-range", "rank_pattern.q_proj must be from 1"),
        ({"rank_pattern": {"(": 3}}, "unsupported-setting", "rank_pattern ( is not a regular expression"),
        ({"layers_to_transform": ["1"]}, "wrong-type", 'layers_to_transform must be a list of integers, not ["1"]'),
        ({"trainable_token_indices": 4}, "wrong-type", "trainable_token_indices must be a list of token ids"),
        ({"bias": "some"}, "unknown-choice", 'bias must be none, all or lora_only, not "some"'),
        ({"lora_dropout": "x"}, "wrong-type", 'lora_dropout must be a number, not "x"'),
        ({"lora_dropout": 1}, "out-of-range", "lora_dropout must be at least 0 and below 1, not 1"),
        ({"use_dora": 1}, "wrong-type", "use_dora must be true or false, not 1"),
        ({"layer_replication": [[0, 4]]}, "unsupported-setting", "layer_replication is a variant of LoRA"),
        ({"rank": 8}, "unknown-key", "unknown key rank of a LoRA adapter"),
    ],
)
def test_errors(keys: dict[str, Any], code: str, message: str) -> None:
    (found,) = errors(**{"target_modules": ["q_proj"], **keys})
    assert found.code == code
    assert found.message.startswith(message)
    assert found.span is not None
    assert found.help


def test_missing_targets() -> None:
    (found,) = errors(r=8)
    assert (found.code, found.message) == ("missing-key", "target_modules is missing")
    assert parsed(target_parameters=["mlp.experts.down_proj"]).target_modules is None
    assert parsed(target_modules=["q_proj"], future_key=None, another={}).rank == 8


def test_all_at_once() -> None:
    assert [each.field for each in errors(target_modules="x", r=0, lora_dropout=2, bias="x", rnk=1)] == [
        "r",
        "lora_dropout",
        "bias",
        "rnk",
    ]


def test_documents() -> None:
    for text, code in (("[]", "not-a-mapping"), ("{", "json-syntax"), ("", "empty-document")):
        with pytest.raises(ConfigError) as raised:
            parse_adapter(Source("adapter_config.json", text))
        assert raised.value.diagnostics[0].code == code


def test_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = tmp_path / "adapter_config.json"
    large.write_text('{"r": 8, "pad": "' + "x" * MAX_JSON_BYTES + '"}', encoding="utf-8")
    with pytest.raises(InputError, match="larger than 8 MiB"):
        read_adapter(str(tmp_path))
    monkeypatch.setattr(adapter_config, "MAX_NAMES", 2)
    (found,) = errors(target_modules=["a", "b", "c"])
    assert found.message == "target_modules has 3 names; the maximum is 2"
