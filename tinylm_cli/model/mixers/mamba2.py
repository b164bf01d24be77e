"""Mamba-2: a state-space model with one decay per head, computed in chunks or step by step.

Each head h keeps a state S of (P, N) numbers. At each position, with step size Δ > 0 and A < 0,

    S = exp(Δ·A) · S + Δ · x ⊗ B,    y = S·C + D · x

Shapes: B batch, T positions, D d_model, H heads, P d_head, N d_state, G groups of R = H / G heads that share B and C,
I = H·P inner dimensions, L kernel_size; in chunks, c chunks of Q positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.mixers.causal_conv import CausalConv
from tinylm_cli.model.mixers.initial_values import draw_conv, draw_dt_bias
from tinylm_cli.model.sequence_mixer import Buffer, InitialValue, SequenceMixer, constant_states

INITIAL_DECAY = (1.0, 16.0)
"""Range of the initial -A, drawn uniformly, in the reference implementation."""


class Mamba2State(NamedTuple):
    """The decoding state of one layer; zeros before the first position.

    Attributes:
        inputs: The L - 1 inputs of the convolution before the next position, (B, L - 1, I + 2·G·N).
        ssm: The state of every head, (B, H, P, N), in float32 or wider.
    """

    inputs: Tensor
    ssm: Tensor

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffers of one layer, which do not grow with the positions."""
        settings, heads = config.mamba2, config.mamba2_heads
        channels = heads * settings.d_head + 2 * settings.n_groups * settings.d_state  # I + 2·G·N
        return (
            Buffer((1, batch_size, settings.kernel_size - 1, channels)),  # (1, B, L - 1, I + 2·G·N)
            Buffer((1, batch_size, heads, settings.d_head, settings.d_state), is_upcast=True),  # (1, B, H, P, N)
        )

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(*tensors) for tensors in constant_states(buffers, start=start)]


