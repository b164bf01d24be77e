"""Bytes before any is allocated."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.memory import build_bytes, decode_bytes, decode_read_bytes, forward_bytes
from tinylm_cli.config.loader import load_config


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2), ("float16", 2), ("float64", 8)])
def test_building_takes_the_parameters_and_the_sinusoids(dtype: str, width: int) -> None:
    tiny = load_config("tiny").config
    assert build_bytes(tiny, dtype) == (826_112 + 1024 * 128) * width
    learned = load_config("tiny", ["position.kind=learned"]).config
    assert build_bytes(learned, dtype) == (826_112 + 1024 * 128) * width
    none = load_config("tiny", ["position.kind=none"]).config
    assert build_bytes(none, dtype) == 826_112 * width


def test_a_forward_pass_is_widest_at_the_head_or_in_a_feed_forward_network() -> None:
    base = load_config("base").config
    assert forward_bytes(base, batch_size=2, seq_len=10, dtype="float32") == 20 * (768 + 2 * 10_000) * 4
    tiny = load_config("tiny").config
    assert forward_bytes(tiny, batch_size=1, seq_len=1, dtype="bfloat16") == (2 * 128 + 2 * 512) * 2


def test_bytes_grow_with_the_tokens() -> None:
    config = load_config("small").config
    one = forward_bytes(config, batch_size=1, seq_len=1, dtype="float32")
    assert forward_bytes(config, batch_size=3, seq_len=7, dtype="float32") == 21 * one
    huge = load_config("small", ["vocab_size=100000000"]).config
    assert forward_bytes(huge, batch_size=10**6, seq_len=10**9, dtype="float64") == 10**15 * (256 + 2 * 10**8) * 8


@pytest.mark.parametrize(
    ("prompt_len", "max_new_tokens", "kept", "read"),
    [(3, 5, 7, 3), (3, 1, 0, 3), (1000, 100, 1024, 1024), (2000, 2, 0, 1024), (1000, 25, 1024, 1000)],
)
def test_decoding_takes_the_keys_and_values_and_a_pass(
    prompt_len: int, max_new_tokens: int, kept: int, read: int
) -> None:
    tiny = load_config("tiny").config
    found = decode_bytes(tiny, prompt_len=prompt_len, max_new_tokens=max_new_tokens, dtype="bfloat16")
    assert found == 2 * 4 * kept * 128 * 2 + read * (2 * 128 + 2 * 512) * 2


def test_a_large_vocabulary_is_what_a_short_prompt_costs() -> None:
    wide = load_config("tiny", ["vocab_size=1000000"]).config
    assert decode_bytes(wide, prompt_len=1, max_new_tokens=1, dtype="bfloat16") == 2 * 10**6 * 4


class TestReadWhileDecoding:
    def test_of_llama_by_hand(self) -> None:
        """Every weight but the embedding's, of which one row is read; and keys and values of 100 positions."""
        config = load_config("llama-3-8b").config
        weights = 8_030_261_248 - 128_256 * 4096 + 4096
        kept = 100 * 32 * 2 * 8 * 128
        assert decode_read_bytes(config, context_len=100, dtype="bfloat16") == 2 * (weights + kept)

    def test_a_tied_table_is_read_whole_by_the_head(self) -> None:
        config = load_config("gpt2").config
        weights = 124_439_808 - 1024 * 768 + 768 + 768
        kept = 1024 * 12 * 2 * 768
        assert decode_read_bytes(config, context_len=1024, dtype="float32") == 4 * (weights + kept)

    def test_of_experts_those_that_a_token_is_sent_to(self) -> None:
        config = load_config("mixtral-8x7b").config
        weights = 12_879_925_248 - 32_000 * 4096 + 4096
        kept = 32 * 2 * 8 * 128
        assert decode_read_bytes(config, context_len=1, dtype="bfloat16") == 2 * (weights + kept)
