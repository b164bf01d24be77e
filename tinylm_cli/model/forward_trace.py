"""Trace a forward pass with hooks: shape, mean, standard deviation and finiteness of every stage's output."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tinylm_cli.config.blocks import NormKind, PositionKind
from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.eval_mode import eval_mode
from tinylm_cli.model.experts import ExpertFeedForward
from tinylm_cli.model.feed_forward import FeedForward
from tinylm_cli.model.latent_attention import LatentAttention
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.norm import Norm
from tinylm_cli.reports.forward import Stage

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


def trace_forward(model: TinyTransformerLM, tokens: Tensor) -> tuple[tuple[Stage, ...], Tensor]:
    """Run ``tokens`` through ``model`` and measure the output of each stage.

    The pass runs in evaluation mode without gradients; the previous mode is restored afterwards.

    Args:
        model: The model, on any device; on meta, the stages have shapes but no values.
        tokens: Ids (B, T) on the model's device, T <= max_len.

    Returns:
        The stages in execution order, and the logits (B, T, V). Stages inside the embedding or a block precede the
        stage of the embedding or block.

    Raises:
        ValueError: If the tokens are invalid for the model.
    """
    stages = [Stage("tokens", "token ids", 0, tuple(tokens.shape), None, None, None)]

    def trace(name: str, kind: str) -> None:
        def record(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            inside = name.startswith("embedding.") or name.count(".") == 2
            stages.append(Stage(name, kind, int(inside), tuple(output.shape), *mean_and_std(output)))

        hooks.callback(model.get_submodule(name).register_forward_hook(record).remove)

    with ExitStack() as hooks, eval_mode(model.modules()), torch.no_grad():
        for name, kind in _traced(model):
            trace(name, kind)
        logits: Tensor = model(tokens)  # (B, T, V)
    return tuple(stages), logits


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
    yield "embedding.token_embedding", f"token embedding{_scale(config.embedding.multiplier)}"
    yield "embedding.positional_encoding", POSITIONS[config.position.kind]
    if config.embedding.norm:
        yield "embedding.norm", NORMS[config.norm.kind]
    yield "embedding", "input of the blocks"
    for index, block in enumerate(model.blocks):
        for name, part in block.named_children():
            yield f"blocks.{index}.{name}", NORMS[config.norm.kind] if isinstance(part, Norm) else _sub_layer(part)
        yield f"blocks.{index}", f"block {index + 1} of {len(model.blocks)}"
    yield "ln_f", f"final {NORMS[config.norm.kind]}"
    yield "lm_head", "logits, by the tied embedding" if config.tie_weights else "logits"


def _scale(multiplier: float | None) -> str:
    return " × √d_model" if multiplier is None else "" if multiplier == 1 else f" × {multiplier:g}"


def _sub_layer(module: nn.Module) -> str:
    kinds: dict[type[nn.Module], str] = {
        SelfAttention: "self-attention",
        LatentAttention: "latent self-attention",
        FeedForward: "feed-forward",
        ExpertFeedForward: "mixture of experts",
    }
    return kinds[type(module)]
