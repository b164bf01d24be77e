"""Sampling the next token from logits: temperature, top-k and top-p."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinylm_cli.model.initialization import keyed_generator
from tinylm_cli.quantities import MAX_SEED

GREEDY_BELOW = torch.finfo(torch.float32).tiny
"""Temperatures below this are zero in float32."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Parameters for sampling the next token.

    Attributes:
        temperature: Divides the logits, >= 0; 0 selects the most likely token.
        top_k: Keep the k most likely tokens, >= 1; None keeps all.
        top_p: Then keep the smallest set of most likely tokens whose probabilities sum to at least p, 0 < p <= 1; None
            keeps all.
        seed: Seed of a new generator, 0..2⁶⁴ - 1; None uses torch's global generator.

    Raises:
        ValueError: If a value is out of range or not a number.

    References:
        Fan et al. 2018 (top-k), https://arxiv.org/abs/1805.04833;
        Holtzman et al. 2020 (top-p), https://arxiv.org/abs/1904.09751
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not _is_real(self.temperature) or not math.isfinite(self.temperature) or self.temperature < 0:
            raise ValueError(f"temperature must be a finite number >= 0, not {self.temperature!r}")
        if self.top_k is not None and (not is_integer(self.top_k) or self.top_k < 1):
            raise ValueError(f"top_k must be an integer >= 1 or None, not {self.top_k!r}")
        if self.top_p is not None and (not _is_real(self.top_p) or not 0 < self.top_p <= 1):
            raise ValueError(f"top_p must be a number over 0 and up to 1, or None, not {self.top_p!r}")
        if self.seed is not None and (not is_integer(self.seed) or not 0 <= self.seed <= MAX_SEED):
            raise ValueError(f"seed must be an integer in 0..{MAX_SEED} or None, not {self.seed!r}")

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Return the seeded generator for ``device``, or None for torch's global one.

        All 64 bits of the seed are used on every device, but different devices draw different numbers.
        """
        if self.seed is None:
            return None
        if device.type == "cpu":
            return keyed_generator("sampling", self.seed)
        return torch.Generator(device=device).manual_seed(self.seed)

    def sample(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Sample one token (...), int64, from logits (..., V) of any floating dtype, in float32."""
        if self.temperature < GREEDY_BELOW or self.top_k == 1:
            return logits.argmax(-1)  # (...)
        logits = logits.float()  # (..., V)
        scores = (
            logits - logits.amax(-1, keepdim=True)
        ) / self.temperature  # (..., V), no overflow at low temperatures
        if self.top_k is None and self.top_p is None:
            return _draw(scores.softmax(-1), generator)  # (...)
        size = scores.shape[-1]
        scores, ids = scores.topk(min(self.top_k or size, size))  # (..., k), most likely first
        probabilities = scores.softmax(-1)  # (..., k)
        if self.top_p is not None:
            before = probabilities.cumsum(-1) - probabilities  # (..., k), sum of the more likely tokens
            probabilities = probabilities.masked_fill(before >= self.top_p, 0.0)  # (..., k)
        indices = _draw(probabilities, generator)  # (...)
        return ids.gather(-1, indices[..., None])[..., 0]  # (...)


def is_integer(value: object) -> bool:
    """Return whether ``value`` is an int that is not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _draw(weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return an index (...) for each row of ``weights`` (..., k), drawn with probabilities proportional to the weights.

    Uses the exponential race, as ``torch.multinomial`` does, but without its limit of 2²⁴ choices.
    """
    times = torch.empty_like(weights).exponential_(generator=generator)  # (..., k)
    return (weights / times).argmax(-1)  # (...)
