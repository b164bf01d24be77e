"""How attention is computed, for models that ship."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.kernels import module_kernel
from tinylm_cli.config.loader import load_config


@pytest.mark.parametrize(
    ("name", "device", "kernel"),
    [
        ("llama-3-8b", "cuda", "flash"),
        ("mistral-7b", "cuda", "math"),  # groups and a band
        ("mistral-7b", "cpu", "flash"),
        ("gemma-2-2b", "cuda", "math"),
        ("gpt-oss-20b", "cuda", "math"),
        ("gpt2", "cuda", "flash"),
        ("gpt2", "cpu", "math"),  # dropout
        ("deepseek-v2-lite", "cpu", "math"),
    ],
)
def test_the_kernel_that_the_module_takes(name: str, device: Any, kernel: str) -> None:
    config = load_config(name).config
    assert module_kernel(config, seq_len=min(8192, config.max_len), device=device) == kernel
