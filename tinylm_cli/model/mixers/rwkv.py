"""RWKV-4's time mixing: weighted averages of values, whose weights decay with the distance.

In each inner dimension, with a learned decay rate w > 0 and a bonus u of the position itself,

    y[t] = (Σ e^(k[s] - (t - 1 - s) w) v[s] + e^(k[t] + u) v[t]) / (Σ e^(k[s] - (t - 1 - s) w) + e^(k[t] + u))

over the positions s < t. Numerator and denominator are kept divided by e^m, where m is the highest exponent so far.

Shapes: B batch, T positions, D d_model, I d_inner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.mixers.rg_lru import linear_recurrence
from tinylm_cli.model.sequence_mixer import Buffer, Computed, InitialValue, SequenceMixer, constant_states
from tinylm_cli.model.token_shift import initial_mix, mix_parameter, shift_tokens


class RwkvState(NamedTuple):
    """The decoding state of one layer; sums over all positions so far, in float32 or wider.

    Attributes:
        last: The input of the last position, (B, 1, D); zeros before the first.
        numerator: The weighted sum of values, divided by e^m, (B, 1, I); zeros before the first position.
        denominator: The sum of weights, divided by e^m, (B, 1, I); zeros before the first position.
        maximum: The highest exponent m, (B, 1, I); -inf before the first position.
    """

    last: Tensor
    numerator: Tensor
    denominator: Tensor
    maximum: Tensor

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:  # noqa: ARG004
        """Return the buffers of one layer, which do not grow with the positions."""
        sums = Buffer((1, batch_size, 1, config.rwkv_d_inner), is_upcast=True)  # (1, B, 1, I)
        return Buffer((1, batch_size, 1, config.d_model)), sums, sums, sums  # (1, B, 1, D)

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:  # noqa: ARG003
        """Return the state of each layer, emptied before the first position."""
        states = [cls(*tensors) for tensors in constant_states(buffers, start=start)]
        if start == 0:
            buffers[-1].fill_(-torch.inf)
        return states


class Rwkv(SequenceMixer):
    """``o_proj(sigmoid(r) · y)``, where time mixing maps keys and values to y.

    Receptances r, keys and values are projections of each position mixed with the one before it. The averages are
    computed in float32 or wider.

    Args:
        config: Uses d_model, n_layers and rwkv.

    References:
        Peng et al. 2023, section 3.1, https://arxiv.org/abs/2305.13048
    """

    label = "RWKV time mixing"
    State = RwkvState

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d, d_inner = config.d_model, config.rwkv_d_inner
        self.n_layers = config.n_layers
        # e to the power of the decay is the rate w; the bonus is u
        self.decay, self.bonus = (
            nn.Parameter(torch.empty(d_inner, device="meta", dtype=torch.float32)) for _ in range(2)
        )  # (I)
        self.mix_r, self.mix_k, self.mix_v = (mix_parameter(d) for _ in range(3))  # (D)
        self.r_proj = Linear(d, d_inner, bias=False)
        self.k_proj = Linear(d, d_inner, bias=False)
        self.v_proj = Linear(d, d_inner, bias=False)
        self.o_proj = Linear(d_inner, d, bias=False)
        self.set_layer(0)

    def set_layer(self, layer: int) -> None:
        """Set the index of the layer, on which the initial values depend."""
        depth, remaining = layer / max(self.n_layers - 1, 1), 1 - layer / self.n_layers  # from 0 to 1; from 1 to 1 / N
        self.initial_values: dict[str, InitialValue] = {
            "decay": Computed(partial(_fill_decay, 0.7 + 1.3 * depth)),
            "bonus": Computed(_fill_bonus),
            "mix_r": initial_mix(0.5 * remaining),
            "mix_k": initial_mix(remaining),
            "mix_v": initial_mix(remaining, 0.3 * depth),
        }

    def forward(self, x: Tensor, *, cache: RwkvState | None = None, **_: object) -> Tensor:
        """Mix ``x`` (B, T, D) with the positions before it, which ``cache`` summarizes, and return (B, T, D)."""
        before = shift_tokens(x, None if cache is None else cache.last)  # (B, T, D)
        receptance = self.r_proj(torch.lerp(before, x, self.mix_r)).sigmoid()  # (B, T, I)
        key = self.k_proj(torch.lerp(before, x, self.mix_k))  # (B, T, I)
        value = self.v_proj(torch.lerp(before, x, self.mix_v))  # (B, T, I)
        del before
        wide = torch.promote_types(x.dtype, torch.float32)
        rate, bonus = self.decay.to(wide).exp(), self.bonus.to(wide)  # (I) each
        average = decaying_average(key.to(wide), value.to(wide), rate, bonus, cache)  # (B, T, I)
        out: Tensor = self.o_proj(receptance * average.to(x.dtype))  # (B, T, D)
        return out


def decaying_average(key: Tensor, value: Tensor, rate: Tensor, bonus: Tensor, state: RwkvState | None = None) -> Tensor:
    """Return the averages of all positions, (B, T, I).

    Only the sums are computed position by position. The exponents by which they are divided cancel, so that no gradient
    flows through them.

    Args:
        key: Logarithms of the weights, (B, T, I).
        value: (B, T, I).
        rate: w, (I).
        bonus: u, (I).
        state: The sums before the first position, replaced by those after the last one; None: empty.
    """
    with torch.no_grad():
        maximum = torch.full_like(key[:, :1], -torch.inf) if state is None else state.maximum  # (B, 1, I)
        highest = _highest_exponents(key, rate, maximum[:, 0])  # (B, T, I), of positions up to t
        before = shift_tokens(highest, maximum)  # (B, T, I), of positions before t
    decay = (before - highest - rate).exp()  # (B, T, I)
    weight = (key - highest).exp()  # (B, T, I)
    del highest
    numerator = _sums_before(decay, weight * value, None if state is None else state.numerator)  # (B, T, I)
    denominator = _sums_before(decay, weight, None if state is None else state.denominator)  # (B, T, I)
    del decay, weight
    own = key + bonus  # (B, T, I)
    with torch.no_grad():
        top = torch.maximum(before, own)  # (B, T, I)
        earlier = before.sub_(top).exp_()  # (B, T, I)
    own = own - top  # (B, T, I)
    del top
    own = own.exp()  # (B, T, I)
    total = torch.addcmul(own * value, earlier, numerator)  # (B, T, I)
    del numerator
    return total / torch.addcmul(own, earlier, denominator)  # (B, T, I)


def _fill_decay(exponent: float, values: Tensor) -> None:
    """Fill the logarithms of the rates (I), from -5 to 3; Peng et al. 2023, appendix E."""
    index = torch.arange(len(values), device="cpu", dtype=torch.float32)  # (I)
    values.copy_(8 * (index / max(len(values) - 1, 1)) ** exponent - 5)


def _fill_bonus(values: Tensor) -> None:
    """Fill the bonuses (I), around ln 0.3; Peng et al. 2023, appendix E."""
    index = torch.arange(len(values), device="cpu", dtype=torch.float32)  # (I)
    values.copy_(0.5 * ((index + 1) % 3 - 1) + math.log(0.3))


def _highest_exponents(key: Tensor, rate: Tensor, current: Tensor) -> Tensor:
    """Return the highest ``k[s] - (t - s) w`` of s <= t at each position t, (B, T, I); ``current`` is that before."""
    found = []
    for key_t in key.unbind(1):
        current = torch.maximum(current - rate, key_t)  # (B, I)
        found.append(current)
    return torch.stack(found, dim=1)  # (B, T, I)


def _sums_before(decay: Tensor, added: Tensor, state: Tensor | None) -> Tensor:
    """Return the sums before each position, (B, T, I); ``state`` (B, 1, I) is replaced by those after the last one."""
    sums = linear_recurrence(decay, added, None if state is None else state[:, 0].clone())  # (B, T, I)
    return shift_tokens(sums, state)  # (B, T, I)
