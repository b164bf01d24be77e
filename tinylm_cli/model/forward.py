"""The forward pass of ``tinylm forward``: stages, next-token candidates, loss and speed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.model.eval_mode import eval_mode
from tinylm_cli.model.forward_trace import trace_forward
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.reports.forward import Candidate, ForwardReport

REPLACEMENT = "\ufffd"
"""Character that decoding substitutes for an incomplete one."""

TIMED_SECONDS = 0.5
"""Maximum time spent on timed passes."""

TIMED_RUNS = 9
"""Maximum number of timed passes."""


def run_forward(
    model: TinyTransformerLM,
    tokens: Tensor,
    *,
    name: str,
    source: str,
    untrained: bool,
    top_k: int = 5,
    echo_tokens: bool = True,
    decode: Callable[[Sequence[int]], str] | None = None,
) -> ForwardReport:
    """Run ``tokens`` through ``model`` in evaluation mode without gradients, and return a report.

    Args:
        model: The model, on any device.
        tokens: Ids (B, T), T <= max_len; moved to the model's device.
        name: The model's name, for the report.
        source: Source of its config, for the report.
        untrained: Whether its weights were initialized rather than loaded, for the report.
        top_k: Number of most likely next tokens to report, >= 0; V is the maximum.
        echo_tokens: Whether the report includes the ids.
        decode: Returns the text of ids, for the candidates; None without a tokenizer.

    Returns:
        The report; shapes without values on meta.

    Raises:
        ValueError: If the tokens are invalid for the model, or top_k is negative.
    """
    if top_k < 0:
        raise ValueError(f"top_k must be >= 0, not {top_k}")
    weight = model.lm_head.weight
    tokens = tokens.to(weight.device)  # (B, T)
    stages, logits = trace_forward(model, tokens)
    values = not weight.is_meta
    candidates = _candidates(logits[0, -1], top_k, decode) if values else ()
    loss = _loss(logits, tokens) if values and tokens.shape[1] > 1 else None
    del logits  # free memory for the timed passes
    seconds = _seconds(model, tokens) if values else None
    return ForwardReport(
        name=name,
        source=source,
        untrained=untrained,
        device=str(weight.device),
        dtype=str(weight.dtype).removeprefix("torch."),
        tokens=tuple(map(tuple, tokens.tolist())) if values and echo_tokens else (),
        batch_size=tokens.shape[0],
        seq_len=tokens.shape[1],
        vocab_size=model.config.vocab_size,
        stages=stages,
        candidates=candidates,
        loss=loss,
        uniform_loss=math.log(model.config.vocab_size),
        milliseconds=None if seconds is None else 1000 * seconds,
        tokens_per_second=None if seconds is None else tokens.numel() / seconds,
    )


def _candidates(logits: Tensor, top_k: int, decode: Callable[[Sequence[int]], str] | None) -> tuple[Candidate, ...]:
    """Return the most likely tokens by logits (V), best first, ties by id; empty if a logit is not finite."""
    if not logits.isfinite().all():
        return ()
    probabilities, ids = logits.cpu().double().softmax(-1).topk(min(top_k, len(logits)))  # (k), (k)
    found = [
        Candidate(token, probability, None if decode is None else _text(decode([token])))
        for token, probability in zip(ids.tolist(), probabilities.tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda candidate: (-candidate.probability, candidate.token)))


def _text(decoded: str) -> str | None:
    """Return the text of one token; None for a special token or part of a character."""
    return None if not decoded or REPLACEMENT in decoded else decoded


def _loss(logits: Tensor, tokens: Tensor) -> float:
    """Return the mean cross-entropy, in nats, of ``tokens[:, 1:]`` (B, T-1) given ``logits[:, :-1]`` (B, T-1, V).

    It is computed in float32 or wider, one sequence at a time, because log-probabilities are the largest tensor if the
    vocabulary is large.
    """
    total = 0.0
    for scores, ids in zip(logits, tokens, strict=True):
        scores = scores[:-1] if scores.dtype == torch.float64 else scores[:-1].float()  # (T-1, V)
        total += float(functional.cross_entropy(scores, ids[1:].long(), reduction="sum"))
    return total / tokens[:, 1:].numel()


def _seconds(model: TinyTransformerLM, tokens: Tensor) -> float:
    """Return the median seconds of a forward pass: one warm-up, then up to 9 timed passes within half a second."""
    times: list[float] = []
    with eval_mode(model.modules()), torch.no_grad():
        float(model(tokens)[-1, -1, -1])
        while not times or (len(times) < TIMED_RUNS and sum(times) < TIMED_SECONDS):
            start = perf_counter()
            float(model(tokens)[-1, -1, -1])  # reading a value synchronizes with the device
            times.append(perf_counter() - start)
    return statistics.median(times)
