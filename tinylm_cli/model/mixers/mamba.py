"""Mamba: a selective state-space model, computed position by position, in chunks or in steps.

Each inner dimension keeps a state h of N numbers. At each position, with step size Δ > 0 and A < 0,

    h = exp(Δ·A) · h + Δ · x · B,    y = h·C + D · x

Unlike in Mamba-2, every number of the state has a decay of its own, so that the recurrence is no matmul.

With several heads, each projects Δ, B and C from its own inner dimensions, and is computed like a sequence of its own.

Shapes: B batch, T positions, D d_model, I d_inner, N d_state, R dt_rank, L kernel_size; Q positions of a chunk; H
n_heads, P = I / H. With one head, H·B is B and P is I.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.mixers.causal_conv import CausalConv
from tinylm_cli.model.mixers.initial_values import draw_conv, draw_dt_bias
from tinylm_cli.model.norm import RMSNorm
from tinylm_cli.model.sequence_mixer import Buffer, InitialValue, SequenceMixer, constant_states


class MambaState(NamedTuple):
    """The decoding state of one layer; zeros before the first position.

    Attributes:
        inputs: The L - 1 inputs of the convolution before the next position, (B, L - 1, I).
        ssm: The state of every inner dimension, (B, I, N), in float32 or wider.
    """

    inputs: Tensor
    ssm: Tensor

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffers of one layer, which do not grow with the positions."""
        settings, d_inner = config.mamba, config.mamba_d_inner
        return (
            Buffer((1, batch_size, settings.kernel_size - 1, d_inner)),  # (1, B, L - 1, I)
            Buffer((1, batch_size, d_inner, settings.d_state), is_upcast=True),  # (1, B, I, N)
        )

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(*tensors) for tensors in constant_states(buffers, start=start)]


