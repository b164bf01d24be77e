"""Inference: logits are the same alone or in a batch, with or without a KV cache."""

from __future__ import annotations

import torch

from tinylm_cli.model.checks.check import CheckContext, Outcome, check, max_abs, passed_if, passed_if_at_most, skip
from tinylm_cli.model.generation import decode
from tinylm_cli.model.sampling import SamplingParams
from tinylm_cli.quantities import counted

GREEDY = SamplingParams(temperature=0.0)
STEPS = 8
SHORT_MAX_LEN = 32
"""Models up to this max_len are decoded past it, so that the context window slides."""


@check("logits-shape", "ids (B, T) give finite logits (B, T, V)")
def logits_shape(context: CheckContext) -> Outcome:
    """Run the full batch, and a single token."""
    for tokens in (context.tokens[:1, :1], context.tokens):
        logits = context.logits(tokens)  # (B, T, V)
        expected = (*tokens.shape, context.config.vocab_size)
        measured = f"{_shape(tokens.shape)} gives {_shape(logits.shape)}"
        if logits.shape != expected:
            return passed_if(False, f"{measured}, not {_shape(expected)}")
        if logits.dtype != context.dtype:
            return passed_if(
                False, f"{measured} in {_name(logits.dtype)}, but the weights are in {_name(context.dtype)}"
            )
        if not logits.isfinite().all():
            return passed_if(False, f"{measured}, {int((~logits.isfinite()).sum())} of them non-finite")
    return passed_if(True, measured)


@check("cached-equals-uncached", "a KV cache gives the same logits and tokens")
def cached_equals_uncached(context: CheckContext) -> Outcome:
    """Decode greedily with and without a cache: first all sequences, then a single one.

    The prompt is the first half of each sequence, and decoding continues past a short max_len. The comparison ends
    early if the two select different tokens. If their logits differ by more than the tolerance, the check fails;
    otherwise the two largest logits are nearly equal, and rounding decides.
    """
    max_len = context.config.max_len
    prompt_len = max(1, context.tokens.shape[1] // 2)
    steps = max_len - prompt_len + 4 if max_len <= SHORT_MAX_LEN else STEPS
    differences, peaks, slid = list[float](), list[float](), ""
    for start in (context.tokens[:, :prompt_len], context.tokens[:1, :prompt_len]):  # a single row uses other kernels
        cached = decode(context.model, start, steps, sampling=GREEDY, use_cache=True)
        uncached = decode(context.model, start, steps, sampling=GREEDY, use_cache=False)
        for length, (with_cache, without) in enumerate(zip(cached, uncached, strict=True), start=prompt_len):
            differences.append(max_abs(with_cache.logits - without.logits))
            peaks.append(max_abs(without.logits))
            slid = ", past max_len" if length > max_len else slid
            if not torch.equal(with_cache.tokens, without.tokens):
                break
    limit = context.tolerance(max_abs(torch.tensor(peaks)))
    if reason := context.softcap_skip_reason(limit):
        return skip(reason)
    return passed_if_at_most(
        max_abs(torch.tensor(differences)), limit, f"{counted(len(differences), 'step')}{slid}, max difference"
    )


@check("batch-invariance", "a sequence has the same logits alone and in a batch")
def batch_invariance(context: CheckContext) -> Outcome:
    """Run the batch at once and row by row."""
    logits = context.logits(context.tokens)  # (B, T, V)
    alone = torch.cat([context.logits(row[None]) for row in context.tokens])  # (B, T, V)
    limit = context.tolerance(max_abs(logits))
    if reason := context.softcap_skip_reason(limit):
        return skip(reason)
    return passed_if_at_most(max_abs(logits - alone), limit, "max difference")


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
