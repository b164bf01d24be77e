"""A mixture of experts: each token is sent to a few of many feed-forward networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.feed_forward import FeedForward, build_between
from tinylm_cli.model.linear import Linear

TINY = 1e-20
"""Keeps weights that are all zero from being divided by zero."""


Map = Callable[[Tensor, int], Tensor]
"""Maps vectors (n, in) to (n, out) by the expert of a number."""


class Router(Linear):
    """Scores each expert for each token, and chooses.

    With groups, an expert must be in one of the best groups to be chosen: a group is as good as its best expert, or
    with sigmoid scores as the sum of its best two.

    Args:
        config: Uses d_model and feed_forward.

    References:
        Shazeer et al. 2017, https://arxiv.org/abs/1701.06538;
        DeepSeek-AI 2024 (groups), https://arxiv.org/abs/2405.04434;
        DeepSeek-AI 2024 (sigmoid scores, correction), section 2.1.2, https://arxiv.org/abs/2412.19437
    """

    score_correction: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        feed_forward = config.feed_forward
        assert feed_forward.n_experts is not None
        super().__init__(config.d_model, feed_forward.n_experts, bias=feed_forward.router_bias)
        self.kind = feed_forward.router
        self.top_k = feed_forward.top_k
        self.n_groups, self.top_k_groups = feed_forward.n_groups, feed_forward.top_k_groups
        self.renormalize, self.scale = feed_forward.renormalize, feed_forward.routed_scale
        correction = torch.empty(feed_forward.n_experts, device="meta", dtype=torch.float32)
        self.register_buffer("score_correction", correction if feed_forward.score_correction else None)

    def fill(self) -> None:
        """Start without a correction."""
        if self.score_correction is not None:
            self.score_correction.zero_()

    def _apply(self, fn: object, recurse: bool = True) -> Router:  # noqa: FBT001, FBT002 - torch's
        """Move with the model, and keep the correction in float32: it weighs experts whose scores are nearly alike."""
        exact = self.score_correction
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it so
        moved = self.score_correction
        if exact is not None and moved is not None and moved.dtype != exact.dtype:
            empty = exact.is_meta  # torch refuses to move what holds no values
            self.score_correction = torch.empty_like(exact, device=moved.device) if empty else exact.to(moved.device)
        return self

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Choose experts for vectors ``x`` (N, D).

        Returns:
            Their indices (N, k) and weights (N, k), in the dtype of ``x``.
        """
        scores = self(x)  # (N, E)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if self.kind == "softmax":
            scores = scores.softmax(-1)
        elif self.kind == "sigmoid":
            scores = scores.sigmoid()
        rated = scores if self.score_correction is None else scores + self.score_correction  # (N, E)
        if self.n_groups > 1:
            rated = self._within_best_groups(rated)
        chosen = rated.topk(self.top_k, dim=-1).indices  # (N, k)
        weights = scores.gather(-1, chosen)  # (N, k)
        if self.kind == "topk_softmax":
            weights = weights.softmax(-1)
        elif self.renormalize:
            weights = weights / (weights.sum(-1, keepdim=True) + TINY)
        return chosen, (weights * self.scale).to(x.dtype)

    def _within_best_groups(self, rated: Tensor) -> Tensor:
        """Return ``rated`` (N, E) with every expert outside the best groups out of reach."""
        groups = rated.view(len(rated), self.n_groups, -1)  # (N, G, E / G)
        best = min(2 if self.kind == "sigmoid" else 1, groups.shape[-1])
        quality = groups.topk(best, dim=-1).values.sum(-1)  # (N, G)
        kept = torch.zeros_like(quality, dtype=torch.bool)  # (N, G)
        kept = kept.scatter(-1, quality.topk(self.top_k_groups, dim=-1).indices, value=True)
        return groups.masked_fill(~kept[:, :, None], -torch.inf).flatten(1)  # (N, E)


