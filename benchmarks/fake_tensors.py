"""Full-size models of fake tensors, which have a shape, a type and a lifetime, but no storage.

Torch runs every operation on them as it would on the CPU, so its counters see the memory of a published model's
training step without allocating it. Operations that depend on values cannot run, such as routing tokens to experts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM


@contextmanager
def fake_model(config: ModelConfig, dtype: torch.dtype) -> Iterator[TinyTransformerLM]:
    """Yield a model of fake tensors, inside a mode in which new tensors are fake too.

    Token ids are not checked, because they have no values.

    Args:
        config: A validated config without experts.
        dtype: Floating type of the weights.
    """
    model = TinyTransformerLM.from_config(config, dtype=dtype, device="meta")
    with FakeTensorMode(), patch("tinylm_cli.model.lm.checked_tokens", lambda tokens, *_, **__: tokens):
        _fake_tensors(model)
        yield model


def _fake_tensors(model: nn.Module) -> None:
    """Replace every tensor of ``model`` by a fake one on the CPU; shared tensors stay shared."""
    replaced: dict[Tensor, Tensor] = {}
    for module in model.modules():
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for held in tables:
            for name, tensor in held.items():
                if tensor is None:
                    continue
                if tensor not in replaced:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                    replaced[tensor] = nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty
                held[name] = replaced[tensor]
