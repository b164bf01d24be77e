"""The phases of the backward pass of one layer: gradients, activations and working memory.

Autograd runs the feed-forward part of a layer, then its mixer. ``analysis/training_peak.py`` adds what later layers
and the rest of the model hold at the same time. ``analysis/saved_tensors`` defines the letters.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.altup import saved_by_correction
from tinylm_cli.analysis.mixers import mixer_of, shared_block_of
from tinylm_cli.analysis.mixers.shared_block import BLOCK_INPUT, BLOCK_OUTPUT
from tinylm_cli.analysis.saved_tensors.attention import (
    DIFFERENCES,
    GATE,
    GATE_INPUT,
    GATED_OUTPUT,
    OUTPUT,
    SUB_NORM_TENSORS,
)
from tinylm_cli.analysis.saved_tensors.feed_forward import network_tensors
from tinylm_cli.analysis.saved_tensors.model import layer_tensors
from tinylm_cli.analysis.saved_tensors.recompute import saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, total_bytes
from tinylm_cli.analysis.tensor_table import Section, TensorTable
from tinylm_cli.reports.memory import PhaseMemory

STREAM_GRADIENTS = 4
"""Gradients of the copies of the residual stream that the backward pass of a hyper-connection holds at once."""

_CORRECTION_GRADIENTS = 3
"""Of n × D elements for each token in the backward pass of AltUp's correction: the gradient of the streams, and the two
products that are summed into the gradients of the coefficients and of the error."""

_PREDICTION_GRADIENTS = 3
"""Of n × D elements for each token in the backward pass of AltUp's prediction: the gradients of the predictions, of the
streams through their weighted sums, and of the router's input, padded with zeros to all streams."""

_FEED_FORWARD = ("feed_forward", "experts", "router")


