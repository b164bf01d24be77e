"""The sizes that each family has."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.design.families import FAMILIES


@pytest.mark.parametrize(
    ("family", "d_model", "d_head", "heads"),
    [
        ("llama", 2048, 64, (32,)),
        ("llama", 320, 128, ()),
        ("qwen3", 1024, 128, (8, 16)),
        ("qwen3", 2048, 128, (16, 24, 32)),
        ("gemma2", 2304, 256, (8,)),
        ("qwen3", 128, 64, (8,)),
    ],
)
def test_heads(family: str, d_model: int, d_head: int, heads: tuple[int, ...]) -> None:
    assert FAMILIES[family].heads(d_model, d_head) == heads


@pytest.mark.parametrize(
    ("family", "n_heads", "kv_heads"), [("llama", 24, (24, 8, 6, 3)), ("gemma2", 8, (4, 2)), ("course", 7, (7,))]
)
def test_kv_heads(family: str, n_heads: int, kv_heads: tuple[int, ...]) -> None:
    assert FAMILIES[family].kv_heads(n_heads) == kv_heads


@pytest.mark.parametrize("family", FAMILIES)
def test_member(family: str) -> None:
    """The config that ships is one of the published sizes, and its proportions are in the grid."""
    template = FAMILIES[family]
    config = template.config
    low, high = template.d_ff_ratios
    assert config.d_model in {member.sizes.d_model for member in template.members}
    assert low <= (config.d_expert or config.d_ff) / config.d_model <= high
    assert config.d_head in template.d_heads
    assert config.n_heads in template.heads(config.d_model, config.d_head)
    assert config.n_kv_heads in template.kv_heads(config.n_heads)
