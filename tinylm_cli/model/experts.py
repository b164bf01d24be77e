"""Mixture of experts (MoE): a router sends each token to its top-k of E feed-forward networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.channel_mixing import ChannelMixing
from tinylm_cli.model.feed_forward import FeedForward, build_activation
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.norm import build_norm

EPSILON = 1e-20
"""Added to the sum of routing weights to avoid division by zero."""

ApplyExpert = Callable[[Tensor, int], Tensor]
"""Maps vectors (n, in) to (n, out) with the expert at the given index."""


class Router(Linear):
    """Scores E experts, zero-computation experts included, for each token and selects the top k.

    A correction bias (``score_correction``, DeepSeek-V3's ``e_score_correction_bias``) affects the selection of
    experts, but not their weights; with ``correct_logits``, it is added to the logits instead of the scores. With
    groups, experts are selected from the top groups only. The score of a group is the score of its best expert, or
    with sigmoid scores the sum of its best two.

    SparseMixer selects experts one after another. Each is weighted by a softmax over its logit and those similar to it,
    among the experts not selected before. Its training samples experts from this softmax, and estimates the gradient of
    the selection; this module selects the highest in training, too.

    With ``expert_scale``, each expert has a learned factor of its weights.

    Args:
        config: Uses d_model and feed_forward.

    References:
        Shazeer et al. 2017, https://arxiv.org/abs/1701.06538;
        Liu et al. 2024 (SparseMixer-v2), https://arxiv.org/abs/2409.12136;
        DeepSeek-AI 2024 (groups), https://arxiv.org/abs/2405.04434;
        DeepSeek-AI 2024 (sigmoid scores, correction bias), section 2.1.2, https://arxiv.org/abs/2412.19437
    """

    score_correction: Tensor | None
    expert_scale: nn.Parameter | None

    def __init__(self, config: ModelConfig) -> None:
        feed_forward = config.feed_forward
        n_scores = feed_forward.n_scores  # E
        super().__init__(config.d_model, n_scores, bias=feed_forward.router_bias)
        self.kind = feed_forward.router
        self.top_k = feed_forward.top_k
        self.n_groups, self.top_k_groups = feed_forward.n_groups, feed_forward.top_k_groups
        self.other_score = 0.0 if feed_forward.zero_other_groups else -torch.inf
        self.jitter, self.corrects_logits = feed_forward.router_jitter, feed_forward.correct_logits
        self.renormalize, self.scale = feed_forward.renormalize, feed_forward.routed_scale
        correction = torch.empty(n_scores, device="meta", dtype=torch.float32)  # (E)
        self.register_buffer("score_correction", correction if feed_forward.score_correction else None)
        factors = torch.empty(n_scores, device="meta", dtype=torch.float32)  # (E)
        self.register_parameter("expert_scale", nn.Parameter(factors) if feed_forward.expert_scale else None)
        self.initial_values = {"bias": 0.0, "expert_scale": 1.0}

    def fill(self) -> None:
        """Set the correction bias to zero."""
        if self.score_correction is not None:
            self.score_correction.zero_()

    def _apply(self, fn: object, recurse: bool = True) -> Router:  # noqa: FBT001, FBT002 - torch's signature
        """Move with the model, but keep the correction bias in float32, since it separates nearly equal scores."""
        exact = self.score_correction
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # untyped in torch
        moved = self.score_correction
        if exact is not None and moved is not None and moved.dtype != exact.dtype:
            empty = exact.is_meta  # torch cannot copy from meta
            self.score_correction = torch.empty_like(exact, device=moved.device) if empty else exact.to(moved.device)
        return self

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Select the experts of N tokens with vectors ``x`` (N, D).

        Returns:
            Indices of experts (N, k), and their weights (N, k) in the dtype of ``x``.
        """
        scores = self(x)  # (N, E)
        scores = logits = scores.to(torch.promote_types(scores.dtype, torch.float32))  # (N, E)
        if self.kind == "softmax":
            scores = scores.softmax(-1)  # (N, E)
        elif self.kind == "sigmoid":
            scores = scores.sigmoid()  # (N, E)
        corrected = logits if self.corrects_logits else scores  # (N, E)
        del logits
        if self.score_correction is not None:
            corrected = corrected + self.score_correction  # (N, E)
        if self.n_groups > 1:
            corrected = self._mask_other_groups(corrected)  # (N, E)
        if self.kind == "sparsemixer":
            indices, weights = self._sparsemixer(scores, corrected)  # (N, k) each
            return indices, self._scaled(weights, indices).to(x.dtype)  # (N, k) each
        indices = corrected.topk(self.top_k, dim=-1).indices  # (N, k)
        weights = scores.gather(-1, indices)  # (N, k)
        if self.kind == "topk_softmax":
            weights = weights.softmax(-1)  # (N, k)
        elif self.renormalize:
            weights = weights / (weights.sum(-1, keepdim=True) + EPSILON)  # (N, k)
        return indices, self._scaled(weights, indices).to(x.dtype)  # (N, k) each

    def _scaled(self, weights: Tensor, indices: Tensor) -> Tensor:
        """Return the weights (N, k) of the experts with these indices (N, k) times the factors of all and of each."""
        if self.expert_scale is not None:
            weights = weights * self.expert_scale[indices]  # (N, k)
        return weights * self.scale  # (N, k)

    def _sparsemixer(self, logits: Tensor, remaining: Tensor) -> tuple[Tensor, Tensor]:
        """Return the experts (N, k) of the ``logits`` (N, E) and their weights (N, k).

        ``remaining`` are the logits of the experts to select from (N, E), and -inf for others.
        """
        selected: list[Tensor] = []
        weights: list[Tensor] = []
        for _ in range(self.top_k):
            if selected:
                remaining = remaining.scatter(-1, selected[-1], -torch.inf)  # (N, E)
            with torch.no_grad():
                highest, best = remaining.max(-1, keepdim=True)  # (N, 1) each
                larger = logits.abs().clamp_(min=highest)  # (N, E)
                differs = (highest - logits).div_(larger) > 2 * self.jitter  # (N, E)
            shares = remaining.masked_fill(differs, -torch.inf).softmax(-1)  # (N, E)
            selected.append(best)
            weights.append(shares.gather(-1, best))  # (N, 1)
        return torch.cat(selected, -1), torch.cat(weights, -1)  # (N, k) each

    def _mask_other_groups(self, scores: Tensor) -> Tensor:
        """Return ``scores`` (N, E) with -inf, or 0, for every expert outside the top groups."""
        groups = scores.view(len(scores), self.n_groups, -1)  # (N, G, E / G)
        best = min(2 if self.kind == "sigmoid" else 1, groups.shape[-1])
        group_scores = groups.topk(best, dim=-1).values.sum(-1)  # (N, G)
        kept = torch.zeros_like(group_scores, dtype=torch.bool)  # (N, G)
        kept = kept.scatter(-1, group_scores.topk(self.top_k_groups, dim=-1).indices, value=True)  # (N, G)
        return groups.masked_fill(~kept[:, :, None], self.other_score).flatten(1)  # (N, E)


class ExpertLinear(nn.Module):
    """One linear layer per expert, with stacked weights.

    Args:
        n_experts: Number of experts, E.
        in_features: Size of an input vector.
        out_features: Size of an output vector.
        bias: Whether each expert has a bias.
    """

    bias: nn.Parameter | None

    def __init__(self, n_experts: int, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        shape = (n_experts, out_features)
        self.weight = nn.Parameter(torch.empty(*shape, in_features, device="meta", dtype=torch.float32))
        values = torch.empty(shape, device="meta", dtype=torch.float32)
        self.register_parameter("bias", nn.Parameter(values) if bias else None)

    def per_expert(self) -> ApplyExpert:
        """Return a function that applies one expert to its tokens.

        With gradients, the stack is unbound once, because the gradient of each indexed slice would be as large as the
        stack. Without gradients, indexing only the experts in use is faster.
        """
        unbound = torch.is_grad_enabled()
        weights = self.weight.unbind(0) if unbound else self.weight  # E × (out, in)
        if self.bias is None:
            return lambda x, expert: functional.linear(x, weights[expert])
        biases = self.bias.unbind(0) if unbound else self.bias  # E × (out)
        return lambda x, expert: functional.linear(x, weights[expert], biases[expert])


class Dispatch(NamedTuple):
    """The order in which N tokens, each copied for its k experts, are sorted by expert."""

    order: Tensor  # positions of the sorted copies among all, token by token, (N·k)
    rows: Tensor  # the token of each sorted copy, (N·k)
    counts: list[int]  # the copies of each expert, E

    def apply(self, apply_expert: ApplyExpert, inputs: Tensor) -> Tensor:
        """Map the sorted inputs (N·k, in), each with its expert, to (N·k, out)."""
        parts = enumerate(torch.split(inputs, self.counts))
        return torch.cat([apply_expert(part, expert) for expert, part in parts if len(part)])  # (N·k, out)


def sort_by_expert(indices: Tensor, n_experts: int) -> Dispatch:
    """Return the order of the tokens whose experts are ``indices`` (N, k)."""
    order = indices.flatten().argsort(stable=True)  # (N·k)
    if indices.is_meta:  # counts per expert are unknown on meta, but neither shapes nor total FLOPs depend on them
        counts = [len(order), *[0] * (n_experts - 1)]
    else:
        counts = torch.bincount(indices.flatten(), minlength=n_experts).tolist()
    return Dispatch(order, order // indices.shape[1], counts)


class Experts(nn.Module):
    """The routed experts: feed-forward networks, and zero-computation experts, which return their input.

    The weight of a token multiplies the output of its expert, or with ``router_weight_on_input`` its input. Vectors
    have M dimensions: ``d_latent``, or without it d_model.

    Args:
        config: Uses d_model, d_ff and feed_forward.

    References:
        Jin et al. 2024 (zero-computation experts), https://arxiv.org/abs/2410.07348;
        Meituan LongCat Team 2025 (LongCat-Flash), section 2.1, https://arxiv.org/abs/2509.01322
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        feed_forward, d, d_hidden = config.feed_forward, config.d_routed, config.d_expert
        assert feed_forward.n_experts is not None
        n, bias = feed_forward.n_experts, feed_forward.has_expert_bias
        self.n_experts, self.n_scores = n, feed_forward.n_scores
        self.weights_input = feed_forward.router_weight_on_input
        self.gate_proj = ExpertLinear(n, d, d_hidden, bias=bias) if feed_forward.gated else None
        self.up_proj = ExpertLinear(n, d, d_hidden, bias=bias)
        self.down_proj = ExpertLinear(n, d_hidden, d, bias=bias)
        self.activation = build_activation(config, routed=True)

    def forward(self, x: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """Return the sum (N, M) of each token's experts, with their weights.

        ``x`` are the vectors (N, M), ``indices`` the experts of each token (N, k), ``weights`` their weights (N, k).
        """
        apply_expert = self._per_expert()  # first, so that backward stacks the gradients last, when memory use is low
        dispatch = sort_by_expert(indices, self.n_scores)
        rows = dispatch.rows  # (N·k)
        weights = weights.flatten()[dispatch.order, None]  # (N·k, 1)
        inputs = x[rows]  # (N·k, M)
        if self.weights_input:
            inputs = inputs * weights  # (N·k, M)
        outputs = dispatch.apply(apply_expert, inputs)  # (N·k, M)
        if not self.weights_input:
            outputs = outputs * weights  # (N·k, M)
        return torch.zeros_like(x).index_add(0, rows, outputs)  # (N, M)

    def _per_expert(self) -> ApplyExpert:
        gate = self.gate_proj.per_expert() if self.gate_proj is not None else None
        up, down = self.up_proj.per_expert(), self.down_proj.per_expert()

        def apply_expert(x: Tensor, expert: int) -> Tensor:
            if expert >= self.n_experts:
                return x  # (n, M)
            gated = gate(x, expert) if gate is not None else None  # (n, F)
            return down(self.activation(up(x, expert), gated), expert)  # (n, M)

        return apply_expert


class Shortcut:
    """The output of the routed experts of a layer, until the next layer adds it.

    Attributes:
        routed: The output (B, T, D), or None if the layer before has no shortcut.
    """

    routed: Tensor | None = None

    def take(self) -> Tensor | None:
        """Return the output (B, T, D), if any, and forget it."""
        routed, self.routed = self.routed, None
        return routed


class ExpertFeedForward(nn.Module):
    """A router, the routed experts, and optionally shared experts that process every token.

    A gate (``shared_expert_gate``) multiplies the output of the shared experts by a number between 0 and 1 per token.
    With ``branch_norms``, the router and the routed experts normalize the residual stream themselves, and the outputs
    of the routed and of the shared experts are normalized, too. With ``d_latent``, the routed experts read a projection
    of each token to M dimensions, and their sum is projected back.

    Args:
        config: Uses d_model, d_ff, norm and feed_forward.

    References:
        Shazeer et al. 2017, https://arxiv.org/abs/1701.06538;
        Dai et al. 2024 (shared experts), https://arxiv.org/abs/2401.06066;
        Qwen Team 2024 (their gate), https://arxiv.org/abs/2407.10671;
        Cai et al. 2024 (shortcut-connected experts), https://arxiv.org/abs/2404.05019;
        NVIDIA 2025 (LatentMoE), Nemotron 3 white paper, https://arxiv.org/abs/2512.20856
    """

    out_bias: nn.Parameter | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d_shared, has_gate = config.d_shared_experts, config.feed_forward.shared_expert_gate
        values = torch.empty(config.d_model, device="meta", dtype=torch.float32)  # (D)
        self.register_parameter("out_bias", nn.Parameter(values) if config.feed_forward.out_bias else None)
        self.initial_values = {"out_bias": 0.0}
        self.router = Router(config)
        d, d_latent, has_bias = config.d_model, config.feed_forward.d_latent, config.feed_forward.bias
        self.latent_in_proj = None if d_latent is None else Linear(d, d_latent, bias=has_bias)
        self.experts = Experts(config)
        self.latent_out_proj = None if d_latent is None else Linear(d_latent, d, bias=has_bias)
        self.shared_experts = FeedForward(config, d_shared) if d_shared else None
        self.shared_scale = config.feed_forward.shared_scale
        self.shared_expert_gate = Linear(config.d_model, 1, bias=False) if has_gate else None
        self.has_shortcut = config.feed_forward.shortcut
        self.has_branch_norms = config.feed_forward.branch_norms
        if self.has_branch_norms:
            self.router_norm, self.expert_norm = build_norm(config), build_norm(config)
            self.post_expert_norm, self.post_shared_norm = build_norm(config), build_norm(config)

    def forward(self, x: Tensor, residual: Tensor, shortcut: Shortcut | None = None) -> Tensor:
        """Map ``x`` (B, T, D) to (B, T, D).

        ``residual`` (B, T, D) is the residual stream before the norm whose output is ``x``; ``branch_norms`` read it.
        With ``feed_forward.shortcut``, the output of the shared experts is returned, and the output of the routed
        experts is stored in ``shortcut``.
        """
        routed: Tensor = self._routed(residual if self.has_branch_norms else x)  # (B, T, D)
        if self.shared_experts is None:
            return routed
        shared: Tensor = self.shared_experts(x)  # (B, T, D)
        if self.has_branch_norms:
            shared = self.post_shared_norm(shared)  # (B, T, D)
        if self.shared_expert_gate is not None:
            shared = torch.sigmoid(self.shared_expert_gate(x)) * shared  # (B, T, D)
        if self.shared_scale != 1:
            shared = shared * self.shared_scale  # (B, T, D)
        if self.has_shortcut and shortcut is not None:
            shortcut.routed = routed
            return shared
        return routed + shared  # (B, T, D)

    def _routed(self, x: Tensor) -> Tensor:
        """Return the output (B, T, D) of the routed experts, whose inputs are ``x`` (B, T, D) or norms of it."""
        flat = x.flatten(0, -2)  # (N, D)
        if self.has_branch_norms:
            indices, weights = self.router.route(self.router_norm(flat) * x.shape[-1] ** -0.5)  # (N, k) each
            inputs: Tensor = self.expert_norm(flat)  # (N, D)
        else:
            indices, weights = self.router.route(flat)  # (N, k) each
            inputs = flat  # (N, D)
        if self.latent_in_proj is not None:
            inputs = self.latent_in_proj(inputs)  # (N, M)
        out: Tensor = self.experts(inputs, indices, weights)  # (N, M)
        del inputs, indices, weights
        if self.latent_out_proj is not None:
            out = self.latent_out_proj(out)  # (N, D)
        if self.has_branch_norms:
            out = self.post_expert_norm(out)  # (N, D)
        if self.out_bias is not None:
            out = out + self.out_bias  # (N, D)
        return out.view_as(x)  # (B, T, D)


def build_feed_forward(config: ModelConfig) -> FeedForward | ExpertFeedForward:
    """Return the feed-forward module of a kind of layers, on meta: dense, channel mixing, or a mixture of experts."""
    if config.feed_forward.channel_mixing:
        return ChannelMixing(config)
    return FeedForward(config, config.d_ff) if config.feed_forward.n_experts is None else ExpertFeedForward(config)
