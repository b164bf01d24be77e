"""AltUp and LAuReL: the modules of transformers, and a block by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers.models.gemma3n.configuration_gemma3n import Gemma3nTextConfig
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextAltUp, Gemma3nTextLaurelBlock

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.altup import MIN_MEAN_SQUARE, AltUp, StreamMean, StreamSplit
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.laurel import Laurel
from tinylm_cli.model.per_layer_embedding import PerLayerInput

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
N = 3


def theirs_config() -> Gemma3nTextConfig:
    return Gemma3nTextConfig(hidden_size=16, altup_num_inputs=N, laurel_rank=5, rms_norm_eps=1e-3)


@pytest.fixture
def config(make_config: Make) -> ModelConfig:
    return make_config(norm={"kind": "rmsnorm", "eps": 1e-3}, block={"altup_streams": N, "laurel_rank": 5})


def test_altup_equals_transformers(config: ModelConfig, randomized: Randomize) -> None:
    ours, theirs = AltUp(config), Gemma3nTextAltUp(theirs_config()).eval()
    randomized(ours)
    names = {"router": "modality_router", "prediction": "prediction_coefs", "correction": "correction_coefs"}
    weights = {f"{names[name]}.weight": ours.get_submodule(name).weight for name in names}
    theirs.load_state_dict({**weights, "router_norm.weight": ours.norm.weight, "correct_output_scale": torch.ones(16)})
    streams, out = 30 * torch.randn(2, 5, N, 16), torch.randn(2, 5, 16)
    predicted = theirs.predict(streams.permute(2, 0, 1, 3))
    found = ours.predict(streams)
    torch.testing.assert_close(found, predicted.permute(1, 2, 0, 3))
    corrected = theirs.correct(predicted, out)
    torch.testing.assert_close(ours.correct(found, found[:, :, 0], out), corrected.permute(1, 2, 0, 3))


def test_laurel_equals_transformers(config: ModelConfig, randomized: Randomize) -> None:
    ours, theirs = Laurel(config, 5), Gemma3nTextLaurelBlock(theirs_config())
    randomized(ours)
    names = {"down": "linear_left", "up": "linear_right", "norm": "post_laurel_norm"}
    theirs.load_state_dict({f"{stored}.weight": ours.get_submodule(name).weight for name, stored in names.items()})
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("size", [1.0, 1e-4])
def test_projections_have_the_magnitude_of_the_first_stream(
    config: ModelConfig, randomized: Randomize, size: float
) -> None:
    """Unless the mean square of a projection is below the bound."""
    split, mean = StreamSplit(config), StreamMean(config)
    randomized(split)
    randomized(mean)
    x = size * torch.randn(2, 5, 16)
    streams = split(x)
    torch.testing.assert_close(streams[:, :, 0], x)
    for stream in range(1, N):
        projected = split.get_submodule(f"stream_{stream}")(x)
        square = projected.square().mean(-1, keepdim=True)
        root = torch.sqrt(square if size == 1 else torch.full_like(square, MIN_MEAN_SQUARE))
        target = x.square().mean(-1, keepdim=True).sqrt()
        torch.testing.assert_close(streams[:, :, stream], projected * target / root)
    if size == 1:
        streams = torch.randn(2, 5, N, 16)
        found = [nn.functional.normalize(mean.get_submodule(f"stream_{i}")(streams[:, :, i]), dim=-1) for i in (1, 2)]
        length = streams[:, :, 0].norm(dim=-1, keepdim=True)
        torch.testing.assert_close(mean(streams), (streams[:, :, 0] + length * (found[0] + found[1])) / 3)


def test_block(config: ModelConfig, randomized: Randomize) -> None:
    """The layer maps the prediction of the first stream, with the learned residual parallel to attention."""
    block = TransformerBlock(config)
    randomized(block)
    block.eval()
    assert block.altup is not None
    assert block.laurel is not None
    assert block.ln_1 is not None
    assert block.ln_2 is not None
    assert block.feed_forward is not None
    mask = AttentionMask(is_causal=True)
    streams = torch.randn(2, 5, N, 16)
    predicted = block.altup.predict(streams)
    x = predicted[:, :, 0]
    normed = block.ln_1(x)
    out = (x + block.mixers[0](normed, mask) + block.laurel(normed)) / math.sqrt(2)
    out = out + block.feed_forward(block.ln_2(out))
    torch.testing.assert_close(block(streams, mask), block.altup.correct(predicted, x, out))


def test_per_layer_input_of_other_streams(config: ModelConfig, randomized: Randomize) -> None:
    """The first stream, scaled, gates the embedding, which is added to the others."""
    ours = PerLayerInput(config, 4)
    randomized(ours)
    streams, own = torch.randn(2, 5, N, 16), torch.randn(2, 5, 4)
    hidden = ours.activation(ours.gate(streams[:, :, 0] * ours.scale)) * own
    expected = streams.clone()
    expected[:, :, 1:] += ours.norm(ours.projection(hidden))[:, :, None]
    torch.testing.assert_close(ours(streams, own), expected)


def test_initial_scale_is_1(make_config: Make) -> None:
    config = make_config(block={"altup_streams": N}, embedding={"d_per_layer": 4})
    model = TinyTransformerLM.from_config(config, seed=1)
    per_layer = model.blocks[0].per_layer_input
    assert isinstance(per_layer, PerLayerInput)
    assert torch.equal(per_layer.scale, torch.ones(16))
