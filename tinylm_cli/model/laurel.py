"""LAuReL: a learned low-rank residual in parallel with the sequence mixer."""

from __future__ import annotations

from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm


class Laurel(nn.Module):
    """``x + norm(up(down(x)))``, for the normalized input x of the mixer.

    Args:
        config: Uses d_model and norm.
        rank: Dimensions between the two projections.

    References:
        Menghani et al. 2024 (LAuReL), section 2, https://arxiv.org/abs/2411.07501;
        Google 2025 (Gemma 3n, with norms), https://ai.google.dev/gemma/docs/gemma-3n
    """

    def __init__(self, config: ModelConfig, rank: int) -> None:
        super().__init__()
        self.down = Linear(config.d_model, rank, bias=False)
        self.up = Linear(rank, config.d_model, bias=False)
        self.norm = build_norm(config)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        out: Tensor = x + self.norm(self.up(self.down(x)))  # (B, T, D)
        return out
