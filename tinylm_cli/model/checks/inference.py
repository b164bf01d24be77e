"""Inference: however the same logits are computed, they are the same."""

from __future__ import annotations

import torch

from tinylm_cli.model.checks.context import Context, largest
from tinylm_cli.model.checks.law import Outcome, law, skip, verdict, within
from tinylm_cli.model.generation import decode
from tinylm_cli.model.sampling import SamplingParams
from tinylm_cli.quantities import counted

GREEDY = SamplingParams(temperature=0.0)
STEPS = 8
SHORT_MAX_LEN = 32
"""Models that read no more at once are decoded past the end of it, where the window slides."""


@law("logits-shape", "ids (B, T) give finite logits (B, T, vocab_size) in the dtype of the weights")
def logits_shape(context: Context) -> Outcome:
    """Try the whole batch, and a single token."""
    for tokens in (context.tokens[:1, :1], context.tokens):
        logits = context.logits(tokens)  # (B, T, V)
        expected = (*tokens.shape, context.config.vocab_size)
        figure = f"{_shape(tokens.shape)} gives {_shape(logits.shape)}"
        if logits.shape != expected:
            return verdict(False, f"{figure}, not {_shape(expected)}")
        if logits.dtype != context.dtype:
            return verdict(False, f"{figure} in {_name(logits.dtype)}, and the weights are in {_name(context.dtype)}")
        if not logits.isfinite().all():
            return verdict(False, f"{figure}, {int((~logits.isfinite()).sum())} of them not finite")
    return verdict(True, figure)


@law("cached-equals-uncached", "decoding with a key-value cache gives the logits and the tokens of decoding without")
def cached_equals_uncached(context: Context) -> Outcome:
    """Decode greedily both ways from half of the batch, past max_len where it is short; then one sequence of it alone.

    The comparison ends early where the two choose different tokens. Then either their logits differ by more than the
    tolerance, and the law is broken, or the best two are so close that rounding decides between them.
    """
    max_len = context.config.max_len
    read = max(1, context.tokens.shape[1] // 2)
    steps = max_len - read + 4 if max_len <= SHORT_MAX_LEN else STEPS
    differences, peaks, slid = list[float](), list[float](), ""
    for start in (context.tokens[:, :read], context.tokens[:1, :read]):  # one row has kernels of its own
        cached = decode(context.model, start, steps, sampling=GREEDY, use_cache=True)
        uncached = decode(context.model, start, steps, sampling=GREEDY, use_cache=False)
        for length, (ours, theirs) in enumerate(zip(cached, uncached, strict=True), start=read):
            differences.append(largest(ours.logits - theirs.logits))
            peaks.append(largest(theirs.logits))
            slid = ", past max_len" if length > max_len else slid
            if not torch.equal(ours.tokens, theirs.tokens):
                break
    limit = context.tolerance(largest(torch.tensor(peaks)))
    if reason := context.blind(limit):
        return skip(reason)
    return within(
        largest(torch.tensor(differences)), limit, f"{counted(len(differences), 'step')}{slid}, largest difference"
    )


@law("batch-invariance", "a sequence has the same logits alone as in a batch")
def batch_invariance(context: Context) -> Outcome:
    """Run the batch at once and row by row."""
    logits = context.logits(context.tokens)  # (B, T, V)
    alone = torch.cat([context.logits(row[None]) for row in context.tokens])  # (B, T, V)
    limit = context.tolerance(largest(logits))
    if reason := context.blind(limit):
        return skip(reason)
    return within(largest(logits - alone), limit, "largest difference")


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
