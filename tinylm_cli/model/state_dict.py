"""A model's tensors by name: parameter shapes, parameter count, and the tensors stored in a checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


def parameter_shapes(model: nn.Module) -> dict[str, Shape]:
    """Return the shape of each parameter by full name; a tied parameter appears under each of its names."""
    return {name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)}


def unique_params(model: nn.Module) -> int:
    """Return the number of elements of all parameters; a tied parameter counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def unique_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors stored in a checkpoint: each parameter under its first name, and persistent buffers."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()} | _persistent_buffers(model)


def buffer_dtypes(model: nn.Module) -> dict[str, torch.dtype]:
    """Return the dtype of each persistent buffer, which may differ from the parameters' dtype."""
    return {name: buffer.dtype for name, buffer in _persistent_buffers(model).items()}


def _persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    persistent = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name in persistent}
