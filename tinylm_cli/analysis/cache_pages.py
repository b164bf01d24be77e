"""Pages in which an inference engine stores the cache of a model with both attention and states."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm_cli.reports.serving import CacheLayers, CachePages

KERNEL_BLOCK_TOKENS, LATENT_KERNEL_BLOCK_TOKENS = 16, 128
"""Tokens of which a page holds a multiple: with FlashAttention, and with latent attention."""

SIMILAR = 1.5
"""Up to this ratio of the numbers of layers, the kind with fewer layers is padded."""


def cache_pages(layers: Sequence[CacheLayers]) -> CachePages | None:
    """Return the pages of vLLM for a model whose layers cache states as well as keys and values.

    All pages have one size: a block has the fewest tokens, up to a multiple, whose keys and values in one layer need at
    least as much as the state of a layer, which is padded to them. Groups of equally many layers have a page in each
    layer for each block of tokens, or for the state. A group is as large as the kind with fewer layers, or with more
    if their numbers are similar.

    Args:
        layers: The layers of a model with equal caches.

    Returns:
        None for a model without layers of both kinds, and for sliding windows, shared caches, and layers of one kind
        with caches of different sizes.

    References:
        https://github.com/vllm-project/vllm/blob/main/vllm/platforms/interface.py (size of a page);
        https://github.com/vllm-project/vllm/blob/main/vllm/v1/core/kv_cache_utils.py (groups)
    """
    token_bytes = {each.token_bytes // each.n_layers for each in layers if each.token_bytes}  # of one layer
    state_bytes = {each.state_bytes // each.n_layers for each in layers if each.state_bytes}  # of one layer
    if len(token_bytes) != 1 or len(state_bytes) != 1:
        return None
    if any(each.kind == "shared" or (each.token_bytes and each.window is not None) for each in layers):
        return None
    (per_token,), (state,) = token_bytes, state_bytes
    is_latent = any(each.kind == "latent" for each in layers)
    multiple = LATENT_KERNEL_BLOCK_TOKENS if is_latent else KERNEL_BLOCK_TOKENS
    block_tokens = multiple * -(-state // (multiple * per_token))
    n_attention = sum(each.n_layers for each in layers if each.token_bytes)
    n_with_state = sum(each.n_layers for each in layers if each.state_bytes)
    fewer, more = sorted((n_attention, n_with_state))
    group = more if more < SIMILAR * fewer else fewer
    return CachePages(
        block_tokens=block_tokens,
        page_bytes=block_tokens * per_token,
        group_layers=group,
        attention_groups=-(-n_attention // group),
        state_groups=-(-n_with_state // group),
    )
