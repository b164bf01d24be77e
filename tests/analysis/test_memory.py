"""Bytes before any is allocated."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.memory import build_bytes, forward_bytes
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
