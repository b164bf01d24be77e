"""Evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put ``modules`` in evaluation mode, and afterwards each in the mode it was found in, whatever happens.

    Args:
        modules: All of a model's, as ``model.modules()`` walks them; a caller that does this often walks them once.
    """
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