class Mamba(SequenceMixer):
    """``out_proj(y · silu(z))``, where the state-space model maps x, B, C and Δ to y.

    ``in_proj`` maps each token to x and z. A convolution and SiLU mix x over a few positions; ``x_proj`` maps the
    result to B, C and a low-rank Δ, which ``dt_proj`` expands. The recurrence runs in float32 or wider.

    Args:
        config: Uses d_model, norm.eps and mamba.

    References:
        Gu and Dao 2023, sections 3.2 to 3.4, https://arxiv.org/abs/2312.00752;
        Lieber et al. 2024 (Jamba), section 3.1, the norms of Δ, B and C, https://arxiv.org/abs/2403.19887;
        https://github.com/state-spaces/mamba (reference implementation)
    """

    label = "Mamba state-space model"
    State = MambaState

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        settings, d_inner, dt_rank = config.mamba, config.mamba_d_inner, config.mamba_dt_rank
        self.d_inner, self.d_state, self.chunk_len = d_inner, settings.d_state, settings.chunk_len
        self.n_heads = settings.n_heads
        self.splits = [dt_rank, settings.d_state, settings.d_state]  # Δ, B, C
        self.A_log = nn.Parameter(torch.empty(d_inner, settings.d_state, device="meta", dtype=torch.float32))  # (I, N)
        self.D = nn.Parameter(torch.empty(d_inner, device="meta", dtype=torch.float32))  # (I)
        self.in_proj = Linear(config.d_model, 2 * d_inner, bias=settings.bias)
        self.conv = CausalConv(d_inner, settings.kernel_size, bias=settings.conv_bias)
        self.conv.initial_values["weight"] = draw_conv
        self.x_proj = _HeadLinear(self.n_heads, d_inner // self.n_heads, sum(self.splits), bias=False)
        eps = config.norm.eps if settings.eps is None else settings.eps
        self.dt_norm, self.b_norm, self.c_norm = (
            None
            if settings.norm == "none"
            else RMSNorm(size, eps=eps, weight=settings.norm == "weighted", bias=False, zero_centered=False)
            for size in self.splits
        )
        self.dt_proj = _StepSize(self.n_heads, dt_rank, d_inner // self.n_heads)
        self.out_proj = Linear(d_inner, config.d_model, bias=settings.bias)
        # the logarithms of 1 to N (S4D-real; Gu et al. 2022, arXiv:2206.11893)
        log_decay = torch.arange(1, settings.d_state + 1, device="cpu", dtype=torch.float32).log()  # (N)
        self.initial_values: dict[str, InitialValue] = {"D": 1.0, "A_log": log_decay}

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the state."""
        yield "d_state", self.d_state

    def forward(self, x: Tensor, *, cache: MambaState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        x, z = torch.split(self.in_proj(x), self.d_inner, dim=-1)  # (B, T, I) each
        x = self.conv(x, None if cache is None else cache.inputs).contiguous()  # (B, T, I)
        x = functional.silu(x)  # (B, T, I)
        if self.n_heads > 1:
            x = self._by_head(x)  # (H·B, T, P)
        dt, b, c = torch.split(self.x_proj(x), self.splits, dim=-1)  # (H·B, T, R), (H·B, T, N), (H·B, T, N)
        if self.dt_norm is not None and self.b_norm is not None and self.c_norm is not None:
            dt, b, c = self.dt_norm(dt), self.b_norm(b), self.c_norm(c)  # as above
        wide = torch.promote_types(x.dtype, torch.float32)
        dt = functional.softplus(self.dt_proj(dt).to(wide))  # (H·B, T, P)
        a = -self.A_log.to(wide).exp()  # (I, N)
        if self.n_heads > 1:
            a = self._of_heads(a, z.shape[0])  # (H·B, P, N)
        values = x.to(wide)  # (H·B, T, P)
        b, c = b.to(wide, copy=True), c.to(wide, copy=True)  # (H·B, T, N) each, contiguous
        state = None if cache is None else self._state(cache.ssm)  # (H·B, P, N)
        if state is not None and x.shape[1] == 1:
            y = _step(values * dt, dt, a, b, c, state)  # (H·B, 1, P)
        else:
            y = selective_scan(values * dt, dt, a, b, c, chunk_len=self.chunk_len, state=state)  # (H·B, T, P)
        y = y + values * self._skip(wide, z.shape[0])  # (H·B, T, P)
        if self.n_heads > 1:
            y = torch.unflatten(y, 0, (self.n_heads, -1)).permute(1, 2, 0, 3).flatten(2)  # (B, T, I)
            if cache is not None and state is not None:
                by_head = torch.unflatten(state, 0, (self.n_heads, -1))  # (H, B, P, N)
                cache.ssm.copy_(by_head.transpose(0, 1).flatten(1, 2))  # (B, I, N)
        y = y * functional.silu(z.to(wide))  # (B, T, I)
        out: Tensor = self.out_proj(y.to(z.dtype))  # (B, T, D)
        return out

    def _skip(self, dtype: torch.dtype, batch_size: int) -> Tensor:
        """Return the weights of the skip connection, (I), or with several heads (H·B, 1, P)."""
        skip = self.D.to(dtype)  # (I)
        return skip if self.n_heads == 1 else self._of_heads(skip, batch_size)[:, None]

    def _by_head(self, x: Tensor) -> Tensor:
        """Return the inner dimensions (B, T, I) of each head, one head after the other: (H·B, T, P)."""
        return torch.unflatten(x, -1, (self.n_heads, -1)).permute(2, 0, 1, 3).flatten(0, 1)  # (H·B, T, P)

    def _of_heads(self, values: Tensor, batch_size: int) -> Tensor:
        """Return the values of the inner dimensions (I, ...) by head, for each sequence again: (H·B, P, ...)."""
        by_head = torch.unflatten(values, 0, (self.n_heads, 1, -1))  # (H, 1, P, ...)
        return by_head.expand(-1, batch_size, *by_head.shape[2:]).flatten(0, 1)  # (H·B, P, ...)

    def _state(self, state: Tensor) -> Tensor:
        """Return the state (B, I, N), or with several heads a copy of it by head, (H·B, P, N)."""
        if self.n_heads == 1:
            return state
        return torch.unflatten(state, 1, (self.n_heads, -1)).transpose(0, 1).flatten(0, 1)  # (H·B, P, N)


class _HeadLinear(Linear):
    """A linear map of each head, from its part of the inner dimensions; the weights of all heads are one matrix.

    Args:
        n_heads: H.
        in_features: Inputs of a head.
        out_features: Outputs of a head.
        bias: Whether to add a learned bias.
    """

    def __init__(self, n_heads: int, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__(in_features, n_heads * out_features, bias=bias)
        self.n_heads = n_heads

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - as in nn.Linear
        """Map ``(H·B, T, in_features)`` to ``(H·B, T, out_features)``."""
        if self.n_heads == 1:
            return super().forward(input)
        rows = input.reshape(self.n_heads, -1, self.in_features)  # (H, B·T, in)
        weight = self.weight.view(self.n_heads, -1, self.in_features).mT  # (H, in, out)
        if self.bias is None:
            out = torch.bmm(rows, weight)  # (H, B·T, out)
        else:
            out = torch.baddbmm(self.bias.view(self.n_heads, 1, -1), rows, weight)  # (H, B·T, out)
        return out.view(*input.shape[:-1], -1)  # (H·B, T, out)


class _StepSize(_HeadLinear):
    """The map from a low-rank Δ to the Δ of each inner dimension, before softplus.

    Args:
        n_heads: H.
        rank: R.
        d_head: P.
    """

    def __init__(self, n_heads: int, rank: int, d_head: int) -> None:
        super().__init__(n_heads, rank, d_head)
        self.initial_values: dict[str, InitialValue] = {"weight": _draw_dt_weight, "bias": draw_dt_bias}


def selective_scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, *, chunk_len: int, state: Tensor | None = None
) -> Tensor:
    """Return the outputs ``y[t] = h[t]·C[t]`` of all positions, (B, T, I).

    For each chunk, the decays, the inputs and the outputs of all positions are computed at once. The recurrence, one
    multiplication and addition for each number of the state, is a loop over the positions.

    Args:
        x: Inputs times their step size, (B, T, I).
        dt: Step size, (B, T, I).
        a: The rate of decay of each number of the state, (I, N), or (B, I, N) of each sequence; negative.
        b: Input vectors, (B, T, N).
        c: Output vectors, (B, T, N).
        chunk_len: Positions per chunk, Q.
        state: The state before the first position, (B, I, N), replaced by the state after the last; None: zeros.

    References:
        Gu and Dao 2023, algorithm 2, https://arxiv.org/abs/2312.00752
    """
    current = x.new_zeros(x.shape[0], *a.shape[-2:]) if state is None else state  # (B, I, N)
    outputs = []
    chunks = (torch.split(each, chunk_len, dim=1) for each in (x, dt, b, c))
    for x_q, dt_q, b_q, c_q in zip(*chunks, strict=True):
        y, current = _scan_chunk(x_q, dt_q, a, b_q, c_q, current)  # (B, Q, I), (B, I, N)
        outputs.append(y)
    if state is not None:
        state.copy_(current)
    return torch.cat(outputs, dim=1)  # (B, T, I)


def _scan_chunk(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outputs (B, Q, I) of a chunk, and the state (B, I, N) after it; arguments as above."""
    decay = (dt[..., None] * (a if a.dim() == 2 else a[:, None])).exp()  # (B, Q, I, N)
    x, b, c = x.contiguous(), b.contiguous(), c.contiguous()  # as matmuls of several sequences would make them
    added = x[..., None] @ b[:, :, None]  # (B, Q, I, N)
    states = []
    for decay_t, added_t in zip(decay.unbind(1), added.unbind(1), strict=True):
        state = torch.addcmul(added_t, decay_t, state)  # (B, I, N)
        states.append(state)
    return (torch.stack(states, dim=1) @ c[..., None]).squeeze(-1), state  # (B, Q, I)


def _step(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor) -> Tensor:
    """Return the output (B, 1, I) of one position, and update ``state`` (B, I, N); arguments as above."""
    state *= (dt[:, 0, :, None] * a).exp()  # (B, I, N)
    state.baddbmm_(x.transpose(1, 2), b)  # (B, I, N)
    return (state @ c.transpose(1, 2)).transpose(1, 2)  # (B, 1, I)


def _draw_dt_weight(values: Tensor, generator: torch.Generator) -> None:
    """Fill the weight (I, R) of the step size: uniform in ±1/√R."""
    bound = values.shape[1] ** -0.5
    values.uniform_(-bound, bound, generator=generator)
