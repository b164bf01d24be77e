"""RWKV-4's channel mixing: a feed-forward network that also reads the position before each one."""

from __future__ import annotations

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.feed_forward import FeedForward
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.sequence_mixer import InitialValue
from tinylm_cli.model.token_shift import ShiftState, initial_mix, mix_parameter, shift_tokens


class ChannelMixing(FeedForward):
    """``sigmoid(receptance) · down(activation(up(x)))`` after token shift.

    ``up`` and ``receptance`` read separate interpolations of each position with the previous one.

    Args:
        config: Uses d_model, d_ff, n_layers, norm and feed_forward.

    References:
        Peng et al. 2023, section 3.1, https://arxiv.org/abs/2305.13048
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.d_ff)
        self.n_layers = config.n_layers
        self.mix_up, self.mix_receptance = (mix_parameter(config.d_model) for _ in range(2))  # (D)
        self.receptance_proj = Linear(config.d_model, config.d_model, bias=config.feed_forward.bias)
        self.set_layer(0)

    def set_layer(self, layer: int) -> None:
        """Set the index of the layer, on which the initial values depend."""
        mix = initial_mix(1 - layer / self.n_layers)
        self.initial_values: dict[str, InitialValue] = {"mix_up": mix, "mix_receptance": mix}

    def forward(self, x: Tensor, cache: ShiftState | None = None) -> Tensor:
        """Map ``x`` (B, T, D) to (B, T, D); ``cache`` holds the last position of the previous call."""
        before = shift_tokens(x, None if cache is None else cache.last)  # (B, T, D)
        receptance = self.receptance_proj(torch.lerp(before, x, self.mix_receptance)).sigmoid()  # (B, T, D)
        mixed = torch.lerp(before, x, self.mix_up)  # (B, T, D)
        del before
        out: Tensor = receptance * super().forward(mixed)  # (B, T, D)
        return out
