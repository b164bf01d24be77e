"""An exported model, also an equivalent one, computes the logits of the original."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.small_models import build
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.export_config import export_config
from tinylm_cli.interop.weights.export_weights import export_model
from tinylm_cli.interop.weights.load_model import open_model
from tinylm_cli.model import TinyTransformerLM

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

SIZES: dict[str, Any] = {
    "vocab_size": 11,
    "d_model": 8,
    "n_heads": 2,
    "n_layers": 2,
    "d_ff": 12,
    "max_len": 16,
    "dropout": 0.0,
}
TOKENS = torch.randint(11, (2, 16), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("multiplier", [1.0, None])
@pytest.mark.parametrize(
    ("position", "bias"),
    [
        ({"kind": "sinusoidal"}, True),
        ({"kind": "sinusoidal"}, False),
        ({"kind": "learned"}, True),
        ({"kind": "learned", "offset": 3}, False),
        ({"kind": "none"}, True),
    ],
)
def test_same_logits(
    position: dict[str, Any], multiplier: float | None, tmp_path: Path, *, bias: bool, tied: bool
) -> None:
    """Scaled embeddings, sinusoids, a table with an offset, and absent positions or biases are written as a gpt2.

    transformers computes the same from it, and only biases and positions that the model lacks are stored as zeros.
    """
    embedding = {} if multiplier is None else {"embedding": {"multiplier": multiplier}}
    feed_forward = {"activation": "gelu_tanh", "bias": bias}
    parts = {"position": position, "attention": {"bias": bias}, "feed_forward": feed_forward, "tie_weights": tied}
    config = ModelConfig.model_validate({**SIZES, **embedding, **parts})
    model = TinyTransformerLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(0)
    exported = export_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
        expected = model(TOKENS)
        written = export_model(model, exported, tmp_path / "out")
        found = open_model(tmp_path / "out").eval()(TOKENS)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert written == len(stored)
    assert exported.family == "gpt2"
    assert any(change.startswith("embedding.multiplier: ") for change in exported.changes) == (multiplier is None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits(in_transformers(tmp_path / "out")), expected, atol=1e-5, rtol=1e-5)
    biases = {name for name in stored if name.endswith(".bias") and ".ln_" not in name}
    absent = (set() if bias else biases) | ({"transformer.wpe.weight"} if position["kind"] == "none" else set())
    assert {name for name, values in stored.items() if not values.any()} == absent


def in_transformers(folder: Path) -> Any:
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(report.values())
    return model.eval()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(TOKENS, use_cache=False).logits
    return found


def test_every_tensor_counts(tmp_path: Path) -> None:
    """The logits of transformers change if any stored tensor of a rewritten model is zeros instead."""
    model = build(**SIZES)
    exported = export_config(model.config)
    assert exported.changes
    export_model(model, exported, tmp_path / "out")
    theirs = in_transformers(tmp_path / "out")
    expected = logits(theirs)
    for name, parameter in theirs.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.zero_()
        assert (logits(theirs) - expected).abs().max() > 1e-4, name
        with torch.no_grad():
            parameter.copy_(kept)


def test_meta_is_rejected(tmp_path: Path) -> None:
    config = ModelConfig.model_validate(SIZES)
    model = TinyTransformerLM.from_config(config, device="meta")
    with pytest.raises(ValueError, match="on meta"):
        export_model(model, export_config(config), tmp_path / "out")
    assert not (tmp_path / "out").exists()
