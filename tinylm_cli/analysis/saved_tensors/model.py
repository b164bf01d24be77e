"""Tensors saved outside the layers, by the embedding, positions and head, and by one whole layer."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.saved_tensors.attention import attention
from tinylm_cli.analysis.saved_tensors.feed_forward import experts, feed_forward
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor_table import INT64_BYTES, rotary_pairs


def saved_before_layers(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return what is kept before the first layer: by the embedding, and of positions for all layers."""
    pattern = range(min(run.config.n_layers, len(run.config.attention.window_pattern)))
    return (*embedding(run), *position(run, {run.config.window(layer) for layer in pattern}))


def embedding(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield what the embedding keeps: ids, the input of its norm, the mask of its dropout."""
    config = run.config
    yield SavedTensor("tokens", "embedding", run.tokens * INT64_BYTES, "sequence")
    stream = run.tokens * config.d_model
    if config.embedding.norm:
        embedded = SavedTensor("embedded", "embedding", stream * run.width, "sequence")
        yield from norm(run, "embedding.norm", embedded, run.tokens, config.d_model)
    if config.dropout:
        yield SavedTensor("dropout", "embedding", stream * run.mask_width(run.width), "sequence")


def position(run: ForwardPass, windows: set[int | None]) -> Iterator[SavedTensor]:
    """Yield what layers that see alike share: cosines and sines, or what fading adds to the scores.

    Args:
        run: The pass.
        windows: Those that layers have, None being one of them.
    """
    config, length = run.config, run.seq_len
    for window in windows:
        if config.position.kind == "rope":
            rotated = length * 2 * rotary_pairs(config)
            yield SavedTensor(f"rotation {window}", "position", rotated * run.width, "none")
        if config.position.kind == "alibi" and run.backend(0) == "fused":
            bias = config.n_heads * length * run.keys * run.width
            yield SavedTensor(f"fading {window}", "position", bias, "tensor")


def block(run: ForwardPass, layer: int) -> Iterator[SavedTensor]:
    """Yield what one layer keeps, its input included; a tensor comes as often as an operation keeps it."""
    config = run.config
    before, after = config.norm.placement != "post", config.norm.placement != "pre"
    stream = run.tokens * config.d_model * run.width

    def vectors(name: str, part: str) -> SavedTensor:
        return SavedTensor(name, part, stream, "sequence")

    def branch(index: int) -> Iterator[SavedTensor]:
        if after:
            put_out = vectors(f"branch {index}", "norm")
            yield from norm(run, f"post_ln_{index}", put_out, run.tokens, config.d_model)
        if config.dropout:
            nbytes = run.tokens * config.d_model * run.mask_width(run.width)
            yield SavedTensor(f"dropout {index}", "dropout", nbytes, "sequence")

    x = vectors("input", "residual")
    normed = vectors("ln_1 out", "norm") if before else x
    if before:
        yield from norm(run, "ln_1", x, run.tokens, config.d_model)
    yield from attention(run, layer, normed)
    yield from branch(1)
    if not config.block.parallel:
        x = vectors("middle", "residual")
    if not config.block.shared_norm:
        normed = vectors("ln_2 out", "norm") if before else x
        if before:
            yield from norm(run, "ln_2", x, run.tokens, config.d_model)
    yield normed
    if config.has_experts(layer):
        yield from experts(run)
    else:
        yield from feed_forward(run, "feed_forward", run.tokens, config.d_ff)
    yield from branch(2)


def head(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield what the final norm, the head and the cross-entropy of its logits keep.

    The loss is computed in float32 at least: it keeps the logarithms of all probabilities, the targets, and one number.
    """
    config = run.config
    stream = run.tokens * config.d_model * run.width
    yield from norm(
        run, "ln_f", SavedTensor("output", "ln_f", stream, "sequence"), run.tokens, config.d_model, part="ln_f"
    )
    yield SavedTensor("ln_f out", "lm_head", stream, "sequence")
    logits = run.tokens * config.vocab_size
    if config.head.logit_softcap is not None:
        yield SavedTensor("tanh", "lm_head", logits * run.width, "tensor")
    yield SavedTensor("log-probabilities", "loss", logits * run.wide, "tensor")
    yield SavedTensor("targets", "loss", run.tokens * INT64_BYTES, "sequence")
    yield SavedTensor("weight", "loss", run.wide, "none")
