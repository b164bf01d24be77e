"""Causality: logits depend on all earlier tokens, but on no later one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.checks.check import CheckContext, Outcome, check, gradient_of, max_abs, passed_if, skip
from tinylm_cli.model.lm import TinyTransformerLM


@check("causality-gradient", "no {one} has a gradient with respect to a later token")
def causality_gradient(context: CheckContext) -> Outcome:
    """Differentiate logits with respect to the output of the embedding.

    The gradient at later positions must be exactly 0, because masked attention weights are exactly 0.
    """
    length = context.tokens.shape[1]
    if length == 1:
        return skip("with max_len 1 no position has a later one")
    logits, embedded = _logits_from_embedding(context)
    logits = logits.flatten(2)  # (B, T, V), with several codebooks (B, T, C · V)
    weights = torch.randn(logits.shape[2], generator=torch.Generator(device="cpu").manual_seed(0), device="cpu")  # (V)
    leaks, flows = [], []
    for position in sorted({0, length // 2, length - 2, length - 1}):
        mixture = logits[:, position] @ weights.to(logits)  # (B)
        gradient = gradient_of(mixture.sum(), embedded)  # (B, T, D)
        leaks.append(gradient[:, position + 1 :])
        if not _begins_every_chunk(context.config, position):
            flows.append(max_abs(gradient[:, : max(position, 1)]))
    leak = max_abs(*leaks)
    if context.must_respond_to_tokens and not all(flow > 0 for flow in flows):
        return passed_if(False, "no gradient reaches earlier positions", leak, 0.0)
    return passed_if(leak == 0, f"max leak {leak:.2g}", leak, 0.0)


@check("causality-perturbation", "changing a token does not change earlier {several}")
def causality_perturbation(context: CheckContext) -> Outcome:
    """Change all tokens after a position, then the first token, and compare logits."""
    tokens, vocab_size = context.tokens, context.config.vocab_size
    length = tokens.shape[1]
    if length == 1:
        return skip("with max_len 1 no position has a later one")
    if vocab_size == 1:
        return skip("with vocab_size 1 there is no other token to change to")
    logits = context.logits(tokens)  # (B, T, V)
    leaks = []
    for position in sorted({0, length // 2 - 1, length - 2}):
        changed = tokens.clone()
        changed[:, position + 1 :] = (changed[:, position + 1 :] + 1) % vocab_size
        leaks.append((context.logits(changed) - logits)[:, : position + 1])
    leak, limit = max_abs(*leaks), context.tolerance(max_abs(logits))
    if reason := context.softcap_skip_reason(limit):
        return skip(reason)
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % vocab_size
    influence = max_abs((context.logits(changed) - logits)[:, 1:])
    if context.must_respond_to_tokens and not influence > 0:
        return passed_if(False, f"changing the first token does not change later {context.terms.several}", influence)
    return passed_if(leak <= limit, f"max change before the token {leak:.2g}, after it {influence:.2g}", leak, limit)


def _begins_every_chunk(config: ModelConfig, position: int) -> bool:
    """Return whether a position attends only to itself, as the first of a chunk in all layers that mix positions."""
    mixing = [kind for kind in layer_pattern(config).kinds if kind.block.has_mixer or kind.feed_forward.channel_mixing]
    return position > 0 and all(
        kind.block.mixer == "attention"
        and not kind.feed_forward.channel_mixing
        and kind.attention.chunked
        and position % (kind.attention.window or position + 1) == 0
        for kind in mixing
    )


def _logits_from_embedding(context: CheckContext) -> tuple[Tensor, Tensor]:
    """Return logits (B, T, V) and the embedding output (B, T, D), a leaf tensor to differentiate by."""
    with cut_at_embedding(context.model) as leaves:
        logits = context.outputs(context.tokens)  # (B, T, V)
    return logits, leaves[0]


@contextmanager
def cut_at_embedding(model: TinyTransformerLM) -> Iterator[list[Tensor]]:
    """Make the output (B, T, D) of the embedding a leaf tensor, to differentiate by; yields the list of leaves."""
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1]

    hook = model.embedding.register_forward_hook(cut)
    try:
        yield leaves
    finally:
        hook.remove()
