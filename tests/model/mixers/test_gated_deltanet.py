"""Gated DeltaNet: in chunks and in steps, compared with transformers' module and with the recurrence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from tests.model.mixers.delta_rule import assert_delta_rule
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.mixers.gated_deltanet import GatedDeltaNet, GatedDeltaNetState, chunked_delta_rule

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]

G, K, V, L, T = 2, 6, 5, 4, 23


def gated_deltanet(make_config: Make, randomized: Randomize, **fields: object) -> GatedDeltaNet:
    sizes = {"n_key_heads": G, "n_value_heads": 2 * G, "d_key": K, "d_value": V, "kernel_size": L, "chunk_len": 8}
    module = GatedDeltaNet(make_config(block={"mixer": "gated_deltanet"}, gated_deltanet=sizes | fields))
    randomized(module)
    return module


def fused(ours: GatedDeltaNet) -> dict[str, Tensor]:
    """Return the weights as Qwen3-Next stores them: fused projections, by key head."""
    weights = ours.state_dict()

    def by_key_head(*names: str) -> Tensor:
        rows = [weights[f"{name}.weight"].unflatten(0, (ours.n_key_heads, -1)) for name in names]
        return torch.cat(rows, dim=1).flatten(0, 1)

    return {
        "in_proj_qkvz.weight": by_key_head("q_proj", "k_proj", "v_proj", "gate_proj"),
        "in_proj_ba.weight": by_key_head("b_proj", "a_proj"),
        "conv1d.weight": weights["conv.weight"],
        "A_log": weights["A_log"],
        "dt_bias": weights["dt_bias"],
        "norm.weight": weights["o_norm.weight"],
        "out_proj.weight": weights["o_proj.weight"],
    }


@pytest.mark.parametrize("n_value_heads", [G, 3 * G])
def test_equals_transformers(make_config: Make, randomized: Randomize, n_value_heads: int) -> None:
    ours = gated_deltanet(make_config, randomized, n_value_heads=n_value_heads)
    config = Qwen3NextConfig(
        hidden_size=16,
        linear_num_key_heads=G,
        linear_num_value_heads=n_value_heads,
        linear_key_head_dim=K,
        linear_value_head_dim=V,
        linear_conv_kernel_dim=L,
        rms_norm_eps=1e-5,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
    )
    theirs = Qwen3NextGatedDeltaNet(config, layer_idx=0)
    theirs.load_state_dict(fused(ours))
    x = torch.randn(2, T, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"gate": False}, {"negative_eigenvalues": True, "n_value_heads": G}])
@pytest.mark.parametrize("lengths", [[T], [1] * T, [9, 1, 1, T - 11]])
def test_steps_equal_the_chunked_form(
    make_config: Make, randomized: Randomize, lengths: list[int], fields: dict[str, object]
) -> None:
    module = gated_deltanet(make_config, randomized, **fields)
    x = torch.randn(2, T, 16)
    d_values = module.n_value_heads * V
    state = GatedDeltaNetState(torch.zeros(2, L - 1, 2 * G * K + d_values), torch.zeros(2, module.n_value_heads, K, V))
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk_len", [1, 2, 5, 7, 64])
def test_chunks_equal_the_recurrence(chunk_len: int) -> None:
    batch, length, heads = 2, 7, 3
    torch.manual_seed(0)
    q, k = torch.randn(2, batch, length, heads, K, dtype=torch.float64)
    k = nn.functional.normalize(k, dim=-1)
    v = torch.randn(batch, length, heads, V, dtype=torch.float64)
    decay, beta = torch.rand(2, batch, length, heads, dtype=torch.float64)
    state = torch.randn(batch, heads, K, V, dtype=torch.float64)
    memory = state.clone()
    found = chunked_delta_rule(q, k, v, -decay, 2 * beta, chunk_len=chunk_len, memory=memory)
    assert_delta_rule(found, memory, q, k, v, decay[..., None], 2 * beta, state)


def test_fast_decay_does_not_overflow() -> None:
    """Over a chunk, the decay is below the smallest float; a ratio of two decays is never a quotient."""
    ones = torch.ones(1, 130, 1, 1)
    found = chunked_delta_rule(ones, ones, ones, -50 * ones[..., 0], ones[..., 0], chunk_len=64)
    torch.testing.assert_close(found, ones)