def layer_backward(
    run: ForwardPass, section: Section, gradients: int, saved: int, expert_parallel: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of one layer's backward pass: of its feed-forward part, then of its mixer.

    Args:
        run: The forward pass of a layer of this kind.
        section: The tensors of the layer.
        gradients: Bytes of the gradients of all later layers.
        saved: Bytes saved by all earlier layers.
        expert_parallel: Expert-parallel degree.
    """
    config, grad_element_bytes = run.config, run.grad_element_bytes
    tensors = layer_tensors(run)
    own = tensors if run.setup.recompute == "full" else saved_by_layer(run)
    vectors = run.tokens * config.d_model * run.element_bytes  # B × T × D
    streams = vectors * config.block.n_streams if config.block.n_streams > 1 else 0  # B × T × n × D
    residual_stream = vectors + streams  # gradients of the output of a sub-layer, and of the residual streams
    held = saved + total_bytes(own)
    if config.block.altup_streams is not None:
        yield from _altup(run, section, gradients, saved, total_bytes(own))
        residual_stream += vectors  # the gradient of the layer's input, as a term of the error
        freed = {tensor.name for tensor in saved_by_correction(run)}
        held -= total_bytes(tensor for tensor in own if tensor.name in freed or tensor.part == "per_layer_input")
    feed_forward = (
        sum(tensor.params for tensor in section.tensors if tensor.component in _FEED_FORWARD) * grad_element_bytes
    )
    if config.block.feed_forward and config.feed_forward.n_experts is not None:
        yield from _experts(run, tensors, gradients, held, expert_parallel)
    elif config.block.feed_forward:
        hidden = _hidden_gradients(run)
        down_proj = config.d_ff * config.d_model * grad_element_bytes  # the layer's first gradient, (D, F)
        # channel mixing: the gradient of the receptance
        working = residual_stream + hidden + (residual_stream if config.feed_forward.channel_mixing else 0)
        yield PhaseMemory("backward", gradients + down_proj, held, working)
        if config.feed_forward.channel_mixing:
            # the gradients of the output, of the receptance, of a mix and of both positions in it, and two products;
            # the tensors of the network are freed
            mixing = 7 * residual_stream
            network = total_bytes(tensor for tensor in tensors if tensor.name in network_tensors(run))
            weights = 2 * down_proj  # gradients of up and down
            yield PhaseMemory("backward", gradients + weights, held - network, mixing)
    if config.block.hyper_streams is not None:
        for name in ("hyper_2", "hyper_1"):
            last = max((n for n, tensor in enumerate(section.tensors) if tensor.name.startswith(f"{name}.")), default=0)
            # gradients of the tensors of the layer that the forward pass reads after this hyper-connection
            later = sum(tensor.params for tensor in section.tensors[last + 1 :]) * grad_element_bytes
            ends = [index for index, tensor in enumerate(tensors) if tensor.name == f"{name} weights"]
            for end in ends:  # gradients of the copies: the sum so far, by way of the sum, the projection and the norm
                until = total_bytes(tensors[: end + 1])
                yield PhaseMemory("backward", gradients + later, saved + until, vectors + STREAM_GRADIENTS * streams)
    if config.block.has_mixer:
        until_mixer = _saved_until(run, tensors, config.block.mixers)
        working = residual_stream + mixer_of(config).gradient_bytes(run)
        yield PhaseMemory("backward", gradients + feed_forward, saved + until_mixer, working)


def _altup(run: ForwardPass, section: Section, gradients: int, saved: int, own: int) -> Iterator[PhaseMemory]:
    """Yield the phases of AltUp's backward pass in a layer: of the correction, then of the prediction.

    Args:
        run: The forward pass of a layer of this kind.
        section: The tensors of the layer.
        gradients: Bytes of the gradients of all later layers.
        saved: Bytes saved by all earlier layers.
        own: Bytes saved by the layer.
    """
    config, tensors = run.config, layer_tensors(run)
    vectors = run.tokens * config.d_model * run.element_bytes  # B × T × D
    streams = vectors * config.block.n_streams  # B × T × n × D
    per_layer_input = total_bytes(tensor for tensor in tensors if tensor.part == "per_layer_input")
    if per_layer_input:  # the gradients of the streams, of the projected input, and of the hidden units, B × T × P each
        hidden = 2 * run.tokens * (config.embedding.d_per_layer or 0) * run.element_bytes
        yield PhaseMemory("backward", gradients, saved + own, streams + vectors + hidden)
    working = _CORRECTION_GRADIENTS * streams
    if per_layer_input and run.setup.recompute == "full":
        # the gradient of the streams; recomputed: the layer's input (D), the predictions, the multiples of the error,
        # their sum (n × D each)
        working = 4 * streams + vectors
    yield PhaseMemory("backward", gradients, saved + own - per_layer_input, working)
    until_prediction = total_bytes(tensors[: _index_of(tensors, "altup mixing") + 1])
    gradients += sum(tensor.params for tensor in section.tensors) * run.setup.grad_element_bytes
    yield PhaseMemory("backward", gradients, saved + until_prediction, _PREDICTION_GRADIENTS * streams + vectors)


def shared_block_backward(
    run: ForwardPass, table: TensorTable, section: Section, layer: int, gradients: int, saved: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of the backward pass of a layer: of its own mixer, then of its shared block.

    The gradient of a weight of the block is added to the sum over later layers as soon as it is computed.

    Args:
        run: The forward pass of a layer of this kind.
        table: The tensors of the model.
        section: The tensors of the layer.
        layer: Its index.
        gradients: Bytes of the gradients of all later layers, and of the blocks that they share.
        saved: Bytes saved by all earlier layers.
    """
    config, grad_element_bytes = run.config, run.setup.grad_element_bytes
    tensors, mixers = layer_tensors(run), shared_block_of(config)
    residual_stream = run.tokens * config.d_model * run.element_bytes  # B × T × D
    if run.setup.recompute == "full":
        saved += residual_stream  # its input, which is recomputed from
    until_mixer = _saved_until(run, tensors, config.block.mixers[1:])
    yield PhaseMemory("backward", gradients, saved + until_mixer, residual_stream + mixers.gradient_bytes(run))
    gradients += sum(tensor.params for tensor in section.tensors) * grad_element_bytes
    streams = 2 * residual_stream  # the gradients of the input of the layer, and of the output of the block
    (block,) = (each for each in table if each.shared_block is not None and each.layers and layer in each.layers)
    assert block.layers is not None
    largest = max(tensor.params for tensor in block.tensors) * grad_element_bytes
    if config.block.feed_forward:
        until_network = total_bytes(tensors[: _index_of(tensors, BLOCK_OUTPUT)])
        down_proj = config.d_ff * config.d_model * grad_element_bytes  # (D, F)
        yield PhaseMemory("backward", gradients, saved + until_network, streams + down_proj + _hidden_gradients(run))
        if layer == block.layers.last:
            of_network = (tensor for tensor in block.tensors if tensor.component == "feed_forward")
            gradients += sum(tensor.params for tensor in of_network) * grad_element_bytes
    until_attention = _saved_until(run, tensors, config.block.mixers[:1])
    working = streams + mixers.attention.gradient_bytes(run)
    yield PhaseMemory("backward", gradients, saved + until_attention, working)
    # the gradients of the norm of both inputs and of the concatenated inputs; one of a weight
    both = 2 * run.tokens * config.d_attention_input * run.element_bytes  # B × T × 2D each
    until_norm = total_bytes(tensors[: _index_of(tensors, BLOCK_INPUT) + 1])
    if layer == block.layers.last:
        gradients += sum(tensor.params for tensor in block.tensors) * grad_element_bytes
    yield PhaseMemory("backward", gradients, saved + until_norm, streams + both + largest)


def _experts(
    run: ForwardPass, tensors: tuple[SavedTensor, ...], gradients: int, saved: int, expert_parallel: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of the backward pass of ``model/experts.py:Experts.forward`` that may be its peak.

    First, the expert outputs have two gradients, before and after weighting. After the experts' backward pass their
    saved tensors are freed and their weights have gradients; the gradients of the routed tokens are concatenated.
    Then the gradients of single experts are stacked, one projection after the other. With ``d_latent``, the projection
    back to d_model has its gradient first, and the projection to M dimensions last.
    """
    config, settings, grad_element_bytes = run.config, run.config.feed_forward, run.grad_element_bytes
    assert settings.n_experts is not None
    vectors = run.tokens * config.d_model * run.element_bytes  # B × T × D
    n_streams = config.block.n_streams if config.block.n_streams > 1 else 0
    residual_stream = vectors * (1 + n_streams)  # and B × T × n × D
    routed = settings.top_k * run.tokens * config.d_routed * run.element_bytes  # B × T × k × M
    stack = settings.n_experts // expert_parallel * config.d_routed * config.d_expert  # E × M × F
    n_projections = 3 if settings.gated else 2  # (gate,) up, down
    shared = n_projections * config.d_model * config.d_shared_experts  # D × F of the shared experts, each
    latent_proj = config.d_model * (settings.d_latent or 0) * grad_element_bytes  # D × M
    gradients += latent_proj  # of latent_out_proj
    # the gradients of the expert outputs, before and after weighting (k × M each)
    yield PhaseMemory("backward", gradients, saved, residual_stream + 2 * routed)
    gradients += (n_projections * stack + shared) * grad_element_bytes
    saved -= total_bytes(tensor for tensor in tensors if tensor.part in ("experts", "shared experts"))
    # the gradients of routed tokens (k × M), by expert and concatenated
    yield PhaseMemory("backward", gradients, saved, residual_stream + 2 * routed)
    # the gradients of the output (D) and of the input of the experts (M); of one stack, expert by expert
    inputs = run.tokens * config.d_routed * run.element_bytes  # B × T × M
    if run.is_frozen:
        return
    yield PhaseMemory("backward", gradients, saved, inputs + residual_stream + stack * run.element_bytes)
    if settings.d_latent is not None:  # the gradients of the input of latent_in_proj (D), and of its output (M)
        yield PhaseMemory("backward", gradients + latent_proj, saved, vectors + inputs + residual_stream)


def _hidden_gradients(run: ForwardPass) -> int:
    """Return the bytes of the gradients of hidden units that the backward pass of a dense network holds at once."""
    settings = run.config.feed_forward
    n_hidden = 2 if settings.gated else 1  # gradients of gate and up, or of up
    if settings.activation == "xielu":
        # gradients of its output, of the parts above and below 0, and of a product; a gated unit has freed the saved
        # output of the activation by then
        n_hidden = 3 if settings.gated else 4
    if settings.activation == "relu2" and not settings.gated:
        n_hidden = 3  # gradients of its output and of the ReLU, and a product
    if settings.sub_norm:
        # its saved input and output are freed before the gradients of gate and up exist; without a gate, the peak is at
        # the gradients of its own input and output
        n_hidden = max(n_hidden - 1, 1)
    return n_hidden * run.tokens * run.config.d_ff * run.element_bytes  # B × T × F each


def _saved_until(run: ForwardPass, tensors: tuple[SavedTensor, ...], parts: tuple[str, ...]) -> int:
    """Return the bytes of the saved tensors that the backward pass of a mixer holds, the last of these parts."""
    last = max(index for index, tensor in enumerate(tensors) if tensor.part in parts)
    # the attention output is freed after the output projection's backward pass, unless a flash kernel reads it
    output = (OUTPUT,) if run.materializes_scores else ()
    freed = (GATE, GATE_INPUT, GATED_OUTPUT, *SUB_NORM_TENSORS, *DIFFERENCES, *output)
    return total_bytes(tensor for tensor in tensors[: last + 1] if tensor.name not in freed)


def _index_of(tensors: tuple[SavedTensor, ...], name: str) -> int:
    """Return the index of the saved tensor with a name."""
    return next(index for index, tensor in enumerate(tensors) if tensor.name == name)
