"""Linear layers on meta, with a fast path for a single input row on the CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_SPLIT_ELEMENTS = 1 << 18
"""Weight elements above which splitting the product over threads is faster."""


class Uninitialized:
    """Mixin, listed before a torch layer, that skips the initialization of the layer.

    A model is built on meta and filled once, by :mod:`tinylm_cli.model.initialization` or from a checkpoint.
    """

    def reset_parameters(self) -> None:
        """Do nothing; the model is initialized in one pass."""


class Linear(Uninitialized, nn.Linear):
    """``x @ weight.T + bias``, created on meta.

    Decoding one sequence multiplies one row per step, so that memory bandwidth limits the product. BLAS may run it on
    one thread, at half the bandwidth or less. The batched kernel uses every thread instead: it receives the weight as
    blocks of rows, one block per thread.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.
        bias: Whether to add a learned bias.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias=bias, device="meta", dtype=torch.float32)
        self._worth_splitting = in_features * out_features >= MIN_SPLIT_ELEMENTS

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as in nn.Linear
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        if self._worth_splitting and input.numel() == input.shape[-1] and input.device.type == "cpu":
            parts = math.gcd(self.out_features, torch.get_num_threads())
            if parts > 1 and input.dtype == torch.float32:
                return self._multiply_row(input, parts)
        return functional.linear(input, self.weight, self.bias)  # (..., out)

    def _multiply_row(self, x: Tensor, parts: int) -> Tensor:
        rows = x.reshape(1, 1, self.in_features).expand(parts, -1, -1)  # (parts, 1, in)
        weight = self.weight.view(parts, -1, self.in_features).transpose(1, 2)  # (parts, in, out / parts)
        y = torch.bmm(rows, weight).view(*x.shape[:-1], self.out_features)  # (..., out)
        return y if self.bias is None else y + self.bias  # (..., out)
