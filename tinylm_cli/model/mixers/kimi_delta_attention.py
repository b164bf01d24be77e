"""Kimi delta attention (KDA): linear attention whose state decays by channel, computed in chunks or step by step.

Each head keeps a state S of (K, K) numbers. At each position, with a key k of length 1, a decay α in (0, 1) for each
row of S, and a write strength β in (0, 1),

    S = diag(α) · S + k ⊗ β · (v - (diag(α) · S)ᵀk),    y = Sᵀq

as in gated DeltaNet, where all rows of a head have the same decay.

Shapes: B batch, T positions, D d_model, H heads, K d_head, R gate_rank, L kernel_size; in chunks, c chunks of Q
positions, and M = B·H.
"""

from __future__ import annotations

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
from tinylm_cli.model.mixers.initial_values import draw_dt_bias
from tinylm_cli.model.norm import RMSNorm
from tinylm_cli.model.sequence_mixer import Buffer, InitialValue, SequenceMixer

INITIAL_DECAY = (1.0, 16.0)
"""Range of the initial -A, drawn uniformly, in Kimi Linear."""


class KimiDeltaAttentionState(DeltaRuleState):
    """The decoding state of Kimi delta attention, with C = 3·H·K and V = K."""

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffers of one layer, which do not grow with the positions."""
        settings, heads = config.kimi_delta_attention, config.kimi_delta_attention_heads
        return (
            Buffer((1, batch_size, settings.kernel_size - 1, 3 * heads * settings.d_head)),  # (1, B, L - 1, 3·H·K)
            Buffer((1, batch_size, heads, settings.d_head, settings.d_head), is_upcast=True),
        )


class KimiDeltaAttention(SequenceMixer):
    """``o_proj(o_norm(y) · sigmoid(gate))``, where the delta rule with decays by channel maps queries and values to y.

    A convolution and SiLU mix queries, keys and values over a few positions. The recurrence runs in float32 or wider.

    Args:
        config: Uses d_model, norm.eps and kimi_delta_attention.

    References:
        Kimi Team 2025 (Kimi Linear), https://arxiv.org/abs/2510.26692
    """

    label = "Kimi delta attention"
    State = KimiDeltaAttentionState
    A_log: nn.Parameter
    dt_bias: nn.Parameter

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, settings = config.d_model, config.kimi_delta_attention
        self.n_heads, self.d_head = config.kimi_delta_attention_heads, settings.d_head
        self.chunk_len = settings.chunk_len
        self.max_decay_rate = settings.max_decay_rate
        d_inner = self.n_heads * self.d_head  # H·K
        for name, size in (("A_log", self.n_heads), ("dt_bias", d_inner)):
            empty = torch.empty(size, device="meta", dtype=torch.float32)  # (H), (H·K)
            self.register_parameter(name, nn.Parameter(empty))
        self.q_proj = Linear(d, d_inner, bias=False)
        self.k_proj = Linear(d, d_inner, bias=False)
        self.v_proj = Linear(d, d_inner, bias=False)
        self.b_proj = Linear(d, self.n_heads, bias=False)
        self._add_projection("decay", d, settings.gate_rank, d_inner)
        self._add_projection("gate", d, settings.gate_rank, d_inner)
        self.conv = CausalConv(3 * d_inner, settings.kernel_size, bias=False)
        eps = settings.o_norm_eps or config.norm.eps
        self.o_norm = RMSNorm(self.d_head, eps=eps, weight=True, bias=False, zero_centered=False)
        self.o_proj = Linear(d_inner, d, bias=False)
        self.initial_values: dict[str, InitialValue] = {"A_log": _draw_log_decay, "dt_bias": draw_dt_bias}

    def _add_projection(self, name: str, d: int, rank: int | None, d_inner: int) -> None:
        """Add a projection of full rank, or two matrices whose product it is."""
        if rank is None:
            self.add_module(f"{name}_proj", Linear(d, d_inner, bias=False))
            return
        self.add_module(f"{name}_a_proj", Linear(d, rank, bias=False))
        self.add_module(f"{name}_b_proj", Linear(rank, d_inner, bias=False))

    def _project(self, name: str, x: Tensor) -> Tensor:
        """Return the projection of ``x`` (B, T, D) that ``_add_projection`` added, (B, T, H·K)."""
        parts = (getattr(self, f"{name}{part}_proj", None) for part in ("", "_a", "_b"))
        for part in filter(None, parts):
            x = part(x)
        return x

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the heads."""
        yield "n_heads", self.n_heads

    def forward(self, x: Tensor, *, cache: KimiDeltaAttentionState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        y = self._attend(x, cache).to(x.dtype)  # (B, T, H, K)
        y = self.o_norm(y).flatten(2) * self._project("gate", x).sigmoid()  # (B, T, H·K)
        out: Tensor = self.o_proj(y)  # (B, T, D)
        return out

    def _attend(self, x: Tensor, cache: KimiDeltaAttentionState | None) -> Tensor:
        """Return the output of the delta rule (B, T, H, K), and update ``cache``."""
        wide = torch.promote_types(x.dtype, torch.float32)
        mixed = torch.cat((self.q_proj(x), self.k_proj(x), self.v_proj(x)), dim=-1)  # (B, T, 3·H·K)
        mixed = functional.silu(self.conv(mixed, None if cache is None else cache.inputs)).to(wide)  # (B, T, 3·H·K)
        q, k, v = (by_head(each, self.n_heads) for each in mixed.chunk(3, dim=-1))  # (B, T, H, K) each
        q, k = l2_normalize(q) * self.d_head**-0.5, l2_normalize(k)  # (B, T, H, K) each
        beta = self.b_proj(x).to(wide).sigmoid()  # (B, T, H)
        decay = self._log_decay(x, wide)  # (B, T, H, K), log α
        memory = None if cache is None else cache.memory
        if memory is not None and x.shape[1] == 1:
            return decode_step(q, k, v, decay, beta, memory)  # (B, 1, H, K)
        return chunked_channel_delta_rule(q, k, v, decay, beta, chunk_len=self.chunk_len, memory=memory)

    def _log_decay(self, x: Tensor, wide: torch.dtype) -> Tensor:
        """Return the logarithm of the decays of ``x`` (B, T, D), (B, T, H, K)."""
        dt = by_head(self._project("decay", x).to(wide) + self.dt_bias.to(wide), self.n_heads)  # (B, T, H, K)
        rate = self.A_log.to(wide).exp()[:, None]  # (H, 1)
        if self.max_decay_rate is None:
            return functional.softplus(dt) * -rate  # (B, T, H, K)
        return -self.max_decay_rate * (dt * rate).sigmoid()  # (B, T, H, K)


def chunked_channel_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, *, chunk_len: int, memory: Tensor | None = None
) -> Tensor:
    """Return the outputs ``y[t] = S[t]ᵀq[t]`` of all positions, (B, T, H, V), with a loop over chunks only.

    As in ``gated_deltanet.py:chunked_delta_rule``, but ``a[t]`` is a vector: the products ``a[t] / a[s] (k[t]·k[s])``
    and ``a[t] / a[s] (q[t]·k[s])`` become sums over channels.

    Args:
        q: Queries, (B, T, H, K).
        k: Keys of length 1, (B, T, H, K).
        v: Values, (B, T, H, V).
        decay: Logarithm of the decay of each channel, (B, T, H, K), negative.
        beta: Write strengths, (B, T, H).
        chunk_len: Positions per chunk; Q is the next power of 2 of min(chunk_len, T).
        memory: The state before the first position, (B, H, K, V), replaced by the state after the last; None: zeros.

    References:
        Kimi Team 2025 (Kimi Linear), section 3, https://arxiv.org/abs/2510.26692
    """
    batch, length = v.shape[:2]
    size = 1 << (min(chunk_len, length) - 1).bit_length()  # Q
    q, k, v, decay, beta = (chunks_of(x, size) for x in (q, k, v, decay, beta[..., None]))  # (c, M, Q, …)
    total = decay.cumsum(2)  # (c, M, Q, K), log a
    k_written = beta * k  # (c, M, Q, K)
    system, scores = _decayed_products(k_written, q, k, total)  # (c, M, Q, Q) each
    inverse = inverse_of(system)  # (c, M, Q, Q)
    from_start, to_end = total.exp(), (total[:, :, -1:] - total).exp()  # (c, M, Q, K) each
    values, reads = beta * v, k_written * from_start  # (c, M, Q, V), (c, M, Q, K)
    queries, keys = q * from_start, (k * to_end).transpose(-1, -2)  # (c, M, Q, K), (c, M, K, Q)
    kept = from_start[:, :, -1, :, None]  # (c, M, K, 1)
    y = over_chunks(values, reads, inverse, scores, queries, keys, kept, memory=memory)  # (c, M, Q, V)
    return merge_chunks(y, batch)[:, :length]  # (B, T, H, V)


