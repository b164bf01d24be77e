"""What is kept of the tokens that were read, so that decoding does not read them again: how much, and of what kind."""

from __future__ import annotations

from typing import NamedTuple

from tinylm_cli.analysis.tensor_table import DTYPE_BYTES
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.serving import CacheKind, CacheShape

_EIGHT_BITS = {"float8": 0, "int8": 4}
"""What stands beside each vector of 8-bit numbers."""


class _Kept(NamedTuple):
    """What one layer keeps of one position."""

    numbers: int
    vectors: int

    def nbytes(self, dtype: str) -> int:
        if dtype in _EIGHT_BITS:
            return self.numbers + self.vectors * _EIGHT_BITS[dtype]
        return self.numbers * DTYPE_BYTES[dtype]


def kv_cache_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes kept of the positions read, so that decoding does not read them again.

    A layer keeps keys and values, ``2 · n_kv_heads · d_head`` numbers for each of ``min(seq_len, window)`` positions;
    or in latent attention ``kv_rank + d_rope`` numbers for each. ``float8`` is a byte each, scales being few or 1, as
    in vLLM; ``int8`` has a 16-bit scale and a 16-bit zero for each head's key and value of a token, as in LMDeploy.

    Args:
        config: A validated config.
        batch_size: Sequences decoded together, >= 1.
        seq_len: Positions read of each, >= 1.
        dtype: A key of ``DTYPE_BYTES``, ``float8`` or ``int8``.

    References:
        Ainslie et al. 2023 (groups), https://arxiv.org/abs/2305.13245;
        DeepSeek-AI 2024 (latent attention), https://arxiv.org/abs/2405.04434;
        Jiang et al. 2023 (a window's rolling buffer), https://arxiv.org/abs/2310.06825;
        https://docs.vllm.ai/en/latest/features/quantization/quantized_kvcache/;
        https://lmdeploy.readthedocs.io/en/latest/quantization/kv_quant.html
    """
    local = _windowed_layers(config)
    held = local * min(seq_len, config.attention.window or seq_len) + (config.n_layers - local) * seq_len
    return batch_size * held * _kept(config).nbytes(dtype)


def cache_shape(config: ModelConfig, dtype: str) -> CacheShape:
    """Return what kind of cache a model has, beside the one that a key and a value for each head would be.

    Args:
        config: A validated config.
        dtype: As for :func:`kv_cache_bytes`.
    """
    latent = config.attention.kind == "latent"
    plain = _Kept(config.n_heads * (config.d_head + config.d_value), 2 * config.n_heads)
    token, without = (config.n_layers * kept.nbytes(dtype) for kept in (_kept(config), plain))
    local = _windowed_layers(config)
    return CacheShape(
        kind=_kind(config),
        dtype=dtype,
        n_heads=config.n_heads,
        n_kv_heads=None if latent else config.n_kv_heads,
        kv_rank=config.attention.kv_rank if latent else None,
        d_rope=config.attention.d_rope if latent else None,
        n_layers=config.n_layers,
        window=config.attention.window if local else None,
        windowed_layers=local,
        token_bytes=token,
        multi_head_token_bytes=without,
        multi_head_ratio=without / token,
    )


def _kind(config: ModelConfig) -> CacheKind:
    if config.attention.kind == "latent":
        return "latent"
    if config.n_kv_heads == config.n_heads:
        return "multi-head"
    return "grouped-query" if config.n_kv_heads > 1 else "multi-query"


def _kept(config: ModelConfig) -> _Kept:
    attention = config.attention
    if attention.kind == "latent":
        return _Kept(attention.kv_rank + attention.d_rope, 1)
    return _Kept(2 * config.n_kv_heads * config.d_head, 2 * config.n_kv_heads)


def _windowed_layers(config: ModelConfig) -> int:
    """Return how many layers keep no more than a window's positions; those of latent attention keep all."""
    attention, pattern = config.attention, config.attention.window_pattern
    if attention.kind == "latent" or attention.window is None:
        return 0
    rounds, rest = divmod(config.n_layers, len(pattern))
    return rounds * pattern.count("L") + pattern[:rest].count("L")
