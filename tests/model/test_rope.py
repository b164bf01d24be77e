from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.rope import RotaryPosition, Rotation, attention_factor, rotary_positions

Make = Callable[..., ModelConfig]


def rotary(make_config: Make, **position: object) -> RotaryPosition:
    module = RotaryPosition(make_config(d_model=32, position={"kind": "rope", **position}))
    module.to_empty(device="cpu")
    module.fill()
    return module


def turn(module: RotaryPosition, start: int, length: int) -> Rotation:
    return module.rotation(start, length, dtype=torch.float32)


@pytest.mark.parametrize(("pairing", "pairs"), [("half", [(0, 4), (1, 5)]), ("adjacent", [(0, 1), (2, 3)])])
def test_pair_rotation(make_config: Make, pairing: str, pairs: list[tuple[int, int]]) -> None:
    module = rotary(make_config, pairing=pairing, theta=100.0)
    x = torch.randn(1, 1, 3, 8)
    turned = turn(module, 4, 3).rotate(x)
    for row in range(3):
        for index, (i, j) in enumerate(pairs):
            angle = (4 + row) * 100.0 ** (-2 * index / 8)
            a, b = x[0, 0, row, i], x[0, 0, row, j]
            expected = a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle)
            torch.testing.assert_close(turned[0, 0, row, [i, j]], torch.stack(expected))


def test_partial_rotation(make_config: Make) -> None:
    module = rotary(make_config, rotary_fraction=0.5)
    x = torch.randn(1, 2, 3, 8)
    turned = turn(module, 1, 3).rotate(x)
    assert torch.equal(turned[..., 4:], x[..., 4:])
    assert not torch.equal(turned[..., :4], x[..., :4])


@pytest.mark.parametrize(("fraction", "n_rotated"), [(0.25, 1), (0.5, 2), (0.6, 2), (0.75, 3), (1.0, 4)])
def test_proportional_rotation(make_config: Make, fraction: float, n_rotated: int) -> None:
    """The frequencies equal those of a fully rotated head; the lowest ones are 0."""
    found = rotary(make_config, rotary_fraction=fraction, proportional=True).frequencies
    expected = rotary(make_config).frequencies.where(torch.arange(4) < n_rotated, 0)
    torch.testing.assert_close(found, expected)


def test_scores_depend_only_on_distance(make_config: Make) -> None:
    module = rotary(make_config)
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    scores = [(turn(module, start + 3, 1).rotate(q) * turn(module, start, 1).rotate(k)).sum() for start in (0, 5, 100)]
    torch.testing.assert_close(scores[1:], scores[:1] * 2, atol=1e-4, rtol=1e-4)


def test_linear_scaling(make_config: Make) -> None:
    stretched = rotary(make_config, scaling="linear", scaling_factor=4.0)
    torch.testing.assert_close(turn(stretched, 8, 1).cos, turn(rotary(make_config), 2, 1).cos)


def test_llama3_scaling(make_config: Make) -> None:
    plain = rotary(make_config).frequencies
    scaled = rotary(make_config, scaling="llama3", scaling_factor=8.0, original_max_len=64).frequencies
    wavelengths = 2 * math.pi / plain
    assert torch.equal(scaled[wavelengths < 64 / 4], plain[wavelengths < 64 / 4])
    long = wavelengths > 64
    assert long.any()
    torch.testing.assert_close(scaled[long], plain[long] / 8)


def test_yarn_attention_factor(make_config: Make) -> None:
    config = make_config(
        d_model=32, position={"kind": "rope", "scaling": "yarn", "scaling_factor": 4.0, "original_max_len": 8}
    )
    assert attention_factor(config.position) == pytest.approx(0.1 * math.log(4) + 1)
    module = RotaryPosition(config)
    module.to_empty(device="cpu")
    module.fill()
    norm = turn(module, 3, 1).rotate(torch.ones(1, 1, 1, 8)).norm() / math.sqrt(8)
    assert float(norm) == pytest.approx(attention_factor(config.position))


@pytest.mark.parametrize(
    ("truncate", "first"), [(True, 2.0), (False, 8 * math.log(1000 / (64 * math.pi)) / (2 * math.log(10)))]
)
def test_yarn_truncation(make_config: Make, truncate: bool, first: float) -> None:
    """Pair 2.79 makes 32 turns in 1,000 positions, and none of the last makes less than one."""
    scaling = {"scaling": "yarn", "scaling_factor": 4.0, "original_max_len": 1000, "theta": 10.0, "truncate": truncate}
    ratio = float(rotary(make_config, **scaling).frequencies[3] / rotary(make_config, theta=10.0).frequencies[3])
    stretched = (3 - first) / (7 - first)
    assert ratio == pytest.approx(1 - stretched + stretched / 4)


def test_dynamic_scaling(make_config: Make) -> None:
    """Beyond the original length, the longest wavelength is stretched by s · length / original - (s - 1)."""
    module = rotary(make_config, scaling="dynamic", scaling_factor=2.0, original_max_len=8)
    original, stretched = (turn(module, 0, length).sin[1, -1] for length in (8, 24))  # of the slowest pair
    assert float(original / stretched) == pytest.approx(2 * 24 / 8 - 1, rel=1e-4)


def test_scaling_keys(make_config: Make) -> None:
    dynamic = rotary(make_config, scaling="dynamic", scaling_factor=2.0, original_max_len=8)
    assert [dynamic.scaling_key(length) for length in (1, 8, 9, 12)] == [0, 0, 9, 12]
    torch.testing.assert_close(turn(dynamic, 0, 8).cos, turn(rotary(make_config), 0, 8).cos)
    assert not torch.allclose(turn(dynamic, 0, 12).cos[:8], turn(rotary(make_config), 0, 8).cos)
    factors = {"short_factors": [1.0] * 4, "long_factors": [2.0] * 4}
    long = rotary(make_config, scaling="longrope", original_max_len=8, **factors)
    assert [long.scaling_key(length) for length in (8, 9, 100)] == [0, 1, 1]
    torch.testing.assert_close(turn(long, 0, 8).cos, turn(rotary(make_config), 0, 8).cos)
    torch.testing.assert_close(turn(long, 4, 6).cos[4], turn(rotary(make_config), 4, 1).cos[0])


def test_local_theta(make_config: Make) -> None:
    """Scaling does not affect windowed layers with a theta; other layers have another encoding."""
    position = {"kind": "rope", "theta": 1e6, "local_theta": 100.0, "scaling": "linear", "scaling_factor": 8.0}
    config = make_config(d_model=32, position=position, attention={"window": 4, "window_pattern": "LGL"})
    model = TinyTransformerLM.from_config(config)
    local, scaled = rotary_positions(model.embedding.positional_encoding)
    torch.testing.assert_close(turn(local, 3, 1).cos, turn(rotary(make_config, theta=100.0), 3, 1).cos)
    assert torch.equal(scaled.frequencies * 8, rotary(make_config, theta=1e6).frequencies)


def test_frequencies_stay_in_float32(make_config: Make) -> None:
    module = rotary(make_config)
    before = module.frequencies.clone()
    module.to(torch.bfloat16)
    assert module.frequencies.dtype == torch.float32
    assert torch.equal(module.frequencies, before)
