"""Multi-head causal self-attention; with fewer KV heads than query heads, grouped-query attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.choices import GateActivation
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.adapter import BlockAdapters, adapted
from tinylm_cli.model.attention_experts import AttentionExperts, AttentionRoutes
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.dynamic_mask import DynamicMask
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm
from tinylm_cli.model.rope import Rotation
from tinylm_cli.model.sdpa import sdpa
from tinylm_cli.model.sequence_mixer import Buffer, InitialValue, LayerState, SequenceMixer, position_views

LAMBDAS = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
"""The vectors of differential attention whose products give the factor λ."""

LAMBDA_STD = 0.1


GATE_ACTIVATIONS: dict[GateActivation, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
}


class LayerKVCache(NamedTuple):
    """One layer's views into the cache, with slots for T new positions.

    Attributes:
        new_keys: Slots for the new keys, (B, G, T, K); with a window shorter than T, only for the last ``window``.
        new_values: Slots for the new values, (B, G, T, K_v).
        keys: Keys of all S cached positions, (B, G, S, K).
        values: Values of all S cached positions, (B, G, S, K_v).
    """

    new_keys: Tensor
    new_values: Tensor
    keys: Tensor
    values: Tensor

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys (B, G, T, K) and values (B, G, T, K_v); return all to attend to, (B, G, S, K), (B, G, S, K_v).

        During prefill, attend to the keys and values just passed in: the ring buffer may have evicted some.
        """
        self.new_keys.copy_(ring_slots(keys, self.new_keys.shape[2]))
        self.new_values.copy_(ring_slots(values, self.new_values.shape[2]))
        return (self.keys, self.values) if keys.shape[2] == 1 else (keys, values)  # (B, G, S, K), (B, G, S, K_v)

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:
        """Return the buffers of one layer: keys and values of at most ``window`` positions."""
        size = min(config.attention.window or capacity, capacity)
        rows = (1, batch_size, config.n_kv_heads, size)
        return Buffer((*rows, config.d_head)), Buffer((*rows, config.d_value_per_kv_head))  # (1, B, G, S, K or K_v)

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:
        """Return the cache of each layer, from views of its new slots and of all its cached positions."""
        views = (position_views(buffer, start=start, count=count) for buffer in buffers)
        (new_keys, keys), (new_values, values) = views
        return [cls(*layer) for layer in zip(new_keys, new_values, keys, values, strict=True)]


class LayerChunkCache(LayerKVCache):
    """The cache of a layer that attends within chunks: it holds the positions of the last chunk, from slot 0 on."""

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:
        """Return the cache of each layer, from views of its new slots and of the positions in the same chunk."""
        size = buffers[0].shape[-2]
        return super().of_layers(buffers, start=start % size if count == 1 else start, count=count)


class SharedKV:
    """The keys and values of a layer in one forward pass, which later layers attend to.

    Attributes:
        keys: (B, G, S, K), as the layer itself attends to them.
        values: (B, G, S, K_v).
    """

    keys: Tensor
    values: Tensor


