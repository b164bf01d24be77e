"""KV-cache bytes of every kind of attention, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_configs import small_configs
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config


@pytest.mark.parametrize(
    ("name", "dtype", "numbers_and_scales"),
    [
        ("llama-3-8b", "bfloat16", 3 * 5000 * 32 * 2 * 8 * 128 * 2),
        ("llama-3-8b", "float8", 3 * 5000 * 32 * 2 * 8 * 128),
        ("llama-3-8b", "int8", 3 * 5000 * 32 * 2 * 8 * (128 + 4)),
        ("gemma-2-2b", "bfloat16", 3 * 13 * (4096 + 5000) * 2 * 4 * 256 * 2),
        ("mistral-7b", "float16", 3 * 32 * 4096 * 2 * 8 * 128 * 2),
        ("deepseek-v2-lite", "bfloat16", 3 * 5000 * 27 * (512 + 64) * 2),
        ("deepseek-v2-lite", "int8", 3 * 5000 * 27 * (512 + 64 + 4)),
    ],
)
def test_kv_cache_bytes(name: str, dtype: str, numbers_and_scales: int) -> None:
    found = kv_cache_bytes(load_config(name).config, batch_size=3, seq_len=5000, dtype=dtype)
    assert found == numbers_and_scales


def test_window_pattern_cut_short() -> None:
    """The last period of the pattern, local and global, has its first layer only."""
    config = load_config("gemma-2-2b", ["n_layers=27"]).config
    assert cache_shape(config, "bfloat16").windowed_layers == 14
    found = kv_cache_bytes(config, batch_size=1, seq_len=5000, dtype="bfloat16")
    assert found == (14 * 4096 + 13 * 5000) * 2 * 4 * 256 * 2


def test_cache_shape() -> None:
    llama, gemma, deepseek, gpt2 = (
        cache_shape(load_config(name).config, "bfloat16")
        for name in ("llama-3-8b", "gemma-2-2b", "deepseek-v2-lite", "gpt2")
    )
    assert (llama.kind, llama.n_kv_heads, llama.token_bytes, llama.multi_head_ratio) == ("grouped-query", 8, 131_072, 4)
    assert (gemma.window, gemma.windowed_layers, gemma.n_layers) == (4096, 13, 26)
    assert (deepseek.kind, deepseek.n_kv_heads, deepseek.kv_rank, deepseek.d_rope) == ("latent", None, 512, 64)
    assert deepseek.multi_head_token_bytes == 27 * 16 * (192 + 128) * 2
    assert (gpt2.kind, gpt2.multi_head_ratio, gpt2.window, gpt2.windowed_layers) == ("multi-head", 1, None, 0)
    one = load_config("llama-3-8b", ["attention.n_kv_heads=1"]).config
    assert cache_shape(one, "int8").kind == "multi-query"


@given(small_configs(), st.sampled_from(["float32", "bfloat16", "float8", "int8"]))
def test_one_token(config: ModelConfig, dtype: str) -> None:
    assert kv_cache_bytes(config, batch_size=1, seq_len=1, dtype=dtype) == cache_shape(config, dtype).token_bytes
