"""Layers without a sequence mixer, by hand: a feed-forward network and its norm."""

from __future__ import annotations

from tinylm_cli.analysis.flops import decode_flops, forward_flops
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig

V, D, F, N = 11, 8, 24, 3

CONFIG = ModelConfig.model_validate(
    {
        "vocab_size": V,
        "d_model": D,
        "n_layers": N,
        "d_ff": F,
        "max_len": 16,
        "tie_weights": True,
        "position": {"kind": "none"},
        "norm": {"kind": "rmsnorm"},
        "block": {"mixer": "none"},
        "feed_forward": {"bias": False},
    }
)


def test_params() -> None:
    """The embedding, two projections and a norm in each layer, and the final norm."""
    table = tensor_table(CONFIG)
    names = {tensor.name.rpartition(".")[0] for section in table for tensor in section.tensors}
    assert not [name for name in names if "attention" in name or "mixer" in name]
    assert total_params(table) == V * D + N * (2 * D * F + D) + D


def test_flops() -> None:
    """Each token costs as much in a step as in a pass: no two positions meet."""
    token = N * 2 * (2 * D * F) + 2 * V * D
    assert forward_flops(CONFIG, batch_size=3, seq_len=5) == 3 * 5 * token
    assert decode_flops(CONFIG, context_len=9) == token


def test_no_cache() -> None:
    assert kv_cache_bytes(CONFIG, batch_size=3, seq_len=16, dtype="float32") == 0
