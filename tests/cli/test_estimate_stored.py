"""Estimates of models whose checkpoint stores quantized weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "rms_norm_eps": 1e-5,
}
LINEAR = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
UNQUANTIZED = 2 * 32000 * 4096 + 65 * 4096
SCALES = 32 * (4 * 4096 * 32 + 2 * 11008 * 32 + 4096 * 86)
AWQ = LINEAR // 2 + SCALES * 5 // 2 + 2 * UNQUANTIZED + 64 * 4
"""Bytes of the weights, of scales in float16 with 4-bit zero points, and of rotary frequencies."""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes the config.json of Llama 2 7B with a quantization."""

    def write(quantization: dict[str, Any] | None, **keys: Any) -> str:
        document = LLAMA | keys | ({} if quantization is None else {"quantization_config": quantization})
        path = tmp_path / "config.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return str(path)

    return write


def _summary(here: Callable[..., Any], *arguments: str) -> dict[str, Any]:
    result = here("estimate", *arguments, "--for", "serving", "--format", "json")
    assert result.code == 0, result.err
    summary: dict[str, Any] = json.loads(result.out)["summary"]["serving"]
    return summary


def test_weights_as_stored(here: Callable[..., Any], write: Callable[..., str]) -> None:
    path = write({"quant_method": "awq", "bits": 4, "group_size": 128})
    summary = _summary(here, path)
    assert (summary["weights_bytes"], summary["weights_dtype"], summary["weights_are_stored"]) == (AWQ, "int4", True)
    assert summary["kv_cache_bytes"] == 2 * 32 * 4096 * 2 * 4096
    assert "weights   3.62 GiB in int4 as stored; working memory " in here("estimate", path, "--for", "serving").out


@pytest.mark.parametrize(
    ("options", "nbytes", "dtype"),
    [
        (["--quantize", "none"], 2 * (LINEAR + UNQUANTIZED), "float16"),
        (["--quantize", "int8"], LINEAR + 2 * 32 * (4 * 4096 + 2 * 11008 + 4096) + 2 * UNQUANTIZED, "int8"),
        (["--dtype", "float32"], AWQ + 2 * UNQUANTIZED, "int4"),
    ],
)
def test_options_replace_what_is_stored(
    here: Callable[..., Any], write: Callable[..., str], options: list[str], nbytes: int, dtype: str
) -> None:
    path = write({"quant_method": "awq", "bits": 4, "group_size": 128})
    summary = _summary(here, path, *options)
    frequencies = 0 if options[0] == "--dtype" else 64 * 4
    assert (summary["weights_bytes"], summary["weights_dtype"]) == (nbytes + frequencies, dtype)
    assert not summary["weights_are_stored"]


def test_cache_as_stored(here: Callable[..., Any], write: Callable[..., str]) -> None:
    weights = {"num_bits": 8, "type": "float", "strategy": "channel"}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    cache = {"num_bits": 8, "type": "float", "strategy": "tensor"}
    path = write(
        {
            "quant_method": "compressed-tensors",
            "config_groups": groups,
            "ignore": ["lm_head"],
            "kv_cache_scheme": cache,
        }
    )
    assert _summary(here, path)["kv_cache_bytes"] == 2 * 32 * 4096 * 4096
    assert _summary(here, path, "--kv-cache-dtype", "float16")["kv_cache_bytes"] == 2 * 32 * 4096 * 2 * 4096


def test_float32_checkpoint(here: Callable[..., Any], write: Callable[..., str]) -> None:
    summary = _summary(here, write(None, torch_dtype="float32"))
    assert summary["weights_bytes"] == 4 * (LINEAR + UNQUANTIZED) + 64 * 4
    assert (summary["weights_dtype"], summary["weights_are_stored"]) == ("float32", True)


def test_method_that_is_not_understood(here: Callable[..., Any], write: Callable[..., str]) -> None:
    path = write({"quant_method": "aqlm"}, torch_dtype="bfloat16")
    result = here("estimate", path, "--for", "serving", columns=120)
    sentence = "quantization_config.quant_method aqlm is not understood: weights count in bfloat16."
    assert result.code == 0
    assert sentence in result.out
    assert sentence in here("params", path, columns=120).out


def test_params_by_tensor(here: Callable[..., Any], write: Callable[..., str]) -> None:
    path = write({"quant_method": "awq", "group_size": 128, "modules_to_not_convert": ["layers.0.self_attn.q_proj"]})
    model = json.loads(here("params", path, "--by", "tensor", "--format", "json").out)["models"][0]
    parts = {part["name"]: part for part in model["parts"]}
    query = parts["blocks.{0..31}.attention.q_proj.weight"]
    square = 4096 * 4096
    assert query["stored_dtype"] == "int4, float16"
    assert query["stored_bytes"] == 31 * (square // 2 + 4096 * 32 * 5 // 2) + 2 * square
    assert parts["lm_head.weight"]["stored_dtype"] == "float16"
    assert sum(part["stored_bytes"] for part in parts.values()) == model["storage"]["stored_bytes"]
    assert model["storage"]["quantized_params"] == LINEAR - square
    text = here("params", path, "--by", "tensor", "--expand", columns=120).out
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("blocks.")}
    assert lines["blocks.0.attention.q_proj.weight"].endswith("float16")
    assert lines["blocks.1.attention.q_proj.weight"].endswith("int4")


def test_size_of_checkpoints(here: Callable[..., Any], write: Callable[..., str]) -> None:
    text = here("params", write({"quant_method": "awq", "group_size": 128}), columns=120).out
    assert "The checkpoint stores 3.62 GiB: 6.48B of 6.74B parameters in int4, the others in float16.\n" in text
    assert "The checkpoint stores 12.6 GiB: in float16.\n" in here("params", write(None), columns=120).out
    assert "checkpoint stores" not in here("params", write(None, torch_dtype="bfloat16"), columns=120).out


def test_compare(here: Callable[..., Any], write: Callable[..., str], tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text(Path(write(None)).read_text(encoding="utf-8"), encoding="utf-8")
    result = here("compare", str(before), write({"load_in_8bit": True}), "--format", "json")
    report = json.loads(result.out)
    fields = {each["field"]: each["values"] for each in report["fields"]}
    assert fields["storage.quantization"] == ["none", "int8"]
    assert fields["storage.scale_dtype"] == [None, "float32"]
    (serving,) = (each for each in report["figures"] if each["name"] == "serve_bytes")
    scales = 32 * (4 * (4 * 4096 + 2 * 11008 + 4096) + 7)
    assert serving["values"][0] - serving["values"][1] == LINEAR - scales
    sentence = "Serving uses the types that each checkpoint stores.\n"
    assert sentence in here("compare", str(before), str(tmp_path / "config.json"), columns=120).out
    assert sentence not in here("compare", "tiny", "small", columns=120).out