def _decayed_products(k_written: Tensor, q: Tensor, k: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``Σ x[t] k[s] a[t] / a[s]`` over channels, for x the written keys and the queries, (c, M, Q, Q) each.

    Products with keys are computed for s < t, products with queries for s <= t; the others are 0.

    Blocks of 1, 2, 4, … positions are merged pairwise. Between a later block and the earlier one before it, a[t] / a[s]
    is the decay of t from the end m of the earlier block, times the decay of s to m. Both are at most 1, so that
    neither overflows; one matmul then computes all pairs of two blocks.

    Args:
        k_written: Keys times write strengths, (c, M, Q, K).
        q: Queries, (c, M, Q, K).
        k: Keys, (c, M, Q, K).
        total: Logarithm of the decays from the start of the chunk, (c, M, Q, K).
    """
    n_positions = q.shape[2]  # Q, a power of 2
    system, scores = (q.new_zeros(*q.shape[:3], n_positions) for _ in range(2))  # (c, M, Q, Q) each
    scores.diagonal(dim1=-2, dim2=-1).copy_((q * k).sum(-1))  # (c, M, Q)
    size = 1  # n
    while size < n_positions:
        _merge_blocks(k_written, q, k, total, system=system, scores=scores, size=size)
        size *= 2
    return system, scores


def _merge_blocks(
    k_written: Tensor, q: Tensor, k: Tensor, total: Tensor, *, system: Tensor, scores: Tensor, size: int
) -> None:
    """Write the products of the later of each two blocks of ``size`` positions, n, with the earlier one."""
    earlier, later = torch.unflatten(total, 2, (-1, 2, size)).unbind(3)  # (c, M, Q / 2n, n, K) each
    middle = earlier[..., -1:, :]  # (c, M, Q / 2n, 1, K)
    from_middle, to_middle = (later - middle).exp(), (middle - earlier).exp()  # (c, M, Q / 2n, n, K) each
    keys = (_half(k, size, 0) * to_middle).transpose(-1, -2)  # (c, M, Q / 2n, K, n)
    for x, products in ((k_written, system), (q, scores)):
        _off_diagonal(products, size).copy_((_half(x, size, 1) * from_middle) @ keys)  # (c, M, Q / 2n, n, n)


def _half(x: Tensor, size: int, index: int) -> Tensor:
    """Return the earlier (0) or later (1) blocks of ``size`` positions of ``x`` (c, M, Q, K), (c, M, Q / 2n, n, K)."""
    return torch.unflatten(x, 2, (-1, 2, size)).select(3, index)


def _off_diagonal(products: Tensor, size: int) -> Tensor:
    """View the blocks (n, n) of ``products`` (c, M, Q, Q) below those on its diagonal, (c, M, Q / 2n, n, n)."""
    blocks = torch.unflatten(
        torch.unflatten(products, 3, (-1, 2, size)), 2, (-1, 2, size)
    )  # (c, M, Q / 2n, 2, n, Q / 2n, 2, n)
    below = blocks[:, :, :, 1, :, :, 0]  # (c, M, Q / 2n, n, Q / 2n, n)
    return below.diagonal(dim1=2, dim2=4).movedim(-1, 2)  # (c, M, Q / 2n, n, n)


def _draw_log_decay(values: Tensor, generator: torch.Generator) -> None:
    """Fill ``A_log`` (H) with the logarithm of a uniform -A."""
    values.uniform_(*INITIAL_DECAY, generator=generator).log_()
