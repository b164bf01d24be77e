"""mLSTM: the matrix memory of xLSTM, computed in chunks or step by step.

Each head keeps a memory C of (K, V) numbers and a normalizer n of K numbers. At each position, with the inputs i and f
of the gates,

    C = σ(f) · C + exp(i) · k ⊗ v,    n = σ(f) · n + exp(i) · k,    h = Cᵀq / max(|n·q|, 1)

where queries are divided by √K. exp(i) may overflow, so that C and n are kept divided by exp(m), with
``m = max(log σ(f) + m, i)``, and the denominator is at least exp(-m). The normalizer is the memory of a value that is
always 1: it is kept as one more column of C.

Shapes: B batch, T positions, D d_model, H heads, K d_key, V d_value; in chunks, Q positions of a chunk.

References:
    Beck et al. 2024 (xLSTM), section 2.3 and appendix A, https://arxiv.org/abs/2405.04517
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import Norm
from tinylm_cli.model.sequence_mixer import Buffer, InitialValue, SequenceMixer, constant_states

DENOMINATOR_EPS = 1e-6
"""Added to the denominator of the output, as in xLSTM 7B."""

INITIAL_INPUT_BIAS = -10.0
"""Initial bias of the input gate (Beck et al. 2025, section 3.2)."""

INITIAL_FORGET_BIAS = (3.0, 6.0)
"""Initial biases of the forget gates of the first and the last head; those between are equally spaced."""


class MlstmState(NamedTuple):
    """The decoding state of one layer; zeros before the first position.

    Attributes:
        memory: The memory of every head, with the normalizer as its last column, (B, H, K, V + 1), in float32 or wider.
        maximum: m, the logarithm of the memory's divisor, (B, H), in float32 or wider.
    """

    memory: Tensor
    maximum: Tensor

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffers of one layer, which do not grow with the positions."""
        settings = config.mlstm
        heads = (1, batch_size, config.mlstm_heads)
        return (
            Buffer((*heads, settings.d_key, settings.d_value + 1), is_upcast=True),  # (1, B, H, K, V + 1)
            Buffer(heads, is_upcast=True),  # (1, B, H)
        )

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        return [cls(*tensors) for tensors in constant_states(buffers, start=start)]


class Mlstm(SequenceMixer):
    """``o_proj(o_norm(h) · sigmoid(gate_proj(x)))``, where the recurrence maps queries, keys, values and gates to h.

    The recurrence runs in float32 or wider.

    Args:
        config: Uses d_model, norm.eps and mlstm.

    References:
        Beck et al. 2025 (xLSTM 7B), section 3, https://arxiv.org/abs/2503.13427
    """

    label = "mLSTM"
    State = MlstmState

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, settings = config.d_model, config.mlstm
        heads = self.n_heads = config.mlstm_heads
        self.chunk_len, self.gate_softcap, self.scale = settings.chunk_len, settings.gate_softcap, settings.d_key**-0.5
        d_keys, d_values = heads * settings.d_key, heads * settings.d_value  # H·K, H·V
        self.q_proj = Linear(d, d_keys, bias=False)
        self.k_proj = Linear(d, d_keys, bias=False)
        self.v_proj = Linear(d, d_values, bias=False)
        self.i_proj = _Gate(d, torch.full((heads,), INITIAL_INPUT_BIAS, device="cpu", dtype=torch.float32))
        self.f_proj = _Gate(d, torch.linspace(*INITIAL_FORGET_BIAS, heads, device="cpu", dtype=torch.float32))
        self.gate_proj = Linear(d, d_values, bias=False)
        self.o_norm = HeadLayerNorm(d_values, eps=settings.o_norm_eps or config.norm.eps)
        self.o_proj = Linear(d_values, d, bias=False)

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the heads."""
        yield "n_heads", self.n_heads

    def forward(self, x: Tensor, *, cache: MlstmState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        h = self._recur(x, cache).to(x.dtype).transpose(1, 2)  # (B, T, H, V)
        out: Tensor = self.o_proj(self.o_norm(h) * self.gate_proj(x).sigmoid())  # (B, T, D)
        return out

    def _recur(self, x: Tensor, state: MlstmState | None) -> Tensor:
        """Return the output of the recurrence (B, H, T, V), and update ``state``."""
        q = (self._heads(self.q_proj(x)) * self.scale).contiguous()  # (B, H, T, K)
        k = self._heads(self.k_proj(x)).contiguous()  # (B, H, T, K)
        v = functional.pad(self._heads(self.v_proj(x)), (0, 1), value=1.0)  # (B, H, T, V + 1)
        added = self._capped(self.i_proj(x)).transpose(1, 2)  # (B, H, T), i
        kept = -functional.softplus(-self._capped(self.f_proj(x))).transpose(1, 2)  # (B, H, T), log σ(f)
        if state is not None and x.shape[1] == 1:
            sums, maximum = _step(q, k, v, added, kept, state)  # (B, H, 1, V + 1), (B, H, 1)
        else:
            sums, maximum = chunked_mlstm(q, k, v, added, kept, chunk_len=self.chunk_len, state=state)
        values, weight = torch.split(sums, [v.shape[-1] - 1, 1], dim=-1)  # (B, H, T, V), (B, H, T, 1)
        least = (-maximum[..., None]).exp()  # (B, H, T, 1), 1 as the memory is scaled
        return values / (torch.maximum(weight.abs(), least) + DENOMINATOR_EPS)  # (B, H, T, V)

    def _heads(self, x: Tensor) -> Tensor:
        """View (B, T, H·K) as (B, H, T, K), in float32 or wider."""
        wide = torch.promote_types(x.dtype, torch.float32)
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2).to(wide)

    def _capped(self, x: Tensor) -> Tensor:
        """Return the inputs of gates (B, T, H) in float32 or wider, soft-capped."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x if self.gate_softcap is None else self.gate_softcap * (x / self.gate_softcap).tanh()


