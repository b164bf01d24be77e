"""The tensor table compared with the module: equal for every architecture; differences are named."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm_cli.analysis.proof import closed_form, prove
from tinylm_cli.config.presets import presets
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.reports.architecture import Proof


def _proved(config: ModelConfig) -> Proof:
    model = TinyTransformerLM.from_config(config, device="meta")
    named = dict(model.named_parameters(remove_duplicate=False))
    assert list(named) == list(closed_form(config))
    shapes = {name: tuple(parameter.shape) for name, parameter in named.items()}
    return prove(config, shapes, sum(parameter.numel() for parameter in model.parameters()))


@pytest.mark.parametrize("name", presets())
@pytest.mark.parametrize("tied", ["true", "false"])
def test_every_preset(name: str, tied: str) -> None:
    assert _proved(load_config(name, [f"tie_weights={tied}"]).config).holds


@settings(max_examples=25)
@given(st.data())
def test_every_architecture(configs: st.SearchStrategy[ModelConfig], data: st.DataObject) -> None:
    proof = _proved(data.draw(configs))
    assert proof.holds, proof.differences


def test_gpt2() -> None:
    config = ModelConfig.model_validate(
        {
            "vocab_size": 50_257,
            "d_model": 768,
            "n_heads": 12,
            "n_layers": 12,
            "d_ff": 3072,
            "position": {"kind": "learned"},
            "feed_forward": {"activation": "gelu_tanh"},
        }
    )
    proof = _proved(config)
    assert proof.holds
    assert proof.instantiated_params == 124_439_808


def test_differences() -> None:
    config = load_config("tiny").config
    shapes = closed_form(config)
    count = 826_112
    assert prove(config, shapes, count).holds
    assert not prove(config, shapes, count + 1).holds
    changed = {**shapes, "ln_f.bias": (127,), "extra.weight": (3,)}
    del changed["lm_head.weight"]
    proof = prove(config, changed, count)
    assert not proof.holds
    assert proof.differences == (
        "ln_f.bias: closed form (128,), module (127,)",
        "lm_head.weight: closed form (256, 128), module absent",
        "extra.weight: closed form absent, module (3,)",
    )


def test_analysis_never_imports_torch() -> None:
    code = (
        "import sys, tinylm_cli.analysis.params, tinylm_cli.analysis.cpu_memory, tinylm_cli.analysis.proof;"
        "sys.exit('torch' in sys.modules or 'tinylm_cli.model' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
