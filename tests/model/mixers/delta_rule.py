"""The recurrence of the delta rule, written position by position."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_delta_rule(
    found: Tensor, memory: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> None:
    """Decay the state, read it with the key, write the difference, and read it with the query.

    Args:
        found: The outputs to compare, (B, T, H, V).
        memory: The state to compare after the last position, (B, H, K, V).
        q: Queries, (B, T, H, K).
        k: Keys, (B, T, H, K).
        v: Values, (B, T, H, V).
        decay: Decay rates, (B, T, H, K or 1).
        beta: Write strengths, (B, T, H).
        state: The state before the first position, (B, H, K, V).
    """
    for t in range(q.shape[1]):
        state = state * torch.exp(-decay[:, t, :, :, None])
        read = torch.einsum("bhkv,bhk->bhv", state, k[:, t])
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], beta[:, t, :, None] * (v[:, t] - read))
        torch.testing.assert_close(found[:, t], torch.einsum("bhkv,bhk->bhv", state, q[:, t]))
    torch.testing.assert_close(memory, state)
