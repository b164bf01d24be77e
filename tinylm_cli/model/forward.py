"""A forward pass as ``tinylm forward`` reports it: its stages, what it predicts, how well, and how fast."""

from __future__ import annotations

import math
import statistics
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.model.eval_mode import evaluating
from tinylm_cli.model.forward_trace import traced_forward
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.reports.forward import Candidate, ForwardReport

TIMED_SECONDS = 0.5
TIMED_RUNS = 9


def run_forward(
    model: TinyTransformerLM,
    tokens: Tensor,
    *,
    name: str,
    source: str,
    untrained: bool,
    top_k: int = 5,
    echo_tokens: bool = True,
) -> ForwardReport:
    """Run ``tokens`` through ``model``, in evaluation mode and without gradients, and report on it.

    Args:
        model: The model, on any device.
        tokens: Ids (B, T), T <= max_len; moved to the model's device.
        name: The model's name, for the report.
        source: Where its config came from, for the report.
        untrained: Whether its weights were drawn rather than loaded, for the report.
        top_k: Candidates to report, >= 0; all V when there are fewer.
        echo_tokens: Whether the report holds the ids themselves.

    Returns:
        The report; on meta it has shapes and no values.

    Raises:
        ValueError: If the tokens do not fit the model, or top_k is negative.
    """
    if top_k < 0:
        raise ValueError(f"top_k must be >= 0, not {top_k}")
    weight = model.lm_head.weight
    tokens = tokens.to(weight.device)  # (B, T)
    stages, logits = traced_forward(model, tokens)
    values = not weight.is_meta
    candidates = _candidates(logits[0, -1], top_k) if values else ()
    loss = _loss(logits, tokens) if values and tokens.shape[1] > 1 else None
    del logits  # the timed passes have their own
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


def _candidates(logits: Tensor, top_k: int) -> tuple[Candidate, ...]:
    """Return the most likely tokens by logits (V), best first and equals by id; none if a logit is not finite."""
    if not logits.isfinite().all():
        return ()
    probabilities, ids = logits.cpu().double().softmax(-1).topk(min(top_k, len(logits)))  # (k), (k)
    found = (Candidate(int(token), float(probability)) for token, probability in zip(ids, probabilities, strict=True))
    return tuple(sorted(found, key=lambda candidate: (-candidate.probability, candidate.token)))


def _loss(logits: Tensor, tokens: Tensor) -> float:
    """Return the mean cross-entropy, in nats, of tokens (B, T) after the first, by the logits (B, T, V) before each.

    Computed in float32 at least, one sequence at a time: a large vocabulary makes log-probabilities the largest tensor.
    """
    total = 0.0
    for scores, ids in zip(logits, tokens, strict=True):
        scores = scores[:-1] if scores.dtype == torch.float64 else scores[:-1].float()  # (T-1, V)
        total += float(functional.cross_entropy(scores, ids[1:].long(), reduction="sum"))
    return total / tokens[:, 1:].numel()


def _seconds(model: TinyTransformerLM, tokens: Tensor) -> float:
    """Return the median time of a pass, of as many as fit in half a second, up to 9, after one to warm up."""
    times: list[float] = []
    with evaluating(model.modules()), torch.no_grad():
        float(model(tokens)[-1, -1, -1])
        while not times or (len(times) < TIMED_RUNS and sum(times) < TIMED_SECONDS):
            start = perf_counter()
            float(model(tokens)[-1, -1, -1])  # reading a value waits for the device
            times.append(perf_counter() - start)
    return statistics.median(times)
