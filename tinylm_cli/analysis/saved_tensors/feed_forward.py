"""What the feed-forward part of a layer keeps: one network, or a mixture of experts and their router."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor_table import INT64_BYTES


def feed_forward(run: ForwardPass, part: str, rows: int, width: int) -> Iterator[SavedTensor]:
    """Yield what one network of ``width`` keeps for ``rows`` vectors, but for its input.

    Args:
        run: The pass.
        part: ``feed_forward``, ``experts`` or ``shared experts``.
        rows: Vectors it reads.
        width: F.
    """
    settings = run.config.feed_forward

    def hidden(name: str) -> SavedTensor:
        return SavedTensor(f"{part} {name}", part, rows * width * run.width, "tensor")

    if settings.clamp is not None:
        yield hidden("gate unbounded")
        yield hidden("up unbounded")
    if settings.activation != "relu":  # which is differentiated by what it puts out
        yield hidden("before")
    if settings.activation == "quick_gelu":
        yield hidden("sigmoid")
    if settings.gated:
        yield hidden("activated")
        yield hidden("up")
    yield hidden("between")


def experts(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield what a mixture of experts keeps, but for its input, however tokens are spread over the experts.

    Each token is copied for each of its experts; the router works in float32 at least.
    """
    config, settings = run.config, run.config.feed_forward
    tokens, sent = run.tokens, run.tokens * settings.top_k
    assert settings.n_experts is not None

    def routed(name: str, nbytes: int) -> SavedTensor:
        return SavedTensor(name, "router", nbytes, "sequence")

    yield routed("scores", tokens * settings.n_experts * run.wide)
    if settings.n_groups > 1:
        best = min(2 if settings.router == "sigmoid" else 1, settings.n_experts // settings.n_groups)
        yield routed("best of each group", tokens * settings.n_groups * best * INT64_BYTES)
        yield routed("groups", tokens * (settings.top_k_groups * INT64_BYTES + settings.n_groups))
    yield routed("chosen", sent * INT64_BYTES)
    if settings.router == "topk_softmax" or settings.renormalize:
        yield routed("chosen scores", sent * run.wide)
    if settings.renormalize:
        yield routed("their sum", tokens * run.wide)
    yield routed("order and rows", 2 * sent * INT64_BYTES)
    yield routed("chosen weights", sent * run.width)
    yield SavedTensor("sent", "experts", sent * config.d_model * run.width, "sequence")
    yield from feed_forward(run, "experts", sent, config.d_expert)
    yield SavedTensor("put out", "experts", sent * config.d_model * run.width, "sequence")
    yield SavedTensor(
        "weighted", "experts", sent * config.d_model * run.width, "sequence"
    )  # index_add keeps its source
    if settings.n_shared_experts:
        yield from feed_forward(run, "shared experts", tokens, settings.n_shared_experts * config.d_expert)
