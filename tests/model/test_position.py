from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tinylm_cli.config.choices import Sinusoids
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import position
from tinylm_cli.model.position import LearnedPosition, NoPosition, SinusoidalPosition, build_position


def filled(max_len: int, d_model: int, dtype: torch.dtype = torch.float32) -> SinusoidalPosition:
    module = SinusoidalPosition(max_len, d_model)
    module.table = torch.empty(max_len, d_model, dtype=dtype)
    module.fill()
    return module


@pytest.mark.parametrize(("step", "dimension"), [(0, 0), (0, 1), (1, 0), (7, 3), (11, 5), (4999, 0), (4999, 6)])
def test_sinusoids(step: int, dimension: int) -> None:
    angle = step / 10_000 ** ((dimension - dimension % 2) / 8)
    expected = math.cos(angle) if dimension % 2 else math.sin(angle)
    assert float(filled(5000, 8).table[step, dimension]) == pytest.approx(expected, abs=6e-8)


@pytest.mark.parametrize(("sinusoids", "steps"), [("concatenated", 4), ("tensor2tensor", 3)])
@pytest.mark.parametrize(("step", "dimension"), [(0, 0), (0, 7), (7, 2), (11, 5), (30, 3), (30, 7)])
def test_concatenated_sinusoids(sinusoids: Sinusoids, steps: int, step: int, dimension: int) -> None:
    module = SinusoidalPosition(40, 8, offset=2, sinusoids=sinusoids)
    module.table = torch.empty(40, 8)
    module.fill()
    angle = (step + 2) / 10_000 ** (dimension % 4 / steps)
    expected = math.cos(angle) if dimension >= 4 else math.sin(angle)
    assert float(module.table[step, dimension]) == pytest.approx(expected, abs=6e-8)


def test_narrowest_sinusoids() -> None:
    module = SinusoidalPosition(3, 2, sinusoids="tensor2tensor")
    module.table = torch.empty(3, 2)
    module.fill()
    assert module.table[2].tolist() == pytest.approx([math.sin(2), math.cos(2)], abs=6e-8)


def test_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filled(37, 6).table
    monkeypatch.setattr(position, "CHUNK_ANGLES", 12)
    assert torch.equal(filled(37, 6).table, whole)


def test_half_precision_table() -> None:
    wide = filled(50, 6, torch.float64).table
    assert torch.equal(filled(50, 6, torch.bfloat16).table, wide.to(torch.bfloat16))


def test_table_not_in_state_dict() -> None:
    module = filled(5, 4)
    assert not list(module.parameters())
    assert not module.state_dict()
    assert dict(module.named_buffers()).keys() == {"table"}


def test_positions_count_from_start() -> None:
    module = filled(9, 4)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(module(x, 5), x + module.table[5:8])


def test_learned_positions() -> None:
    module = LearnedPosition(9, 4).to_empty(device="cpu")
    torch.nn.init.normal_(module.weight)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(module(x, 5), x + module.weight[5:8])
    assert module.state_dict().keys() == {"weight"}


def test_no_positions_change_nothing() -> None:
    x = torch.randn(2, 3, 4)
    assert NoPosition()(x, 5) is x


def test_config_selects_the_module(make_config: Callable[..., ModelConfig]) -> None:
    kinds = {"sinusoidal": SinusoidalPosition, "learned": LearnedPosition, "none": NoPosition}
    for kind, module in kinds.items():
        assert type(build_position(make_config(position={"kind": kind}))) is module
