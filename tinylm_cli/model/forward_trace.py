"""Report one forward pass: shape and statistics of each stage, next tokens or scores of labels, loss and speed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.choices import NormKind, PositionKind
from tinylm_cli.model.adapter import BlockAdapters
from tinylm_cli.model.altup import AltUp
from tinylm_cli.model.block import LayerScalar, TransformerBlock
from tinylm_cli.model.channel_mixing import ChannelMixing
from tinylm_cli.model.eval_mode import eval_mode
from tinylm_cli.model.experts import ExpertFeedForward
from tinylm_cli.model.feed_forward import FeedForward
from tinylm_cli.model.hyper_connections import HyperConnection
from tinylm_cli.model.laurel import Laurel
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.norm import GatedNorm, Norm
from tinylm_cli.model.per_layer_embedding import PerLayerInput
from tinylm_cli.model.sequence_mixer import SequenceMixer
from tinylm_cli.quantities import counted
from tinylm_cli.reports.forward import ForwardReport, NextToken, Stage

REPLACEMENT = "\ufffd"
"""Character that decoding substitutes for an incomplete one."""

TIMED_SECONDS = 0.5
"""Maximum time spent on timed passes."""

TIMED_RUNS = 9
"""Maximum number of timed passes."""

CHUNK = 1 << 18
"""Values processed at once: 2 MiB in float64, to avoid a full copy of a large output."""

POSITIONS: dict[PositionKind, str] = {
    "sinusoidal": "+ sinusoidal positions",
    "learned": "+ learned positions",
    "rope": "no positions added: RoPE in attention",
    "alibi": "no positions added: ALiBi in attention",
    "none": "no positions added",
}
NORMS: dict[NormKind, str] = {"layernorm": "layer norm", "rmsnorm": "RMS norm"}


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

    On meta, the report has shapes without values. ``name``, ``source`` and ``untrained`` (whether the weights were
    initialized rather than loaded) are repeated in it, and the ids if ``echo_tokens``.

    Args:
        model: The model, on any device.
        tokens: Ids (B, T) or (B, T, C), T <= max_len; moved to the model's device.
        name: The model's name.
        source: Source of its config.
        untrained: Whether its weights are untrained.
        top_k: Number of most likely next tokens to report, of each codebook, >= 0; V is the maximum. Without an LM
            head, none are.
        echo_tokens: Whether the report includes the ids.
        decode: Returns the text of ids, for the next tokens; None without a tokenizer.

    Raises:
        ValueError: If the tokens are invalid for the model, or top_k is negative.
    """
    if top_k < 0:
        raise ValueError(f"top_k must be >= 0, not {top_k}")
    tokens = tokens.to(model.device)  # (B, T)
    stages, outputs = trace_forward(model, tokens)
    config, values = model.config, model.device.type != "meta"
    predicts = values and config.has_lm_head
    logits = outputs[0, -1].view(-1, config.vocab_size) if predicts else ()  # (C, V)
    next_tokens = tuple(each for codebook in enumerate(logits) for each in _next_tokens(*codebook, top_k, decode))
    loss = _loss(outputs, tokens) if predicts and tokens.shape[1] > 1 else None
    # of the last token: the scores are (B, T, L), or (B, L) to classify sequences
    classifies = values and config.head.kind not in ("lm", "none")
    scores = tuple(outputs[0].reshape(-1, config.n_outputs)[-1].tolist()) if classifies else ()
    del outputs, logits  # free memory for the timed passes
    seconds = _seconds(model, tokens) if values else None
    return ForwardReport(
        name=name,
        source=source,
        untrained=untrained,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        tokens=tuple(map(tuple, tokens.flatten(1).tolist())) if values and echo_tokens else (),
        batch_size=tokens.shape[0],
        seq_len=tokens.shape[1],
        vocab_size=config.vocab_size,
        n_codebooks=config.embedding.n_codebooks,
        stages=stages,
        next_tokens=next_tokens,
        scores=scores,
        loss=loss,
        uniform_loss=math.log(config.vocab_size) if config.has_lm_head else None,
        milliseconds=None if seconds is None else 1000 * seconds,
        tokens_per_second=None if seconds is None else tokens.shape[0] * tokens.shape[1] / seconds,
    )


