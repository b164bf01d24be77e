"""AltUp: parallel residual streams; each layer computes one and predicts the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm

MIN_MEAN_SQUARE = 1e-5
"""Lower bound of the mean square by which a projected stream is divided, in the code of Gemma 3n."""


class AltUp(nn.Module):
    """The prediction of n residual streams before a layer, and their correction by its output.

    The layer reads the prediction of the first stream. All coefficients depend on the token: they are projected from
    ``tanh(router(norm(x)) / D)``, of the first stream before the layer, and of the output after it.

    Args:
        config: Uses d_model, norm and block.altup_streams.

    References:
        Baykal et al. 2023 (AltUp), algorithm 1, https://arxiv.org/abs/2301.13310;
        Google 2025 (Gemma 3n, coefficients that depend on the token), https://ai.google.dev/gemma/docs/gemma-3n
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        n, d = _n_streams(config), config.d_model
        self.n_streams = n
        self.norm = build_norm(config)
        self.router = Linear(d, n, bias=False)
        self.prediction = Linear(n, n * n, bias=False)
        self.correction = Linear(n, n, bias=False)

    def _routed(self, x: Tensor) -> Tensor:
        """Return n numbers between -1 and 1 for each token (B, T, n), given one vector for each, (B, T, D)."""
        routed = self.router(self.norm(x)) / x.shape[-1]  # (B, T, n)
        wide = torch.promote_types(x.dtype, torch.float32)
        return torch.tanh(routed.to(wide)).to(x.dtype)  # (B, T, n)

    def predict(self, streams: Tensor) -> Tensor:
        """Return a prediction of each of the ``streams`` (B, T, n, D): itself plus a weighted sum of all."""
        n = self.n_streams
        mixing = self.prediction(self._routed(streams[:, :, 0])).unflatten(-1, (n, n))  # (B, T, n, n)
        predicted: Tensor = streams + mixing @ streams  # (B, T, n, D)
        return predicted

    def correct(self, predicted: Tensor, read: Tensor, out: Tensor) -> Tensor:
        """Add the error of the prediction to each stream, 1 + its coefficient times.

        Args:
            predicted: The predictions, (B, T, n, D).
            read: The prediction of the first stream, the input of the layer, (B, T, D).
            out: The output of the layer, (B, T, D).

        Returns:
            The streams (B, T, n, D).
        """
        weights = self.correction(self._routed(out)) + 1  # (B, T, n)
        corrected: Tensor = predicted + weights[..., None] * (out - read).unsqueeze(2)  # (B, T, n, D)
        return corrected


class StreamProjections(nn.Module):
    """A projection for each residual stream but the first, whose outputs get the root mean square of the first.

    Args:
        config: Uses d_model and block.altup_streams.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_streams = _n_streams(config)
        self._names = tuple(f"stream_{index}" for index in range(1, self.n_streams))
        for name in self._names:
            self.register_module(name, Linear(config.d_model, config.d_model, bias=False))

    def project(self, sources: Iterable[Tensor], first: Tensor) -> Sequence[Tensor]:
        """Return ``first`` and the projections of the n - 1 ``sources``, rescaled to its norm; (B, T, D) each."""
        target = first.square().mean(-1, keepdim=True).sqrt()  # (B, T, 1)
        projections = (self._modules[name] for name in self._names)
        pairs = zip(projections, sources, strict=True)
        return first, *(_rescaled(projection(x), target) for projection, x in pairs if projection is not None)


class StreamSplit(StreamProjections):
    """The first residual streams: the embeddings, and projections of them."""

    def forward(self, x: Tensor) -> Tensor:
        """Map embeddings (B, T, D) to streams (B, T, n, D)."""
        return torch.stack(list(self.project([x] * (self.n_streams - 1), x)), 2)  # (B, T, n, D)


class StreamMean(StreamProjections):
    """The mean of the first residual stream and of projections of the others."""

    def forward(self, streams: Tensor) -> Tensor:
        """Map streams (B, T, n, D) to one vector for each token, (B, T, D)."""
        first, *others = streams.unbind(2)  # (B, T, D) each
        return reduce(torch.add, self.project(others, first)) / self.n_streams  # (B, T, D)


def _n_streams(config: ModelConfig) -> int:
    streams = config.block.altup_streams
    assert streams is not None
    return streams


def _rescaled(x: Tensor, target: Tensor) -> Tensor:
    """Return vectors (B, T, D) with the root mean square ``target`` (B, T, 1)."""
    mean_square = x.square().mean(-1, keepdim=True)  # (B, T, 1)
    return x * (target / mean_square.clamp(min=MIN_MEAN_SQUARE).sqrt())  # (B, T, D)
