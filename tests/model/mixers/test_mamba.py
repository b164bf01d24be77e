"""Mamba: in chunks and in steps, and compared with transformers' modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import FalconMambaConfig, MambaConfig, ZambaConfig
from transformers.models.falcon_mamba.modeling_falcon_mamba import FalconMambaMixer
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.zamba.modeling_zamba import ZambaMambaMixer

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.mixers.mamba import Mamba, MambaState, selective_scan

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
SMALL = {"d_state": 5, "chunk_len": 4}
LENGTH = 11


def mamba(make_config: Make, randomized: Randomize, **fields: object) -> Mamba:
    module = Mamba(make_config(block={"mixer": "mamba"}, mamba={**SMALL, **fields}))
    randomized(module)
    return module


@pytest.mark.parametrize(
    "fields", [{}, {"bias": True, "conv_bias": False, "dt_rank": 3}, {"norm": "unweighted", "eps": 1e-2}]
)
def test_equals_transformers(make_config: Make, randomized: Randomize, fields: dict[str, Any]) -> None:
    ours = mamba(make_config, randomized, **fields)
    keys: dict[str, Any] = {
        "hidden_size": 16,
        "state_size": 5,
        "time_step_rank": fields.get("dt_rank", "auto"),
        "use_bias": bool(fields.get("bias", False)),
        "use_conv_bias": bool(fields.get("conv_bias", True)),
        "num_hidden_layers": 1,
    }
    if "norm" in fields:
        falcon = FalconMambaConfig(**keys, mixer_rms_eps=1e-2)
        theirs: nn.Module = FalconMambaMixer(falcon, layer_idx=0, initialize_mixer_weights=False)
    else:
        theirs = MambaMixer(MambaConfig(**keys), layer_idx=0)
    theirs.load_state_dict({name.replace("conv.", "conv1d."): value for name, value in ours.state_dict().items()})
    x = torch.randn(2, LENGTH, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_heads_equal_transformers(make_config: Make, randomized: Randomize) -> None:
    """Zamba's mixer, whose input projection gives x and z of each inner dimension in turn."""
    ours = mamba(make_config, randomized, n_heads=4, bias=True, dt_rank=3)
    keys: dict[str, Any] = {"mamba_d_state": 5, "mamba_dt_rank": 3, "n_mamba_heads": 4, "mamba_proj_bias": True}
    theirs = ZambaMambaMixer(ZambaConfig(hidden_size=16, num_hidden_layers=3, **keys), layer_idx=0)
    stored = ours.state_dict()
    for name in ("in_proj.weight", "in_proj.bias"):
        stored[name] = torch.stack(stored[name].chunk(2), dim=1).flatten(0, 1)
    for name in ("x_proj.weight", "dt_proj.weight", "dt_proj.bias", "A_log", "D"):
        by_head = torch.unflatten(stored.pop(name), 0, (4, -1))
        stored[name.replace(".", "_")] = by_head
    theirs.load_state_dict({name.replace("conv.", "conv1d."): value for name, value in stored.items()})
    x = torch.randn(2, LENGTH, 16)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [[LENGTH], [1] * LENGTH, [4, 1, 1, 5], [1, 9, 1]])
@pytest.mark.parametrize("n_heads", [1, 4])
@pytest.mark.parametrize("norm", ["none", "weighted"])
def test_steps_equal_the_parallel_form(
    make_config: Make, randomized: Randomize, norm: str, n_heads: int, lengths: list[int]
) -> None:
    module = mamba(make_config, randomized, norm=norm, n_heads=n_heads)
    x = torch.randn(2, LENGTH, 16)
    state = MambaState(torch.zeros(2, 3, 32), torch.zeros(2, 32, 5))
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk_len", [1, 3, 7, 100])
def test_scan_equals_the_recurrence(chunk_len: int) -> None:
    """By definition, number by number and position by position."""
    batch, length, d_inner, d_state = 2, 7, 6, 4
    x, dt, a = torch.randn(batch, length, d_inner), torch.rand(batch, length, d_inner), -torch.rand(d_inner, d_state)
    b, c = torch.randn(2, batch, length, d_state)
    state = torch.randn(batch, d_inner, d_state)
    expected_state, expected = state.clone(), torch.zeros_like(x)
    for t in range(length):
        for i in range(d_inner):
            for n in range(d_state):
                decay = (dt[:, t, i] * a[i, n]).exp()
                expected_state[:, i, n] = decay * expected_state[:, i, n] + x[:, t, i] * b[:, t, n]
                expected[:, t, i] += expected_state[:, i, n] * c[:, t, n]
    found = selective_scan(x, dt, a, b, c, chunk_len=chunk_len, state=state)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, expected_state, rtol=1e-5, atol=1e-5)


def test_initial_values(make_config: Make) -> None:
    config = make_config(block={"mixer": "mamba"}, mamba={"d_inner": 500, "dt_rank": 4, "norm": "weighted"})
    values = dict(TinyTransformerLM.from_config(config, seed=3).named_parameters())
    prefix = "blocks.0.mamba"
    torch.testing.assert_close(values[f"{prefix}.A_log"].exp(), torch.arange(1.0, 17.0).expand(500, 16))
    dt = nn.functional.softplus(values[f"{prefix}.dt_proj.bias"])
    assert 0.00099 <= dt.min() < 0.0012 < 0.09 < dt.max() <= 0.1001
    weight = values[f"{prefix}.dt_proj.weight"]
    assert 0.49 < weight.max() <= 0.5
    assert -0.5 <= weight.min() < -0.49
    assert all(values[f"{prefix}.{name}"].eq(1).all() for name in ("D", "dt_norm.weight", "b_norm.weight"))
    assert 0.019 < values[f"{prefix}.x_proj.weight"].std() < 0.021