class Mamba2(SequenceMixer):
    """``out_proj(norm(y · silu(z)))``, where the state-space model maps x, B, C and Δ to y.

    ``in_proj`` maps each token to z, to x, B and C, which a convolution and SiLU then mix over a few positions, and to
    Δ. The recurrence runs in float32 or wider.

    Args:
        config: Uses d_model, norm.eps and mamba2.

    References:
        Dao and Gu 2024, sections 5 to 7, https://arxiv.org/abs/2405.21060;
        https://github.com/state-spaces/mamba (reference implementation)
    """

    label = "Mamba-2 state-space model"
    State = Mamba2State

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        settings = config.mamba2
        self.n_heads, self.d_head = config.mamba2_heads, settings.d_head
        self.n_groups, self.d_state = settings.n_groups, settings.d_state
        self.chunk_len, self.min_dt, self.max_dt = settings.chunk_len, settings.min_dt, settings.max_dt
        d_inner, d_shared = self.n_heads * self.d_head, self.n_groups * self.d_state  # I, G·N
        self.splits = [d_inner, d_inner + 2 * d_shared, self.n_heads]  # z; x, B and C; Δ
        self.parts = [d_inner, d_inner, d_shared, d_shared, self.n_heads]  # z, x, B, C, Δ
        self.multipliers, self.out_multiplier = settings.multipliers, settings.out_multiplier
        self.in_proj = Linear(config.d_model, sum(self.splits), bias=settings.bias)
        self.conv = CausalConv(d_inner + 2 * d_shared, settings.kernel_size, bias=settings.conv_bias)
        self.conv.initial_values["weight"] = draw_conv
        self.dt_bias, self.A_log, self.D = (
            nn.Parameter(torch.empty(self.n_heads, device="meta", dtype=torch.float32)) for _ in range(3)
        )  # (H) each
        group_size = d_inner // self.n_groups if settings.norm == "grouped" else d_inner
        self.norm = None if settings.norm == "none" else GroupedRMSNorm(d_inner, group_size, eps=config.norm.eps)
        self.out_proj = Linear(d_inner, config.d_model, bias=settings.bias)
        self.initial_values: dict[str, InitialValue] = {"D": 1.0, "A_log": _draw_log_decay, "dt_bias": draw_dt_bias}

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield heads, state and groups."""
        yield "n_heads", self.n_heads
        yield "d_state", self.d_state
        if self.n_groups > 1:
            yield "n_groups", self.n_groups

    def forward(self, x: Tensor, *, cache: Mamba2State | None = None, **_attention: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        batch, length, _ = x.shape
        projected = self.in_proj(x)  # (B, T, 2·I + 2·G·N + H)
        if self.multipliers is not None:
            parts = zip(self.parts, self.multipliers, strict=True)
            projected = projected * torch.cat([x.new_full((size,), factor) for size, factor in parts])
        z, x_b_c, dt = torch.split(projected, self.splits, dim=-1)  # (B, T, I), (B, T, I + 2·G·N), (B, T, H)
        x_b_c = self.conv(x_b_c, None if cache is None else cache.inputs).contiguous()  # (B, T, I + 2·G·N)
        x_b_c = functional.silu(x_b_c)  # (B, T, I + 2·G·N)
        wide = torch.promote_types(x_b_c.dtype, torch.float32)
        dt = functional.softplus(dt.to(wide) + self.dt_bias.to(wide))  # (B, T, H)
        if self.min_dt > 0 or self.max_dt is not None:
            dt = dt.clamp(self.min_dt, self.max_dt)  # (B, T, H)
        decay = dt * -self.A_log.to(wide).exp()  # (B, T, H), Δ·A
        d_inner, _, _ = self.splits
        d_shared = self.n_groups * self.d_state
        values, b, c = torch.split(x_b_c.to(wide), [d_inner, d_shared, d_shared], dim=-1)  # (B, T, I), (B, T, G·N) each
        values = values.reshape(batch, length, self.n_heads, self.d_head)  # (B, T, H, P)
        b, c = (each.reshape(batch, length, self.n_groups, self.d_state) for each in (b, c))  # (B, T, G, N) each
        if cache is not None and length == 1:
            y = _step(values * dt[..., None], decay, b, c, cache.ssm)  # (B, 1, H, P)
        else:
            state = None if cache is None else cache.ssm
            y = chunked_scan(values * dt[..., None], decay, b, c, chunk_len=self.chunk_len, state=state)  # (B, T, H, P)
        y = (y + values * self.D.to(wide)[:, None]).flatten(2)  # (B, T, I)
        y = y * functional.silu(z.to(wide))  # (B, T, I)
        if self.norm is not None:
            y = self.norm(y)  # (B, T, I)
        out: Tensor = self.out_proj(y.to(x_b_c.dtype))  # (B, T, D)
        return out if self.out_multiplier == 1 else out * self.out_multiplier  # (B, T, D)


class GroupedRMSNorm(nn.Module):
    """RMSNorm of each group of dimensions, with a weight for each dimension.

    Args:
        dim: I, dimensions.
        group_size: Dimensions of a group.
        eps: Added to the mean square.
    """

    def __init__(self, dim: int, group_size: int, *, eps: float) -> None:
        super().__init__()
        self.shape, self.eps = (group_size,), eps
        self.weight = nn.Parameter(torch.empty(dim, device="meta", dtype=torch.float32))
        self.initial_values = {"weight": 1.0}

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, I) to (B, T, I)."""
        grouped = x.view(*x.shape[:-1], -1, *self.shape)  # (B, T, I / group, group)
        return torch.rms_norm(grouped, self.shape, eps=self.eps).flatten(-2) * self.weight.to(x.dtype)  # (B, T, I)


