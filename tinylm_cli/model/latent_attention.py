"""Multi-head latent attention (MLA): the keys and values of all heads are expanded from one latent per token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import GATE_ACTIVATIONS, gated, ring_slots
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.indexer import Indexer, restricted
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm
from tinylm_cli.model.rope import Rotation
from tinylm_cli.model.sdpa import sdpa
from tinylm_cli.model.sequence_mixer import Buffer, SequenceMixer, position_views


class LatentKVCache(NamedTuple):
    """One layer's views into the cache of latent attention, which has no head dimension.

    Attributes:
        new: Slots for the latents and rotated keys of new positions, (B, T, C + R); with a window shorter than T, only
            for the last ``window``.
        all: Latents and rotated keys of all S cached positions, (B, S, C + R).
        new_index: Slots for the keys of the indexer, (B, T, I); None without one.
        all_index: Keys of the indexer of all cached positions, (B, S, I); None without one.
    """

    new: Tensor
    all: Tensor
    new_index: Tensor | None = None
    all_index: Tensor | None = None

    def update(self, latent: Tensor, k_rope: Tensor) -> tuple[Tensor, Tensor]:
        """Store new latents (B, T, C) and rotated keys (B, T, R); return those to attend to, (B, S, C) and (B, S, R).

        During prefill with a window, attend to those just passed in: the ring buffer may have evicted some.
        """
        rank, size = latent.shape[-1], self.new.shape[1]
        self.new[..., :rank].copy_(ring_slots(latent, size))
        self.new[..., rank:].copy_(ring_slots(k_rope, size))
        if latent.shape[1] > size:
            return latent, k_rope  # (B, T, C), (B, T, R)
        return self.all[..., :rank], self.all[..., rank:]  # (B, S, C), (B, S, R)

    def update_index(self, keys: Tensor) -> Tensor:
        """Store new keys of the indexer (B, T, I); return all cached ones, (B, S, I)."""
        assert self.new_index is not None
        assert self.all_index is not None
        self.new_index.copy_(keys)
        return self.all_index

    @staticmethod
    def buffers(config: ModelConfig, *, batch_size: int, capacity: int) -> tuple[Buffer, ...]:
        """Return the buffers of one layer: latents and rotated keys of at most ``window`` positions; indexer keys."""
        attention = config.attention
        size = min(attention.window or capacity, capacity)
        latents = Buffer((1, batch_size, size, attention.kv_rank + attention.d_rope))  # (1, B, S, C + R)
        if not attention.has_indexer:
            return (latents,)
        return latents, Buffer((1, batch_size, capacity, attention.index_d_head))  # (1, B, S, I)

    @classmethod
    def of_layers(cls, buffers: Sequence[Tensor], *, start: int, count: int) -> list[Self]:
        """Return the cache of each layer, from views of its new slots and of all its cached positions."""
        views = (each for buffer in buffers for each in position_views(buffer, start=start, count=count))
        return [cls(*layer) for layer in zip(*views, strict=True)]


class SharedSelection:
    """The positions that the indexer of a layer selects in one forward pass, which later layers attend to, too.

    Attributes:
        selected: Whether each query attends to each key, (B, T, S); None if it attends to all earlier ones.
    """

    selected: Tensor | None


class LatentAttention(SequenceMixer):
    """Compress each token to a latent of kv_rank dimensions, and expand it to keys and values of all heads.

    RoPE, if any, rotates d_rope extra dimensions of each query and of one key shared by all heads. Decoding does not
    expand the cached latents. It absorbs the key expansion into the query, and applies the value expansion to the
    attended latent, which computes the same sums in another order. With ``attention.scale_latents``, normalized latents
    of any rank have the length of a normalized input, √d_model.

    Args:
        config: Uses d_model, n_heads, dropout (on the attention weights, while training), norm and attention.

    References:
        DeepSeek-AI 2024 (DeepSeek-V2), section 2.1 and appendix C, https://arxiv.org/abs/2405.04434
    """

    label = "latent self-attention"
    State = LatentKVCache
    sinks: nn.Parameter | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        attention = config.attention
        self.n_heads = config.n_heads
        self.d_nope, self.d_rope, self.d_value = attention.d_nope, attention.d_rope, config.d_value
        self.kv_rank = attention.kv_rank
        self.dropout = config.dropout
        self.scale = attention.scale if attention.scale is not None else config.d_head**-0.5
        self.softcap = attention.logit_softcap
        sinks = torch.empty(config.n_heads, device="meta", dtype=torch.float32)  # (H)
        self.register_parameter("sinks", nn.Parameter(sinks) if attention.sinks else None)
        d_query = config.n_heads * config.d_head
        d_gate_input = config.d_model
        if attention.q_rank is None:
            self.q_proj = Linear(config.d_model, d_query, bias=False)
        else:
            self.q_a_proj = Linear(config.d_model, attention.q_rank, bias=attention.bias)
            self.q_a_norm = build_norm(config, attention.q_rank, eps=attention.latent_norm_eps)
            d_input = attention.q_rank * (2 if attention.q_concat_raw else 1)  # Q, or 2Q
            d_gate_input = d_input if attention.q_concat_raw else config.d_model  # 2Q, or D
            self.q_b_proj = Linear(d_input, d_query, bias=False)
        self.compresses_queries, self.concatenates = attention.q_rank is not None, attention.q_concat_raw
        self.q_factor = self.kv_factor = 1.0
        if attention.scale_latents:
            self.kv_factor = math.sqrt(config.d_model / attention.kv_rank)
            self.q_factor = math.sqrt(config.d_model / (attention.q_rank or config.d_model))
        self.indexer = Indexer(config) if attention.has_indexer else None
        self.index_top_k, self.index_shared = attention.index_top_k, attention.index_shared
        self.kv_a_proj = Linear(config.d_model, self.kv_rank + self.d_rope, bias=attention.bias)
        self.kv_a_norm = build_norm(config, self.kv_rank, eps=attention.latent_norm_eps)
        eps = attention.latent_norm_eps
        self.k_rope_norm = build_norm(config, self.d_rope, eps=eps) if attention.k_rope_norm else None
        self.kv_b_proj = Linear(self.kv_rank, config.n_heads * (self.d_nope + self.d_value), bias=False)
        d_gate = config.n_heads * (1 if attention.gate_per_head else self.d_value)  # H or H·K_v
        self.gate_proj = Linear(d_gate_input, d_gate, bias=False) if attention.gate else None
        self.out_multiplier = attention.out_multiplier
        self.gate_activation = GATE_ACTIVATIONS[attention.gate_activation]
        self.o_proj = Linear(config.n_heads * self.d_value, config.d_model, bias=attention.has_out_bias)

    def shown_settings(self) -> Iterator[tuple[str, int]]:
        """Yield the heads and the rank of the latent."""
        yield "n_heads", self.n_heads
        yield "kv_rank", self.kv_rank

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        rotation: Rotation | None = None,
        cache: LatentKVCache | None = None,
        shared: SharedSelection | None = None,
    ) -> Tensor:
        """Attend within ``x`` (B, T, D), and to the earlier positions in ``cache``; return (B, T, D).

        ``rotation`` is the RoPE of these T positions, and None without RoPE. ``cache`` has slots for them. The selected
        positions are stored in ``shared`` if it is given, or with ``attention.index_shared`` read from it. Shapes use
        N = d_nope, R = d_rope, C = kv_rank and K_v = d_value.
        """
        batch, length, _ = x.shape
        compressed, q_input = self._compressed_queries(x) if self.compresses_queries else (None, x)  # (B, T, Q), …
        q = self.q_proj(x) if compressed is None else self.q_b_proj(q_input)  # (B, T, H·(N + R))
        q = q.view(batch, length, self.n_heads, -1).transpose(1, 2)  # (B, H, T, N + R)
        q_nope, q_rope = q.split((self.d_nope, self.d_rope), dim=-1)  # (B, H, T, N), (B, H, T, R)
        latent, k_rope = self.kv_a_proj(x).split((self.kv_rank, self.d_rope), dim=-1)  # (B, T, C), (B, T, R)
        latent = _scaled(self.kv_a_norm(latent), self.kv_factor)  # (B, T, C)
        if self.k_rope_norm is not None:
            k_rope = self.k_rope_norm(k_rope)  # (B, T, R)
        if rotation is not None:
            q_rope, k_rope = rotation.rotate(q_rope), rotation.rotate(k_rope[:, None])[:, 0]  # (B, H, T, R), (B, T, R)
        if cache is not None:
            latent, k_rope = cache.update(latent, k_rope)  # (B, S, C), (B, S, R)
        if self.index_shared:
            assert shared is not None, "an earlier layer has an indexer"
            selected = shared.selected  # (B, T, S)
        else:
            selected = None if compressed is None else self._select(x, compressed, rotation, mask, cache)  # (B, T, S)
            if shared is not None:
                shared.selected = selected
        if selected is not None and self.index_top_k is not None and length == 1:
            latent, k_rope = _gathered(selected, latent, k_rope, count=self.index_top_k)  # (B, k, C), (B, k, R)
        elif selected is not None:
            mask = restricted(mask, selected)
        if cache is not None and length == 1:
            attended = self._attend_to_latents(q_nope, q_rope, latent, k_rope, mask)  # (B, H, T, K_v)
        else:
            attended = self._attend_to_expanded(q_nope, q_rope, latent, k_rope, mask)  # (B, H, T, K_v)
        attended = attended.transpose(1, 2).reshape(batch, length, -1)  # (B, T, H·K_v)
        if self.gate_proj is not None:
            gate = self.gate_proj(q_input if self.concatenates else x)  # (B, T, H·K_v)
            attended = gated(attended, self.gate_activation(gate))  # (B, T, H·K_v)
        out: Tensor = self.o_proj(attended)  # (B, T, D)
        return out if self.out_multiplier == 1 else out * self.out_multiplier  # (B, T, D)

    def _compressed_queries(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalized compressed queries (B, T, Q), and the input of the projection to all heads."""
        raw = self.q_a_proj(x)  # (B, T, Q)
        normalized = _scaled(self.q_a_norm(raw), self.q_factor)  # (B, T, Q)
        return normalized, torch.cat((normalized, raw), dim=-1) if self.concatenates else normalized  # (B, T, 2Q or Q)

    def _select(
        self,
        x: Tensor,
        compressed: Tensor,
        rotation: Rotation | None,
        mask: AttentionMask,
        cache: LatentKVCache | None,
    ) -> Tensor | None:
        """Return the positions that the indexer selects, (B, T, S); None if it selects all, or without one."""
        if self.indexer is None:
            return None
        keys = self.indexer.keys(x, rotation)  # (B, T, I)
        if cache is not None:
            keys = cache.update_index(keys)  # (B, S, I)
        return self.indexer.select(x, compressed, keys, rotation, mask)  # (B, T, S)

    def _attend_to_expanded(
        self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, mask: AttentionMask
    ) -> Tensor:
        batch, length, _ = latent.shape
        expanded = self.kv_b_proj(latent).view(batch, length, self.n_heads, -1).transpose(1, 2)  # (B, H, T, N + K_v)
        k_nope, v = expanded.split((self.d_nope, self.d_value), dim=-1)  # (B, H, T, N), (B, H, T, K_v)
        shared = k_rope[:, None].expand(-1, self.n_heads, -1, -1)  # (B, H, T, R)
        q, k = torch.cat((q_nope, q_rope), dim=-1), torch.cat((k_nope, shared), dim=-1)  # (B, H, T, N + R) each
        return self._sdpa(q, k, v, mask, self.sinks)  # (B, H, T, K_v)

    def _attend_to_latents(
        self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, mask: AttentionMask
    ) -> Tensor:
        weight = self.kv_b_proj.weight.view(self.n_heads, -1, self.kv_rank)  # (H, N + K_v, C)
        to_keys, to_values = torch.split(weight, [self.d_nope, self.d_value], dim=1)  # (H, N, C), (H, K_v, C)
        by_head = q_nope[:, :, 0].transpose(0, 1)  # (H, B, N), so that weights are not copied per sequence
        q_nope = (by_head @ to_keys).transpose(0, 1)[:, :, None]  # (B, H, 1, C)
        q = torch.cat((q_nope, q_rope), dim=-1)  # (B, H, 1, C + R)
        k = torch.cat((latent, k_rope), dim=-1)[:, None]  # (B, 1, S, C + R)
        q = q.transpose(1, 2)  # (B, 1, H, C + R), heads as positions, since all heads share the keys
        sinks = None if self.sinks is None else self.sinks.view(1, 1, -1, 1)  # (1, 1, H, 1)
        attended = self._sdpa(q, k, latent[:, None], mask, sinks).transpose(1, 2)  # (B, H, 1, C)
        out = attended[:, :, 0].transpose(0, 1) @ to_values.transpose(1, 2)  # (H, B, K_v)
        return out.transpose(0, 1)[:, :, None]  # (B, H, 1, K_v)

    def _sdpa(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, sinks: Tensor | None) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return sdpa(q, k, v, mask, scale=self.scale, dropout=dropout, softcap=self.softcap, sinks=sinks)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor


def _gathered(selected: Tensor, latent: Tensor, k_rope: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """Return the latents (B, S, C) and rotated keys (B, S, R) of the ``count`` selected positions (B, 1, S) alone."""
    positions = selected[:, 0].byte().topk(count, dim=-1).indices[..., None]  # (B, k, 1)
    return latent.take_along_dim(positions, 1), k_rope.take_along_dim(positions, 1)  # (B, k, C), (B, k, R)
