"""Inference: logits are the same alone or in a batch, with or without a KV cache."""

from __future__ import annotations

import torch
from torch import Tensor

from tinylm_cli.model.checks.check import CheckContext, Outcome, check, max_abs, passed_if, passed_if_at_most, skip
from tinylm_cli.model.generation import decode
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.sampling import SamplingParams
from tinylm_cli.quantities import counted

GREEDY = SamplingParams(temperature=0.0)
STEPS = 8
SHORT_MAX_LEN = 32
"""Models up to this max_len are decoded past it, so that the context window slides."""


@check("logits-shape", "ids {tokens} give finite logits {shape}")
def logits_shape(context: CheckContext) -> Outcome:
    """Run the full batch, and a single position."""
    for tokens in (context.tokens[:1, :1], context.tokens):
        logits = context.logits(tokens)  # (B, T, V)
        if outcome := _wrong_output(context, tokens, logits, (*tokens.shape, context.config.vocab_size)):
            return outcome
    return passed_if(True, f"{_shape(tokens.shape)} gives {_shape(logits.shape)}")


@check("outputs-shape", "ids {tokens} give finite {several} {shape}")
def outputs_shape(context: CheckContext) -> Outcome:
    """Run the full batch, and a single token, through a model without an LM head."""
    config = context.config
    for tokens in (context.tokens[:1, :1], context.tokens):
        with torch.no_grad():
            outputs: Tensor = context.model(tokens)
        kind = config.head.kind
        of_one = (config.n_outputs,) if kind == "sequence_classification" else (tokens.shape[1], config.n_outputs)
        expected = (len(tokens), *(of_one if kind != "none" else (tokens.shape[1], config.d_model)))
        if outcome := _wrong_output(context, tokens, outputs, expected):
            return outcome
    return passed_if(True, f"{_shape(tokens.shape)} gives {_shape(outputs.shape)}")


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


@check("batch-invariance", "a sequence has the same {several} alone and in a batch")
def batch_invariance(context: CheckContext) -> Outcome:
    """Run the batch at once and row by row."""
    logits = context.logits(context.tokens)  # (B, T, V)
    alone = torch.cat([context.logits(row[None]) for row in context.tokens])  # (B, T, V)
    limit = context.tolerance(max_abs(logits))
    if reason := context.softcap_skip_reason(limit):
        return skip(reason)
    return passed_if_at_most(max_abs(logits - alone), limit, "max difference")


@check("cached-equals-uncached", "a KV cache gives the same {several}")
def cached_outputs_equal_uncached(context: CheckContext) -> Outcome:
    """Read each sequence at once, and token by token after its first half, in a model that decodes nothing.

    It ends early where RoPE scaling changes the frequencies, because the cached keys are then no longer valid.
    """
    model, tokens = context.model, context.tokens
    if tokens.shape[1] == 1:
        return skip("with max_len 1 no position has an earlier one")
    prompt_len = max(1, tokens.shape[1] // 2)
    key = model.rope_scaling_key(prompt_len)
    later = range(prompt_len, tokens.shape[1])
    n_steps = next((step for step, at in enumerate(later) if model.rope_scaling_key(at + 1) != key), len(later))
    tokens = tokens[:, : prompt_len + n_steps]
    differences, peaks = list[float](), list[float]()
    for rows in (tokens, tokens[:1]):  # a single row uses other kernels
        whole = context.logits(rows)  # (B, T, D)
        cache = KVCache(
            context.config, batch_size=len(rows), capacity=rows.shape[1], device=context.device, dtype=context.dtype
        )
        with torch.no_grad():
            parts = torch.split(rows, [prompt_len, *[1] * n_steps], dim=1)
            read = [model.hidden(part, cache=cache) for part in parts]  # (B, t, D) each
            with_cache = model.logits(torch.cat(read, dim=1))  # (B, T, D)
        differences.append(max_abs(with_cache - whole))
        peaks.append(max_abs(whole))
    measured = f"{counted(n_steps, 'step')}, max difference"
    return passed_if_at_most(
        max_abs(torch.tensor(differences)), context.tolerance(max_abs(torch.tensor(peaks))), measured
    )


def _wrong_output(context: CheckContext, tokens: Tensor, outputs: Tensor, expected: tuple[int, ...]) -> Outcome | None:
    """Return a failed outcome if outputs have another shape or dtype or are not finite, else None."""
    measured = f"{_shape(tokens.shape)} gives {_shape(outputs.shape)}"
    if outputs.shape != expected:
        return passed_if(False, f"{measured}, not {_shape(expected)}")
    if outputs.dtype != context.dtype:
        return passed_if(False, f"{measured} in {_name(outputs.dtype)}, but the weights are in {_name(context.dtype)}")
    if not outputs.isfinite().all():
        return passed_if(False, f"{measured}, {int((~outputs.isfinite()).sum())} of them non-finite")
    return None


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
