"""The tensors of the feed-forward part of a layer: one network, channel mixing, or a mixture of experts.

Shapes in comments: D d_model, F d_ff or d_expert, E n_experts, S scores of the router, M d_latent or d_model.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.tensor import Component, Tensor, linear, norm
from tinylm_cli.config.schema import ModelConfig

ROUTED = "feed_forward.experts"
"""The name of the routed experts: one network, stacked E times."""


def feed_forward(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the tensors of the feed-forward part of a layer of its own, in the order of the module."""
    if config.feed_forward.n_experts is not None:
        yield from _experts(config)
    elif config.feed_forward.channel_mixing:
        yield from _channel_mixing(config)
    else:
        yield from network("feed_forward", config, config.d_ff, "feed_forward")


def network(name: str, config: ModelConfig, d_hidden: int, component: Component) -> Iterator[Tensor]:
    """Yield the scalars of xIELU, the gate of a gated unit, the up and down projections, and a norm between them.

    References:
        Vaswani et al. 2017, section 3.3, https://arxiv.org/abs/1706.03762;
        Shazeer 2020 (gated units), https://arxiv.org/abs/2002.05202;
        Wang et al. 2022 (Magneto, norm before the down projection), https://arxiv.org/abs/2210.06423;
        Huang and Schlag 2024 (xIELU), https://arxiv.org/abs/2411.13010
    """
    is_routed = name == ROUTED
    d = config.d_routed if is_routed else config.d_model
    bias = config.feed_forward.has_expert_bias if is_routed else config.feed_forward.bias
    if config.feed_forward.activation == "xielu":
        yield Tensor(f"{name}.xielu.alpha_p", (1,), component)  # (1)
        yield Tensor(f"{name}.xielu.alpha_n", (1,), component)  # (1)
    if config.feed_forward.gated:
        yield from linear(f"{name}.gate_proj", d, d_hidden, component, bias=bias)  # (F, D)
    yield from linear(f"{name}.up_proj", d, d_hidden, component, bias=bias)  # (F, D)
    if config.feed_forward.sub_norm:
        yield from norm(f"{name}.sub_norm", config, d_hidden)  # (F)
    yield from linear(f"{name}.down_proj", d_hidden, d, component, bias=bias)  # (D, F)


def _channel_mixing(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the coefficients of each token shift, the network, and the projection of its gate.

    References:
        Peng et al. 2023, section 3.1, https://arxiv.org/abs/2305.13048
    """
    d, bias = config.d_model, config.feed_forward.bias
    for name in ("mix_up", "mix_receptance"):
        yield Tensor(f"feed_forward.{name}", (d,), "feed_forward")  # (D)
    yield from network("feed_forward", config, config.d_ff, "feed_forward")
    yield from linear("feed_forward.receptance_proj", d, d, "feed_forward", bias=bias)  # (D, D)


def _experts(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the router, the experts' networks stacked along a first dimension, and the shared experts.

    With ``d_latent``, the stacked experts are between two projections, which every token uses. The shared experts,
    which every token uses, form one network whose hidden size is the sum of theirs. Their gate computes a number for
    each token.

    References:
        Shazeer et al. 2017 (experts), https://arxiv.org/abs/1701.06538;
        Dai et al. 2024 (shared experts), https://arxiv.org/abs/2401.06066;
        Qwen Team 2024 (their gate), https://arxiv.org/abs/2407.10671;
        NVIDIA 2025 (LatentMoE), Nemotron 3 white paper, https://arxiv.org/abs/2512.20856
    """
    settings, n_experts, d = config.feed_forward, config.feed_forward.n_experts, config.d_model
    assert n_experts is not None
    if settings.out_bias:
        yield Tensor("feed_forward.out_bias", (d,), "experts")  # (D)
    n_scores = settings.n_scores  # with zero-computation experts, S >= E
    yield from linear("feed_forward.router", d, n_scores, "router", bias=settings.router_bias)  # (S, D)
    if settings.expert_scale:
        yield Tensor("feed_forward.router.expert_scale", (n_scores,), "router")  # (S)
    if settings.d_latent is not None:
        yield from linear("feed_forward.latent_in_proj", d, settings.d_latent, "experts", bias=settings.bias)  # (M, D)
    for tensor in network(ROUTED, config, config.d_expert, "experts"):
        yield tensor._replace(shape=(n_experts, *tensor.shape), experts_per_token=settings.top_k)  # (E, F, M), …
    if settings.d_latent is not None:
        yield from linear("feed_forward.latent_out_proj", settings.d_latent, d, "experts", bias=settings.bias)  # (D, M)
    if settings.n_shared_experts:
        yield from network("feed_forward.shared_experts", config, config.d_shared_experts, "experts")
    if settings.shared_expert_gate:
        yield from linear("feed_forward.shared_expert_gate", d, 1, "experts", bias=False)  # (1, D)
    if settings.branch_norms:
        for name in ("router_norm", "expert_norm", "post_expert_norm", "post_shared_norm"):
            yield from norm(f"feed_forward.{name}", config, d)  # (D)
