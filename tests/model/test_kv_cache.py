from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import LayerKVCache
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.mixers.short_conv import ShortConvState


@pytest.fixture
def config(make_config: Callable[..., ModelConfig]) -> ModelConfig:
    return make_config()


def test_keys_keep_order(config: ModelConfig) -> None:
    cache = KVCache(config, batch_size=2, capacity=5, device=torch.device("cpu"), dtype=torch.float32)
    keys, values = torch.randn(3, 2, 4, 5, 4), torch.randn(3, 2, 4, 5, 4)  # (layer, B, H, S, K)
    for start, stop in ((0, 3), (3, 4), (4, 5)):
        for layer, part in enumerate(cache.extend(stop - start)):
            assert isinstance(part, LayerKVCache)
            found = part.update(keys[layer, :, :, start:stop], values[layer, :, :, start:stop])
            assert torch.equal(found[0], keys[layer, :, :, :stop])
            assert torch.equal(found[1], values[layer, :, :, :stop])
        assert cache.length == stop


@pytest.mark.parametrize("prompt", [1, 2, 3, 4, 6])
def test_positions_of_a_chunk(make_config: Callable[..., ModelConfig], prompt: int) -> None:
    """After a prompt of any length, a step sees the positions of its chunk of 3, in order, and no others."""
    config = make_config(attention={"window": 3, "chunked": True})
    cache = KVCache(config, batch_size=1, capacity=11, device=torch.device("cpu"), dtype=torch.float32)
    positions = torch.arange(11.0).view(1, 1, 11, 1).expand(1, 4, 11, 4)  # (B, H, S, K)
    for start, stop in [(0, prompt), *((t, t + 1) for t in range(prompt, 11))]:
        read = positions[:, :, start:stop]
        for part in cache.extend(stop - start):
            assert isinstance(part, LayerKVCache)
            found, _ = part.update(read, read)
            if stop - start == 1:
                assert torch.equal(found, positions[:, :, start // 3 * 3 : stop])


def test_extend_after_positions(config: ModelConfig) -> None:
    cache = KVCache(config, batch_size=1, capacity=5, device=torch.device("meta"), dtype=torch.float32)
    cache.extend(2)
    with pytest.raises(AssertionError):
        cache.extend(2)


def test_bytes_on_meta(config: ModelConfig) -> None:
    meta = KVCache(config, batch_size=2, capacity=5, device=torch.device("meta"), dtype=torch.bfloat16)
    real = KVCache(config, batch_size=2, capacity=5, device=torch.device("cpu"), dtype=torch.bfloat16)
    parts = [part for part in real.extend(5) if isinstance(part, LayerKVCache)]
    assert len(parts) == config.n_layers
    held = sum(tensor.nbytes for part in parts for tensor in part[2:])
    assert meta.nbytes == real.nbytes == held


def test_reset_clears_state(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config(block={"mixer": "short_conv"})
    cache = KVCache(config, batch_size=2, capacity=500, device=torch.device("cpu"), dtype=torch.float32)
    for states in (cache.extend(3), cache.extend(1)):
        for state in states:
            assert isinstance(state, ShortConvState)
            assert state.inputs.shape == (2, 2, 16)
            state.inputs.fill_(1.0)
    cache.reset()
    assert not any(tensor.any() for state in cache.extend(1) if isinstance(state, ShortConvState) for tensor in state)


def test_layers_without_a_mixer_have_no_state(make_config: Callable[..., ModelConfig]) -> None:
    config = make_config(block={"mixer": "none"})
    cache = KVCache(config, batch_size=2, capacity=5, device=torch.device("cpu"), dtype=torch.float32)
    assert cache.nbytes == 0
    assert cache.extend(3) == [None] * config.n_layers