class ExpertLinear(nn.Module):
    """One linear map for each expert, stacked.

    Args:
        n_experts: E.
        in_features: Size of an input vector.
        out_features: Size of an output vector.
        bias: Whether each adds a learned vector.
    """

    bias: nn.Parameter | None

    def __init__(self, n_experts: int, in_features: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        shape = (n_experts, out_features)
        self.weight = nn.Parameter(torch.empty(*shape, in_features, device="meta", dtype=torch.float32))
        values = torch.empty(shape, device="meta", dtype=torch.float32)
        self.register_parameter("bias", nn.Parameter(values) if bias else None)

    def one_by_one(self) -> Map:
        """Return what maps vectors by one expert after the other.

        Where gradients are wanted the stacks are taken apart at once, so that those of all experts are put together
        once: the gradient of a single slice is as large as its stack. Elsewhere taking only what is used is quicker.
        """
        apart = torch.is_grad_enabled()
        weights = self.weight.unbind(0) if apart else self.weight  # E × (out, in)
        if self.bias is None:
            return lambda x, expert: functional.linear(x, weights[expert])
        biases = self.bias.unbind(0) if apart else self.bias  # E × (out)
        return lambda x, expert: functional.linear(x, weights[expert], biases[expert])

    def of_each(self, x: Tensor, experts: Tensor) -> Tensor:
        """Map ``x`` (n, in) to (n, out), each row by the expert (n) beside it, by copying the weights of each."""
        y = torch.bmm(self.weight[experts], x[:, :, None])[:, :, 0]  # (n, out)
        return y if self.bias is None else y + self.bias[experts]


class Experts(nn.Module):
    """The networks that tokens are sent to.

    Args:
        config: Uses d_model, d_ff and feed_forward.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        feed_forward, d, width = config.feed_forward, config.d_model, config.d_expert
        assert feed_forward.n_experts is not None
        n, bias = feed_forward.n_experts, feed_forward.bias
        self.n_experts = n
        self.gate_proj = ExpertLinear(n, d, width, bias=bias) if feed_forward.gated else None
        self.up_proj = ExpertLinear(n, d, width, bias=bias)
        self.down_proj = ExpertLinear(n, width, d, bias=bias)
        self.between = build_between(config)

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Send each vector through its experts and sum what they put out.

        Args:
            x: Vectors (N, D).
            chosen: Indices of experts (N, k).
            weights: What each is multiplied by (N, k).

        Returns:
            (N, D).
        """
        top_k = chosen.shape[1]
        one_by_one = self._one_by_one()  # first, so that gradients are put together last: all else is gone by then
        order = chosen.flatten().argsort(stable=True)  # (N·k), tokens of one expert side by side
        rows = order // top_k  # (N·k)
        sent = x[rows]  # (N·k, D)
        if x.is_meta:  # how many go to each expert is not known there, but what they cost together is
            put_out = self._of_each(sent, chosen.flatten()[order])  # (N·k, D)
        else:
            counts = torch.bincount(chosen.flatten(), minlength=self.n_experts).tolist()
            parts = enumerate(torch.split(sent, counts))
            put_out = torch.cat([one_by_one(part, expert) for expert, part in parts if len(part)])  # (N·k, D)
        weighted = put_out * weights.flatten()[order, None]  # (N·k, D)
        return torch.zeros_like(x).index_add(0, rows, weighted)  # (N, D)

    def _one_by_one(self) -> Map:
        gate = self.gate_proj.one_by_one() if self.gate_proj is not None else None
        up, down = self.up_proj.one_by_one(), self.down_proj.one_by_one()

        def of_one(x: Tensor, expert: int) -> Tensor:
            gated = gate(x, expert) if gate is not None else None  # (n, F)
            return down(self.between(up(x, expert), gated), expert)  # (n, D)

        return of_one

    def _of_each(self, x: Tensor, experts: Tensor) -> Tensor:
        gate = self.gate_proj.of_each(x, experts) if self.gate_proj is not None else None  # (n, F)
        return self.down_proj.of_each(self.between(self.up_proj.of_each(x, experts), gate), experts)  # (n, D)


class ExpertFeedForward(nn.Module):
    """A router, the experts it chooses from, and perhaps one network that every token goes through.

    Args:
        config: Uses d_model, d_ff and feed_forward.

    References:
        Shazeer et al. 2017, https://arxiv.org/abs/1701.06538;
        Dai et al. 2024 (shared experts), https://arxiv.org/abs/2401.06066
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        shared = config.feed_forward.n_shared_experts
        self.router = Router(config)
        self.experts = Experts(config)
        self.shared_experts = FeedForward(config, shared * config.d_expert) if shared else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (B, T, D) to (B, T, D)."""
        flat = x.flatten(0, -2)  # (N, D)
        out: Tensor = self.experts(flat, *self.router.choose(flat)).view_as(x)  # (B, T, D)
        return out if self.shared_experts is None else out + self.shared_experts(x)


def build_feed_forward(config: ModelConfig, layer: int) -> FeedForward | ExpertFeedForward:
    """Return the module of one layer, on meta: a single network, or a mixture."""
    return ExpertFeedForward(config) if config.has_experts(layer) else FeedForward(config, config.d_ff)
