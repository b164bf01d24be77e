"""Models of a true size on any machine: tensors that have a shape, a type and a lifetime, and no numbers.

Torch runs every operation on them as it would on the CPU, so its counters see what a training step of a published model
holds, and nothing of it is allocated. What depends on the numbers themselves cannot run: experts are chosen by them.
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
def hollow_model(config: ModelConfig, dtype: torch.dtype) -> Iterator[TinyTransformerLM]:
    """Yield a model whose tensors are hollow, and hold what is made meanwhile to the same.

    Ids are not looked at, as there are none to look at.

    Args:
        config: A validated config without experts.
        dtype: Floating type of the weights.
    """
    model = TinyTransformerLM.from_config(config, dtype=dtype, device="meta")
    with FakeTensorMode(), patch("tinylm_cli.model.lm.checked_tokens", lambda tokens, **_: tokens):
        _hollow(model)
        yield model


def _hollow(model: nn.Module) -> None:
    """Give every tensor of ``model`` a hollow one on the CPU in its place; one that is shared stays so."""
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
