"""Lightning attention: linear attention whose heads decay at constant rates, computed in chunks or step by step.

Each head keeps a state S of (K, K) numbers. At each position,

    S = λ · S + k ⊗ v,    y = Sᵀq,    λ = exp(-slope)

where queries, keys and values have passed SiLU. Head h of H, from 1, has the slope ``2^(-8h / H)``, as in ALiBi, times
a factor that falls from 1 in the first layer to almost 0 in the last.

Shapes: B batch, T positions, D d_model, H heads, K d_head; in chunks, Q positions of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import RMSNorm
from tinylm_cli.model.sequence_mixer import Buffer, SequenceMixer, constant_states

MAX_EXPONENT = 8
"""Exponent of 1/2 in the slope of the last head, as in ALiBi."""

DEPTH_EPS = 1e-5
"""Keeps the factor of the slopes above 0 in the last layer, and defined in a model of one layer, as in MiniMax-01."""


class LightningAttentionState(NamedTuple):
    """The decoding state of one layer; zeros before the first position.

    Attributes:
        memory: The state of every head, (B, H, K, K), in float32 or wider.
    """

    memory: Tensor

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffer of one layer, which does not grow with the positions."""
        heads, d_head = config.lightning_attention_heads, config.lightning_attention.d_head
        return (Buffer((1, batch_size, heads, d_head, d_head), is_upcast=True),)

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(*tensors) for tensors in constant_states(buffers, start=start)]


