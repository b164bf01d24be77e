"""Multi-token prediction: logits of module k do not depend on tokens after t + k, and start with a loss near ln V."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tinylm_cli.model.checks.causality import cut_at_embedding
from tinylm_cli.model.checks.check import TOLERANCE, CheckContext, Outcome, check, gradient_of, max_abs, passed_if, skip
from tinylm_cli.model.checks.learning import loss_above_uniform, uniform_loss_margin


@check("mtp-causality", "MTP module k reads the token k positions ahead, and no later one")
def mtp_causality(context: CheckContext) -> Outcome:
    """Differentiate the logits of each module with respect to the output of the embedding.

    At position t of module k, the gradient must be exactly 0 after position t + k, and must not be 0 at t + k.
    """
    length, n_modules = context.tokens.shape[1], context.config.head.n_mtp_layers
    if length == 1:
        return skip("with max_len 1 no position has a later one")
    leaks = []
    with cut_at_embedding(context.model) as leaves:
        logits = list(context.model.multi_token_logits(context.tokens))  # (B, T, V) of each
    responds = not context.degenerate_norm and not context.logits_saturated
    for ahead in range(1, min(n_modules, length - 1) + 1):
        for position in sorted({0, (length - 1 - ahead) // 2, length - 1 - ahead}):
            gradient = _gradient(logits[ahead][:, position], leaves[0])  # (B, T, D)
            leaks.append(gradient[:, position + ahead + 1 :])
            if responds and not max_abs(gradient[:, position + ahead]) > 0:
                return passed_if(False, f"module {ahead} does not read the token {ahead} ahead")
    leak = max_abs(*leaks)
    return passed_if(leak == 0, f"max leak {leak:.2g}", leak, 0.0)


@check("mtp-initial-loss", "the initial loss of each MTP module is ln V")
def mtp_initial_loss(context: CheckContext) -> Outcome:
    """Compare the mean loss over all possible tokens with its expectation, as for the next token.

    The projection of a module is random, so a tied head does not favor the module's input tokens.
    """
    if not context.newly_initialized:
        return skip("loaded weights are not expected to predict uniformly")
    vocab_size, length = context.config.vocab_size, context.tokens.shape[1]
    if vocab_size == 1:
        return skip("with vocab_size 1 there is nothing to predict")
    with torch.no_grad():
        _, *logits = context.model.multi_token_logits(context.tokens)  # (B, T, V) of each
    # the last positions of a module have no token to predict
    predicted = (each[:, : max(length - ahead, 1)] for ahead, each in enumerate(logits, start=1))
    excess = [loss_above_uniform(each.cpu().double()) for each in predicted]
    worst = max(excess, key=lambda each: math.inf if math.isnan(each) else each)
    limit = uniform_loss_margin(context) + TOLERANCE[context.dtype]
    measured = ", ".join(f"ln {vocab_size} + {each:.3f}" for each in excess)
    return passed_if(worst <= limit, measured, worst, limit)


def _gradient(logits: Tensor, embedded: Tensor) -> Tensor:
    """Return the gradient (B, T, D) of a random combination of the logits (B, V) of each sequence."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    weights = torch.randn(logits.shape[-1], generator=generator, device="cpu")  # (V)
    return gradient_of((logits @ weights.to(logits)).sum(), embedded)  # (B, T, D)
