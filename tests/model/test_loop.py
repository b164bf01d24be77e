"""The order of looped layers, and the hidden states that passes read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.loop import Loop, layer_order


def make(n_layers: int, loop: dict[str, Any], **fields: Any) -> ModelConfig:
    sizes = {"vocab_size": 23, "d_model": 8, "n_heads": 2, "d_ff": 12, "max_len": 16, "dropout": 0.0}
    values = {**sizes, "n_layers": n_layers, "norm": {"kind": "rmsnorm"}, "loop": loop, **fields}
    return ModelConfig.model_validate(values)


@pytest.mark.parametrize("placement", ["post_residual", "pre"])
def test_copied_weights(placement: str) -> None:
    """Without a final norm, the model equals a deeper one whose layers are copies."""
    fields = {"norm": {"kind": "layernorm", "placement": placement}}
    looped = TinyTransformerLM.from_config(
        make(3, {"n_loops": 2, "n_prelude_layers": 1, "n_coda_layers": 1}, **fields), dtype=torch.float64
    )
    deep = TinyTransformerLM.from_config(make(4, {}, **fields), dtype=torch.float64)
    weights = looped.state_dict()
    for layer, source in enumerate((0, 1, 1, 2)):
        own = {name.removeprefix(f"blocks.{source}."): value for name, value in weights.items()}
        names = deep.blocks[layer].state_dict()
        deep.blocks[layer].load_state_dict({name: own[name] for name in names})
    outside = {name: value for name, value in weights.items() if not name.startswith("blocks.")}
    deep.load_state_dict(outside, strict=False)
    tokens = torch.arange(10).view(2, 5)
    same = torch.allclose(looped(tokens), deep(tokens), rtol=0, atol=1e-12)
    assert same == (placement == "post_residual"), "otherwise, the final norm also follows the prelude and a pass"


def test_states_of_passes() -> None:
    """By hand, with layers that add 1, 2, … to their input, and a norm that doubles it."""

    class Double(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    def result(n_layers: int, loop: dict[str, Any], *, low: float = 0.0) -> tuple[float, list[float]]:
        module = Loop(make(n_layers, loop))
        module.to_empty(device="cpu").fill()
        if "n_low_layers" in loop:
            module.low_init += low
        inputs: list[float] = []

        def run(x: Tensor, layer: int) -> Tensor:
            inputs.append(float(x.flatten()[0]))
            return x + layer + 1

        return float(module(torch.full((1, 1, 8), 10.0), run, Double()).flatten()[0]), inputs

    assert result(1, {"n_loops": 3}) == (2 * (2 * 11 + 1) + 1, [10, 22, 46])
    # the prelude returns 11, and its norm 22, which is added to every pass
    loop = {"n_loops": 2, "n_prelude_layers": 1, "n_coda_layers": 1, "inject": True}
    assert result(3, loop) == (2 * 46 + 22 + 2 + 3, [10, 44, 114, 116])
    # low: 2 × (3 + 10 + 1); 2 × (28 + 10 + 1); high: 10 + 78 + 2
    low_passes = {"n_loops": 1, "n_low_layers": 1, "n_low_loops": 2}
    assert result(2, low_passes, low=3.0) == (90, [13, 38, 88])
    # then low: 2 × (78 + 180 + 1); 2 × (518 + 180 + 1); high: 180 + 1398 + 2
    assert result(2, {**low_passes, "n_loops": 2}, low=3.0) == (1580, [13, 38, 88, 258, 698, 1578])


def test_order() -> None:
    assert layer_order(make(3, {})) == (0, 1, 2)
    assert layer_order(make(4, {"n_loops": 2, "n_prelude_layers": 1, "n_coda_layers": 1})) == (0, 1, 2, 1, 2, 3)
    assert layer_order(make(3, {"n_loops": 2, "n_low_layers": 1, "n_low_loops": 2})) == (0, 0, 1, 2, 0, 0, 1, 2)


@pytest.mark.parametrize("loop", [{"n_loops": 2, "inject": True}, {"n_loops": 2, "n_low_layers": 1, "n_low_loops": 2}])
def test_each_pass_has_a_cache(loop: dict[str, Any]) -> None:
    model = TinyTransformerLM.from_config(make(2, loop), dtype=torch.float64)
    start = torch.arange(6).view(2, 3)
    tokens = start
    for _ in range(6):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(model.generate(start, 6, temperature=0), tokens)


def test_first_low_level_state() -> None:
    """A buffer of the model's dtype, which is stored, but has no gradient."""
    model = TinyTransformerLM.from_config(make(2, {"n_loops": 1, "n_low_layers": 1}), dtype=torch.bfloat16)
    state = model.state_dict()["loop.low_init"]
    assert state.dtype == torch.bfloat16
    assert torch.equal(state, torch.zeros(8, dtype=torch.bfloat16))
    assert "loop.low_init" not in dict(model.named_parameters())
    before = model(torch.tensor([[1, 2]]))
    state.fill_(1.0)
    assert not torch.equal(model(torch.tensor([[1, 2]])), before)


def test_settings() -> None:
    loop = {"n_loops": 2, "n_prelude_layers": 1, "n_coda_layers": 1, "n_low_layers": 1, "n_low_loops": 3}
    shown = "n_loops=2, n_low_layers=1, n_low_loops=3, n_prelude_layers=1, n_coda_layers=1"
    assert Loop(make(4, loop)).extra_repr() == shown
