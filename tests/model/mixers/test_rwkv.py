"""RWKV's time mixing: the parallel form and steps, and compared with transformers' module and the definition."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import RwkvConfig
from transformers.models.rwkv.modeling_rwkv import RwkvSelfAttention

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.mixers.rwkv import Rwkv, RwkvState, decaying_average

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
LENGTH = 11
STORED = {
    "decay": "time_decay",
    "bonus": "time_first",
    "mix_r": "time_mix_receptance",
    "mix_k": "time_mix_key",
    "mix_v": "time_mix_value",
    "r_proj.weight": "receptance.weight",
    "k_proj.weight": "key.weight",
    "v_proj.weight": "value.weight",
    "o_proj.weight": "output.weight",
}


def rwkv(make_config: Make, randomized: Randomize, **fields: object) -> Rwkv:
    module = Rwkv(make_config(block={"mixer": "rwkv"}, rwkv=fields))
    randomized(module)
    return module


def empty_state(module: Rwkv, batch_size: int) -> RwkvState:
    (d_inner,), (d_model,) = module.decay.shape, module.mix_r.shape
    sums = [torch.zeros(1, batch_size, 1, d_inner) for _ in range(3)]
    (state,) = RwkvState.of_layers([torch.zeros(1, batch_size, 1, d_model), *sums], start=0, count=1)
    return state


def in_transformers(ours: Rwkv) -> RwkvSelfAttention:
    """Return the module of transformers with the same parameters."""
    (d_inner,), (d_model,) = ours.decay.shape, ours.mix_r.shape
    config = RwkvConfig(hidden_size=d_model, attention_hidden_size=d_inner, num_hidden_layers=1)
    theirs = RwkvSelfAttention(config).to(ours.decay.dtype)  # type: ignore[no-untyped-call]
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    tensors = {STORED[name]: tensor for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict({name: tensor.view(shapes[name]) for name, tensor in tensors.items()})
    return theirs


@pytest.mark.parametrize("d_inner", [16, 24])
def test_equals_transformers(make_config: Make, randomized: Randomize, d_inner: int) -> None:
    ours = rwkv(make_config, randomized, d_inner=d_inner)
    x = torch.randn(2, LENGTH, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), in_transformers(ours)(x)[0], rtol=1e-5, atol=1e-5)


def test_gradients_equal_transformers(make_config: Make, randomized: Randomize) -> None:
    """Although none flows through the exponents, by which both sums are divided."""
    ours = rwkv(make_config, randomized).double()
    theirs, x = in_transformers(ours), torch.randn(2, LENGTH, 16, dtype=torch.float64)
    ours(x).square().sum().backward()
    theirs(x)[0].square().sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        gradient = expected[STORED[name]].grad
        assert gradient is not None
        torch.testing.assert_close(parameter.grad, gradient.view(parameter.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [[LENGTH], [1] * LENGTH, [4, 1, 1, 5], [1, 9, 1]])
def test_steps_equal_the_parallel_form(make_config: Make, randomized: Randomize, lengths: list[int]) -> None:
    module = rwkv(make_config, randomized, d_inner=24)
    x = torch.randn(2, LENGTH, 16)
    state = empty_state(module, 2)
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


def by_definition(key: Tensor, value: Tensor, rate: Tensor, bonus: Tensor) -> Tensor:
    """Return a softmax over the positions at each of them."""
    averages = []
    for t in range(key.shape[1]):
        distance = torch.arange(t - 1, -1, -1)[:, None]
        exponents = torch.cat([key[:, :t] - distance * rate, key[:, t : t + 1] + bonus], dim=1)
        averages.append((exponents.softmax(1) * value[:, : t + 1]).sum(1))
    return torch.stack(averages, dim=1)


@pytest.mark.parametrize("size", [1.0, 300.0])
def test_averages(size: float) -> None:
    """By definition; also of keys whose exponentials overflow and underflow."""
    key, value = size * torch.randn(2, 7, 6), torch.randn(2, 7, 6)
    key[:, 0] = -2 * size
    rate, bonus = torch.rand(6), torch.randn(6)
    found = decaying_average(key, value, rate, bonus)
    torch.testing.assert_close(found, by_definition(key, value, rate, bonus), rtol=1e-5, atol=1e-5)


def test_initial_values(make_config: Make) -> None:
    """As in the reference implementation; the bonus of transformers differs."""
    config = make_config(n_layers=3, block={"mixer": "rwkv"}, rwkv={"d_inner": 6})
    values = dict(TinyTransformerLM.from_config(config, seed=3).named_parameters())
    last = {name: values[f"blocks.2.rwkv.{name}"].tolist() for name in ("decay", "bonus", "mix_k", "mix_v", "mix_r")}
    assert last["decay"] == pytest.approx([8 * (index / 5) ** 2.0 - 5 for index in range(6)], abs=1e-6)
    assert values["blocks.0.rwkv.decay"][1].item() == pytest.approx(8 * 0.2**0.7 - 5, abs=1e-6)
    assert last["bonus"] == pytest.approx([math.log(0.3) + each for each in (0, 0.5, -0.5, 0, 0.5, -0.5)])
    assert last["mix_k"] == pytest.approx([(index / 16) ** (1 / 3) for index in range(16)])
    assert last["mix_v"] == pytest.approx([(index / 16) ** (1 / 3) + 0.3 for index in range(16)])
    assert last["mix_r"] == pytest.approx([(index / 16) ** (1 / 6) for index in range(16)])
    assert 0.015 < values["blocks.2.rwkv.r_proj.weight"].std() < 0.025
