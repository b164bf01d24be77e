"""Tensors that the feed-forward part of a layer saves: one network, or a mixture of experts with its router."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tinylm_cli.analysis.dtypes import BOOL_BYTES, INT64_BYTES
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, Sharding
from tinylm_cli.config.choices import Activation

FIRST_PROJECTIONS = (
    *("feed_forward.gate_proj", "feed_forward.up_proj"),
    *("feed_forward.shared_experts.gate_proj", "feed_forward.shared_experts.up_proj"),
    "feed_forward.shared_expert_gate",
)
"""The projections of the input of a feed-forward network, and of shared experts."""


def feed_forward(run: ForwardPass, part: str, rows: int, d_hidden: int) -> Iterator[SavedTensor]:
    """Yield the tensors that one network saves, except its input: ``model/feed_forward.py:FeedForward.forward``.

    Args:
        run: The forward pass.
        part: ``feed_forward``, ``experts`` or ``shared experts``.
        rows: Vectors that it reads.
        d_hidden: F.
    """
    settings = run.config.feed_forward

    def hidden(name: str) -> SavedTensor:
        return SavedTensor(f"{part} {name}", part, rows * d_hidden * run.element_bytes, "tensor")  # rows × F

    if settings.clamp is not None or (part == "experts" and settings.expert_clamp is not None):
        yield hidden("gate before clamp")
        yield hidden("up before clamp")
    if settings.activation_sparsity is not None:
        yield hidden("gate before sparsity")
        yield SavedTensor(f"{part} deviation", part, rows * run.element_bytes, "none")  # rows × 1
        yield hidden("activation input")  # the output of ReLU
    yield from activation(settings.activation, hidden)
    if settings.activation == "xielu":
        yield hidden("square")  # for the gradient of alpha_p
        yield hidden("exponential")
        yield hidden("negative part")  # for the gradient of alpha_n
        yield SavedTensor(f"{part} factors", part, 2 * run.element_bytes, "none")  # of the square, of the negative part
        yield SavedTensor(f"{part} sign", part, rows * d_hidden * BOOL_BYTES, "tensor")  # rows × F
    if settings.gated:
        yield hidden("activation output")
        yield hidden("up")
    if settings.sub_norm:
        if settings.activation == "relu" and not settings.gated:
            yield hidden("hidden units")  # ReLU's derivative needs its output
        yield from norm(run, f"{part} sub_norm", hidden("hidden units"), rows, d_hidden, sharding="tensor")
    module = "feed_forward" if part == "feed_forward" else "feed_forward.shared_experts"
    if run.is_frozen and settings.activation == "relu" and not settings.gated and not settings.sub_norm:
        yield hidden("down_proj input")  # ReLU's derivative needs its output
    if part != "experts" or not run.is_frozen:  # the stacked weights of experts have no adapters
        yield from run.linear_input(hidden("down_proj input"), f"{module}.down_proj")


def channel_mixing(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that RWKV's channel mixing saves, except its input, one end of each mix.

    Follows ``model/channel_mixing.py:ChannelMixing.forward``. Every GPU of tensor parallelism projects both mixes.
    """
    part = "feed_forward"

    def vectors(name: str, sharding: Sharding) -> SavedTensor:
        return SavedTensor(f"{part} {name}", part, run.tokens * run.config.d_model * run.element_bytes, sharding)

    yield vectors("shifted input", "none")  # the other end of each mix
    yield vectors("receptance_proj input", "none")
    yield vectors("up_proj input", "none")
    yield from feed_forward(run, part, run.tokens, run.config.d_ff)
    yield vectors("receptance", "sequence")
    yield vectors("output", "sequence")


def network_tensors(run: ForwardPass) -> frozenset[str]:
    """Return the names of the tensors of channel mixing that the backward pass of its network frees."""
    inside = (tensor.name for tensor in feed_forward(run, "feed_forward", run.tokens, run.config.d_ff))
    return frozenset(["feed_forward up_proj input", "feed_forward output", *inside])


def activation(name: Activation, hidden: Callable[[str], SavedTensor]) -> Iterator[SavedTensor]:
    """Yield the tensors that an activation without parameters saves, and the input of xIELU.

    Args:
        name: The activation.
        hidden: Returns a tensor of the size of the activation's input, given its name.
    """
    if name == "relu2":
        yield hidden("ReLU")  # both ReLU's derivative and the square's need it
    elif name != "relu":  # ReLU's derivative needs only its output
        yield hidden("activation input")
    if name == "quick_gelu":
        yield hidden("sigmoid")


