"""Which regular expressions match in a short time."""

from __future__ import annotations

import re
from time import perf_counter

import pytest

from tinylm_cli.interop.module_patterns import MAX_LENGTH, is_safe_pattern

UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:k_proj|v_proj|q_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|k_proj)))"
)


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\.layers\.(0|1|2)\.self_attn\.(q|v)_proj",
        r"^(?!.*vision).*(q_proj|v_proj)$",
        r".*\.(2[0-9]|1\d)\..*",
        r"(a)?b",
        "q_proj",
        "a.*.*.*.*.*",
        UNSLOTH,
    ],
)
def test_safe(pattern: str) -> None:
    assert is_safe_pattern(pattern)
    started = perf_counter()
    re.compile(pattern).fullmatch("model.layers.12.self_attn.q_proj_" + "a" * 40)
    assert perf_counter() - started < 1


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a|b)*", "(a){2,}", ".*.*.*.*.*.*x", "(.*.*.*|b)(.*.*.*)x", "(", ")", "[a", "a**", "é", "*a"],
)
def test_unsafe(pattern: str) -> None:
    assert not is_safe_pattern(pattern)


def test_long() -> None:
    assert is_safe_pattern("a" * MAX_LENGTH)
    assert not is_safe_pattern("a" * (MAX_LENGTH + 1))


def test_alternatives_count_apart() -> None:
    """Only one alternative matches, so that the longest counts."""
    assert is_safe_pattern("|".join([".*.*.*.*.*x"] * 3))
    assert not is_safe_pattern("(.*.*.*|.*)(.*.*|a).*")
