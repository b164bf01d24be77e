"""Fixtures of the model tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig

SIZES = {"vocab_size": 23, "d_model": 16, "n_heads": 4, "n_layers": 3, "d_ff": 40, "max_len": 12, "dropout": 0.0}


@pytest.fixture
def make_config() -> Callable[..., ModelConfig]:
    """Return a function that validates a small config, with the fields given in place of the usual ones."""
    return lambda **fields: ModelConfig.model_validate(SIZES | fields)


@pytest.fixture
def randomized() -> Callable[[nn.Module], nn.Module]:
    """Return a function that fills a module, biases and norm weights too, so that none hides behind a zero or a one."""

    def randomize(module: nn.Module) -> nn.Module:
        if any(parameter.is_meta for parameter in module.parameters()):
            module.to_empty(device="cpu")
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.normal_(0.0, 0.3, generator=generator)
        return module

    return randomize
