"""Depthwise causal convolution over positions, in parallel and in steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.model.sequence_mixer import InitialValue


class CausalConv(nn.Module):
    """``y[t] = Σ weight[L - 1 - i] · x[t - i]`` over i = 0..L - 1, for each channel separately; x before 0 is 0.

    Args:
        channels: C.
        kernel_size: L, the positions that an output reads, its own included.
        bias: Whether to add a learned bias to each channel.
    """

    bias: nn.Parameter | None

    def __init__(self, channels: int, kernel_size: int, *, bias: bool) -> None:
        super().__init__()
        self.channels, self.kernel_size = channels, kernel_size
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel_size, device="meta", dtype=torch.float32))
        self.initial_values: dict[str, InitialValue] = {"bias": 0.0}
        empty = torch.empty(channels, device="meta", dtype=torch.float32)  # (C)
        self.register_parameter("bias", nn.Parameter(empty) if bias else None)

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """Convolve ``x`` (B, T, C) and return (B, T, C).

        ``previous`` has the L - 1 inputs before ``x``, (B, L - 1, C), and is replaced by the last L - 1 inputs. Without
        it, they are zeros.
        """
        if previous is None:
            padded = functional.pad(x.transpose(1, 2), (self.kernel_size - 1, 0))  # (B, C, L - 1 + T)
        else:
            inputs = torch.cat((previous, x), dim=1)  # (B, L - 1 + T, C)
            previous.copy_(inputs[:, x.shape[1] :])
            if x.shape[1] == 1:
                return self._step(inputs)
            padded = inputs.transpose(1, 2)  # (B, C, L - 1 + T)
        y = functional.conv1d(padded, self.weight, self.bias, groups=self.channels)  # (B, C, T)
        return y.transpose(1, 2)  # (B, T, C)

    def _step(self, inputs: Tensor) -> Tensor:
        """Return the output (B, 1, C) of one position from the inputs (B, L, C) that it reads."""
        y = (inputs * self.weight[:, 0].T).sum(1, keepdim=True)  # (B, 1, C)
        return y if self.bias is None else y + self.bias  # (B, 1, C)

    def extra_repr(self) -> str:
        """Return the sizes for ``print(model)``."""
        return f"{self.channels}, kernel_size={self.kernel_size}"
