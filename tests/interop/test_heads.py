"""Heads other than the LM head: the class that config.json names, and the outputs of that class of transformers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.interop.families import VOCAB, configs
from tests.small_models import assert_same_logits, randomize
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import ConfigError, UnableError
from tinylm_cli.interop.export_config import export_config
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.heads import CLASSIFIERS, class_name, class_names
from tinylm_cli.interop.load import ImportedConfig, import_config, load_config
from tinylm_cli.interop.weights.export_weights import export_model
from tinylm_cli.interop.weights.load_model import open_model
from tinylm_cli.model import TinyTransformerLM

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

LLAMA: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 500, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
PARITY = (
    *("bloom", "ctrl", "falcon", "gemma", "gemma2", "gpt2", "gpt_neox", "llama", "mistral", "modernbert-decoder"),
    *("qwen2", "qwen3"),
)


def read(tmp_path: Path, **keys: Any) -> ImportedConfig:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA | keys))
    return import_config(str(file))


def test_classes_are_those_of_transformers() -> None:
    from transformers.models.auto import modeling_auto as auto

    mappings = {
        "sequence_classification": auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        "token_classification": auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    }
    for kind, names in mappings.items():
        assert CLASSIFIERS[kind] == FAMILIES.keys() & names.keys()
        for model_type in CLASSIFIERS[kind]:
            assert class_name(FAMILIES[model_type], kind) == names[model_type]  # type: ignore[arg-type]
    for model_type, family in FAMILIES.items():
        theirs = auto.MODEL_MAPPING_NAMES.get(model_type)
        if theirs == family.architecture:  # of families without a model without a head
            assert class_name(family, "none") is None
        elif theirs not in (None, "LlamaModel"):  # of families that transformers reads as Llama
            assert class_name(family, "none") == theirs


@pytest.mark.parametrize(
    ("family", "name", "n_labels"),
    [
        (family, name, n_labels)
        for family in PARITY
        for n_labels, name in enumerate(class_names(FAMILIES[family])[1:], start=1)
    ],
)
def test_parity(family: str, name: str, n_labels: int, tmp_path: Path) -> None:
    """The counts and outputs of transformers, after import and after export."""
    folder = tmp_path
    keys = configs(family, n_labels)[-1] | {"pad_token_id": 0, "num_labels": n_labels}
    config = transformers.AutoConfig.for_model(family, **keys)
    config._attn_implementation = config._experts_implementation = "eager"
    theirs = getattr(transformers, name)(config).eval()
    randomize(theirs)
    theirs.save_pretrained(folder / "theirs")
    found = import_config(str(folder / "theirs"))
    ours = open_model(folder / "theirs").eval()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert "architectures" not in found.ignored
    tokens = torch.randint(1, VOCAB, (2, 9), generator=torch.Generator().manual_seed(1))  # no padding
    with torch.no_grad():
        out = theirs(tokens, use_cache=False) if "use_cache" in theirs.forward.__code__.co_varnames else theirs(tokens)
        expected = out.last_hidden_state if name.endswith("Model") else out.logits
        assert_same_logits(ours(tokens), expected)
        choice = export_config(found.loaded.config)
        assert choice.changes == ()
        export_model(ours, choice, folder / "out")
        again = open_model(folder / "out").eval()
        assert torch.equal(again(tokens), ours(tokens))
        assert canonical_fields(again.config) == canonical_fields(found.loaded.config)
        loaded, report = getattr(transformers, choice.document["architectures"][0]).from_pretrained(
            folder / "out", output_loading_info=True, attn_implementation="eager", pad_token_id=0
        )
        assert not any(report.values())
        back = loaded.eval()(tokens)
        assert_same_logits(back.last_hidden_state if name.endswith("Model") else back.logits, expected)


@pytest.mark.parametrize(
    ("keys", "kind", "n_labels", "bias"),
    [
        ({}, "lm", None, False),
        ({"architectures": []}, "lm", None, False),
        ({"architectures": ["LlamaForCausalLM"], "num_labels": 3}, "lm", None, False),
        ({"architectures": ["LlamaModel"]}, "none", None, False),
        ({"architectures": ["LlamaForSequenceClassification"]}, "sequence_classification", 2, False),
        ({"architectures": ["LlamaForSequenceClassification"], "num_labels": 1}, "sequence_classification", 1, False),
        (
            {"architectures": ["LlamaForTokenClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}},
            "token_classification", 3, True,
        ),
        (
            {"architectures": ["LlamaForTokenClassification"], "token_classification_bias": False},
            "token_classification", 2, False,
        ),
    ],
)  # fmt: skip
def test_head_of_a_class(tmp_path: Path, keys: dict[str, Any], kind: str, n_labels: int | None, bias: bool) -> None:
    found = read(tmp_path, tie_word_embeddings=True, **keys)
    head = found.loaded.config.head
    assert (head.kind, head.bias) == (kind, bias)
    assert head.n_labels == (n_labels or 2)
    assert found.loaded.config.tie_weights == (kind == "lm")
    assert ("tie_word_embeddings" in found.ignored) == (kind != "lm")
    assert ("num_labels" in found.ignored) == ("num_labels" in keys and kind == "lm")


@pytest.mark.parametrize(
    ("keys", "message", "help_"),
    [
        (
            {"architectures": ["LlamaForQuestionAnswering"]},
            'architectures "LlamaForQuestionAnswering" is not supported: llama has no such class in tinylm',
            "the classes of llama are LlamaForCausalLM, LlamaForSequenceClassification, LlamaForTokenClassification"
            ' and LlamaModel; ignore=["architectures"] reads it as LlamaForCausalLM',
        ),
        (
            {"model_type": "cohere", "architectures": ["CohereForSequenceClassification"]},
            'architectures "CohereForSequenceClassification" is not supported: cohere has no such class in tinylm',
            'the classes of cohere are CohereForCausalLM and CohereModel; ignore=["architectures"] reads it as'
            " CohereForCausalLM",
        ),
        (
            {"architectures": ["LlamaForTokenClassification"], "num_labels": 0},
            "num_labels must be an integer from 1 to 1,048,576, not 0",
            "for example num_labels: 2",
        ),
    ],
)
def test_errors(tmp_path: Path, keys: dict[str, Any], message: str, help_: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, **keys)
    assert [(each.message, each.help) for each in error.value.diagnostics] == [(message, help_)]


def test_overrides_of_the_head(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA | {"architectures": ["LlamaForQuestionAnswering"], "tie_word_embeddings": True}))
    assert load_config(str(file), ["head.kind=none"]).config.head.kind == "none"
    file.write_text(json.dumps(LLAMA | {"architectures": ["LlamaForSequenceClassification"], "num_labels": 7}))
    assert load_config(str(file), ["head.kind=lm"]).config.has_lm_head


def test_heads_without_a_class() -> None:
    """A sequence classifier's score has no bias; a token classifier's has a bias, which may be zero, as in GPT-2."""
    sizes = {"vocab_size": 29, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 20}
    config = ModelConfig.model_validate(sizes | {"head": {"kind": "sequence_classification", "bias": True}})
    with pytest.raises(UnableError, match=r"does not support head.bias true"):
        export_config(config)
    exported = export_config(ModelConfig.model_validate(sizes | {"head": {"kind": "token_classification"}}))
    assert exported.document["architectures"] == ["GPT2ForTokenClassification"]
    assert "head.bias: false → true" in exported.changes


def test_bias_of_an_equivalent_is_zero(tmp_path: Path) -> None:
    sizes = {"vocab_size": 29, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 20}
    config = ModelConfig.model_validate(sizes | {"head": {"kind": "token_classification", "n_labels": 3}})
    model = TinyTransformerLM.from_config(config).eval()
    export_model(model, export_config(config), tmp_path / "out")
    tokens = torch.arange(6)[None]
    with torch.no_grad():
        assert_same_logits(open_model(tmp_path / "out").eval()(tokens), model(tokens))


def test_two_numbers_of_labels(tmp_path: Path) -> None:
    """The number that counts is that of transformers; the other key is listed as ignored."""
    keys = {"num_labels": 3, "id2label": {"0": "a"}}
    found = read(tmp_path, architectures=["LlamaForTokenClassification"], **keys)
    assert found.loaded.config.head.n_labels == transformers.LlamaConfig(**keys).num_labels
    assert ("id2label" in found.ignored, "num_labels" in found.ignored) == (True, False)


@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        ("llama", "LlamaForRewardModel"),
        ("qwen2", "Qwen2ForProcessRewardModel"),
        ("llama", "LlamaValueHeadModel"),
        ("gpt2", "GPT2DoubleHeadsModel"),
        ("gpt2", "GPT2ForQuestionAnswering"),
        ("mistral", "MistralForSequenceEmbedding"),
    ],
)
def test_class_with_an_unknown_head(model_type: str, name: str, tmp_path: Path) -> None:
    """Such a class is named, not read as one without a head, although its name ends as that does."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, model_type=model_type, architectures=[name])
    (found,) = [each for each in raised.value.diagnostics if each.field == "architectures"]
    assert found.message.startswith(f'architectures "{name}" is not supported')
    assert 'ignore=["architectures"]' in found.help


@pytest.mark.parametrize("name", ["LlamaBiModel", "OwnEncoderModel", "LlamaModel"])
def test_class_of_an_embedding_model(name: str, tmp_path: Path) -> None:
    assert read(tmp_path, architectures=[name]).loaded.config.head.kind == "none"