def chunked_scan(
    x: Tensor, decay: Tensor, b: Tensor, c: Tensor, *, chunk_len: int, state: Tensor | None = None
) -> Tensor:
    """Return the outputs ``y[t] = S[t]·C[t]`` of all positions, (B, T, H, P), as matmuls within and between chunks.

    Within a chunk, ``y[t] = Σ (C[t]·B[s]) exp(Σ decay[s + 1..t]) x[s]`` over s <= t, as in attention. Between chunks, a
    loop passes on the state.

    Args:
        x: Inputs times their step size, (B, T, H, P).
        decay: Logarithm of each head's decay, (B, T, H), negative.
        b: Input vectors, (B, T, G, N).
        c: Output vectors, (B, T, G, N).
        chunk_len: Positions per chunk; Q is at most T.
        state: The state before the first position, (B, H, P, N), replaced by the state after the last; None: zeros.

    References:
        Dao and Gu 2024, section 6 and listing 1, https://arxiv.org/abs/2405.21060
    """
    batch, length, heads, d_head = x.shape
    groups = b.shape[2]
    size = min(chunk_len, length)  # Q
    n_chunks = -(-length // size)
    padding = n_chunks * size - length
    x, decay, b, c = (_chunks(each, size, padding) for each in (x, decay, b, c))  # (B, c, Q, …)
    x = x.view(*x.shape[:3], groups, -1, d_head).permute(0, 1, 3, 4, 2, 5).contiguous()  # (B, c, G, R, Q, P)
    total = decay.view(*decay.shape[:3], groups, -1).permute(0, 1, 3, 4, 2).cumsum(-1)  # (B, c, G, R, Q)
    b, c = b.transpose(2, 3).contiguous(), c.transpose(2, 3).contiguous()  # (B, c, G, Q, N) each
    # within chunks
    between = total[..., :, None] - total[..., None, :]  # (B, c, G, R, Q, Q), decay from s to t
    later = torch.ones(size, size, dtype=torch.bool, device=x.device).triu(1)  # (Q, Q), s after t
    weights = between.masked_fill(later, -math.inf).exp()  # (B, c, G, R, Q, Q)
    scores = c @ b.transpose(-1, -2)  # (B, c, G, Q, Q)
    y = (scores[:, :, :, None] * weights) @ x  # (B, c, G, R, Q, P)
    # between chunks
    to_end = (total[..., -1:] - total).exp()  # (B, c, G, R, Q), decay from each position to the end of its chunk
    scaled = (x * to_end[..., None]).transpose(-1, -2).flatten(3, 4)  # (B, c, G, R·P, Q)
    added = scaled @ b  # (B, c, G, R·P, N), the update of the state by each chunk
    before = _states(added, total[..., -1].exp(), state)  # (B, c, G, R·P, N), the state before each chunk
    carried = c @ before.transpose(-1, -2)  # (B, c, G, Q, R·P)
    carried = carried.view(*carried.shape[:4], -1, d_head)  # (B, c, G, Q, R, P)
    y = y + carried.transpose(3, 4) * total.exp()[..., None]  # (B, c, G, R, Q, P)
    y = y.permute(0, 1, 4, 2, 3, 5).reshape(batch, n_chunks * size, heads, d_head)  # (B, c·Q, H, P)
    return y[:, :length]  # (B, T, H, P)


def _chunks(x: Tensor, size: int, padding: int) -> Tensor:
    """Reshape (B, T, …) to chunks (B, c, Q, …), with zeros after the last position."""
    if padding:
        x = functional.pad(x, (*[0, 0] * (x.dim() - 2), 0, padding))  # (B, c·Q, …)
    return x.reshape(x.shape[0], -1, size, *x.shape[2:])


def _states(added: Tensor, decay: Tensor, state: Tensor | None) -> Tensor:
    """Return the state before each chunk, (B, c, G, R·P, N), and replace ``state`` by the state after the last chunk.

    Args:
        added: The update of the state by each chunk, (B, c, G, R·P, N).
        decay: The decay over each chunk, (B, c, G, R).
        state: The state before the first chunk, (B, H, P, N); None: zeros.
    """
    added = added.view(*decay.shape, -1, added.shape[-1])  # (B, c, G, R, P, N)
    current = torch.zeros_like(added[:, 0]) if state is None else state.view_as(added[:, 0])  # (B, G, R, P, N)
    n_chunks, states = added.shape[1], [current]
    for chunk in range(n_chunks - 1 if state is None else n_chunks):
        current = current * decay[:, chunk, ..., None, None] + added[:, chunk]  # (B, G, R, P, N)
        states.append(current)
    before = torch.stack(states[:n_chunks], dim=1).flatten(3, 4)  # (B, c, G, R·P, N)
    if state is not None:
        state.copy_(current.view_as(state))
    return before


def _step(x: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor) -> Tensor:
    """Return the output (B, 1, H, P) of one position, and update ``state`` (B, H, P, N); arguments as above."""
    batch, _, groups, d_state = b.shape
    state *= decay[:, 0, :, None, None].exp()  # (B, H, P, N)
    grouped = state.view(batch * groups, -1, d_state)  # (B·G, R·P, N)
    grouped.baddbmm_(x.reshape(batch * groups, -1, 1), b.reshape(batch * groups, 1, d_state))
    return (grouped @ c.reshape(batch * groups, d_state, 1)).view_as(x)  # (B, 1, H, P)


def _draw_log_decay(values: Tensor, generator: torch.Generator) -> None:
    """Fill ``A_log`` (H) with the logarithm of a uniform -A."""
    values.uniform_(*INITIAL_DECAY, generator=generator).log_()
