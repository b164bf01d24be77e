"""The types of stored weights in a config.json, at the positions of their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.changes import CONFIGS
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.storage import HEAD_MODULES, Storage
from tinylm_cli.config.yaml_writer import to_short_yaml
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.load import import_config, load_config

FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}


def _write(folder: Path, family: str = "llama", **keys: Any) -> str:
    document = json.loads((CONFIGS / f"{family}.json").read_text(encoding="utf-8"))
    for key in ("dtype", "torch_dtype", "quantization_config"):
        document.pop(key, None)
    path = folder / "config.json"
    path.write_text(json.dumps(document | keys, indent=1), encoding="utf-8")
    return str(path)


def _load(folder: Path, family: str = "llama", **keys: Any) -> LoadedConfig:
    return load_config(_write(folder, family, **keys))


@pytest.mark.parametrize(
    ("keys", "dtype"),
    [
        ({}, "bfloat16"),
        ({"torch_dtype": "float16"}, "float16"),
        ({"dtype": "float32", "torch_dtype": "float16"}, "float32"),
        ({"dtype": None, "torch_dtype": "torch.float16"}, "float16"),
    ],
)
def test_dtype(tmp_path: Path, keys: dict[str, Any], dtype: str) -> None:
    loaded = _load(tmp_path, **keys)
    assert (loaded.config.storage, loaded.unread_storage) == (Storage(dtype=dtype), ())  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["float8_e4m3fn", "auto", 16, {"text_config": "float16"}])
def test_unknown_dtype(tmp_path: Path, value: object) -> None:
    loaded = _load(tmp_path, torch_dtype=value)
    assert loaded.config.storage == Storage()
    (sentence,) = loaded.unread_storage
    assert sentence.startswith("torch_dtype ")
    assert sentence.endswith(" is not understood: weights count in bfloat16")


def test_positions_of_fields(tmp_path: Path) -> None:
    loaded = _load(tmp_path, dtype="float16", quantization_config=GPTQ)
    lines = (tmp_path / "config.json").read_text(encoding="utf-8").splitlines()
    for field, key in (("dtype", "dtype"), ("quantization", "bits"), ("zero_point", "sym")):
        span = loaded.origins[f"storage.{field}"]
        assert span is not None
        assert lines[span.line - 1].strip().startswith(f'"{key}":')
    assert loaded.origins["storage.scale_dtype"] is None


def test_keys_that_are_read_are_not_ignored(tmp_path: Path) -> None:
    path = _write(tmp_path, torch_dtype="float16", quantization_config=FP8, use_cache=True)
    ignored = import_config(path).ignored
    assert "use_cache" in ignored
    assert not {"torch_dtype", "quantization_config"} & set(ignored)


def test_language_model_of_a_multimodal_model(tmp_path: Path) -> None:
    text = json.loads((CONFIGS / "gemma3.json").read_text(encoding="utf-8"))["text_config"]
    inner = {"text_config": {**text, "dtype": "float32", "quantization_config": FP8}}
    assert _load(tmp_path, "gemma3", **inner).config.storage.quantization == "float8"
    assert _load(tmp_path, "gemma3", **inner).config.storage.dtype == "float32"
    outer = {**inner, "dtype": "float16", "quantization_config": {"load_in_8bit": True}}
    storage = _load(tmp_path, "gemma3", **outer).config.storage
    assert (storage.dtype, storage.quantization) == ("float16", "int8")


@pytest.mark.parametrize("scheme", ["fp8", [], 4])
def test_quantization_that_is_no_object(tmp_path: Path, scheme: object) -> None:
    loaded = _load(tmp_path, quantization_config=scheme)
    assert loaded.config.storage == Storage()
    (sentence,) = loaded.unread_storage
    assert sentence.startswith("quantization_config")


def test_unread_method(tmp_path: Path) -> None:
    loaded = _load(tmp_path, dtype="float16", quantization_config={"quant_method": "aqlm"})
    assert loaded.config.storage == Storage(dtype="float16")
    assert loaded.unread_storage == (
        "quantization_config.quant_method aqlm is not understood: weights count in float16",
    )


def test_old_key_of_compressed_tensors(tmp_path: Path) -> None:
    weights = {"num_bits": 8, "type": "int", "strategy": "channel"}
    config = {"config_groups": {"a": {"targets": ["Linear"], "weights": weights}}, "quant_method": "compressed-tensors"}
    assert _load(tmp_path, compression_config=config).config.storage.quantization == "int8"


def test_group_size_that_does_not_divide(tmp_path: Path) -> None:
    path = _write(tmp_path, quantization_config={"quant_method": "awq", "bits": 4, "group_size": 96})
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    (error,) = raised.value.diagnostics
    assert "quantization_config.group_size 96 does not divide hidden_size" in str(error.message)
    assert error.span is not None
    assert '"group_size": 96' in error.span.text
    gptq = {**GPTQ, "group_size": 96}  # whose last group may be shorter
    assert _load(tmp_path, quantization_config=gptq).config.storage.group_size == 96


@pytest.mark.parametrize("scheme", [FP8, GPTQ, {"load_in_4bit": True, "bnb_4bit_use_double_quant": True}])
def test_round_trip_of_yaml(tmp_path: Path, scheme: dict[str, Any]) -> None:
    loaded = _load(tmp_path, dtype="float16", quantization_config=scheme)
    path = tmp_path / "written.yaml"
    path.write_text(to_short_yaml(loaded.config, ""), encoding="utf-8")
    again: ModelConfig = load_config(str(path)).config
    assert again == loaded.config
    assert again.storage.modules_to_not_convert == HEAD_MODULES
