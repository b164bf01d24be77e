"""Evaluation mode as a context manager."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Set ``modules`` to evaluation mode, and restore each module's mode afterwards, even after an exception.

    Args:
        modules: All modules of a model, from ``model.modules()``; a caller with a loop can compute the list once.
    """
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
