"""RWKV's channel mixing: compared with transformers' module, and step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import RwkvConfig
from transformers.models.rwkv.modeling_rwkv import RwkvFeedForward

from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes, read_cache_bytes
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.channel_mixing import ChannelMixing
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.token_shift import ShiftState
from tinylm_cli.reports.plan import Layout

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
LENGTH = 11
STORED = {
    "mix_up": "time_mix_key",
    "mix_receptance": "time_mix_receptance",
    "up_proj.weight": "key.weight",
    "down_proj.weight": "value.weight",
    "receptance_proj.weight": "receptance.weight",
}


def mixing(make_config: Make, randomized: Randomize) -> ChannelMixing:
    fields = {"channel_mixing": True, "activation": "relu2", "bias": False}
    module = ChannelMixing(make_config(d_ff=20, feed_forward=fields))
    randomized(module)
    return module


def test_equals_transformers(make_config: Make, randomized: Randomize) -> None:
    ours = mixing(make_config, randomized)
    theirs = RwkvFeedForward(RwkvConfig(hidden_size=16, intermediate_size=20))  # type: ignore[no-untyped-call]
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    tensors = {STORED[name]: tensor for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict({name: tensor.view(shapes[name]) for name, tensor in tensors.items()})
    x = torch.randn(2, LENGTH, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [[LENGTH], [1] * LENGTH, [4, 1, 1, 5], [1, 9, 1]])
def test_steps_equal_the_parallel_form(make_config: Make, randomized: Randomize, lengths: list[int]) -> None:
    module, x = mixing(make_config, randomized), torch.randn(2, LENGTH, 16)
    state = ShiftState(torch.zeros(2, 1, 16))
    with torch.no_grad():
        pieces = [module(piece, state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


def make(*overrides: str) -> ModelConfig:
    fields = ("feed_forward.channel_mixing=true", "feed_forward.activation=relu2", "position.kind=none", "dropout=0")
    return load_config("tiny", ["d_model=64", "n_heads=2", *fields, *overrides]).config


@pytest.mark.parametrize("mixer", ["attention", "none", "rwkv", "attention_mamba2"])
def test_cache(mixer: str) -> None:
    """The cache holds the last input of each layer, and the state of its mixer, if any."""
    config = make(f"block.mixer={mixer}", "n_layers=3")
    plain = make(f"block.mixer={mixer}", "n_layers=3", "feed_forward.channel_mixing=false")
    shifted = 3 * 64 * 4
    for count in (kv_cache_bytes, read_cache_bytes):
        sizes = {"batch_size": 1} if count is kv_cache_bytes else {}
        found, without = (count(each, seq_len=7, dtype="float32", **sizes) for each in (config, plain))
        assert found == without + shifted
    states = [cache_shape(each, "bfloat16").state_bytes for each in (config, plain)]
    assert states[0] == states[1] + shifted // 2
    cache = KVCache(config, batch_size=2, capacity=7, device=torch.device("cpu"), dtype=torch.float32)
    assert cache.nbytes == kv_cache_bytes(config, batch_size=2, seq_len=7, dtype="float32")


def test_layers_that_share_keys_and_values() -> None:
    """Which have no state of a mixer, but one of channel mixing."""
    kinds = "{own: {}, reuse: {attention: {kv_from: own}}}"
    config = make("n_layers=2", f"layers.kinds={kinds}", "layers.pattern='own, reuse'", "n_heads=2", "max_len=9")
    model = TinyTransformerLM.from_config(config).eval()
    tokens = torch.arange(9)[None]
    cache = KVCache(config, batch_size=1, capacity=9, device=model.device, dtype=model.dtype)
    with torch.no_grad():
        steps = [model.hidden(part, cache=cache) for part in torch.split(tokens, [4, 1, 1, 1, 1, 1], dim=1)]
        torch.testing.assert_close(torch.cat(steps, dim=1), model.hidden(tokens), rtol=1e-5, atol=1e-5)


def test_mask_is_refused() -> None:
    model = TinyTransformerLM.from_config(make())
    with pytest.raises(ValueError, match="this model has layers of channel mixing"):
        model(torch.zeros(1, 3, dtype=torch.int64), torch.ones(3, 3, dtype=torch.bool))


def test_parallelism() -> None:
    """Each GPU of tensor parallelism mixes all dimensions; a sequence is not sharded."""
    table = stage_table(make("d_ff=128"), Layout(tensor=2), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    assert shapes["feed_forward.up_proj.weight"] == (64, 64)
    assert shapes["feed_forward.receptance_proj.weight"] == (64, 64)
    assert shapes["feed_forward.mix_up"] == shapes["feed_forward.mix_receptance"] == (64,)
    (mismatch,) = layout_mismatches(make(), TrainingSetup(n_gpus=2), Layout(context=2))
    assert mismatch.config_field == "feed_forward.channel_mixing"


@pytest.mark.parametrize("activation", ["relu2", "silu"])
@pytest.mark.parametrize("d_ff", [4, 32, 64, 256])
def test_peak_of_a_training_step(d_ff: int, activation: str) -> None:
    sizes = ("vocab_size=16", "n_layers=1", "block.mixer=none", f"d_ff={d_ff}")
    config = make(*sizes, f"feed_forward.activation={activation}")
    setup = step_setup(2, 256, "none")
    measured = measured_peak(config, setup)
    assert 0.995 * measured <= training_memory(config, setup).peak_bytes <= 1.07 * measured


def test_initial_values(make_config: Make) -> None:
    config = make_config(n_layers=3, feed_forward={"channel_mixing": True})
    values = dict(TinyTransformerLM.from_config(config, seed=3).named_parameters())
    for name in ("mix_up", "mix_receptance"):
        for layer, exponent in enumerate((1, 2 / 3, 1 / 3)):
            shares = values[f"blocks.{layer}.feed_forward.{name}"].tolist()
            assert shares == pytest.approx([(index / 16) ** exponent for index in range(16)])
