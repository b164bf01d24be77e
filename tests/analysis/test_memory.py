"""Bytes before any is allocated."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.memory import build_bytes, decode_bytes, forward_bytes
from tinylm_cli.config.loader import load_config


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2), ("float16", 2), ("float64", 8)])
def test_building_takes_the_parameters_and_the_sinusoids(dtype: str, width: int) -> None:
    tiny = load_config("tiny").config
    assert build_bytes(tiny, dtype) == (826_112 + 1024 * 128) * width
    learned = load_config("tiny", ["position.kind=learned"]).config
    assert build_bytes(learned, dtype) == (826_112 + 1024 * 128) * width
    none = load_config("tiny", ["position.kind=none"]).config
    assert build_bytes(none, dtype) == 826_112 * width


def test_corrections_of_routers_take_four_bytes_whatever_the_weights_take() -> None:
    experts = ["feed_forward.n_experts=8", "feed_forward.router=sigmoid", "feed_forward.n_dense_layers=1"]
    plain = load_config("tiny", experts).config
    corrected = load_config("tiny", [*experts, "feed_forward.score_correction=true"]).config
    for dtype in ("float32", "bfloat16", "float64"):
        assert build_bytes(corrected, dtype) - build_bytes(plain, dtype) == 3 * 8 * 4


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
