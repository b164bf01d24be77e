"""How many tokens a model is best trained on, and how large a model a compute budget is best spent on."""

from __future__ import annotations

import math

from tinylm_cli.reports.time import ComputeOptimum

OPTIMAL_TOKENS_PER_PARAM = 20
"""Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556: by approach 1 parameters and tokens both grow as C^0.50
(table 2), from 8.0B tokens for 400M to 21.2T for 1T (table 3). Approach 2 has nearly the same exponents, 0.49 and 0.51;
approach 3, 0.46 and 0.54, asks for more tokens the larger the model, and is left aside."""


def compute_optimum(params: int, train_tokens: int) -> ComputeOptimum:
    """Return where a budget of tokens stands beside the compute-optimal one.

    With 20 tokens a parameter, and training taken as ``6 · params · tokens`` FLOPs, a budget of C FLOPs is spent best
    on ``√(C / 120)`` parameters.

    Args:
        params: Parameters, embeddings included as in the paper (Pearce and Song 2024,
            https://arxiv.org/abs/2406.12907); of experts those a token uses, on which the paper has nothing to say.
        train_tokens: Tokens to train on, >= 1.

    References:
        Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556
    """
    flops = 6 * params * train_tokens
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
    """Return the parameters that ``C = 6 · N · D`` operations are best spent on, ``N = √(C / 120)``, rounded down."""
    return math.isqrt(compute_flops // (6 * OPTIMAL_TOKENS_PER_PARAM))
