"""Lightning attention: in chunks and in steps, compared with transformers' module and with the recurrence."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import pytest
import torch
from torch import Tensor, nn
from transformers import MiniMaxConfig
from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.mixers.lightning_attention import (
    LightningAttention,
    LightningAttentionState,
    chunked_linear_attention,
)

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]

H, K, T = 3, 6, 23
MIXER = {"mixer": "lightning_attention"}


def lightning_attention(make_config: Make, randomized: Randomize, **fields: object) -> LightningAttention:
    sizes: dict[str, object] = {"n_heads": H, "d_head": K, "o_norm_eps": 1e-6, "chunk_len": 8}
    module = LightningAttention(make_config(n_layers=4, block=MIXER, lightning_attention=sizes | fields))
    randomized(module)
    return module


def fused(ours: LightningAttention) -> dict[str, Tensor]:
    """Return the weights as MiniMax stores them: of each head, its queries, keys and values."""
    weights = ours.state_dict()
    rows = [weights[f"{part}_proj.weight"].unflatten(0, (H, K)) for part in "qkv"]
    return {
        "qkv_proj.weight": torch.cat(rows, dim=1).flatten(0, 1),
        "output_gate.weight": weights["gate_proj.weight"],
        "norm.weight": weights["o_norm.weight"],
        "out_proj.weight": weights["o_proj.weight"],
    }


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_equals_transformers(make_config: Make, randomized: Randomize, layer: int) -> None:
    """Its decays are slower in deeper layers."""
    ours = lightning_attention(make_config, randomized)
    ours.set_layer(layer)
    config = MiniMaxConfig(
        hidden_size=16,
        num_attention_heads=H,
        head_dim=K,
        num_hidden_layers=4,
        block_size=8,
        layer_types=["linear_attention"] * 4,
    )
    theirs = MiniMaxLightningAttention(config, layer)
    missing, other = theirs.load_state_dict(fused(ours), strict=False)
    assert set(missing) == {"slope_rate", "query_decay", "key_decay", "diagonal_decay"}
    assert not other
    x = torch.randn(2, T, 16)
    torch.testing.assert_close(ours(x), theirs(x, (x, x), None)[0], rtol=1e-5, atol=1e-5)


def test_layers_of_a_model_know_their_index(make_config: Make) -> None:
    model = TinyTransformerLM.from_config(make_config(n_layers=3, block=MIXER, lightning_attention={"n_heads": 2}))
    mixers = [model.get_submodule(f"blocks.{layer}.lightning_attention") for layer in range(3)]
    factors = [mixer._slope_factor for mixer in mixers]
    assert factors == pytest.approx([1 + 1e-5, 0.5 + 1e-5, 1.5e-5], rel=1e-3)


@pytest.mark.parametrize("lengths", [[T], [1] * T, [9, 1, 1, T - 11]])
def test_steps_equal_the_chunked_form(make_config: Make, randomized: Randomize, lengths: list[int]) -> None:
    module = lightning_attention(make_config, randomized)
    x = torch.randn(2, T, 16)
    state = LightningAttentionState(torch.zeros(2, H, K, K))
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk_len", [1, 2, 5, 7, 64])
def test_chunks_equal_the_recurrence(chunk_len: int) -> None:
    """Each position as the recurrence is written: decay, add the key times the value, read with the query."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, H, 7, K, dtype=torch.float64)
    slopes = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    state = torch.randn(2, H, K, K, dtype=torch.float64)
    memory = state.clone()
    found = chunked_linear_attention(q, k, v, slopes, chunk_len=chunk_len, memory=memory)
    for t in range(7):
        decays = torch.tensor([exp(-slope) for slope in slopes], dtype=torch.float64)
        state = decays[:, None, None] * state + k[:, :, t, :, None] * v[:, :, t, None]
        torch.testing.assert_close(found[:, :, t], torch.einsum("bhkv,bhk->bhv", state, q[:, :, t]))
    torch.testing.assert_close(memory, state)


def test_fast_decay_does_not_overflow() -> None:
    """Over a chunk, the decay is below the smallest float."""
    ones = torch.ones(1, 1, 130, 1)
    found = chunked_linear_attention(ones, ones, ones, torch.tensor([50.0]), chunk_len=64)
    torch.testing.assert_close(found, ones)
