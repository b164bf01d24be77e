"""From a model on meta to one with storage, once it is known to fit."""

from __future__ import annotations

import torch
from torch import nn

from tinylm_cli.errors import CapacityError
from tinylm_cli.machine import require_memory

_REFUSALS = ("DefaultCPUAllocator", "MPS backend out of memory")
"""How the allocators say it that have no exception of their own, and raise a bare RuntimeError."""


def materialize(model: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
    """Give every parameter and buffer of ``model`` unfilled storage on ``device``.

    Args:
        model: A model on meta, in float32.
        device: Where the storage goes; meta only changes the dtype.
        dtype: Floating type of the storage.

    Raises:
        CapacityError: If it does not fit in this machine, or the device refuses it.
    """
    if device.type == "meta" and dtype == torch.float32:
        return
    check_capacity(model, device=device, dtype=dtype)
    try:  # not empty_like, which takes torch through its slow Python path, and sympy, for each tensor on meta
        model._apply(lambda tensor: torch.empty(tensor.shape, device=device, dtype=dtype))  # type: ignore[no-untyped-call]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise CapacityError(f"{device} refused the memory for the weights: {error}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` is an allocator's refusal, rather than a message in which memory is mentioned."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSALS)


def check_capacity(model: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse storage for ``model`` on ``device`` in ``dtype`` that does not fit in this machine.

    Raises:
        CapacityError: Names what is needed and what is left.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.numel() for buffer in model.buffers())
    name = str(dtype).removeprefix("torch.")
    needed_bytes = (parameters + buffers) * dtype.itemsize
    require_memory(needed_bytes, f"holding {parameters:,} parameters in {name}", device=device.type)