class LightningAttention(SequenceMixer):
    """``o_proj(o_norm(y) · sigmoid(gate))``, where linear attention maps queries, keys and values to y.

    The recurrence runs in float32 or wider.

    Args:
        config: Uses d_model, n_layers, norm.eps and lightning_attention.

    References:
        Qin et al. 2024 (Lightning Attention-2), https://arxiv.org/abs/2401.04658;
        MiniMax 2025 (MiniMax-01), https://arxiv.org/abs/2501.08313
    """

    label = "lightning attention"
    State = LightningAttentionState

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, settings = config.d_model, config.lightning_attention
        self.n_heads, self.chunk_len = config.lightning_attention_heads, settings.chunk_len
        self.n_layers = config.n_layers
        d_inner = self.n_heads * settings.d_head  # H·K
        self.q_proj = Linear(d, d_inner, bias=False)
        self.k_proj = Linear(d, d_inner, bias=False)
        self.v_proj = Linear(d, d_inner, bias=False)
        self.gate_proj = Linear(d, d_inner, bias=False)
        eps = settings.o_norm_eps or config.norm.eps
        self.o_norm = RMSNorm(d_inner, eps=eps, weight=True, bias=False, zero_centered=False)
        self.o_proj = Linear(d_inner, d, bias=False)
        self.set_layer(0)

    def set_layer(self, layer: int) -> None:
        """Set the index of the layer, on which the decays depend."""
        self._slope_factor = 1 - layer / (self.n_layers - 1 + DEPTH_EPS) + DEPTH_EPS

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the heads."""
        yield "n_heads", self.n_heads

    def forward(self, x: Tensor, *, cache: LightningAttentionState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        y = self._attend(x, None if cache is None else cache.memory)  # (B, H, T, K)
        y = y.transpose(1, 2).flatten(2).to(x.dtype)  # (B, T, H·K)
        out: Tensor = self.o_proj(self.o_norm(y) * self.gate_proj(x).sigmoid())  # (B, T, D)
        return out

    def _attend(self, x: Tensor, memory: Tensor | None) -> Tensor:
        """Return the output of the linear attention (B, H, T, K), and update ``memory`` (B, H, K, K)."""
        q, k, v = (self._heads(functional.silu(proj(x))) for proj in (self.q_proj, self.k_proj, self.v_proj))
        slopes = self._slopes(q)  # (H)
        if memory is not None and x.shape[1] == 1:
            return _step(q, k, v, slopes, memory)  # (B, H, 1, K)
        return chunked_linear_attention(q, k, v, slopes, chunk_len=self.chunk_len, memory=memory)  # (B, H, T, K)

    def _heads(self, x: Tensor) -> Tensor:
        """Copy (B, T, H·K) to (B, H, T, K), in float32 or wider."""
        wide = torch.promote_types(x.dtype, torch.float32)
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2).to(wide).contiguous()

    def _slopes(self, q: Tensor) -> Tensor:
        """Return the slope of each head (H)."""
        head = torch.arange(1, self.n_heads + 1, device=q.device, dtype=q.dtype)  # (H)
        return torch.exp2(head * (-MAX_EXPONENT / self.n_heads)) * self._slope_factor  # (H)


def chunked_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *, chunk_len: int, memory: Tensor | None = None
) -> Tensor:
    """Return the outputs ``y[t] = S[t]ᵀq[t]`` of all positions, (B, H, T, K), with a loop over chunks only.

    Let P be the state before a chunk, and t the positions in it from 1. Then ``y[t] = λᵗ Pᵀq[t] + Σ λᵗ⁻ˢ (q[t]·k[s])
    v[s]`` over s <= t.

    Args:
        q: Queries, (B, H, T, K).
        k: Keys, (B, H, T, K).
        v: Values, (B, H, T, K).
        slopes: Negative logarithm of each head's decay λ, (H).
        chunk_len: Positions per chunk; Q is at most T.
        memory: The state before the first position, (B, H, K, K), replaced by the state after the last; None: zeros.

    References:
        Qin et al. 2024, algorithm 1, https://arxiv.org/abs/2401.04658
    """
    size = min(chunk_len, q.shape[2])  # Q
    rates = -slopes[:, None]  # (H, 1), log λ
    powers = (rates * torch.arange(size, device=q.device, dtype=q.dtype)).exp()  # (H, Q), from 1 to λ^(Q - 1)
    # row t of the windows is λ^(t - Q + 1), …, λᵗ, where negative powers are 0
    between = functional.pad(powers, (size - 1, 0)).unfold(1, size, 1).flip(2)  # (H, Q, Q), λᵗ⁻ˢ
    from_start, to_end = (powers * rates.exp())[..., None], between[:, -1, :, None]  # (H, Q, 1) each
    state = v.new_zeros(*v.shape[:2], v.shape[3], v.shape[3]) if memory is None else memory  # (B, H, K, K)
    outputs = []
    # split, because the gradient of an index would be a tensor of all positions for each chunk
    for query, key, value in zip(*(torch.split(x, size, dim=2) for x in (q, k, v)), strict=True):
        length = query.shape[2]  # Q, or less in the last chunk
        decays, decayed = between[:, :length, :length], from_start[:, :length]  # (H, Q, Q), (H, Q, 1)
        scores = (query @ key.transpose(-1, -2)) * decays  # (B, H, Q, Q)
        outputs.append(scores @ value + (query * decayed) @ state)  # (B, H, Q, K)
        written = (key * to_end[:, -length:]).transpose(-1, -2) @ value  # (B, H, K, K)
        state = state * decayed[:, -1:] + written  # (B, H, K, K)
    if memory is not None:
        memory.copy_(state)
    return torch.cat(outputs, dim=2)  # (B, H, T, K)


def _step(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, memory: Tensor) -> Tensor:
    """Return the output (B, H, 1, K) of one position, and update ``memory`` (B, H, K, K); arguments as above."""
    memory *= (-slopes)[:, None, None].exp()  # (B, H, K, K)
    state = memory.flatten(0, 1)  # (B·H, K, K)
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))  # (B·H, 1, K) each
    state.baddbmm_(k.transpose(1, 2), v)  # (B·H, K, K)
    return (q @ state).view(*memory.shape[:2], 1, -1)  # (B, H, 1, K)
