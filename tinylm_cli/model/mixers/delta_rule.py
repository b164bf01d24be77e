"""The delta rule in chunks and in steps, which gated DeltaNet and Kimi delta attention share.

Shapes: B batch, T positions, H heads, K d_key, V d_value; c chunks of Q positions, and M = B·H; L kernel_size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.model.sequence_mixer import constant_states

L2_EPS = 1e-6
"""Added to the squared length of queries and keys, in the reference implementations."""


class DeltaRuleState(NamedTuple):
    """The decoding state of one layer; zeros before the first position.

    Attributes:
        inputs: The L - 1 inputs of the convolution of queries, keys and values before the next position, (B, L - 1, C).
        memory: The state of every head, (B, H, K, V), in float32 or wider.
    """

    inputs: Tensor
    memory: Tensor

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(*tensors) for tensors in constant_states(buffers, start=start)]


def over_chunks(
    values: Tensor,
    reads: Tensor,
    inverse: Tensor,
    scores: Tensor,
    queries: Tensor,
    keys: Tensor,
    kept: Tensor,
    *,
    memory: Tensor | None,
) -> Tensor:
    """Return the outputs of all chunks, (c, M, Q, V), with a loop that carries the state from chunk to chunk.

    With the state P before a chunk, the chunk writes ``u = inverse (values - reads P)`` and returns
    ``scores u + queries P``; the state becomes ``kept · P + keys u``.

    Args:
        values: Values times write strengths, (c, M, Q, V).
        reads: Keys times write strengths, decayed from the start of the chunk, (c, M, Q, K).
        inverse: The inverse of the triangular system of each chunk, (c, M, Q, Q).
        scores: Products of queries and keys, with the decay between their positions, (c, M, Q, Q).
        queries: Queries decayed from the start of the chunk, (c, M, Q, K).
        keys: Keys decayed to the end of the chunk, (c, M, K, Q).
        kept: The decay of the state over the chunk, (c, M, 1 or K, 1).
        memory: The state before the first position, (B, H, K, V), replaced by the state after the last; None: zeros.
    """
    state = values.new_zeros(values.shape[1], keys.shape[2], values.shape[3])  # (M, K, V)
    if memory is not None:
        state = memory.flatten(0, 1)  # (M, K, V)
    outputs = []
    # unbind, because the gradient of an index would be a tensor of all chunks for each of them
    chunks = zip(*(x.unbind() for x in (values, reads, inverse, scores, queries, keys, kept)), strict=True)
    for value, read, solve, score, query, key, decay in chunks:
        written = solve @ torch.baddbmm(value, read, state, alpha=-1)  # (M, Q, V), u
        outputs.append(torch.baddbmm(score @ written, query, state))  # (M, Q, V)
        state = torch.baddbmm(state * decay, key, written)  # (M, K, V)
    if memory is not None:
        memory.copy_(state.view_as(memory))
    return torch.stack(outputs)  # (c, M, Q, V)


def decode_step(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, memory: Tensor) -> Tensor:
    """Return the output (B, 1, H, V) of one position, and update ``memory`` (B, H, K, V).

    Args:
        q: The query, (B, 1, H, K).
        k: The key, of length 1, (B, 1, H, K).
        v: The value, (B, 1, H, V).
        decay: Logarithm of the decay of each head or of each of its rows, (B, 1, H, 1 or K).
        beta: Write strength, (B, 1, H).
        memory: The state, (B, H, K, V).
    """
    memory *= decay[:, 0, :, :, None].exp()  # (B, H, K, V)
    state = memory.flatten(0, 1)  # (M, K, V)
    q, k, new = (x.flatten(0, 2).unsqueeze(1) for x in (q, k, v))  # (M, 1, K), (M, 1, K), (M, 1, V)
    state.baddbmm_(k.transpose(1, 2), beta.view(-1, 1, 1) * (new - k @ state))  # (M, K, V)
    return (q @ state).view_as(v)  # (B, 1, H, V)


def inverse_of(system: Tensor) -> Tensor:
    """Return the inverse of unit lower triangular matrices (..., Q, Q); only entries below the diagonal are read."""
    identity = torch.eye(system.shape[-1], dtype=system.dtype, device=system.device)  # (Q, Q)
    inverse: Tensor = torch.linalg.solve_triangular(system, identity, upper=False, unitriangular=True)  # (..., Q, Q)
    return inverse


def by_head(x: Tensor, heads: int) -> Tensor:
    """View (B, T, heads·K) as (B, T, heads, K)."""
    return x.view(*x.shape[:-1], heads, -1)


def l2_normalize(x: Tensor) -> Tensor:
    """Scale each vector to length 1."""
    return x * (x.square().sum(-1, keepdim=True) + L2_EPS).rsqrt()


def chunks_of(x: Tensor, size: int) -> Tensor:
    """Copy (B, T, H, …) to chunks (c, M, Q, …), with zeros after the last position."""
    if padding := -x.shape[1] % size:
        x = functional.pad(x, (0, 0, 0, 0, 0, padding))  # (B, c·Q, H, …)
    chunks = x.view(x.shape[0], -1, size, *x.shape[2:]).permute(1, 0, 3, 2, 4)  # (c, B, H, Q, …)
    return chunks.clone(memory_format=torch.contiguous_format).flatten(1, 2)  # (c, M, Q, …)


def merge_chunks(y: Tensor, batch: int) -> Tensor:
    """Return chunks (c, M, Q, V) as positions (B, c·Q, H, V)."""
    return torch.unflatten(y, 1, (batch, -1)).permute(1, 0, 3, 2, 4).flatten(1, 2)  # (B, c·Q, H, V)
