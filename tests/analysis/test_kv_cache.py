"""KV-cache bytes of every kind of attention, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_configs import small_configs
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes, read_cache_bytes
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


def windows(config: ModelConfig) -> dict[int | None, int]:
    """Return the number of layers that cache each number of positions."""
    return {each.window: each.n_layers for each in cache_shape(config, "bfloat16").layers}


def test_window_pattern_cut_short() -> None:
    """The last period of the pattern, local and global, has its first layer only."""
    config = load_config("gemma-2-2b", ["n_layers=27"]).config
    assert windows(config) == {4096: 14, None: 13}
    found = kv_cache_bytes(config, batch_size=1, seq_len=5000, dtype="bfloat16")
    assert found == (14 * 4096 + 13 * 5000) * 2 * 4 * 256 * 2


def test_chunks() -> None:
    config = load_config("llama-4-scout").config
    chunks, full = cache_shape(config, "bfloat16").layers
    assert (chunks.n_layers, chunks.window, chunks.chunked) == (36, 8192, True)
    assert (full.n_layers, full.window, full.chunked) == (12, None, False)
    found = kv_cache_bytes(config, batch_size=1, seq_len=20_000, dtype="bfloat16")
    assert found == (36 * 8192 + 12 * 20_000) * 2 * 8 * 128 * 2


NAMES = ("llama-3-8b", "gemma-2-2b", "deepseek-v2-lite", "gpt2")


def test_cache_shape() -> None:
    llama, gemma, deepseek, gpt2 = (load_config(name).config for name in NAMES)
    (llama_layers,), (latent,), (plain,) = (cache_shape(each, "bfloat16").layers for each in (llama, deepseek, gpt2))
    assert (llama_layers.kind, llama_layers.n_kv_heads, llama_layers.token_bytes) == ("grouped-query", 8, 131_072)
    assert cache_shape(llama, "bfloat16").multi_head_ratio == 4
    assert windows(gemma) == {4096: 13, None: 13}
    assert (latent.kind, latent.n_kv_heads, latent.kv_rank, latent.d_rope) == ("latent", None, 512, 64)
    assert cache_shape(deepseek, "bfloat16").multi_head_token_bytes == 27 * 16 * (192 + 128) * 2
    assert (plain.kind, plain.window, cache_shape(gpt2, "bfloat16").multi_head_ratio) == ("multi-head", None, 1)
    one = load_config("llama-3-8b", ["attention.n_kv_heads=1"]).config
    assert cache_shape(one, "int8").layers[0].kind == "multi-query"


def test_cache_of_named_kinds() -> None:
    kinds = "{full: {attention: {n_kv_heads: 4}}, local: {attention: {n_kv_heads: 2, window: 16}}}"
    config = load_config("small", [f"layers.kinds={kinds}", "layers.pattern='2 local, full'", "n_layers=12"]).config
    local, full = cache_shape(config, "float32").layers
    assert (local.n_layers, local.n_kv_heads, local.window, local.token_bytes) == (8, 2, 16, 8 * 2 * 2 * 32 * 4)
    assert (full.n_layers, full.n_kv_heads, full.window, full.token_bytes) == (4, 4, None, 4 * 2 * 4 * 32 * 4)
    found = kv_cache_bytes(config, batch_size=2, seq_len=100, dtype="float32")
    assert found == 2 * (8 * 16 * 2 * 2 * 32 + 4 * 100 * 2 * 4 * 32) * 4  # B × (layers × S × 2 × G × K) × itemsize


def test_shared_cache() -> None:
    """Layers that attend to the keys and values of earlier ones store none, but a step reads them again."""
    kinds = "{own: {}, reuse: {attention: {kv_from: own}}}"
    layers = ["n_layers=6", f"layers.kinds={kinds}", "layers.pattern='own, 2 reuse'", "attention.n_kv_heads=2"]
    config = load_config("tiny", layers).config
    own, shared = cache_shape(config, "float32").layers
    token = 2 * 2 * 32 * 4  # 2 × G × K × itemsize
    assert (own.kind, own.n_layers, own.token_bytes) == ("grouped-query", 2, 2 * token)
    assert (shared.kind, shared.layers, shared.token_bytes) == ("shared", "1..2, 4..5", 0)
    assert cache_shape(config, "float32").multi_head_ratio == 6  # half as many KV heads, in a third of the layers
    assert kv_cache_bytes(config, batch_size=3, seq_len=7, dtype="float32") == 3 * 7 * 2 * token
    assert read_cache_bytes(config, seq_len=7, dtype="float32") == 7 * 6 * token


@given(small_configs(), st.sampled_from(["float32", "bfloat16", "float8", "int8"]))
def test_one_token(config: ModelConfig, dtype: str) -> None:
    shape = cache_shape(config, dtype)
    found = kv_cache_bytes(config, batch_size=1, seq_len=1, dtype=dtype)
    assert found == shape.token_bytes + shape.state_bytes
    if all(each.window is None for each in shape.layers):
        longer = kv_cache_bytes(config, batch_size=2, seq_len=7, dtype=dtype)
        assert longer == 2 * (7 * shape.token_bytes + shape.state_bytes)


def test_narrow_values() -> None:
    """Two KV heads with keys of 64 dimensions and values of 24."""
    sizes = ["attention.n_kv_heads=2", "attention.d_head=64", "attention.d_value=24"]
    config = load_config("tiny", sizes).config
    for dtype, bytes_per_token in (("bfloat16", 2 * (64 + 24) * 2), ("int8", 2 * (64 + 24) + 4 * 4)):
        assert kv_cache_bytes(config, batch_size=3, seq_len=50, dtype=dtype) == 3 * 50 * 4 * bytes_per_token
    assert cache_shape(config, "bfloat16").multi_head_token_bytes == 4 * 4 * (64 + 24) * 2
