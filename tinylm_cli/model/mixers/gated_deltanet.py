"""Gated DeltaNet: linear attention whose state decays and is corrected, computed in chunks or step by step.

Each value head keeps a state S of (K, V) numbers. At each position, with a key k of length 1, a decay α in (0, 1) and a
write strength β in (0, 1),

    S = α · S + k ⊗ β · (v - α · Sᵀk),    y = Sᵀq

so that S returns (1 - β) times its old value and β times v for the key k: the delta rule.

Shapes: B batch, T positions, D d_model, G key heads, H value heads, K d_key, V d_value, L kernel_size; in chunks, c
chunks of Q positions, and M = B·H.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.mixers.causal_conv import CausalConv
from tinylm_cli.model.mixers.delta_rule import (
    DeltaRuleState,
    by_head,
    chunks_of,
    decode_step,
    inverse_of,
    l2_normalize,
    merge_chunks,
    over_chunks,
)
from tinylm_cli.model.norm import RMSNorm
from tinylm_cli.model.sequence_mixer import Buffer, InitialValue, SequenceMixer

INITIAL_DECAY = (0.01, 16.0)
"""Range of the initial -A, drawn uniformly, in Qwen3-Next."""


class GatedDeltaNetState(DeltaRuleState):
    """The decoding state of gated DeltaNet, with C = 2·G·K + H·V."""

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffers of one layer, which do not grow with the positions."""
        settings = config.gated_deltanet
        heads = config.gated_deltanet_value_heads
        channels = 2 * config.gated_deltanet_key_heads * settings.d_key + heads * settings.d_value  # 2·G·K + H·V
        return (
            Buffer((1, batch_size, settings.kernel_size - 1, channels)),  # (1, B, L - 1, 2·G·K + H·V)
            Buffer((1, batch_size, heads, settings.d_key, settings.d_value), is_upcast=True),  # (1, B, H, K, V)
        )


