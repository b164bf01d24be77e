"""Pages of vLLM: their size, and the groups of layers that share it."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.cache_pages import cache_pages
from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.serving import CacheLayers, CachePages


def layers(n_layers: int, kind: Any, *, token_bytes: int = 0, state_bytes: int = 0, **fields: Any) -> CacheLayers:
    """Return layers that cache these numbers of bytes."""
    unused = dict.fromkeys(("n_heads", "n_kv_heads", "kv_rank", "d_rope", "d_index", "window"))
    given = {"token_bytes": n_layers * token_bytes, "state_bytes": n_layers * state_bytes, "chunked": False, **fields}
    return CacheLayers(**{"n_layers": n_layers, "layers": "", "kind": kind} | unused | given)


def test_qwen3_next() -> None:
    """vLLM raises the block to 1,056 tokens if states are in float32: 2 · 2 · 256 bfloat16 numbers per token."""
    states, per_token = 3 * 8192 * 2 + 32 * 128 * 128 * 4, 2 * 2 * 256 * 2
    pages = cache_shape(load_config("qwen3-next-80b-a3b").config, "bfloat16").pages
    assert pages == CachePages(1056, 2_162_688, group_layers=12, attention_groups=1, state_groups=3)
    assert 1056 * per_token == 2_162_688
    assert 1040 * per_token < states <= 1056 * per_token


@pytest.mark.parametrize(
    ("n_attention", "n_with_state", "group", "groups"),
    [(4, 27, 4, (1, 7)), (12, 13, 13, (1, 1)), (10, 15, 10, (1, 2)), (10, 14, 14, (1, 1)), (9, 2, 2, (5, 1))],
)
def test_groups(n_attention: int, n_with_state: int, group: int, groups: tuple[int, int]) -> None:
    """As large as the kind with fewer layers; with more, if those are fewer than 1.5 times as many."""
    pages = cache_pages(
        [layers(n_attention, "multi-head", token_bytes=10), layers(n_with_state, "state", state_bytes=1000)]
    )
    assert pages is not None
    assert (pages.group_layers, (pages.attention_groups, pages.state_groups)) == (group, groups)


@pytest.mark.parametrize(("state", "tokens"), [(1, 16), (160, 16), (161, 32), (1000, 112)])
def test_block(state: int, tokens: int) -> None:
    """A multiple of 16 tokens of 10 bytes each; of 128 in latent attention."""
    with_states = layers(1, "state", state_bytes=state)
    pages = cache_pages([layers(1, "grouped-query", token_bytes=10), with_states])
    assert pages is not None
    assert (pages.block_tokens, pages.page_bytes) == (tokens, 10 * tokens)
    latent = cache_pages([layers(1, "latent", token_bytes=10), with_states])
    assert latent is not None
    assert latent.block_tokens == 128


def test_both_in_one_layer() -> None:
    pages = cache_pages([layers(6, "multi-head", token_bytes=10, state_bytes=300)])
    assert pages == CachePages(32, 320, group_layers=6, attention_groups=1, state_groups=1)


FULL, STATE = layers(4, "multi-head", token_bytes=10), layers(4, "state", state_bytes=10)


@pytest.mark.parametrize(
    "cached",
    [
        [FULL],
        [STATE, layers(4, "none")],
        [layers(4, "multi-head", token_bytes=10, window=8), STATE],
        [layers(4, "shared"), FULL, STATE],
        [FULL, STATE, layers(4, "state", state_bytes=9)],
        [FULL, layers(4, "multi-query", token_bytes=1), STATE],
    ],
    ids=["attention", "states", "window", "shared", "two states", "two sizes"],
)
def test_other_models(cached: list[CacheLayers]) -> None:
    assert cache_pages(cached) is None
