"""What a model's values are, wherever they are stored."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every tensor that files hold, by its first full name: parameters, and buffers that training leaves alone.

    Tables that can be worked out again are not among them.
    """
    return {name: parameter.detach() for name, parameter in model.named_parameters()} | _stored_buffers(model)


def own_dtypes(model: nn.Module) -> dict[str, torch.dtype]:
    """Return the type of each of them that does not follow the model's: of the buffers."""
    return {name: buffer.dtype for name, buffer in _stored_buffers(model).items()}


def _stored_buffers(model: nn.Module) -> dict[str, Tensor]:
    kept = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name in kept}
