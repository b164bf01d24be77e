"""What a model's values are, wherever they are stored."""

from __future__ import annotations

from torch import Tensor, nn


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every tensor that files hold, by its first full name: parameters, and buffers that training leaves alone.

    Tables that can be worked out again are not among them.
    """
    kept = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return {name: parameter.detach() for name, parameter in model.named_parameters()} | buffers