class _Gate(Linear):
    """The projection of a gate, which at first depends on the head only.

    Args:
        d_model: D.
        bias: The initial bias of each head, (H).
    """

    def __init__(self, d_model: int, bias: Tensor) -> None:
        super().__init__(d_model, len(bias))
        self.initial_values: dict[str, InitialValue] = {"weight": 0.0, "bias": bias}


class HeadLayerNorm(Norm):
    """LayerNorm of each head, with a weight for each dimension of all heads and without biases.

    Args:
        dim: Dimensions of all heads, H·V.
        eps: Added to the variance.
    """

    def __init__(self, dim: int, *, eps: float) -> None:
        super().__init__(dim, eps=eps, weight=True, bias=False, zero_centered=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H, V) to (B, T, H·V)."""
        return torch.layer_norm(x, x.shape[-1:], eps=self.eps).flatten(2) * self.weight  # (B, T, H·V)


def chunked_mlstm(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    added: Tensor,
    kept: Tensor,
    *,
    chunk_len: int,
    state: MlstmState | None = None,
) -> tuple[Tensor, Tensor]:
    """Return ``C[t]ᵀq[t]`` of all positions, (B, H, T, V + 1), and m[t], (B, H, T), with a loop over chunks only.

    Let P be the memory before a chunk, p its m, and b[t] the sum of log σ(f) from its start to t. Then ``C[t]ᵀq[t]`` is
    ``exp(b[t] + p - m[t]) Pᵀq[t] + Σ exp(b[t] - b[s] + i[s] - m[t]) (q[t]·k[s]) v[s]`` over s <= t, where m[t] is the
    largest of ``b[t] + p`` and all ``b[t] - b[s] + i[s]``. As the maximum of a softmax, m cancels, and has no gradient.

    Args:
        q: Queries, scaled, (B, H, T, K).
        k: Keys, (B, H, T, K).
        v: Values, with a last column of ones, (B, H, T, V + 1).
        added: i, (B, H, T).
        kept: log σ(f), (B, H, T).
        chunk_len: Positions per chunk; Q is at most T.
        state: The state before the first position, replaced by the state after the last; None: zeros.

    References:
        Beck et al. 2025 (tiled flash linear attention), section 2.2, https://arxiv.org/abs/2503.14376
    """
    size = min(chunk_len, q.shape[2])  # Q
    later = torch.ones(size, size, dtype=torch.bool, device=q.device).triu(1)  # (Q, Q), s after t
    if state is None:
        memory, maximum = v.new_zeros(*v.shape[:2], k.shape[3], v.shape[3]), v.new_zeros(v.shape[:2])
    else:
        memory, maximum = state  # (B, H, K, V + 1), (B, H)
    sums, maxima = [], []
    # split, because the gradient of an index would be a tensor of all positions for each chunk
    chunks = (torch.split(x, size, dim=2) for x in (q, k, v, added, kept))
    for query, key, value, i, log_f in zip(*chunks, strict=True):
        y, m, memory = _chunk(query, key, value, i, log_f, later, memory, maximum)  # (B, H, Q, V + 1), (B, H, Q)
        maximum = m[:, :, -1]  # (B, H)
        sums.append(y)
        maxima.append(m)
    if state is not None:
        state.memory.copy_(memory)
        state.maximum.copy_(maximum)
    return torch.cat(sums, dim=2), torch.cat(maxima, dim=2)  # (B, H, T, V + 1), (B, H, T)


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, added: Tensor, kept: Tensor, later: Tensor, memory: Tensor, maximum: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sums (B, H, Q, V + 1) and m (B, H, Q) of a chunk, and the memory (B, H, K, V + 1) after it."""
    length = q.shape[2]  # Q, or less in the last chunk
    total = kept.cumsum(2)  # (B, H, Q), b
    written = added - total  # (B, H, Q), i[s] - b[s]
    with torch.no_grad():
        m = total + torch.maximum(written.cummax(2).values, maximum[..., None])  # (B, H, Q)
    read = total - m  # (B, H, Q)
    weights = (written[:, :, None] + read[..., None]).masked_fill(later[:length, :length], -math.inf).exp()
    from_start = (read + maximum[..., None]).exp()[..., None]  # (B, H, Q, 1)
    scores = (q @ k.transpose(-1, -2)) * weights  # (B, H, Q, Q)
    sums = scores @ v + (q * from_start) @ memory  # (B, H, Q, V + 1)
    entry = (k * weights[:, :, -1, :, None]).transpose(-1, -2) @ v  # (B, H, K, V + 1)
    return sums, m, memory * from_start[:, :, -1:] + entry


def _step(q: Tensor, k: Tensor, v: Tensor, added: Tensor, kept: Tensor, state: MlstmState) -> tuple[Tensor, Tensor]:
    """Return the sums (B, H, 1, V + 1) and m (B, H, 1) of one position, and update ``state``; arguments as above."""
    aged = kept[..., 0] + state.maximum  # (B, H)
    maximum = torch.maximum(aged, added[..., 0])  # (B, H)
    memory = state.memory  # (B, H, K, V + 1)
    memory *= (aged - maximum).exp()[..., None, None]
    entry = v * (added - maximum[..., None]).exp()[..., None]  # (B, H, 1, V + 1)
    memory.flatten(0, 1).baddbmm_(k.flatten(0, 1).transpose(1, 2), entry.flatten(0, 1))  # (B·H, K, V + 1)
    state.maximum.copy_(maximum)
    return q @ memory, maximum[..., None]  # (B, H, 1, V + 1), (B, H, 1)
