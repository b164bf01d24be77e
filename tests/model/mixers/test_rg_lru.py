"""RG-LRU: the parallel form and steps, and compared with transformers' module."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import RecurrentGemmaConfig
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRecurrentBlock

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.mixers.rg_lru import RgLru, RgLruState, linear_recurrence

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
LENGTH = 11
STORED = {
    "decay": "rg_lru.recurrent_param",
    "gate_proj": "linear_y",
    "in_proj": "linear_x",
    "conv": "conv_1d",
    "input_gate": "rg_lru.input_gate_",
    "decay_gate": "rg_lru.recurrent_gate_",
    "out_proj": "linear_out",
}


def rg_lru(make_config: Make, randomized: Randomize, **fields: object) -> RgLru:
    module = RgLru(make_config(block={"mixer": "rg_lru"}, rg_lru={"n_blocks": 2, **fields}))
    randomized(module)
    return module


def stored(name: str) -> str:
    """Return the name of a parameter in transformers."""
    module, _, part = name.partition(".")
    theirs = STORED[module]
    return theirs + part if theirs.endswith("_") else f"{theirs}.{part}".removesuffix(".")


@pytest.mark.parametrize("d_inner", [16, 24])
def test_equals_transformers(make_config: Make, randomized: Randomize, d_inner: int) -> None:
    ours = rg_lru(make_config, randomized, d_inner=d_inner)
    config = RecurrentGemmaConfig(hidden_size=16, lru_width=d_inner, num_attention_heads=2, num_hidden_layers=1)
    theirs = RecurrentGemmaRecurrentBlock(config, layer_idx=0)
    theirs.load_state_dict({stored(name): value for name, value in ours.state_dict().items()})
    x, positions = torch.randn(2, LENGTH, 16), torch.arange(LENGTH)[None]
    with torch.no_grad():
        expected, _ = theirs(x, positions, None, use_cache=False)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [[LENGTH], [1] * LENGTH, [4, 1, 1, 5], [1, 9, 1]])
def test_steps_equal_the_parallel_form(make_config: Make, randomized: Randomize, lengths: list[int]) -> None:
    module = rg_lru(make_config, randomized)
    x = torch.randn(2, LENGTH, 16)
    inputs, hidden = torch.zeros(2, 3, 16), torch.zeros(2, 16)
    start, pieces = 0, []
    with torch.no_grad():
        for piece in torch.split(x, lengths, dim=1):
            pieces.append(module(piece, cache=RgLruState(inputs, hidden, start)))
            start += piece.shape[1]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


def test_recurrence() -> None:
    """By definition, position by position."""
    decay, added, state = torch.rand(2, 7, 6), torch.randn(2, 7, 6), torch.randn(2, 6)
    expected: list[Tensor] = [state.clone()]
    for t in range(7):
        expected.append(decay[:, t] * expected[-1] + added[:, t])
    torch.testing.assert_close(linear_recurrence(decay, added, state), torch.stack(expected[1:], dim=1))
    torch.testing.assert_close(state, expected[-1])


def test_initial_values(make_config: Make) -> None:
    config = make_config(block={"mixer": "rg_lru"}, rg_lru={"d_inner": 600, "n_blocks": 2})
    values = dict(TinyTransformerLM.from_config(config, seed=3).named_parameters())
    decay = (-nn.functional.softplus(values["blocks.0.rg_lru.decay"])).exp()
    assert 0.9 <= decay.min() < 0.905 < 0.994 < decay.max() <= 0.999
    assert values["blocks.0.rg_lru.input_gate.bias"].eq(0).all()
    assert 0.019 < values["blocks.0.rg_lru.decay_gate.weight"].std() < 0.021