def _next_tokens(
    codebook: int, logits: Tensor, top_k: int, decode: Callable[[Sequence[int]], str] | None
) -> tuple[NextToken, ...]:
    """Return the most likely tokens by logits (V), best first, ties by id; empty if a logit is not finite."""
    if not logits.isfinite().all():
        return ()
    probabilities, ids = logits.cpu().double().softmax(-1).topk(min(top_k, len(logits)))  # (k), (k)
    found = [
        NextToken(token, probability, None if decode is None else _text(decode([token])), codebook)
        for token, probability in zip(ids.tolist(), probabilities.tolist(), strict=True)
    ]
    return tuple(sorted(found, key=lambda next_token: (-next_token.probability, next_token.token)))


def _text(decoded: str) -> str | None:
    """Return the text of one token; None for a special token or part of a character."""
    return None if not decoded or REPLACEMENT in decoded else decoded


def _loss(logits: Tensor, tokens: Tensor) -> float:
    """Return the mean cross-entropy, in nats, of ``tokens[:, 1:]`` (B, T-1) given ``logits[:, :-1]`` (B, T-1, V).

    With several codebooks, it is the mean over them: ids (B, T, C), logits (B, T, C, V).

    It is computed in float32 or wider, one sequence at a time, because log-probabilities are the largest tensor if the
    vocabulary is large.
    """
    total = 0.0
    for scores, ids in zip(logits, tokens, strict=True):
        scores = scores[:-1].flatten(0, -2)  # (T-1, V) or ((T-1) · C, V)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        total += float(functional.cross_entropy(scores, ids[1:].flatten().long(), reduction="sum"))
    return total / tokens[:, 1:].numel()


def _seconds(model: TinyTransformerLM, tokens: Tensor) -> float:
    """Return the median seconds of a forward pass: one warm-up, then up to 9 timed passes within half a second."""
    times: list[float] = []
    with eval_mode(model.modules()), torch.no_grad():
        float(model(tokens).flatten()[-1])
        while not times or (len(times) < TIMED_RUNS and sum(times) < TIMED_SECONDS):
            start = perf_counter()
            float(model(tokens).flatten()[-1])  # reading a value synchronizes with the device
            times.append(perf_counter() - start)
    return statistics.median(times)


