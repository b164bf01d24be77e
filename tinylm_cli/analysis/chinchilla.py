"""Compute-optimal training (Chinchilla): tokens for a model, and model size for a compute budget."""

from __future__ import annotations

import math

from tinylm_cli.reports.time import ComputeOptimum

OPTIMAL_TOKENS_PER_PARAM = 20
"""Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556. By approach 1, parameters and tokens both grow as C^0.50
(table 2), from 8.0B tokens for 400M parameters to 21.2T for 1T (table 3). Approach 2 has nearly the same exponents,
0.49 and 0.51. Approach 3, with 0.46 and 0.54, is not used: it needs more tokens per parameter for larger models."""

FLOPS_PER_PARAM_AND_TOKEN = 6
"""Forward 2, backward 4: ``C = 6 · N · D`` (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361)."""


def compute_optimum(params: int, train_tokens: int) -> ComputeOptimum:
    """Compare a number of training tokens with the compute-optimal number.

    With 20 tokens per parameter and ``C = 6 · N · D``, the compute-optimal size for C FLOPs is ``√(C / 120)``.

    Args:
        params: N, with embeddings, as in the paper (Pearce and Song 2024, https://arxiv.org/abs/2406.12907). For a
            mixture of experts, active parameters, which the paper does not cover.
        train_tokens: D, tokens to train on, >= 1.

    References:
        Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556
    """
    flops = FLOPS_PER_PARAM_AND_TOKEN * params * train_tokens
    optimal_tokens = OPTIMAL_TOKENS_PER_PARAM * params
    best = optimal_params(flops)
    return ComputeOptimum(
        params=params,
        train_tokens=train_tokens,
        tokens_per_param=train_tokens / params,
        optimal_tokens=optimal_tokens,
        optimal_ratio=train_tokens / optimal_tokens,
        compute_flops=flops,
        compute_optimal_params=best,
        compute_optimal_tokens=OPTIMAL_TOKENS_PER_PARAM * best,
    )


def optimal_params(compute_flops: int) -> int:
    """Return the compute-optimal number of parameters, ``N = √(C / 120)``, rounded down."""
    return math.isqrt(compute_flops // (FLOPS_PER_PARAM_AND_TOKEN * OPTIMAL_TOKENS_PER_PARAM))
