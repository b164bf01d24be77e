"""An empty module in the place of an encoder of timm, which transformers cannot build unless timm is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from torch import nn
from transformers.models.timm_wrapper.modeling_timm_wrapper import TimmWrapperModel


@contextmanager
def empty_encoder() -> Iterator[None]:
    """Let transformers build an empty module instead of any model of timm."""
    with patch.object(TimmWrapperModel, "_from_config", lambda _, **__: nn.Module()):
        yield