def experts(run: ForwardPass, residual: SavedTensor) -> Iterator[SavedTensor]:
    """Yield the tensors that a mixture of experts saves, except its input: a norm of the ``residual`` stream.

    Follows ``model/experts.py:Router.route``, which computes in float32 or wider, and ``Experts.forward``, which copies
    each token for each of its experts. The sum does not depend on the distribution of tokens over experts, except that
    zero-computation experts save nothing: they are counted as the others, which is an upper bound.
    """
    config, settings = run.config, run.config.feed_forward
    tokens, routed = run.tokens, run.tokens * settings.top_k  # B·T, B·T·k
    assert settings.n_experts is not None

    def router(name: str, nbytes: int) -> SavedTensor:
        return SavedTensor(name, "router", nbytes, "sequence")

    def vectors(name: str, rows: int = routed) -> SavedTensor:
        return SavedTensor(name, "experts", rows * config.d_routed * run.element_bytes, "sequence")  # B·T·k × M

    def normed(name: str, source: SavedTensor) -> Iterator[SavedTensor]:
        return norm(run, name, source, tokens, config.d_model)

    def output(name: str) -> SavedTensor:
        return SavedTensor(name, "norm", tokens * config.d_model * run.element_bytes, "sequence")  # B·T × D

    if settings.branch_norms:
        yield from normed("router_norm", residual)
        yield output("router input")
        yield from normed("expert_norm", residual)
        if settings.d_latent is not None:
            yield output("latent_in_proj input")
    n_scores = tokens * settings.n_scores  # B·T × E
    if settings.router == "sparsemixer":  # a softmax and the mask of its logits for each selected expert
        yield router("similar scores", settings.top_k * n_scores * (run.upcast_bytes + BOOL_BYTES))
    else:
        yield router("scores", n_scores * run.upcast_bytes)
    if settings.n_groups > 1:
        n_best = min(2 if settings.router == "sigmoid" else 1, settings.n_experts // settings.n_groups)
        yield router("best of each group", tokens * settings.n_groups * n_best * INT64_BYTES)
        best_groups = settings.top_k_groups * INT64_BYTES  # indices of the selected groups
        group_mask = settings.n_groups * BOOL_BYTES  # mask of the rejected groups
        yield router("groups", tokens * (best_groups + group_mask))
    yield router("expert indices", routed * INT64_BYTES)  # B·T × k
    if settings.router == "topk_softmax" or settings.renormalize:
        yield router("expert scores", routed * run.upcast_bytes)  # B·T × k
    if settings.renormalize:
        yield router("sum of expert scores", tokens * run.upcast_bytes)  # B·T × 1
    if settings.expert_scale:
        if settings.router != "topk_softmax":  # whose output is saved already
            yield router("weights before scale", routed * run.upcast_bytes)  # B·T × k
        if settings.router == "sparsemixer":
            yield router("concatenated indices", routed * INT64_BYTES)  # B·T × k
        yield router("scales of experts", routed * run.element_bytes)  # B·T × k
    yield router("order", routed * INT64_BYTES)  # sort permutation by expert
    yield router("rows", routed * INT64_BYTES)  # token index of each routed copy
    yield router("expert weights", routed * run.element_bytes)  # B·T × k
    if not run.is_frozen or settings.router_weight_on_input:
        yield vectors("routed tokens")
    if settings.router_weight_on_input and not run.is_frozen:
        yield vectors("weighted tokens")
    yield from feed_forward(run, "experts", routed, config.d_expert)
    yield vectors("expert outputs")
    if not settings.router_weight_on_input:
        yield vectors("weighted outputs")  # index_add saves its source
    if settings.d_latent is not None:
        yield vectors("latent_out_proj input", tokens)  # B·T × M
    if settings.branch_norms:
        yield from normed("post_expert_norm", output("routed output"))
    if settings.n_shared_experts:
        yield from feed_forward(run, "shared experts", tokens, config.d_shared_experts)
    if settings.branch_norms:
        yield from normed("post_shared_norm", output("shared output"))
    if settings.shared_expert_gate:  # the product saves both factors: B·T × 1, B·T × D
        for name, width in (("gate of shared experts", 1), ("output of shared experts", config.d_model)):
            yield SavedTensor(name, "shared experts", tokens * width * run.element_bytes, "sequence")
