"""Sliding windows in a config.json: their width, and the layers that have one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.changes import Change, errors_of, flat

_GLOBAL_FIRST = ["full_attention", "sliding_attention"] * 14

WINDOWS: list[tuple[str, dict[str, Any], tuple[int | None, str]]] = [
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 20}, (32768, "G" * 20 + "LLLL")),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 0}, (32768, "L")),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 24}, (None, "L")),
    ("qwen3", {"use_sliding_window": True, "sliding_window": 64, "layer_types": _GLOBAL_FIRST}, (64, "GL")),
    ("qwen2", {"layer_types": ["full_attention"] * 24}, (None, "L")),
    ("gpt_oss", {"layer_types": ...}, (128, "LG")),
    ("gpt_oss", {"layer_types": ["sliding_attention"] * 24}, (128, "L")),
    ("gemma3_text", {"sliding_window_pattern": 2}, (512, "LG")),
    ("gemma3_text", {"sliding_window_pattern": 1}, (None, "L")),
    ("mistral", {"sliding_window": None}, (None, "L")),
    ("mistral", {"sliding_window": ...}, (4096, "L")),
    ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 99}, (99, "L")),
]  # fmt: skip


@pytest.mark.parametrize(("family", "keys", "expected"), WINDOWS)
def test_windows(family: str, keys: dict[str, Any], expected: tuple[int | None, str], changed: Change) -> None:
    found = flat(changed(family, **keys))
    assert (found["attention.window"], found["attention.window_pattern"]) == expected


def test_contradictory_layer_types(changed: Change) -> None:
    assert errors_of(changed("gpt_oss", layer_types=["full_attention"]))[0][0] == "contradiction"
    assert errors_of(changed("qwen2", layer_types=["sliding_attention"] * 24))[0][0] == "contradiction"


def test_chunks_of_any_layers(changed: Change) -> None:
    """Those that ``layer_types`` names, with RoPE or without it; by default those with RoPE."""
    types = ["full_attention", "chunked_attention"]
    shared = {"num_hidden_layers": 4, "moe_layers": []}
    found = flat(changed("llama4_text", **shared, layer_types=types * 2, no_rope_layers=[1, 0, 0, 1]))
    assert found["layers.pattern"] == "rope, nope_chunked, nope, rope_chunked"
    assert found["feed_forward.n_experts"] is None
    found = flat(changed("llama4_text", **shared, attention_chunk_size=None, no_rope_layers=[1, 1, 1, 1]))
    assert (found["attention.window"], found["layers.kinds"]) == (None, {})
    path = changed("llama4_text", **shared, layer_types=types * 2, attention_chunk_size=None)
    ((code, line),) = errors_of(path)
    assert code == "contradiction"
    assert line.startswith('"layer_types"')


def test_letters_of_layers(changed: Change) -> None:
    """EXAONE 4's pattern may be letters, repeated, but the last layer is global; ``layer_types`` takes precedence."""
    keys = {"num_hidden_layers": 6, "sliding_window": 64, "sliding_window_pattern": "LLLG"}
    found = flat(changed("exaone4", **keys, layer_types=...))
    assert found["layers.pattern"] == "3 local, full, local, full"
    types = ["sliding_attention", *["full_attention"] * 5]
    found = flat(changed("exaone4", **keys, layer_types=types))
    assert (found["layers.first"], found["layers.pattern"]) == ("local", "full")
    assert errors_of(changed("exaone4", **{**keys, "sliding_window_pattern": "LXG"}))[0][0] != ""