class SelfAttention(SequenceMixer):
    """Multi-head attention: each of H heads averages values, weighted by softmax(q·k / √d_head).

    Queries and keys have K = d_head dimensions, values K_v = d_value.
    Llama 4 attends within chunks in most layers, and multiplies scores by a factor that grows with the position in the
    others (``model/attention_mask.py``). With ``attention.kv_from``, keys and values come from an earlier layer.

    Args:
        config: Uses d_model, n_heads, dropout (on the attention weights, while training), norm (of queries and keys)
            and attention.

    References:
        Vaswani et al. 2017, section 3.2, https://arxiv.org/abs/1706.03762;
        Ainslie et al. 2023 (grouped queries), https://arxiv.org/abs/2305.13245;
        Henry et al. 2020 (norms on queries and keys), https://arxiv.org/abs/2010.04245;
        Qiu et al. 2025 (output gate), https://arxiv.org/abs/2505.06708;
        Wang et al. 2022 (Magneto, norm before the output projection), https://arxiv.org/abs/2210.06423;
        Brandon et al. 2024 (keys and values of an earlier layer), https://arxiv.org/abs/2405.12981;
        Ye et al. 2024 (differential attention), https://arxiv.org/abs/2410.05258;
        Zhang et al. 2022 (mixture of attention heads), https://arxiv.org/abs/2210.05144
    """

    label = "self-attention"
    State = LayerKVCache

    experts: AttentionExperts  # with attention.n_experts
    q_proj: Linear  # without it
    o_proj: Linear  # without it
    gate_bias: nn.Parameter | None
    sinks: nn.Parameter | None
    lambda_q1: nn.Parameter
    lambda_k1: nn.Parameter
    lambda_q2: nn.Parameter
    lambda_k2: nn.Parameter

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        attention = config.attention
        self.d_head, self.d_value = config.d_head, config.d_value_per_kv_head
        self.dropout = config.dropout
        self.scale = attention.scale
        self.softcap = attention.logit_softcap
        self.clip = attention.clip_qkv
        self.out_multiplier = attention.out_multiplier
        self.gate_activation = GATE_ACTIVATIONS[attention.gate_activation]
        d_query, d_kv = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        d_in, self.has_experts = config.d_attention_input, attention.n_experts is not None
        if self.has_experts:
            self.experts = AttentionExperts(config)
        else:
            self.q_proj = Linear(d_in, d_query, bias=attention.bias)
        projects = attention.kv_from is None  # keys and values
        self.k_proj = Linear(d_in, d_kv, bias=attention.bias) if projects else None
        d_values, d_out = config.n_kv_heads * self.d_value, config.n_heads * self.d_value
        projects_values = projects and not attention.keys_as_values
        self.v_proj = Linear(d_in, d_values, bias=attention.bias) if projects_values else None
        d_gate = config.n_heads if attention.gate_per_head else d_out  # H or H·K_v
        gate_bias = attention.gate_bias_kind
        self.gate_proj = Linear(d_in, d_gate, bias=gate_bias == "full") if attention.gate else None
        if not self.has_experts:
            self.o_proj = Linear(d_out, config.d_model, bias=attention.has_out_bias)
        self.norms_each_head = attention.qk_norm == "per_head"
        self.norms_after_rope = attention.qk_norm_after_rope
        self.q_norm = self.k_norm = None
        if attention.qk_norm != "none":
            learns = attention.qk_norm_weight
            self.q_norm = build_norm(config, self.d_head if self.norms_each_head else d_query, learns=learns)
            if projects:
                self.k_norm = build_norm(config, self.d_head if self.norms_each_head else d_kv, learns=learns)
        self.v_norm = build_norm(config, self.d_value, learns=False) if attention.v_norm and projects else None
        self.sub_norm = build_norm(config, d_out) if attention.sub_norm else None
        self.dynamic_mask = DynamicMask(config) if attention.dynamic_mask_top_k is not None else None
        sinks = torch.empty(config.n_heads, device="meta", dtype=torch.float32)  # (H)
        self.register_parameter("sinks", nn.Parameter(sinks) if attention.sinks else None)
        biases = torch.empty(config.n_heads, device="meta", dtype=torch.float32)  # (H)
        self.register_parameter("gate_bias", nn.Parameter(biases) if gate_bias == "per_head" else None)
        for name in LAMBDAS if attention.differential else ():
            values = torch.empty(config.d_head, device="meta", dtype=torch.float32)  # (K)
            self.register_parameter(name, nn.Parameter(values))
        self.is_differential = attention.differential
        self.initial_values: dict[str, InitialValue] = {"gate_bias": 0.0}
        if attention.differential:
            self.initial_values |= dict.fromkeys(LAMBDAS, _draw_lambda)
        self._lambda_init, self.eps = initial_lambda(0), config.norm.eps

    def set_layer(self, layer: int) -> None:
        """Set the constant part of λ, which depends on the layer."""
        self._lambda_init = initial_lambda(layer)

    @classmethod
    def state_class(cls, config: ModelConfig) -> type[LayerState]:
        """Return the cache of one chunk, or the cache of all positions or of a window."""
        return LayerChunkCache if config.attention.chunked else LayerKVCache

    @classmethod
    def reads_earlier_positions(cls, config: ModelConfig) -> bool:
        """Return whether the window is longer than the position itself."""
        return config.attention.window != 1

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the heads."""
        yield "n_heads", self.n_heads
        if self.n_kv_heads != self.n_heads:
            yield "n_kv_heads", self.n_kv_heads
        if self.has_experts:
            yield "n_experts", self.experts.n_experts
            yield "top_k", self.experts.top_k

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        rotation: Rotation | None = None,
        cache: LayerKVCache | None = None,
        shared: SharedKV | None = None,
        adapters: BlockAdapters | None = None,
    ) -> Tensor:
        """Attend within ``x`` (B, T, D), and to the earlier positions in ``cache``; return (B, T, D).

        In a shared block, ``x`` has 2D dimensions, and ``adapters`` belong to the layer that uses it.
        ``rotation`` is the RoPE of these T positions, and None without RoPE. ``cache`` has slots for them. Keys and
        values are stored in ``shared`` if it is given, or with ``attention.kv_from`` read from it.
        """
        routes = self.experts.route(x) if self.has_experts else None
        if self.k_proj is None:
            assert shared is not None, "an earlier layer has keys and values"
            (q,) = self._heads([self._queries(x, routes)], rotation)  # (B, H, T, K)
            k, v = shared.keys, shared.values  # (B, G, S, K), (B, G, S, K_v)
        else:
            q, k, v = self._projected(
                x, self.k_proj, rotation, routes, adapters
            )  # (B, H, T, K), (B, G, T, K), (B, G, T, K_v)
            if cache is not None:
                k, v = cache.update(k, v)  # (B, G, S, K), (B, G, S, K_v), S positions so far
            if shared is not None:
                shared.keys, shared.values = k, v
        if self.dynamic_mask is not None:
            mask = self.dynamic_mask(v, mask, q.shape[2])
        if self.is_differential:
            v = torch.cat(v.chunk(2, dim=1), dim=-1).repeat(1, 2, 1, 1)  # (B, G, S, 2·K)
        attended = sdpa(
            q,
            k,
            v,
            mask,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            softcap=self.softcap,
            sinks=self.sinks,
        )  # (B, H, T, K_v), or (B, H, T, 2·K) in differential attention
        if self.is_differential:
            attended = self._subtract_pairs(attended)  # (B, H/2, T, 2·K)
        attended = attended.transpose(1, 2).reshape(*x.shape[:2], -1)  # (B, T, H·K_v)
        if self.gate_proj is not None:
            attended = gated(attended, self.gate_activation(self._gate(x, self.gate_proj)))  # (B, T, H·K_v)
        if self.sub_norm is not None:
            attended = self.sub_norm(attended)  # (B, T, H·K_v)
        out = self._output(attended, routes)  # (B, T, D)
        return out if self.out_multiplier == 1 else out * self.out_multiplier  # (B, T, D)

    def _gate(self, x: Tensor, projection: Linear) -> Tensor:
        """Return the input of the gate's activation, (B, T, H·K_v) or (B, T, H)."""
        gate: Tensor = projection(x)  # (B, T, H·K_v) or (B, T, H)
        if self.gate_bias is None:
            return gate
        return gate + self.gate_bias.repeat_interleave(gate.shape[-1] // self.n_heads)  # as gate

    def _queries(self, x: Tensor, routes: AttentionRoutes | None) -> Tensor:
        """Project ``x`` (B, T, D) to the queries of all heads, (B, T, H·K)."""
        if routes is not None:
            return self.experts.queries(x, routes)  # (B, T, H·K)
        queries: Tensor = self.q_proj(x)  # (B, T, H·K)
        return queries

    def _output(self, attended: Tensor, routes: AttentionRoutes | None) -> Tensor:
        """Project the output of all heads (B, T, H·K_v) to (B, T, D)."""
        if routes is not None:
            return self.experts.output(attended, routes)  # (B, T, D)
        out: Tensor = self.o_proj(attended)  # (B, T, D)
        return out

    def _projected(
        self,
        x: Tensor,
        k_proj: Linear,
        rotation: Rotation | None,
        routes: AttentionRoutes | None,
        adapters: BlockAdapters | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries (B, H, T, K), keys (B, G, T, K) and values (B, G, T, K_v) of ``x`` (B, T, D)."""
        q, k = self._queries(x, routes), k_proj(x)  # (B, T, H·K), (B, T, G·K)
        if adapters is not None:
            q, k = adapted(q, x, adapters.q_proj), adapted(k, x, adapters.k_proj)  # (B, T, H·K), (B, T, G·K)
        v = k if self.v_proj is None else self.v_proj(x)  # (B, T, G·K_v)
        if adapters is not None:
            v = adapted(v, x, adapters.v_proj)  # (B, T, G·K_v)
        if self.clip is not None:
            v = v.clamp(-self.clip, self.clip)  # (B, T, G·K_v)
        v = _split_heads(v, self.d_value)  # (B, G, T, K_v)
        if self.v_norm is not None:
            v = self.v_norm(v)  # (B, G, T, K_v)
        q, k = self._heads([q, k], rotation)  # (B, H, T, K), (B, G, T, K)
        return q, k, v

    def _heads(self, qk: list[Tensor], rotation: Rotation | None) -> list[Tensor]:
        """Return projected queries and keys, or queries alone, normalized and rotated, by head.

        They are (B, T, H·K) and (B, T, G·K), and by head (B, H, T, K) and (B, G, T, K).
        """
        if not self.norms_each_head:
            qk = self._normalize(qk)  # (B, T, H·K), (B, T, G·K)
        if self.clip is not None:
            qk = [each.clamp(-self.clip, self.clip) for each in qk]  # (B, T, H·K), (B, T, G·K)
        qk = [_split_heads(each, self.d_head) for each in qk]  # (B, H, T, K), (B, G, T, K)
        if self.norms_each_head and not self.norms_after_rope:
            qk = self._normalize(qk)  # (B, H, T, K), (B, G, T, K)
        if rotation is not None:
            qk = [rotation.rotate(each) for each in qk]  # (B, H, T, K), (B, G, T, K)
        return self._normalize(qk) if self.norms_after_rope else qk  # (B, H, T, K), (B, G, T, K)

    def _normalize(self, qk: list[Tensor]) -> list[Tensor]:
        """Return queries and keys, or queries alone, normalized if the config has norms for them; same shapes."""
        norms = (self.q_norm, self.k_norm)
        return [each if norm is None else norm(each) for each, norm in zip(qk, norms, strict=False)]

    def _subtract_pairs(self, attended: Tensor) -> Tensor:
        """Return the normalized difference (B, H/2, T, 2·K) of each head and the one H/2 heads later, times λ.

        ``λ = exp(λ_q1·λ_k1) - exp(λ_q2·λ_k2) + λ_init``.
        """
        dtype = torch.promote_types(attended.dtype, torch.float32)
        first = (self.lambda_q1 * self.lambda_k1).sum(dtype=dtype).exp()  # ()
        second = (self.lambda_q2 * self.lambda_k2).sum(dtype=dtype).exp()  # ()
        factor = (first - second + self._lambda_init).to(attended.dtype)  # ()
        positive, negative = attended.chunk(2, dim=1)  # (B, H/2, T, 2·K) each
        difference = positive - factor * negative  # (B, H/2, T, 2·K)
        normed = torch.rms_norm(difference, difference.shape[-1:], None, self.eps)  # (B, H/2, T, 2·K)
        return normed * (1 - self._lambda_init)  # (B, H/2, T, 2·K)


def _split_heads(x: Tensor, d_head: int) -> Tensor:
    """Reshape (B, T, H·K) to (B, H, T, K)."""
    batch, length, d_heads = x.shape
    if length == 1:  # decoding: a single position needs no transpose
        return x.view(batch, d_heads // d_head, 1, d_head)  # (B, H, 1, K)
    return x.view(batch, length, -1, d_head).transpose(1, 2)  # (B, H, T, K)


def initial_lambda(layer: int) -> float:
    """Return the constant part of λ in a layer, from 0.

    References:
        Ye et al. 2024, section 3.1, https://arxiv.org/abs/2410.05258
    """
    return 0.8 - 0.6 * math.exp(-0.3 * layer)


def _draw_lambda(values: Tensor, generator: torch.Generator) -> None:
    values.normal_(0.0, LAMBDA_STD, generator=generator)


def gated(attended: Tensor, gate: Tensor) -> Tensor:
    """Multiply the output of all heads (B, T, H·K_v) by the gate of each dimension (B, T, H·K_v) or head (B, T, H)."""
    if gate.shape == attended.shape:
        return attended * gate  # (B, T, H·K_v)
    by_head = attended.view(*gate.shape, -1)  # (B, T, H, K_v)
    return (by_head * gate[..., None]).flatten(2)  # (B, T, H·K_v)


def ring_slots(x: Tensor, size: int) -> Tensor:
    """Return the last ``size`` positions of ``x`` (B, ..., T, K), each in its slot of a ring buffer of that size."""
    length = x.shape[-2]
    return x if length == size else x[..., -size:, :].roll(length % size, dims=-2)  # (B, ..., size, K)
