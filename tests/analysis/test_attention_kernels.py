"""Attention backends by config and device."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.attention_kernels import attention_backend
from tinylm_cli.interop.load import load_config


@pytest.mark.parametrize(
    ("name", "device", "banded", "backend"),
    [
        ("llama-3-8b", "cuda", False, "fused"),
        ("mistral-7b", "cuda", True, "math"),  # groups and a band
        ("mistral-7b", "cuda", False, "fused"),
        ("mistral-7b", "cpu", True, "fused"),
        ("gemma-2-2b", "cuda", False, "eager"),
        ("gpt-oss-20b", "cpu", False, "eager"),
        ("gpt2", "cuda", False, "fused"),
        ("gpt2", "cpu", False, "math"),  # dropout
        ("deepseek-v2-lite", "cuda", False, "fused"),
        ("deepseek-v2-lite", "cpu", False, "math"),  # values of another width
    ],
)
def test_backend(name: str, device: Any, banded: bool, backend: str) -> None:
    config = load_config(name).config
    drops = config.dropout > 0
    assert attention_backend(config, "sdpa", device=device, banded=banded, dropout=drops) == backend
    assert attention_backend(config, "flash", device=device, banded=banded, dropout=drops) == "flash"
    written = attention_backend(config, "math", device=device, banded=banded, dropout=drops)
    assert written == ("eager" if backend == "eager" else "math")
