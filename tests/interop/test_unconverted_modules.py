"""Modules that are not quantized, against the modules that transformers converts and against patterns by hand."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.interop.changes import CONFIGS
from tinylm_cli.analysis.stored_tensors import stored_bytes
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.storage import HEAD_MODULES
from tinylm_cli.interop.load import load_config

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

SIZES = {"num_hidden_layers": 3, "hidden_size": 192, "intermediate_size": 300, "vocab_size": 320}
HEADS = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128}


def _load(folder: Path, family: str, quantization: dict[str, Any], **changes: Any) -> LoadedConfig:
    document = json.loads((CONFIGS / f"{family}.json").read_text(encoding="utf-8"))
    document |= changes | {"quantization_config": quantization, "dtype": "bfloat16"}
    document.pop("torch_dtype", None)
    path = folder / "config.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return load_config(str(path))


def _transformers_bytes(folder: Path, **fields: Any) -> int:
    """Return the bytes of the parameters that transformers creates for a quantized checkpoint."""
    from transformers.integrations.finegrained_fp8 import replace_with_fp8_linear
    from transformers.quantizers.base import HfQuantizer

    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    quantization = transformers.FineGrainedFP8Config(**fields)
    skipped = HfQuantizer.get_modules_to_not_convert(
        model, quantization.modules_to_not_convert, model._keep_in_fp32_modules
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # of biases
    try:
        replace_with_fp8_linear(model, skipped, quantization, pre_quantized=True)
    finally:
        torch.set_default_dtype(default)
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"weight_block_size": None},
        {"weight_block_size": None, "activation_scheme": "static"},
        {"weight_block_size": [1, 32], "scale_fmt": "ue8m0"},
        {"weight_block_size": [64, 64], "modules_to_not_convert": ["lm_head"]},
        {"modules_to_not_convert": ["model.layers.1", "lm_head"]},
        {"modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]},
        {"modules_to_not_convert": ["q_proj", "model.layers.2.mlp.up_proj", "lm_head"]},
        {"modules_to_not_convert": ["mlp.up_pro", "layers.0", r"model\.layers\.(0|2)\.mlp", "head"]},
    ],
)
def test_bytes_of_llama(tmp_path: Path, fields: dict[str, Any], tied: bool) -> None:
    loaded = _load(tmp_path, "llama", {"quant_method": "fp8", **fields}, **SIZES, **HEADS, tie_word_embeddings=tied)
    assert loaded.unread_storage == ()
    assert stored_bytes(tensor_table(loaded.config), loaded.config.storage) == _transformers_bytes(tmp_path, **fields)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("qwen2", {}),
        ("qwen3", {}),
        ("qwen3_moe", EXPERTS),
        ("mixtral", {"num_local_experts": 4, "intermediate_size": 256}),
        ("gemma2", {}),
    ],
)
def test_bytes_of_families(tmp_path: Path, family: str, changes: dict[str, Any]) -> None:
    loaded = _load(tmp_path, family, {"quant_method": "fp8"}, **{**SIZES, **HEADS, **changes}, layer_types=None)
    assert stored_bytes(tensor_table(loaded.config), loaded.config.storage) == _transformers_bytes(tmp_path)


def _names(loaded: LoadedConfig) -> list[str]:
    return list(loaded.config.storage.modules_to_not_convert)


def _compressed(ignored: list[str], *targets: str) -> dict[str, Any]:
    weights = {"num_bits": 8, "type": "float", "strategy": "channel"}
    groups = {"group_0": {"targets": targets or ["Linear"], "weights": weights}}
    return {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ignored}


@pytest.mark.parametrize(
    ("quantization", "names"),
    [
        (_compressed([]), []),
        (_compressed(["lm_head"]), [*HEAD_MODULES]),
        (_compressed(["model.layers.0.mlp.down_proj"]), ["blocks.0.feed_forward.down_proj"]),
        (_compressed(["down_proj"]), []),
        (_compressed([r"re:.*down_proj$"]), ["blocks.*.feed_forward.down_proj"]),
        (_compressed([r"re:model\.layers\.\d+\.self_attn.*", "lm_head"]), [*HEAD_MODULES, "blocks.*.attention"]),
        (_compressed([], "re:.*self_attn.*"), [*HEAD_MODULES, "blocks.*.feed_forward"]),
        ({"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["*self_attn*"]}, ["blocks.*.attention"]),
        ({"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["model.layers.2"]}, ["blocks.2"]),
        (
            {"quant_method": "awq", "modules_to_not_convert": ["model.layers.1", "o_proj"], "group_size": 64},
            [
                *HEAD_MODULES,
                *(f"blocks.1.attention.{each}_proj" for each in "qkv"),
                *("blocks.*.attention.o_proj", "blocks.1.feed_forward"),
            ],
        ),
    ],
)
def test_names(tmp_path: Path, quantization: dict[str, Any], names: list[str]) -> None:
    loaded = _load(tmp_path, "llama", quantization, **SIZES, **HEADS, tie_word_embeddings=False)
    assert _names(loaded) == names
    assert loaded.unread_storage == ()


def test_only_experts_of_mxfp4(tmp_path: Path) -> None:
    loaded = _load(tmp_path, "gpt_oss", {"quant_method": "mxfp4"})
    assert _names(loaded) == [*HEAD_MODULES, "blocks.*.attention"]
    quantized = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.3.mlp.experts"]}
    assert _names(_load(tmp_path, "gpt_oss", quantized))[-1] == "blocks.3.feed_forward"


@pytest.mark.parametrize("pattern", ["re:(a+)+$", "re:" + "a*" * 20, "re:(", "re:a{1000}"])
def test_patterns_that_may_take_long(tmp_path: Path, pattern: str) -> None:
    loaded = _load(tmp_path, "llama", _compressed([pattern, "lm_head"]), **SIZES, **HEADS)
    assert _names(loaded) == [*HEAD_MODULES]
    (sentence,) = loaded.unread_storage
    assert sentence.startswith("quantization_config: the pattern re:")
    assert sentence.endswith(" is not understood: its modules count as quantized")


@pytest.mark.parametrize("syntax", ["fp8", "compressed-tensors", "modelopt"])
def test_many_names(tmp_path: Path, syntax: str) -> None:
    """20,000 names, as in files that list each expert."""
    experts = (f"model.layers.{layer}.mlp.experts.{expert}.x" for layer in range(125) for expert in range(160))
    names = [*experts, "lm_head"]
    quantization = {**_compressed(names), "quant_method": syntax, "modules_to_not_convert": names, "quant_algo": "FP8"}
    path = tmp_path / "config.json"
    _load(tmp_path, "llama", quantization, **SIZES | {"num_hidden_layers": 125}, **HEADS)
    start = time.process_time()
    loaded = load_config(str(path))
    assert time.process_time() - start < 3
    assert _names(loaded) == [*HEAD_MODULES]


def test_override(tmp_path: Path) -> None:
    _load(tmp_path, "llama", {"quant_method": "fp8"}, **SIZES, **HEADS)
    changes = ["storage.modules_to_not_convert=[blocks.0]"]
    assert _names(load_config(str(tmp_path / "config.json"), changes)) == ["blocks.0"]
