"""A forward pass watched from inside: what every stage puts out, measured on the real run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.evaluating import evaluating
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.norm import RMSNorm
from tinylm_cli.model.position import LearnedPosition, NoPosition, SinusoidalPosition
from tinylm_cli.reports.forward import Stage

CHUNK = 1 << 18
"""Values measured at once: 2 MiB in float64, so that measuring a large output does not copy it."""

POSITIONS: dict[type[nn.Module], str] = {
    SinusoidalPosition: "+ sinusoidal positions",
    LearnedPosition: "+ learned positions",
    NoPosition: "no positions added",
}


def traced_forward(model: TinyTransformerLM, tokens: Tensor) -> tuple[tuple[Stage, ...], Tensor]:
    """Run ``tokens`` through ``model`` and measure what comes out of each stage.

    The pass is a real one, in evaluation mode and without gradients; the model is left in the mode it was in.

    Args:
        model: The model, on any device; on meta the stages have shapes and no values.
        tokens: Ids (B, T) on the model's device, T <= max_len.

    Returns:
        The stages in the order they ran, those inside the embedding or a block before the embedding or block itself;
        and the logits (B, T, V).

    Raises:
        ValueError: If the tokens do not fit the model.
    """
    stages = [Stage("tokens", "token ids", 0, tuple(tokens.shape), None, None, None)]

    def watch(name: str, kind: str) -> None:
        def record(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            inside = name.startswith("embedding.") or name.count(".") == 2
            stages.append(Stage(name, kind, int(inside), tuple(output.shape), *moments(output)))

        hooks.callback(model.get_submodule(name).register_forward_hook(record).remove)

    with ExitStack() as hooks, evaluating(model.modules()), torch.no_grad():
        for name, kind in _watched(model):
            watch(name, kind)
        logits: Tensor = model(tokens)  # (B, T, V)
    return tuple(stages), logits


def moments(values: Tensor) -> tuple[float, float, bool] | tuple[None, None, None]:
    """Return mean, population standard deviation, and whether every value is finite; None thrice on meta.

    Computed in float64 chunk by chunk, and joined by the rule of Chan, Golub and LeVeque 1983
    (https://doi.org/10.1080/00031305.1983.10483115), so that neither size nor a large mean costs precision. Where a
    value is not finite, mean and deviation are not either.

    Args:
        values: Of any shape and floating dtype, at least one.
    """
    if values.is_meta:
        return None, None, None
    count, mean, squares, finite = 0, 0.0, 0.0, True
    for chunk in torch.split(values.detach().reshape(-1), CHUNK):
        exact = chunk.cpu().double()  # (CHUNK)
        variance, average = (float(moment) for moment in torch.var_mean(exact, correction=0))
        finite = finite and bool(exact.isfinite().all())
        size, step = len(exact), average - mean
        squares += variance * size + step * step * size * count / (count + size)
        count += size
        mean += step * size / count
    return mean, math.sqrt(squares / count), finite


def _watched(model: TinyTransformerLM) -> Iterator[tuple[str, str]]:
    """Yield the name of each module to watch, and what it does."""
    yield "embedding.token_embedding", "token embedding × √d_model"
    yield "embedding.positional_encoding", POSITIONS[type(model.embedding.positional_encoding)]
    yield "embedding", "what the blocks receive"
    for index, block in enumerate(model.blocks):
        assert isinstance(block, TransformerBlock)
        yield f"blocks.{index}.ln_1", _norm(block.ln_1)
        yield f"blocks.{index}.attention", "self-attention"
        yield f"blocks.{index}.ln_2", _norm(block.ln_2)
        yield f"blocks.{index}.feed_forward", "feed-forward"
        yield f"blocks.{index}", f"block {index + 1} of {len(model.blocks)}"
    yield "ln_f", f"final {_norm(model.ln_f)}"
    yield "lm_head", "logits, by the tied table" if model.config.tie_weights else "logits"


def _norm(module: nn.Module) -> str:
    return "RMS norm" if isinstance(module, RMSNorm) else "layer norm"
