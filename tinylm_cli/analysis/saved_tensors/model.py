"""Tensors saved outside the layers (embedding, positions, head), and by one layer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from tinylm_cli.analysis.altup import saved_by_correction, saved_by_prediction, saved_by_projections
from tinylm_cli.analysis.dtypes import FLOAT32_BYTES, INT64_BYTES
from tinylm_cli.analysis.mixers import mixer_of, shared_block_of
from tinylm_cli.analysis.saved_tensors.feed_forward import (
    FIRST_PROJECTIONS,
    activation,
    channel_mixing,
    experts,
    feed_forward,
)
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, Sharding, deduplicated
from tinylm_cli.analysis.tensor_table import COS_AND_SIN, READ_AND_WRITE, rotary_frequencies, temperatures
from tinylm_cli.config.layer_kinds import layer_pattern

MIXER, FEED_FORWARD = 1, 2
"""The sub-layers of a layer, as its norms and dropouts are numbered."""


def saved_before_layers(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors saved before the first layer: by the embedding, and by positions."""
    return (*embedding(run), *position(run))


def embedding(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that ``model/embedding.py:TransformerEmbedding.forward`` saves."""
    config = run.config
    ids = run.tokens * config.embedding.n_codebooks  # B × T, of each codebook
    yield SavedTensor("tokens", "embedding", ids * INT64_BYTES, "sequence")
    elements = run.tokens * config.d_model  # B × T × D
    if config.embedding.norm:
        embedded = SavedTensor("embedded", "embedding", elements * run.element_bytes, "sequence")
        yield from norm(run, "embedding.norm", embedded, run.tokens, config.d_model)
    if config.embedding.d_per_layer is not None:
        yield from _per_layer_embedding(run, config.embedding.d_per_layer)
    if config.block.altup_streams is not None:
        embedded = SavedTensor("embedded tokens", "embedding", elements * run.element_bytes, "sequence")
        yield from saved_by_projections(run, "at first", embedded, embedded)
    if config.dropout:
        yield SavedTensor(
            "dropout mask", "embedding", elements * run.dropout_mask_element_bytes(run.element_bytes), "sequence"
        )


def _per_layer_embedding(run: ForwardPass, d_per_layer: int) -> Iterator[SavedTensor]:
    """Yield the tensors that ``model/per_layer_embedding.py:PerLayerEmbedding.forward`` saves, and its output.

    Each layer multiplies by its part of the output. The projection reads the input of the first layer, which that layer
    may not save itself.
    """
    config, part = run.config, "embedding"
    size = run.tokens * config.n_layers * d_per_layer * run.element_bytes  # B × T × n_layers·P
    yield SavedTensor("per-layer inputs", part, size, "sequence")
    if config.per_layer_rows < config.vocab_size:
        yield SavedTensor("tokens with rows", part, run.tokens * INT64_BYTES, "sequence")  # B × T
    projected = SavedTensor("per-layer projection", part, size, "sequence")
    rows = run.tokens * config.n_layers
    yield from norm(run, "embedding.per_layer.norm", projected, rows, d_per_layer, part=part)
    pattern = layer_pattern(config)
    first = layer_tensors(run._replace(config=pattern.kinds[pattern.kind(0)]))
    if config.block.altup_streams is not None or all(tensor.name != "input" for tensor in first):
        yield SavedTensor("embedded tokens", part, run.tokens * config.d_model * run.element_bytes, "sequence")


def position(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that layers share.

    Follows ``model/rope.py:RotaryPosition.rotation`` and ``model/attention_mask.py:attention_masks``.
    """
    for index, pairs in enumerate(rotary_frequencies(run.config)):
        table = run.seq_len * COS_AND_SIN * pairs * run.element_bytes  # T × R/2, each
        yield SavedTensor(f"rotary table {index}", "position", table, "none")
    biases = {
        (kind.n_heads, kind.attention.window, kind.attention.chunked): run._replace(config=kind)
        for kind in layer_pattern(run.config).kinds
        if kind.position.kind == "alibi"
    }
    for index in range(len(temperatures(run.config))):
        yield SavedTensor(f"query scale {index}", "position", run.seq_len * run.element_bytes, "none")  # T × 1
    for index, ((n_heads, _, _), of_kind) in enumerate(biases.items()):
        if of_kind.backend == "fused":
            bias = n_heads * run.seq_len * run.keys * run.element_bytes  # H × T × S
            yield SavedTensor(f"ALiBi bias {index}", "position", bias, "tensor")


@lru_cache(maxsize=1024)
def layer_tensors(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that a layer of the kind ``run.config`` saves without recomputation, its input included."""
    return deduplicated(_layer(run))


def _layer(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that one layer saves; repeated if several operations save the same tensor.

    Follows ``model/block.py:TransformerBlock.forward``.
    """
    config = run.config
    has_pre_norm, has_post_norm = config.norm.precedes_sublayers, config.norm.placement in ("post", "sandwich")
    elements = run.tokens * config.d_model  # B × T × D

    def vectors(name: str, part: str) -> SavedTensor:
        return SavedTensor(name, part, elements * run.element_bytes, "sequence")

    def gate(name: str, rank: int | None) -> Iterator[SavedTensor]:
        """Yield the tensors that the gate of a norm saves: ``model/norm.py:GatedNorm.forward``."""
        if rank is not None:
            yield vectors(f"{name} output before gate", "norm")  # read by down, and multiplied
            for hidden in ("down output", "silu output"):  # B × T × R
                yield SavedTensor(f"{name} {hidden}", "norm", run.tokens * rank * run.element_bytes, "sequence")
            yield vectors(f"{name} gate", "norm")  # after its sigmoid

    def sublayer_end(index: int) -> Iterator[SavedTensor]:
        """Yield the tensors that the norm after a sub-layer, or after its residual addition, and the dropout save."""
        if has_post_norm or (index == FEED_FORWARD and config.feed_forward.out_norm):
            output = vectors(f"sub-layer {index} output", "norm")
            yield from norm(run, f"post_ln_{index}", output, run.tokens, config.d_model)
        if config.dropout:
            mask = elements * run.dropout_mask_element_bytes(run.element_bytes)
            yield SavedTensor(f"dropout mask {index}", "dropout", mask, "sequence")
        if config.norm.placement == "post_residual":
            yield from norm(run, f"post_ln_{index}", vectors(f"sum {index}", "norm"), run.tokens, config.d_model)

    def streams(name: str) -> SavedTensor:
        """Return the residual stream: one vector of each token, or with several streams one of each."""
        vector = vectors(name, "residual")
        return vector._replace(nbytes=vector.nbytes * config.block.n_streams)

    def reading(name: str, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that a hyper-connection saves while it reads and writes."""
        if config.block.hyper_streams is not None:
            yield from stream_reader(run, name, x, READ_AND_WRITE)
            yield vectors(f"{name} branch", "hyper_connections")  # the output of the sub-layer, which is written

    def skipped(x: SavedTensor, normed: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the skip connection, multiplied by the weights of ``block.skip_weight``."""
        if config.block.skip_weight:
            yield normed if config.block.normed_residual else x

    stream = x = normed = streams("input")
    if config.block.altup_streams is not None:
        yield from saved_by_prediction(run, x)
        x = normed = vectors("first stream", "residual")
    if config.block.has_shared_block:
        yield from shared_block_of(config).saved_by_block(run)
        x = normed = vectors("input of the mixer", "residual")
    if config.block.has_mixer:
        if config.block.hyper_streams is not None:
            yield from reading("hyper_1", x)
            x = normed = vectors("hyper_1 output", "residual")
        if has_pre_norm and config.block.mixer_norm:
            normed = vectors("ln_1 output", "norm")
            yield from norm(run, "ln_1", x, run.tokens, config.d_model)
            yield from gate("ln_1", config.block.mixer_norm_gate_rank)
        yield from mixer_of(config).saved(run, normed)
        yield from skipped(stream, normed)
        yield from sublayer_end(MIXER)
        if config.block.laurel_rank is not None:
            yield from _laurel(run, config.block.laurel_rank)
        if not config.block.parallel:
            x = streams("after mixer") if config.block.altup_streams is None else vectors("after mixer", "residual")
    if config.block.feed_forward and not config.block.has_shared_block:
        if config.block.hyper_streams is not None:
            yield from reading("hyper_2", x)
            x = vectors("hyper_2 output", "residual")
        if not config.block.shared_norm:
            normed = vectors("ln_2 output", "norm") if has_pre_norm else x
            if has_pre_norm:
                yield from norm(run, "ln_2", x, run.tokens, config.d_model)
                yield from gate("ln_2", config.block.feed_forward_norm_gate_rank)
        yield from run.linear_input(normed, *FIRST_PROJECTIONS)  # read by the router too
        if config.feed_forward.n_experts is not None:
            yield from experts(run, x)
            if config.feed_forward.shortcut and config.dropout:
                mask = elements * run.dropout_mask_element_bytes(run.element_bytes)
                yield SavedTensor("dropout mask of routed experts", "dropout", mask, "sequence")
        elif config.feed_forward.channel_mixing:
            yield from channel_mixing(run)
        else:
            yield from feed_forward(run, "feed_forward", run.tokens, config.d_ff)
        yield from skipped(x, normed)
        yield from sublayer_end(FEED_FORWARD)
    if config.block.altup_streams is not None:
        yield from saved_by_correction(run)
    if config.embedding.d_per_layer is not None:
        yield from _per_layer_input(run, config.embedding.d_per_layer)
    if config.block.layer_scalar and run.element_bytes != FLOAT32_BYTES:
        yield SavedTensor("layer scalar", "residual", run.element_bytes, "none")  # the copy in the dtype of x


def stream_reader(run: ForwardPass, name: str, source: SavedTensor, n_sets: int) -> Iterator[SavedTensor]:
    """Yield the tensors that reading the copies of the residual stream saves, and the weights that write to them.

    Follows ``model/hyper_connections.py:StreamReader.weights`` and ``read``. The projection is upcast in half
    precision, so that its product with the inverse root mean square saves the copy.

    Args:
        run: The forward pass.
        name: The name of the module.
        source: The copies, (B, T, n, D).
        n_sets: Sets of n weights: those that read, and those that write.
    """
    n, part = run.config.block.hyper_streams or 1, "hyper_connections"

    def numbers(what: str, count: int, element_bytes: int) -> SavedTensor:
        return SavedTensor(f"{name} {what}", part, run.tokens * count * element_bytes, "sequence")  # B × T × count

    yield source  # read by the norm, the projection and the weighted sum
    yield numbers("norm", 1, run.upcast_bytes)
    yield numbers("inverse root mean square", 1, run.upcast_bytes)
    yield numbers("projection", n_sets * n, run.upcast_bytes)
    yield numbers("logits", n_sets * n, run.upcast_bytes)
    yield numbers("sigmoids", n_sets * n, run.upcast_bytes)
    yield numbers("weights", n_sets * n, run.element_bytes)


def _per_layer_input(run: ForwardPass, d_per_layer: int) -> Iterator[SavedTensor]:
    """Yield the tensors that ``model/per_layer_embedding.py:PerLayerInput.forward`` saves, except the layer's input."""
    config, part = run.config, "per_layer_input"
    vectors = run.tokens * config.d_model * run.element_bytes  # B × T × D

    def hidden(name: str) -> SavedTensor:
        return SavedTensor(
            f"{part} {name}", part, run.tokens * d_per_layer * run.element_bytes, "sequence"
        )  # B × T × P

    if config.block.altup_streams is not None:
        yield SavedTensor("first stream after sub-layers", part, vectors, "sequence")  # for the gradient of the scale
    yield SavedTensor("after sub-layers", part, vectors, "sequence")  # read by the gate
    yield from activation(config.feed_forward.activation, hidden)
    yield hidden("activation output")
    yield hidden("projection input")
    output = SavedTensor(f"{part} output", part, vectors, "sequence")
    yield from norm(run, f"{part} norm", output, run.tokens, config.d_model)


def _laurel(run: ForwardPass, rank: int) -> Iterator[SavedTensor]:
    """Yield the tensors that ``model/laurel.py:Laurel.forward`` saves, except its input, which the mixer reads too."""
    part = "laurel"
    yield SavedTensor("laurel hidden", part, run.tokens * rank * run.element_bytes, "sequence")  # B × T × R
    output = SavedTensor("laurel output", part, run.tokens * run.config.d_model * run.element_bytes, "sequence")
    yield from norm(run, "laurel norm", output, run.tokens, run.config.d_model)


def _head_transform(run: ForwardPass, part: str) -> Iterator[SavedTensor]:
    """Yield the tensors that ``model/head_transform.py:HeadTransform.forward`` saves, except its output."""
    config = run.config
    nbytes = run.tokens * config.d_model * run.element_bytes  # B × T × D

    def hidden(name: str) -> SavedTensor:
        return SavedTensor(f"head_transform {name}", part, nbytes, "sequence")

    yield hidden("input")  # read by the dense layer
    yield from activation(config.head.dense_activation, hidden)
    output = hidden("activation output")
    if config.head.dense_activation == "relu":
        yield output  # ReLU's derivative needs its output
    yield from norm(run, "head_transform.norm", output, run.tokens, config.d_model)


def head(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that the final norm, the head and the cross-entropy loss save.

    Follows ``model/lm.py:TinyTransformerLM.logits``, and the loss as ``torch.nn.functional.cross_entropy`` computes it
    from logits or scores cast to float32 or wider. A model without a head has no loss of its own.
    """
    config = run.config
    vectors = run.tokens * config.d_model * run.element_bytes  # B × T × D
    n_streams = config.block.hyper_streams
    if n_streams is not None:
        copies = SavedTensor("last layer streams", "hyper_connections", n_streams * vectors, "sequence")
        yield from stream_reader(run, "hyper_head", copies, 1)
    if config.block.altup_streams is not None:
        streams = SavedTensor("last layer streams", "altup", config.block.altup_streams * vectors, "sequence")
        yield from saved_by_projections(run, "at last", streams, streams)
    if config.norm.is_final:
        source = SavedTensor("last layer output", "ln_f", vectors, "sequence")
        yield from norm(run, "ln_f", source, run.tokens, config.d_model, part="ln_f")
    if config.head.kind == "none":
        return
    part = "lm_head" if config.has_lm_head else "score"
    if config.head.dense:
        yield from _head_transform(run, part)
    yield from run.linear_input(SavedTensor("head input", part, vectors, "sequence"), part)
    if config.head.logit_softcap is not None:
        yield SavedTensor("tanh", "lm_head", run.outputs * run.element_bytes, "tensor")  # B × T × V
    # tensor parallelism shards the vocabulary; scores are replicated, or computed on the GPU that has their tokens
    sharding: Sharding = "tensor" if config.has_lm_head else "sequence" if run.loss_inputs == run.outputs else "none"
    yield SavedTensor("log-probabilities", "loss", run.loss_inputs * run.upcast_bytes, sharding)
    targets = run.loss_inputs // config.n_outputs  # B × T, or B
    if config.has_lm_head:
        targets *= config.embedding.n_codebooks
    yield SavedTensor("targets", "loss", targets * INT64_BYTES, "none" if sharding == "none" else "sequence")
    # scalar: number of targets that are not ignored
    yield SavedTensor("total weight", "loss", run.upcast_bytes, "none")
