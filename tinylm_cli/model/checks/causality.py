"""Causality: a prediction depends on the tokens before it, on all of them, and on no later one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinylm_cli.model.checks.context import Context, largest
from tinylm_cli.model.checks.law import Outcome, law, skip, verdict
from tinylm_cli.model.lm import TinyTransformerLM


@law("causality-gradient", "no gradient flows from a logit to a later position, and some flows to earlier ones")
def causality_gradient(context: Context) -> Outcome:
    """Differentiate logits with respect to the embedding's output.

    The gradient at later positions must be zero exactly: a masked attention weight is 0, and so is all it multiplies.
    """
    length = context.tokens.shape[1]
    if length == 1:
        return skip("with max_len 1 no position has a later one")
    logits, embedded = _logits_of_leaf(context.model, context.tokens)
    weights = torch.randn(logits.shape[2], generator=torch.Generator(device="cpu").manual_seed(0), device="cpu")  # (V)
    leaks, flows = [], []
    for position in sorted({0, length // 2, length - 2, length - 1}):
        mixture = logits[:, position] @ weights.to(logits)  # (B)
        (gradient,) = torch.autograd.grad(mixture.sum(), embedded, retain_graph=True)  # (B, T, D)
        leaks.append(gradient[:, position + 1 :])
        flows.append(largest(gradient[:, : max(position, 1)]))
    leak = largest(*leaks)
    if context.responsive and not all(flow > 0 for flow in flows):
        return verdict(False, "no gradient reaches the positions before", leak, 0.0)
    return verdict(leak == 0, f"largest leak {leak:.2g}", leak, 0.0)


@law("causality-perturbation", "changing a token changes later logits only")
def causality_perturbation(context: Context) -> Outcome:
    """Change the tokens after a position, then the first token, and compare logits."""
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
    leak, limit = largest(*leaks), context.tolerance(largest(logits))
    if reason := context.blind(limit):
        return skip(reason)
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % vocab_size
    influence = largest((context.logits(changed) - logits)[:, 1:])
    if context.responsive and not influence > 0:
        return verdict(False, "changing the first token changes no later logit", influence)
    return verdict(leak <= limit, f"largest change before it {leak:.2g}, after it {influence:.2g}", leak, limit)


def _logits_of_leaf(model: TinyTransformerLM, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, T, V) that start a graph at the embedding's output (B, T, D), and that output."""
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    hook = model.embedding.register_forward_hook(cut)
    try:
        logits = model(tokens)  # (B, T, V)
    finally:
        hook.remove()
    return logits, leaves[0]
