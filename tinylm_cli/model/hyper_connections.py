"""Hyper-connections: several copies of the residual stream, which sub-layers read and write with learned weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.sequence_mixer import InitialValue

INITIAL_SCALE = 0.01
"""Initial factor of the part of the weights that depends on the token, in the code of Hy4."""


class StreamReader(nn.Module):
    """Read one vector from n copies of the residual stream: their sum, weighted by sigmoids of a projection of all.

    The projection of the n·D elements of a token is divided by their root mean square.

    Args:
        config: Uses d_model, norm.eps and the fields of block that begin with hyper.
        n_sets: Sets of n weights for each token: those that read, and those that write.
    """

    def __init__(self, config: ModelConfig, n_sets: int = 1) -> None:
        super().__init__()
        streams = config.block.hyper_streams
        assert streams is not None
        self.n_streams, self.n_sets = streams, n_sets
        self.eps, self.norm_eps = config.block.hyper_eps, config.norm.eps
        self.proj = Linear(streams * config.d_model, n_sets * streams, bias=False)
        self.scale, self.base = (
            nn.Parameter(torch.empty(size, device="meta", dtype=torch.float32)) for size in (n_sets, n_sets * streams)
        )
        # each copy is read with the weight 1/n, and written with half of the largest weight
        base = torch.zeros(n_sets * streams, dtype=torch.float32, device="cpu")  # (sets · n)
        base[:streams] = -math.log(max(streams - 1, 1))
        self.initial_values: dict[str, InitialValue] = {"scale": INITIAL_SCALE, "base": base}

    def weights(self, streams: Tensor) -> list[Tensor]:
        """Return the sigmoids of each set for the copies ``streams`` (B, T, n, D), in float32 or wider, (B, T, n)."""
        flat = streams.flatten(2)  # (B, T, n·D)
        wide = torch.promote_types(flat.dtype, torch.float32)
        norm = torch.linalg.vector_norm(flat, dim=-1, keepdim=True, dtype=wide)  # (B, T, 1)
        inverse = (norm.square() / flat.shape[-1] + self.norm_eps).rsqrt()  # (B, T, 1)
        logits = self.proj(flat).to(wide) * inverse  # (B, T, sets · n)
        parts = (torch.split(logits, self.n_streams, -1), self.scale, torch.split(self.base, self.n_streams))
        return [(each * scale + base).sigmoid() for each, scale, base in zip(*parts, strict=True)]  # sets × (B, T, n)

    def read(self, streams: Tensor, weights: Tensor) -> Tensor:
        """Return the sum (B, T, D) of the copies (B, T, n, D) with these weights (B, T, n), each plus epsilon."""
        weights = (weights + self.eps).to(streams.dtype)  # (B, T, n)
        return (weights[..., None] * streams).sum(2)  # (B, T, D)

    def forward(self, streams: Tensor) -> Tensor:
        """Map copies of the residual stream (B, T, n, D) to one vector for each token, (B, T, D)."""
        return self.read(streams, self.weights(streams)[0])  # (B, T, D)


class HyperConnection(StreamReader):
    """The connection of a sub-layer to n copies of the residual stream.

    It reads the input of the sub-layer, and adds the output to each copy with a weight of its own, at most
    ``block.hyper_write_scale``. Both depend on the token.

    Args:
        config: As for :class:`StreamReader`.

    References:
        Zhu et al. 2024 (hyper-connections), https://arxiv.org/abs/2409.19606;
        the hyper-connections of Hy4, https://huggingface.co/tencent/Hy4-preview
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, n_sets=2)
        self.write_scale = config.block.hyper_write_scale

    def connect(self, streams: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input of the sub-layer (B, T, D), and the weights (B, T, n) with which its output is added."""
        read, write = self.weights(streams)  # (B, T, n) each
        return self.read(streams, read), (self.write_scale * write + self.eps).to(streams.dtype)  # (B, T, D), (B, T, n)


def copied(x: Tensor, n_streams: int) -> Tensor:
    """Return ``n_streams`` copies (B, T, n, D) of the embeddings (B, T, D)."""
    return x.unsqueeze(2).expand(-1, -1, n_streams, -1).contiguous()  # (B, T, n, D)
