"""The scaling of RoPE that factors in a file amount to."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.interop.gguf.written_files import write_model
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config

LLAMA = {
    "model_type": "llama",
    "vocab_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "max_position_embeddings": 131072,
}


def read(path: Path, keys: dict[str, Any]) -> ModelConfig:
    return load_config(str(write_model(path / "model.gguf", keys).path)).config


@pytest.mark.parametrize(
    ("d_head", "theta", "factor", "length", "low", "high"),
    [
        (128, 500_000.0, 8.0, 8192, 1.0, 4.0),  # Llama 3.1
        (64, 500_000.0, 32.0, 8192, 1.0, 4.0),  # Llama 3.2 1B
        (128, 1_000_000.0, 8.0, 32768, 1.0, 2.5),
        (96, 10_000.0, 16.0, 4096, 1.0, 8.0),
    ],
)
def test_llama_3(
    tmp_path: Path, d_head: int, theta: float, factor: float, length: int, low: float, high: float
) -> None:
    scaling = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": length,
    }
    position = read(tmp_path, {**LLAMA, "hidden_size": 2 * d_head, "rope_parameters": scaling}).position
    assert position.scaling == "llama3"
    assert (position.theta, position.scaling_factor, position.original_max_len) == (theta, factor, length)
    assert (position.low_freq_factor, position.high_freq_factor) == (low, high)


@pytest.mark.filterwarnings("ignore")
def test_other_factors(tmp_path: Path) -> None:
    """Factors that no Llama has are those of a LongRoPE without a factor on the rotation."""
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 100.0,
        "factor": 4.0,
        "low_freq_factor": 2.0,
        "high_freq_factor": 3.0,
        "original_max_position_embeddings": 64,
    }
    position = read(tmp_path, {**LLAMA, "hidden_size": 8, "rope_parameters": scaling}).position
    assert (position.scaling, position.attention_factor) == ("longrope", 1.0)
    assert position.short_factors == position.long_factors == (1.0, 4.0)


@pytest.mark.filterwarnings("ignore")
def test_longrope(tmp_path: Path) -> None:
    """The attention factor of the converter follows from the lengths; another one is kept."""
    keys = {
        **LLAMA,
        "model_type": "phi3",
        "hidden_size": 16,
        "original_max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "short_factor": [1.0, 1.25, 1.5, 1.75],
            "long_factor": [1.0, 2.0, 4.0, 8.0],
        },
        "pad_token_id": None,
    }
    position = read(tmp_path, keys).position
    assert (position.scaling, position.attention_factor, position.original_max_len) == ("longrope", None, 4096)
    assert position.short_factors == (1.0, 1.25, 1.5, 1.75)
    assert position.long_factors == (1.0, 2.0, 4.0, 8.0)
    data = (tmp_path / "model.gguf").read_bytes()
    implied = math.sqrt(1 + math.log(32) / math.log(4096))
    assert data.count(struct.pack("<f", implied)) == 1
    (tmp_path / "model.gguf").write_bytes(data.replace(struct.pack("<f", implied), struct.pack("<f", 1.5)))
    assert load_config(str(tmp_path / "model.gguf")).config.position.attention_factor == 1.5