class GatedDeltaNet(SequenceMixer):
    """``o_proj(o_norm(y) · silu(gate))``, where the gated delta rule maps queries, keys and values to y.

    A convolution and SiLU mix queries, keys and values over a few positions. The recurrence runs in float32 or wider.

    Args:
        config: Uses d_model, norm.eps and gated_deltanet.

    References:
        Yang et al. 2024, https://arxiv.org/abs/2412.06464
    """

    label = "gated DeltaNet"
    State = GatedDeltaNetState
    A_log: nn.Parameter
    dt_bias: nn.Parameter

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, settings = config.d_model, config.gated_deltanet
        self.n_key_heads = config.gated_deltanet_key_heads
        self.n_value_heads = config.gated_deltanet_value_heads
        self.d_key, self.d_value, self.chunk_len = settings.d_key, settings.d_value, settings.chunk_len
        self.max_beta = 2.0 if settings.negative_eigenvalues else 1.0
        d_keys, d_values = self.n_key_heads * self.d_key, self.n_value_heads * self.d_value  # G·K, H·V
        self.q_proj = Linear(d, d_keys, bias=False)
        self.k_proj = Linear(d, d_keys, bias=False)
        self.v_proj = Linear(d, d_values, bias=False)
        self.a_proj = Linear(d, self.n_value_heads, bias=False)
        self.b_proj = Linear(d, self.n_value_heads, bias=False)
        self.gate_proj = Linear(d, d_values, bias=False) if settings.gate else None
        self.conv = CausalConv(2 * d_keys + d_values, settings.kernel_size, bias=False)
        for name in ("A_log", "dt_bias"):
            empty = torch.empty(self.n_value_heads, device="meta", dtype=torch.float32)  # (H)
            self.register_parameter(name, nn.Parameter(empty))
        eps = settings.o_norm_eps or config.norm.eps
        self.o_norm = RMSNorm(self.d_value, eps=eps, weight=True, bias=False, zero_centered=False)
        self.o_proj = Linear(d_values, d, bias=False)
        self.initial_values: dict[str, InitialValue] = {"A_log": _draw_log_decay, "dt_bias": 1.0}

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the heads of values and of keys."""
        yield "n_value_heads", self.n_value_heads
        if self.n_key_heads != self.n_value_heads:
            yield "n_key_heads", self.n_key_heads

    def forward(self, x: Tensor, *, cache: GatedDeltaNetState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)  # (B, T, G·K), (B, T, G·K), (B, T, H·V)
        mixed = self.conv(torch.cat((q, k, v), dim=-1), None if cache is None else cache.inputs)
        mixed = functional.silu(mixed).to(wide)  # (B, T, 2·G·K + H·V)
        q, k, v = torch.split(mixed, [q.shape[-1], k.shape[-1], v.shape[-1]], dim=-1)
        q, k = (l2_normalize(by_head(each, self.n_key_heads)) for each in (q, k))  # (B, T, G, K) each
        q, k = (self._repeated(each) for each in (q * self.d_key**-0.5, k))  # (B, T, H, K) each
        v = by_head(v, self.n_value_heads)  # (B, T, H, V)
        beta = self.max_beta * self.b_proj(x).to(wide).sigmoid()  # (B, T, H)
        dt = functional.softplus(self.a_proj(x).to(wide) + self.dt_bias.to(wide))  # (B, T, H)
        decay = dt * -self.A_log.to(wide).exp()  # (B, T, H), log α
        memory = None if cache is None else cache.memory
        if memory is not None and x.shape[1] == 1:
            y = decode_step(q, k, v, decay[..., None], beta, memory)  # (B, 1, H, V)
        else:
            y = chunked_delta_rule(q, k, v, decay, beta, chunk_len=self.chunk_len, memory=memory)  # (B, T, H, V)
        y = self.o_norm(y.to(x.dtype)).flatten(2)  # (B, T, H·V)
        if self.gate_proj is not None:
            y = y * functional.silu(self.gate_proj(x))  # (B, T, H·V)
        out: Tensor = self.o_proj(y)  # (B, T, D)
        return out

    def _repeated(self, x: Tensor) -> Tensor:
        """Repeat each query or key (B, T, G, K) for the value heads that share it, (B, T, H, K)."""
        shared = self.n_value_heads // self.n_key_heads
        return x if shared == 1 else x.unsqueeze(3).expand(-1, -1, -1, shared, -1).flatten(2, 3)


def chunked_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, *, chunk_len: int, memory: Tensor | None = None
) -> Tensor:
    """Return the outputs ``y[t] = S[t]ᵀq[t]`` of all positions, (B, T, H, V), with a loop over chunks only.

    Let P be the state before a chunk, and a[t] the product of the decays from its start to t. Each position writes
    ``k[t] ⊗ u[t]`` with ``u[t] = β[t] (v[t] - a[t] Pᵀk[t] - Σ (a[t] / a[s]) (k[t]·k[s]) u[s])`` over s < t. These
    equations are a triangular system for u. Then ``y[t] = a[t] Pᵀq[t] + Σ (a[t] / a[s]) (q[t]·k[s]) u[s]`` over s <= t.

    Args:
        q: Queries, (B, T, H, K).
        k: Keys of length 1, (B, T, H, K).
        v: Values, (B, T, H, V).
        decay: Logarithm of each head's decay, (B, T, H), negative.
        beta: Write strengths, (B, T, H).
        chunk_len: Positions per chunk; Q is at most T.
        memory: The state before the first position, (B, H, K, V), replaced by the state after the last; None: zeros.

    References:
        Yang et al. 2024, section 3.3, https://arxiv.org/abs/2412.06464
    """
    batch, length = v.shape[:2]
    size = min(chunk_len, length)  # Q
    q, k, v, decay, beta = (chunks_of(x, size) for x in (q, k, v, decay[..., None], beta[..., None]))  # (c, M, Q, …)
    total = decay.cumsum(2)  # (c, M, Q, 1), log a
    later = torch.ones(size, size, dtype=torch.bool, device=q.device).triu(1)  # (Q, Q), s after t
    between = (total - total.transpose(-1, -2)).masked_fill(later, -math.inf).exp()  # (c, M, Q, Q), a[t] / a[s]
    from_start, to_end = total.exp(), between[:, :, -1, :, None]  # (c, M, Q, 1) each
    k_written = beta * k  # (c, M, Q, K)
    system = (k_written @ k.transpose(-1, -2)) * between  # (c, M, Q, Q); only entries below the diagonal are read
    inverse = inverse_of(system)  # (c, M, Q, Q)
    scores = (q @ k.transpose(-1, -2)) * between  # (c, M, Q, Q)
    values, reads = beta * v, k_written * from_start  # (c, M, Q, V), (c, M, Q, K)
    queries, keys = q * from_start, (k * to_end).transpose(-1, -2)  # (c, M, Q, K), (c, M, K, Q)
    kept = from_start[:, :, -1:]  # (c, M, 1, 1)
    y = over_chunks(values, reads, inverse, scores, queries, keys, kept, memory=memory)  # (c, M, Q, V)
    return merge_chunks(y, batch)[:, :length]  # (B, T, H, V)


def _draw_log_decay(values: Tensor, generator: torch.Generator) -> None:
    """Fill ``A_log`` (H) with the logarithm of a uniform -A."""
    values.uniform_(*INITIAL_DECAY, generator=generator).log_()
