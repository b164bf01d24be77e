"""One transformer block: sequence mixer and feed-forward, with norms and residual connections."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce
from itertools import repeat
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.blocks import ResidualBlock
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.adapter import BlockAdapters
from tinylm_cli.model.altup import AltUp
from tinylm_cli.model.attention import SharedKV
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.channel_mixing import ChannelMixing
from tinylm_cli.model.experts import ExpertFeedForward, Shortcut, build_feed_forward
from tinylm_cli.model.hyper_connections import HyperConnection
from tinylm_cli.model.latent_attention import SharedSelection
from tinylm_cli.model.laurel import Laurel
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.mixers.registry import mixer_classes
from tinylm_cli.model.norm import build_norm, norm_before
from tinylm_cli.model.per_layer_embedding import PerLayerInput
from tinylm_cli.model.rope import Rotation
from tinylm_cli.model.sequence_mixer import InitialValue, LayerState, ParallelState, SequenceMixer
from tinylm_cli.model.shared_block import SharedBlock
from tinylm_cli.model.token_shift import ShiftState


class ResidualFactors(NamedTuple):
    """The factors of both terms of a residual addition."""

    skip: float
    branch: float


def residual_factors(block: ResidualBlock, k: int) -> ResidualFactors:
    """Return the factors of the residual addition that adds the ``k``-th term to the stream; k is 1 for the embedding.

    With ``depth_scaled_residual``, a sum of k terms of variance 1 has the variance 1.
    """
    skip, branch = block.skip_multiplier, block.residual_multiplier
    if block.depth_scaled_residual:
        skip, branch = skip * math.sqrt((k - 1) / k), branch * math.sqrt(1 / k)
    return ResidualFactors(skip, branch)


class LayerScalar(nn.Module):
    """A number that multiplies the output of a layer; it is stored in float32, but not trained."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.empty(1, device="meta", dtype=torch.float32))

    def fill(self) -> None:
        """Set the number to 1."""
        self.value.fill_(1.0)

    def _apply(self, fn: object, recurse: bool = True) -> LayerScalar:  # noqa: FBT001, FBT002 - torch's signature
        """Move with the model, but stay in float32."""
        exact = self.value
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        moved = self.value
        if moved.dtype != exact.dtype:  # torch cannot copy from meta
            self.value = torch.empty_like(exact, device=moved.device) if exact.is_meta else exact.to(moved.device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (B, T, D) times the number."""
        return x * self.value.to(x.dtype)  # (B, T, D)


class TransformerBlock(nn.Module):
    """``x + mixer(norm(x))``, then ``x + feed_forward(norm(x))``, with dropout on both branches.

    With post-norm, the norms follow the sub-layers (``post_ln_1``, ``post_ln_2``); with sandwich norm, norms precede
    and follow them. With ``norm.placement: post_residual``, ``post_ln_1`` and ``post_ln_2`` follow the additions.
    In a parallel block, both sub-layers read the same ``x``. A block may have only one of the two.
    Several mixers read the same ``norm(x)``, and their outputs are added.
    With ``feed_forward.out_norm``, a norm follows the experts only.
    With ``skip_weight``, learned weights of each dimension multiply the skip connection ``x``.
    With ``depth_scaled_residual``, the k-th sum is ``√((k − 1)/k) · x + √(1/k) · mixer(norm(x))``.
    With ``normed_residual``, the sums are ``norm(x) + mixer(norm(x))`` and ``norm(x) + feed_forward(norm(x))``.
    With ``feed_forward.shortcut``, the next block adds the output of the routed experts to its own output.
    With LAuReL, the first sum is ``(x + laurel(norm(x)) + mixer(norm(x))) / √2``.
    With AltUp, the layer maps the prediction of the first residual stream, and its output corrects all streams.
    With a shared block, it computes ``x + mixer(norm(x + projection(shared_block(x, embedded))))``.

    Args:
        config: The config of the block's kind of layers; uses all fields except vocab_size, max_len, tie_weights,
            embedding and head.
        kind: The name of that kind in ``layers.kinds``; empty if it has none.
        layer: The index of the block.
        n_terms: The terms in the residual stream before the block: the embedding, and the outputs of earlier layers.

    Attributes:
        kind: The name of its kind of layers.
        window: Positions of its sliding window or of a chunk, or None; applied by the mask passed to ``forward``.

    References:
        Vaswani et al. 2017, section 3.1 (norms after the additions), https://arxiv.org/abs/1706.03762;
        Xiong et al. 2020 (pre-norm), https://arxiv.org/abs/2002.04745;
        OLMo Team 2024 (post-norm), https://arxiv.org/abs/2501.00656;
        Zuo et al. 2025 (Falcon-H1, mixers in parallel), https://arxiv.org/abs/2507.22448;
        Gemma Team 2024 (sandwich norm), https://arxiv.org/abs/2408.00118;
        Wang et al. 2022 (DeepNorm, multiplier of the skip connection), https://arxiv.org/abs/2203.00555;
        Wang and Komatsuzaki 2021 (parallel block), https://github.com/kingoflolz/mesh-transformer-jax
    """

    skip_weight_1: nn.Parameter | None
    skip_weight_2: nn.Parameter | None

    def __init__(self, config: ModelConfig, kind: str = "", layer: int = 0, n_terms: int = 1) -> None:
        super().__init__()
        self.kind = kind
        before, after = config.norm.precedes_sublayers, config.norm.placement != "pre"
        after_feed_forward = after or config.feed_forward.out_norm
        mixers, has_feed_forward = mixer_classes(config), config.block.feed_forward
        uses_block = config.block.has_shared_block
        if uses_block:  # which has the attention and the feed-forward network
            del mixers["attention"]
            has_feed_forward = False
        self._mixer_names = tuple(mixers)
        self.altup = AltUp(config) if config.block.altup_streams is not None else None
        is_hyper = config.block.hyper_streams is not None
        self.hyper_1 = HyperConnection(config) if is_hyper and mixers else None
        rank_1, rank_2 = config.block.mixer_norm_gate_rank, config.block.feed_forward_norm_gate_rank
        self.ln_1 = norm_before(config, rank_1) if before and mixers and config.block.mixer_norm else None
        for name, mixer in mixers.items():
            module = mixer(config)
            module.set_layer(layer)
            self.register_module(name, module)
        self.shared_projection = Linear(config.d_model, config.d_model, bias=False) if uses_block else None
        has_adapters = config.attention.adapter_rank is not None or config.feed_forward.adapter_rank is not None
        self.adapters = BlockAdapters(config) if has_adapters else None
        self.post_ln_1 = build_norm(config) if after and mixers else None
        laurel_rank = config.block.laurel_rank
        self.laurel = None if laurel_rank is None else Laurel(config, laurel_rank)
        self.hyper_2 = HyperConnection(config) if is_hyper and has_feed_forward else None
        has_own_norm = before and has_feed_forward and not config.block.shared_norm
        self.ln_2 = norm_before(config, rank_2) if has_own_norm else None
        self.feed_forward = build_feed_forward(config) if has_feed_forward else None
        if isinstance(self.feed_forward, ChannelMixing):
            self.feed_forward.set_layer(layer)
        self.post_ln_2 = build_norm(config) if after_feed_forward and has_feed_forward else None
        d_per_layer = config.embedding.d_per_layer
        self.per_layer_input = None if d_per_layer is None else PerLayerInput(config, d_per_layer)
        self.layer_scalar = LayerScalar() if config.block.layer_scalar else None
        self.window = config.attention.window
        self.chunked = config.attention.chunked
        self.parallel = config.block.parallel
        self.shared_norm = config.block.shared_norm
        additions = range(n_terms + 1, n_terms + 1 + config.block.n_residual_additions)
        self.factors = [residual_factors(config.block, k) for k in additions]
        self.normed_residual = config.block.normed_residual
        for name, has_addition in (("skip_weight_1", bool(mixers)), ("skip_weight_2", has_feed_forward)):
            weight = torch.empty(config.d_model, device="meta", dtype=torch.float32)  # (D)
            learns = has_addition and config.block.skip_weight
            self.register_parameter(name, nn.Parameter(weight) if learns else None)
        self.initial_values: dict[str, InitialValue] = {"skip_weight_1": 1.0, "skip_weight_2": 1.0}
        self.norms_sums = config.norm.placement == "post_residual"
        self.dropout = config.dropout

    @property
    def mixers(self) -> tuple[SequenceMixer, ...]:
        """The sequence mixers, submodules with their names in ``block.mixer``; empty if there is none."""
        mixers = tuple(self._modules[name] for name in self._mixer_names)
        return cast("tuple[SequenceMixer, ...]", mixers)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        rotation: Rotation | None = None,
        cache: LayerState | ParallelState | None = None,
        per_layer_input: Tensor | None = None,
        shared: SharedKV | SharedSelection | None = None,
        shared_block: tuple[SharedBlock, Tensor] | None = None,
        shortcut: Shortcut | None = None,
    ) -> Tensor:
        """Map ``x`` to the same shape: (B, T, D), or with several residual streams (B, T, n, D).

        The last state in ``cache`` is the state of channel mixing, if the block has it.
        ``per_layer_input`` (B, T, P) is the token embedding of this layer, in a model with per-layer embeddings.
        ``shared_block`` is the shared block of the layer, if it has one, and the output of the embedding (B, T, D).
        ``shortcut`` holds the output of the previous layer's experts, and receives the output of this layer's.
        """
        mixed_input, deferred = x, None if shortcut is None else shortcut.take()
        if shared_block is not None and self.shared_projection is not None:
            block, embedded = shared_block
            of_attention = None
            if isinstance(cache, ParallelState):
                of_attention, cache = cache
            out = block(x, embedded, mask, rotation, of_attention, self.adapters)  # (B, T, D)
            mixed_input = x + self.shared_projection(out)  # (B, T, D)
        if self.altup is None:
            x = self._sublayers(x, mixed_input, mask, rotation, cache, shared, shortcut)  # (B, T, D) or (B, T, n, D)
        else:
            predicted = self.altup.predict(x)  # (B, T, n, D)
            read = predicted[:, :, 0].clone()  # (B, T, D); the clone keeps autograd from saving all streams
            out = self._sublayers(read, read, mask, rotation, cache, shared, shortcut)  # (B, T, D)
            x = self.altup.correct(predicted, read, out)  # (B, T, n, D)
            del predicted, read, out
        if self.per_layer_input is not None:
            x = self.per_layer_input(x, per_layer_input)  # (B, T, D) or (B, T, n, D)
        x = x if self.layer_scalar is None else self.layer_scalar(x)  # (B, T, D) or (B, T, n, D)
        return x if deferred is None else x + deferred  # as x

    def _sublayers(
        self,
        x: Tensor,
        mixed_input: Tensor,
        mask: AttentionMask,
        rotation: Rotation | None,
        cache: LayerState | ParallelState | None,
        shared: SharedKV | SharedSelection | None,
        shortcut: Shortcut | None,
    ) -> Tensor:
        """Return the residual stream (B, T, D) after both sub-layers, given that before them and the mixer's input."""
        mixers, normed, mixed = self.mixers, x, None
        caches, own_cache = self._split_states(cache)
        if mixers:
            read, write = _connect(self.hyper_1, mixed_input)  # (B, T, D), (B, T, n)
            normed = read if self.ln_1 is None else self.ln_1(read)  # (B, T, D)
            with_shared = {} if shared is None else {"shared": shared}  # only attention takes it
            outputs = (
                mixer(normed, mask=mask, rotation=rotation, cache=own, **with_shared)
                for mixer, own in zip(mixers, caches, strict=False)
            )
            factors = self.factors[0]
            mixed = self._branch(reduce(torch.add, outputs), self.post_ln_1, factors)  # (B, T, D)
            if self.laurel is not None:
                x = self._skip(x, normed, factors, None) + self.laurel(normed) + mixed  # (B, T, D)
                x = x * math.sqrt(0.5)  # (B, T, D)
            elif not self.parallel:
                skipped = self._skip(x, normed, factors, self.skip_weight_1)  # as x
                x = self._add(skipped, _written(mixed, write), self.post_ln_1)  # as x
        if self.feed_forward is None:
            return x
        if not self.shared_norm:
            read, write = _connect(self.hyper_2, x)  # (B, T, D), (B, T, n)
            normed = read if self.ln_2 is None else self.ln_2(read)  # (B, T, D)
        if isinstance(self.feed_forward, ExpertFeedForward):
            out = self.feed_forward(normed, x, shortcut)  # (B, T, D)
            if shortcut is not None and shortcut.routed is not None:
                shortcut.routed = self._branch(shortcut.routed, None, self.factors[-1])  # (B, T, D)
        elif isinstance(self.feed_forward, ChannelMixing):
            out = self.feed_forward(normed, own_cache)  # (B, T, D)
        else:
            out = self.feed_forward(normed)  # (B, T, D)
        factors = self.factors[-1]
        feed_forward_out = self._branch(out, self.post_ln_2, factors)  # (B, T, D)
        x = self._skip(x, normed, factors, self.skip_weight_2)  # (B, T, D)
        if self.parallel and mixed is not None:
            x = x + mixed  # (B, T, D)
        return self._add(x, _written(feed_forward_out, write), self.post_ln_2)  # as x

    def _split_states(
        self, cache: LayerState | ParallelState | None
    ) -> tuple[Iterable[LayerState | None], ShiftState | None]:
        """Return the states of the mixers, and the state of channel mixing."""
        if cache is None:
            return repeat(None), None
        states = cache if isinstance(cache, ParallelState) else (cache,)
        if not isinstance(self.feed_forward, ChannelMixing):
            return states, None
        last = states[-1]
        assert isinstance(last, ShiftState)
        return states[:-1] or repeat(None), last

    def extra_repr(self) -> str:
        """Return the window, or the length of a chunk, for ``print(model)``."""
        return "" if self.window is None else f"{'chunk' if self.chunked else 'window'}={self.window}"

    def _skip(self, x: Tensor, normed: Tensor, factors: ResidualFactors, weight: Tensor | None) -> Tensor:
        """Return the skip connection (B, T, D), given the input of a sub-layer and its norm."""
        if self.normed_residual:
            x = normed
        if weight is not None:
            x = x * weight  # (B, T, D)
        return x if factors.skip == 1 else x * factors.skip  # (B, T, D)

    def _add(self, x: Tensor, branch: Tensor, norm: nn.Module | None) -> Tensor:
        """Return the sum (B, T, D) of both terms of a residual addition, normalized if the norms follow it."""
        x = x + branch  # (B, T, D)
        return norm(x) if norm is not None and self.norms_sums else x  # (B, T, D)

    def _branch(self, x: Tensor, norm: nn.Module | None, factors: ResidualFactors) -> Tensor:
        """Return the residual branch (B, T, D) of a sub-layer's output: normalized, scaled, with dropout."""
        if norm is not None and not self.norms_sums:
            x = norm(x)  # (B, T, D)
        if factors.branch != 1:
            x = x * factors.branch  # (B, T, D)
        return functional.dropout(x, self.dropout) if self.training else x  # (B, T, D)


def _connect(connection: HyperConnection | None, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the input of a sub-layer, (B, T, D), and the weights (B, T, n) that add its output to the streams.

    Without hyper-connections, the input is the stream itself, and the output is added without weights.
    """
    return (x, None) if connection is None else connection.connect(x)


def _written(branch: Tensor, weights: Tensor | None) -> Tensor:
    """Return the term added to the residual stream: the branch (B, T, D), or its multiples (B, T, n, D)."""
    return branch if weights is None else weights[..., None] * branch.unsqueeze(2)  # (B, T, D) or (B, T, n, D)
