"""Kimi delta attention: in chunks and in steps, compared with transformers' modules and with the recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BailingHybridConfig, KimiLinearConfig
from transformers.models.bailing_hybrid.modeling_bailing_hybrid import BailingHybridDeltaAttention
from transformers.models.kimi_linear.modeling_kimi_linear import KimiLinearDeltaAttention

from tests.model.mixers.delta_rule import assert_delta_rule
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.mixers.kimi_delta_attention import (
    KimiDeltaAttention,
    KimiDeltaAttentionState,
    chunked_channel_delta_rule,
)

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]

H, K, L, T = 2, 6, 4, 23


def kimi_delta_attention(make_config: Make, randomized: Randomize, **fields: object) -> KimiDeltaAttention:
    settings = {"n_heads": H, "d_head": K, "gate_rank": None, "kernel_size": L, "chunk_len": 8} | fields
    module = KimiDeltaAttention(make_config(block={"mixer": "kimi_delta_attention"}, kimi_delta_attention=settings))
    randomized(module)
    return module


def load(theirs: nn.Module, ours: KimiDeltaAttention, renamed: dict[str, str]) -> None:
    """Copy our weights to the module of transformers, in the shapes that it has."""
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    weights = {
        next((name.replace(old, new) for old, new in renamed.items() if name.startswith(old)), name): tensor
        for name, tensor in ours.state_dict().items()
    }
    theirs.load_state_dict({name: tensor.view(shapes[name]) for name, tensor in weights.items()})


def test_equals_kimi_linear(make_config: Make, randomized: Randomize) -> None:
    ours = kimi_delta_attention(make_config, randomized, gate_rank=K)
    config = KimiLinearConfig(
        hidden_size=16, linear_num_heads=H, linear_head_dim=K, linear_conv_kernel_dim=L, rms_norm_eps=1e-5,
        num_hidden_layers=1, layer_types=["linear_attention"],
    )  # fmt: skip
    theirs = KimiLinearDeltaAttention(config, layer_idx=0)
    renamed = {"decay_": "forget_gate.f_", "A_log": "forget_gate.A_log", "dt_bias": "forget_gate.dt_bias"}
    load(theirs, ours, {**renamed, "gate_": "g_", "conv.": "conv1d."})
    x = torch.randn(2, T, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("max_decay_rate", [5.0, None])
def test_equals_bailing_hybrid(make_config: Make, randomized: Randomize, max_decay_rate: float | None) -> None:
    ours = kimi_delta_attention(make_config, randomized, max_decay_rate=max_decay_rate)
    config = BailingHybridConfig(
        hidden_size=16, num_attention_heads=H, head_dim=K, short_conv_kernel_size=L, rms_norm_eps=1e-5,
        num_hidden_layers=1, layer_types=["linear_attention"], kda_safe_gate=max_decay_rate is not None,
    )  # fmt: skip
    config.linear_head_dim = K
    theirs = BailingHybridDeltaAttention(config, layer_idx=0)
    renamed = {"decay_": "forget_gate.f_", "A_log": "forget_gate.A_log", "dt_bias": "forget_gate.dt_bias"}
    load(theirs, ours, {**renamed, "gate_": "g_", "conv.": "conv1d."})
    x = torch.randn(2, T, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"gate_rank": 3}, {"max_decay_rate": 5.0}])
@pytest.mark.parametrize("lengths", [[T], [1] * T, [9, 1, 1, T - 11]])
def test_steps_equal_the_chunked_form(
    make_config: Make, randomized: Randomize, lengths: list[int], fields: dict[str, Any]
) -> None:
    module = kimi_delta_attention(make_config, randomized, **fields)
    x = torch.randn(2, T, 16)
    state = KimiDeltaAttentionState(torch.zeros(2, L - 1, 3 * H * K), torch.zeros(2, H, K, K))
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk_len", [1, 2, 5, 7, 64])
def test_chunks_equal_the_recurrence(chunk_len: int) -> None:
    batch, length, d_value = 2, 7, 5
    torch.manual_seed(0)
    q, k = torch.randn(2, batch, length, H, K, dtype=torch.float64)
    k = nn.functional.normalize(k, dim=-1)
    v = torch.randn(batch, length, H, d_value, dtype=torch.float64)
    decay, beta = 5 * torch.rand(batch, length, H, K, dtype=torch.float64), torch.rand(batch, length, H).double()
    state = torch.randn(batch, H, K, d_value, dtype=torch.float64)
    memory = state.clone()
    found = chunked_channel_delta_rule(q, k, v, -decay, beta, chunk_len=chunk_len, memory=memory)
    assert_delta_rule(found, memory, q, k, v, decay, beta, state)


def test_fast_decay_does_not_overflow() -> None:
    """Over a chunk, the decay is below the smallest float; a ratio of two decays is never a quotient."""
    ones = torch.ones(1, 130, 1, 1)
    found = chunked_channel_delta_rule(ones, ones, ones, -50 * ones, ones[..., 0], chunk_len=64)
    torch.testing.assert_close(found, ones)
