"""Mamba-2: in chunks and in steps, and compared with transformers' module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Mamba2Config
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.mixers.mamba2 import Mamba2, Mamba2State, chunked_scan

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
SMALL = {"d_head": 8, "d_state": 5, "chunk_len": 4}
LENGTH = 11


def mamba2(make_config: Make, randomized: Randomize, **fields: object) -> Mamba2:
    module = Mamba2(make_config(block={"mixer": "mamba2"}, mamba2={**SMALL, **fields}))
    randomized(module)
    return module


def empty(module: Mamba2) -> Mamba2State:
    ssm = torch.zeros(2, module.n_heads, module.d_head, module.d_state)
    return Mamba2State(torch.zeros(2, module.conv.kernel_size - 1, module.conv.channels), ssm)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n_groups": 2, "bias": True, "conv_bias": False},
        {"n_groups": 4, "kernel_size": 2, "min_dt": 0.3, "max_dt": 0.9},
        {"chunk_len": 64},
        {"chunk_len": 1},
    ],
)
def test_equals_transformers(make_config: Make, randomized: Randomize, fields: dict[str, Any]) -> None:
    ours = mamba2(make_config, randomized, **fields)
    given: dict[str, Any] = {**SMALL, **fields}
    config = Mamba2Config(
        hidden_size=16,
        num_heads=4,
        head_dim=8,
        state_size=5,
        n_groups=given.get("n_groups", 1),
        conv_kernel=given.get("kernel_size", 4),
        use_bias=bool(given.get("bias", False)),
        use_conv_bias=bool(given.get("conv_bias", True)),
        time_step_limit=(given.get("min_dt", 0.0), given.get("max_dt", float("inf"))),
        chunk_size=given["chunk_len"],
        layer_norm_epsilon=1e-5,
        num_hidden_layers=1,
    )
    theirs = Mamba2Mixer(config, layer_idx=0)
    theirs.load_state_dict({name.replace("conv.", "conv1d."): value for name, value in ours.state_dict().items()})
    x = torch.randn(2, LENGTH, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [[LENGTH], [1] * LENGTH, [4, 1, 1, 5], [1, 9, 1]])
@pytest.mark.parametrize("norm", ["grouped", "full", "none"])
@pytest.mark.parametrize("n_groups", [1, 2])
def test_steps_equal_the_parallel_form(
    make_config: Make, randomized: Randomize, n_groups: int, norm: str, lengths: list[int]
) -> None:
    module = mamba2(make_config, randomized, n_groups=n_groups, norm=norm, max_dt=0.9)
    x = torch.randn(2, LENGTH, 16)
    state = empty(module)
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk_len", [1, 2, 3, 7, 8, 100])
def test_scan_equals_the_recurrence(chunk_len: int) -> None:
    """By definition, head by head and position by position."""
    batch, length, heads, d_head, groups, d_state = 2, 7, 6, 3, 2, 4
    x, decay = torch.randn(batch, length, heads, d_head), -torch.rand(batch, length, heads)
    b, c = torch.randn(2, batch, length, groups, d_state)
    state = torch.randn(batch, heads, d_head, d_state)
    expected_state, expected = state.clone(), torch.empty_like(x)
    for t in range(length):
        for head in range(heads):
            group = head // (heads // groups)
            kept = decay[:, t, head].exp()[:, None, None] * expected_state[:, head]
            expected_state[:, head] = kept + x[:, t, head, :, None] * b[:, t, group, None, :]
            expected[:, t, head] = (expected_state[:, head] * c[:, t, group, None, :]).sum(-1)
    found = chunked_scan(x, decay, b, c, chunk_len=chunk_len, state=state)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, expected_state, rtol=1e-5, atol=1e-5)


def test_norms(make_config: Make, randomized: Randomize) -> None:
    """With one group both norms are the same; a group's norm does not see the other groups."""
    grouped, full = (mamba2(make_config, randomized, norm=norm) for norm in ("grouped", "full"))
    x = torch.randn(2, 3, 16)
    assert torch.equal(grouped(x), full(x))
    of_two = mamba2(make_config, randomized, norm="grouped", n_groups=2)
    assert of_two.norm is not None
    y = torch.randn(1, 1, 32)
    changed = y.clone()
    changed[..., 16:] *= 7.0
    torch.testing.assert_close(of_two.norm(y)[..., :16], of_two.norm(changed)[..., :16])
    torch.testing.assert_close(of_two.norm(y), of_two.norm(changed), rtol=1e-4, atol=1e-4)


def test_initial_values(make_config: Make) -> None:
    config = make_config(block={"mixer": "mamba2"}, mamba2={"d_head": 8, "n_heads": 500})
    values = dict(TinyTransformerLM.from_config(config, seed=3).named_parameters())
    prefix = "blocks.0.mamba2"
    decay, dt = values[f"{prefix}.A_log"].exp(), nn.functional.softplus(values[f"{prefix}.dt_bias"])
    assert 1.0 <= decay.min() < 1.5 < 15.5 < decay.max() <= 16.0
    assert 0.00099 <= dt.min() < 0.0012 < 0.09 < dt.max() <= 0.1001
    assert abs(dt.log().mean().item() - torch.tensor([0.001, 0.1]).log().mean().item()) < 0.2
    assert values[f"{prefix}.D"].eq(1).all()
    assert values[f"{prefix}.norm.weight"].eq(1).all()
    conv = values[f"{prefix}.conv.weight"]
    assert 0.49 < conv.max() <= 0.5
    assert -0.5 <= conv.min() < -0.49
    assert values[f"{prefix}.conv.bias"].eq(0).all()
    assert 0.019 < values[f"{prefix}.in_proj.weight"].std() < 0.021
    other = dict(TinyTransformerLM.from_config(config, seed=4).named_parameters())
    assert not torch.equal(values[f"{prefix}.A_log"], other[f"{prefix}.A_log"])