def trace_forward(model: TinyTransformerLM, tokens: Tensor) -> tuple[tuple[Stage, ...], Tensor]:
    """Run ``tokens`` through ``model`` and measure the output of each stage.

    The pass runs in evaluation mode without gradients; the previous mode is restored afterwards.

    Args:
        model: The model, on any device; on meta, the stages have shapes but no values.
        tokens: Ids (B, T) or (B, T, C) on the model's device, T <= max_len.

    Returns:
        The stages in execution order, and the outputs, such as logits (B, T, V). Stages inside the embedding or a
        block precede the stage of the embedding or block.

    Raises:
        ValueError: If the tokens are invalid for the model.
    """
    stages = [Stage("tokens", "token ids", 0, tuple(tokens.shape), None, None, None)]

    def trace(name: str, kind: str) -> None:
        passes = count(1)

        def record(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            inside = name.startswith("embedding.") or name.count(".") == 2
            mean, std, finite = mean_and_std(output)
            number = next(passes)
            of_pass = kind if number == 1 else f"{kind}, pass {number}"
            stages.append(Stage(name, of_pass, int(inside), tuple(output.shape), mean, std, finite, layer_kind))

        module = model.get_submodule(name)
        layer_kind = module.kind if isinstance(module, TransformerBlock) else ""
        hooks.callback(module.register_forward_hook(record).remove)

    with ExitStack() as hooks, eval_mode(model.modules()), torch.no_grad():
        for name, kind in _traced(model):
            trace(name, kind)
        outputs: Tensor = model(tokens)  # (B, T, V), or of another head
    return tuple(stages), outputs


def mean_and_std(values: Tensor) -> tuple[float, float, bool] | tuple[None, None, None]:
    """Return the mean, the population standard deviation and whether all values are finite; None for each on meta.

    Both are computed in float64 per chunk and combined by the pairwise update, so that neither a large tensor nor a
    large mean reduces precision. If a value is not finite, the mean and std are not finite either.

    Args:
        values: A non-empty tensor of any shape and floating dtype.

    References:
        Chan, Golub and LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115
    """
    if values.is_meta:
        return None, None, None
    count, mean, squares, finite = 0, 0.0, 0.0, True
    for chunk in torch.split(values.detach().reshape(-1), CHUNK):
        exact = chunk.cpu().double()  # (CHUNK)
        variance, average = (float(value) for value in torch.var_mean(exact, correction=0))
        finite = finite and bool(exact.isfinite().all())
        size, step = len(exact), average - mean
        squares += variance * size + step * step * size * count / (count + size)
        count += size
        mean += step * size / count
    return mean, math.sqrt(squares / count), finite


def _traced(model: TinyTransformerLM) -> Iterator[tuple[str, str]]:
    """Yield the name and a description of each traced module."""
    config = model.config
    n_codebooks = config.embedding.n_codebooks
    looked_up = "token embedding" if n_codebooks == 1 else f"sum of {n_codebooks} token embeddings"
    yield "embedding.token_embedding", f"{looked_up}{_scale(config.embedding.multiplier)}"
    yield "embedding.positional_encoding", POSITIONS[config.position.kind]
    if config.embedding.norm:
        yield "embedding.norm", NORMS[config.norm.kind]
    yield "embedding", "input of the blocks"
    if config.block.altup_streams is not None:
        yield "embedding.altup", f"{config.block.altup_streams} residual streams"
    for index, block in enumerate(model.blocks):
        for name, part in block.named_children():
            # adapters run inside the shared block; hyper-connections and AltUp have two outputs
            if not isinstance(part, BlockAdapters | HyperConnection | AltUp):
                yield f"blocks.{index}.{name}", _sub_layer(part, NORMS[config.norm.kind])
        yield f"blocks.{index}", f"block {index + 1} of {len(model.blocks)}"
    if config.block.hyper_streams is not None:
        yield "hyper_head", f"weighted sum of {config.block.hyper_streams} residual streams"
    if config.block.altup_streams is not None:
        yield "altup_head", f"mean of {config.block.altup_streams} residual streams, projected"
    if config.norm.is_final:
        yield "ln_f", f"final {NORMS[config.norm.kind]}"
    if config.head.dense:
        yield "head_transform", f"dense layer, {NORMS[config.norm.kind]}"
    if config.head.kind == "lm":
        logits = "logits" if n_codebooks == 1 else f"logits of {n_codebooks} codebooks"
        yield "lm_head", f"{logits}, from the tied embedding" if config.tie_weights else logits
    elif config.head.kind != "none":
        yield "score", f"scores of {counted(config.head.n_labels, 'label')}"


def _scale(multiplier: float | None) -> str:
    return " × √d_model" if multiplier is None else "" if multiplier == 1 else f" × {multiplier:g}"


def _sub_layer(module: nn.Module, norm: str) -> str:
    if isinstance(module, SequenceMixer):
        return module.label
    if isinstance(module, Norm | GatedNorm):
        return norm if isinstance(module, Norm) else f"{norm} × its gate"
    kinds: dict[type[nn.Module], str] = {
        FeedForward: "feed-forward",
        ChannelMixing: "RWKV channel mixing",
        ExpertFeedForward: "mixture of experts",
        PerLayerInput: "+ embedding of the layer",
        Laurel: "learned residual of low rank",
        LayerScalar: "output of the block × its scalar",
        Linear: "output of the shared block, projected",
    }
    return kinds[type(module)]
