from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.kv_cache import KVCache


@pytest.fixture
def config(make_config: Callable[..., ModelConfig]) -> ModelConfig:
    return make_config()


def test_positions_come_back_in_order(config: ModelConfig) -> None:
    cache = KVCache(config, batch_size=2, capacity=5, device=torch.device("cpu"), dtype=torch.float32)
    keys, values = torch.randn(3, 2, 4, 5, 4), torch.randn(3, 2, 4, 5, 4)  # (layer, B, H, S, K)
    for start, stop in ((0, 3), (3, 4), (4, 5)):
        for layer, part in enumerate(cache.extend(stop - start)):
            found = part.update(keys[layer, :, :, start:stop], values[layer, :, :, start:stop])
            assert torch.equal(found[0], keys[layer, :, :, :stop])
            assert torch.equal(found[1], values[layer, :, :, :stop])
        assert cache.length == stop


def test_extend_after_positions(config: ModelConfig) -> None:
    cache = KVCache(config, batch_size=1, capacity=5, device=torch.device("meta"), dtype=torch.float32)
    cache.extend(2)
    with pytest.raises(AssertionError):
        cache.extend(2)


def test_bytes_on_meta(config: ModelConfig) -> None:
    meta = KVCache(config, batch_size=2, capacity=5, device=torch.device("meta"), dtype=torch.bfloat16)
    real = KVCache(config, batch_size=2, capacity=5, device=torch.device("cpu"), dtype=torch.bfloat16)
    held = sum(tensor.nbytes for part in real.extend(5) for tensor in part[2:])
    assert meta.nbytes == real.nbytes == held
