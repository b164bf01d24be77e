"""The memory timeline of a training step: gradients, activations and working memory of each phase.

Autograd runs the backward pass of ``model/lm.py:TinyTransformerLM`` in this order: the loss, the head, each layer
from the last to the first (its feed-forward part, then its mixer), the embedding. Multi-token prediction modules come
before all of these (``analysis/mtp_backward.py``). ``analysis/saved_tensors`` defines the letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tinylm_cli.analysis.altup import saved_by_correction
from tinylm_cli.analysis.layer_kinds import LayerGroup, LayerSet, group_layers, layer_runs
from tinylm_cli.analysis.loop import Pass, loop_parts, n_runs, pass_of, passes
from tinylm_cli.analysis.mixers import mixer_of, shared_block_of
from tinylm_cli.analysis.mixers.shared_block import BLOCK_INPUT, BLOCK_OUTPUT
from tinylm_cli.analysis.mtp_backward import (
    LOSS_GRADIENTS,
    SUMMED,
    WAITING,
    layer_section,
    mtp_module_memory,
    mtp_timeline,
)
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved_tensors.attention import (
    DIFFERENCES,
    GATE,
    GATE_INPUT,
    GATED_OUTPUT,
    OUTPUT,
    SUB_NORM_TENSORS,
)
from tinylm_cli.analysis.saved_tensors.feed_forward import network_tensors
from tinylm_cli.analysis.saved_tensors.loop import normalized_passes, saved_after_pass
from tinylm_cli.analysis.saved_tensors.model import head, layer_tensors, saved_before_layers
from tinylm_cli.analysis.saved_tensors.mtp import apart_from_first_layer
from tinylm_cli.analysis.saved_tensors.recompute import kept_of_layers, saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, deduplicated, total_bytes
from tinylm_cli.analysis.shared_kv import pending_gradient_elements, shared_kv
from tinylm_cli.analysis.tensor_table import Section, TensorTable
from tinylm_cli.config.layer_kinds import layer_pattern, mtp_layer
from tinylm_cli.reports.memory import PhaseMemory

MAX_SHARED = 4
"""The keys and values that layers share, first and last ones, at whose readers a search for the peak looks."""

MAX_PASSES = 2
"""The passes through a looped layer, last ones, at which a search for the peak looks."""

_STREAM_GRADIENTS = 4
"""Gradients of the copies of the residual stream that the backward pass of a hyper-connection holds at once."""

_CORRECTION_GRADIENTS = 3
"""Of n × D elements for each token in the backward pass of AltUp's correction: the gradient of the streams, and both
products of which sums are the gradients of the coefficients and of the error."""

_PREDICTION_GRADIENTS = 3
"""Of n × D elements for each token in the backward pass of AltUp's prediction: the gradients of the predictions, of
the streams by way of their weighted sums, and of the stream that the router reads."""

_FEED_FORWARD = ("feed_forward", "experts", "router")


def training_timeline(
    run: ForwardPass,
    table: TensorTable,
    *,
    step_bytes: int,
    layers: range | None = None,
    expert_parallel: int = 1,
) -> Iterator[PhaseMemory]:
    """Yield each phase of a step that may be its peak, in the order of the step.

    The backward pass of a layer frees its saved tensors and allocates the gradients of its parameters. Over layers of
    one kind the sum is linear in the layer index, so the maximum is at the first or the last layer.

    Args:
        run: The forward pass.
        table: The tensors of ``layers``, of the embedding and of the head.
        step_bytes: Working memory of the optimizer.
        layers: The layers of a pipeline stage; all layers when None. The first layer's stage holds the embedding, the
            last layer's stage the LM head, the loss, and multi-token prediction modules with a copy of the embedding.
        expert_parallel: Expert-parallel degree.
    """
    config, element_bytes, grad_element_bytes = run.config, run.element_bytes, run.setup.grad_element_bytes
    layers = range(config.n_layers) if layers is None else layers
    is_first, is_last = layers.start == 0, layers.stop == config.n_layers
    runs = range(n_runs(config)) if config.loop.n_loops is not None else layers  # stages of a pipeline have no loop
    residual_stream = run.tokens * config.d_model * element_bytes  # bytes of B × T × D
    embedding = config.vocab_size * config.d_model  # V × D
    has_mtp = is_last and config.head.n_mtp_layers > 0
    embeds = is_first or has_mtp
    embedding_bytes = total_bytes(
        tensor for tensor in deduplicated(saved_before_layers(run)) if embeds or tensor.part == "position"
    )
    if embeds and not is_first:
        embedding_bytes += total_bytes(apart_from_first_layer(run))
    saved_by = [
        (layer_runs(config, group.layers), total_bytes(saved_by_layer(run._replace(config=group.config))))
        for group in group_layers(config, run.keys, layers)
    ]
    saved_by += [(LayerSet.of(source), kept.nbytes) for source, kept in kept_of_layers(run)]
    between = total_bytes(saved_after_pass(run))
    saved_by += [(LayerSet.of(each.runs[-1]), between) for each in normalized_passes(run)]
    params_by = [
        # a shared block has gradients from its last layer on, a looped layer from its last pass on
        (
            layer_runs(config, section.layers, last_only=True)
            if section.is_of_each_layer
            else LayerSet.of(section.layers.last),
            sum(tensor.params for tensor in section.tensors),
        )
        for section in table
        if section.layers is not None
    ]
    later_gradients = embedded = 0  # bytes of the gradients of head and modules, and of that of the embeddings
    if is_last:
        saved_by_head = deduplicated(head(run))
        saved = embedding_bytes + _sum_over(saved_by, runs) + total_bytes(saved_by_head)
        waiting = summed = 0
        if has_mtp:
            modules = mtp_module_memory(run, table)
            kind = run._replace(config=mtp_layer(config))
            yield from mtp_timeline(run, modules, saved, _layer(kind, layer_section(table), 0, 0, expert_parallel))
            later_gradients = config.head.n_mtp_layers * modules.gradients
            waiting, embedded = WAITING * residual_stream, residual_stream
            summed = modules.head_gradient  # of all modules, until that of the model's own head is added
        if config.n_outputs:
            working = LOSS_GRADIENTS * run.loss_inputs * run.upcast_bytes
            yield PhaseMemory("loss", later_gradients + summed, saved, working + waiting)
        saved -= total_bytes(tensor for tensor in saved_by_head if tensor.part == "loss")
        head_gradients = total_params(_head_section(table)) + (embedding if config.tie_weights else 0)  # norm, head
        later_gradients += head_gradients * grad_element_bytes
        # the gradients of the outputs (logits, scores, or without a head the hidden states) and of the head's input
        outputs = run.outputs * element_bytes if config.n_outputs else residual_stream
        if config.head.dense:  # or of the input and output of its norm or its activation
            outputs = max(outputs, residual_stream)
        working = outputs + residual_stream + waiting
        yield PhaseMemory("head gradient", later_gradients + summed, saved, working)
        if config.block.hyper_streams is not None:  # hyper_head: gradients of its output and of the copies
            working = residual_stream * (1 + _STREAM_GRADIENTS * config.block.hyper_streams)
            yield PhaseMemory("head gradient", later_gradients, saved, working)
        if config.block.altup_streams is not None:
            # altup_head: gradients of all streams, one by one and stacked, when those of the projections are freed
            working = residual_stream * (config.block.altup_streams + 1)
            freed = total_bytes(tensor for tensor in saved_by_head if tensor.part not in ("altup", "loss"))
            yield PhaseMemory("head gradient", later_gradients, saved - freed, working)
        if has_mtp:
            working = SUMMED * summed + residual_stream + waiting
            yield PhaseMemory("head gradient", later_gradients, saved, working)
    with_block = [section.layers for section in table if section.layers is not None and not section.is_of_each_layer]
    pattern = layer_pattern(config)
    # the gradient of each later layer's own input, B × T × P
    per_layer_input = run.tokens * (config.embedding.d_per_layer or 0) * element_bytes
    for of_layer, layer, number in _boundary_runs(run, table, layers):
        later = range(number + 1, n_runs(config))
        gradients = later_gradients + _sum_over(params_by, later) * grad_element_bytes + len(later) * per_layer_input
        saved = embedding_bytes + _sum_over(saved_by, range(runs.start, number))
        # the gradients of keys and values, B × T × G·(K + K_v) each
        waiting_kv = run.tokens * pending_gradient_elements(config, layer) * element_bytes
        phases = _layer(of_layer, _section(table, layer), gradients, saved, expert_parallel)
        if with_block:
            n_readers = sum(each.count(later) for each in with_block)
            # the gradient of the embeddings: first a part of that of both inputs, then a sum
            embedded = min(n_readers, 1) * (2 if n_readers == 1 else 1) * residual_stream
        if of_layer.config.block.has_shared_block:
            embedded = 0 if layer == 0 else embedded  # whose input is the embeddings
            phases = _layer_with_shared_block(of_layer, table, layer, gradients, saved)
        if config.loop.n_loops is not None:
            phases = _in_pass(phases, pass_of(config, number), _section(table, layer), run, gradients)
        is_after_shortcut = layer > 0 and pattern.kinds[pattern.kind(layer - 1)].feed_forward.shortcut
        deferred = residual_stream if is_after_shortcut else 0  # the gradient of the output of the experts before
        for phase in phases:
            yield replace(phase, working_bytes=phase.working_bytes + embedded + waiting_kv + deferred)
    if with_block:
        embedded = residual_stream
    gradients = total_params(table) * grad_element_bytes
    if embeds:
        # the embedding-lookup gradient of a tied table, and its sum with the LM-head gradient
        tied = 2 * embedding * element_bytes if config.tie_weights and is_last else 0
        # the gradients of the inputs of all layers, one by one and stacked
        inputs = 2 * config.n_layers * per_layer_input
        # the gradient of the embeddings, and of its copies, if any; with modules also theirs, and the sum of both
        n_streams = config.block.n_streams if config.block.n_streams > 1 else 0
        of_embeddings = residual_stream * (1 + n_streams) + WAITING * embedded
        working = max(tied + residual_stream + inputs, of_embeddings)
        yield PhaseMemory("embedding gradient", gradients, embedding_bytes, working)
    yield PhaseMemory("optimizer step", gradients, 0, step_bytes)


def _head_section(table: TensorTable) -> TensorTable:
    """Return the tensors after the layers: the final norm and the head."""
    return tuple(section for section in table if not section.is_repeated)[-1:]


def _layer(
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
    config, grad_element_bytes = run.config, run.setup.grad_element_bytes
    tensors = layer_tensors(run)
    own = tensors if run.setup.recompute == "full" else saved_by_layer(run)
    vectors = run.tokens * config.d_model * run.element_bytes  # B × T × D
    streams = vectors * config.block.n_streams if config.block.n_streams > 1 else 0  # B × T × n × D
    residual_stream = vectors + streams  # gradients of the output of a sub-layer, and of the residual streams
    held = saved + total_bytes(own)
    if config.block.altup_streams is not None:
        yield from _altup(run, section, gradients, saved, total_bytes(own))
        residual_stream += vectors  # the gradient of what the layer reads, as a term of the error
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
        for name, later in (("hyper_2", feed_forward), ("hyper_1", feed_forward)):
            ends = [index for index, tensor in enumerate(tensors) if tensor.name == f"{name} weights"]
            for end in ends:  # gradients of the copies: the sum so far, by way of the sum, the projection and the norm
                until = total_bytes(tensors[: end + 1])
                yield PhaseMemory("backward", gradients + later, saved + until, vectors + _STREAM_GRADIENTS * streams)
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
        # the gradient of the streams; recomputed: what the layer reads, the predictions, multiples of the error, sum
        working = 4 * streams + vectors
    yield PhaseMemory("backward", gradients, saved + own - per_layer_input, working)
    until_prediction = total_bytes(tensors[: _index_of(tensors, "altup mixing") + 1])
    gradients += sum(tensor.params for tensor in section.tensors) * run.setup.grad_element_bytes
    yield PhaseMemory("backward", gradients, saved + until_prediction, _PREDICTION_GRADIENTS * streams + vectors)


def _in_pass(
    phases: Iterable[PhaseMemory], own: Pass, section: Section, run: ForwardPass, gradients: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of a run of a looped layer.

    Except in the last pass, the gradient of a weight is added to that of later passes as soon as it is computed. A
    hidden state that several passes read has a gradient, which waits for those of earlier ones: that of the injected
    input, and that of the high-level state in a pass of the low-level module.

    Args:
        phases: The phases of the layer without a loop.
        own: The pass.
        section: The tensors of the layer.
        run: The forward pass.
        gradients: Bytes of the gradients of later runs.
    """
    largest = max((tensor.params for tensor in section.tensors), default=0) * run.setup.grad_element_bytes
    waits = own.is_low or (own.is_looped and run.config.loop.inject and own.n_later > 0)
    waiting = run.tokens * run.config.d_model * run.element_bytes if waits else 0  # B × T × D
    for phase in phases:
        own_gradients = phase.gradients_bytes - gradients
        if own.n_later:
            own_gradients = min(own_gradients, largest)
        yield replace(phase, gradients_bytes=gradients + own_gradients, working_bytes=phase.working_bytes + waiting)


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


def _layer_with_shared_block(
    run: ForwardPass, table: TensorTable, layer: int, gradients: int, saved: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of the backward pass of a layer: of its own mixer, then those of the block that it shares.

    The gradient of a weight of the block is added to that of later layers as soon as it is computed.

    Args:
        run: The forward pass of a layer of this kind.
        table: The tensors of the model.
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
    gradients += sum(tensor.params for tensor in _section(table, layer).tensors) * grad_element_bytes
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


def _index_of(tensors: tuple[SavedTensor, ...], name: str) -> int:
    """Return the index of the saved tensor with a name."""
    return next(index for index, tensor in enumerate(tensors) if tensor.name == name)


def _experts(
    run: ForwardPass, tensors: tuple[SavedTensor, ...], gradients: int, saved: int, expert_parallel: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of the backward pass of ``model/experts.py:Experts.forward`` that may be its peak.

    First, the expert outputs have two gradients, before and after weighting. After the experts' backward pass their
    saved tensors are freed and their weights have gradients; the gradients of the routed tokens are concatenated.
    Last, the gradients of single experts are stacked, one projection after the other.
    """
    config, settings, grad_element_bytes = run.config, run.config.feed_forward, run.setup.grad_element_bytes
    assert settings.n_experts is not None
    vectors = run.tokens * config.d_model * run.element_bytes  # B × T × D
    n_streams = config.block.n_streams if config.block.n_streams > 1 else 0
    residual_stream = vectors * (1 + n_streams)  # and B × T × n × D
    routed = settings.top_k * vectors  # B × T × k × D
    matrix = config.d_model * config.d_expert  # D × F
    stack = settings.n_experts // expert_parallel * matrix  # E × D × F
    n_projections = 3 if settings.gated else 2  # (gate,) up, down
    shared = n_projections * config.d_model * config.d_shared_experts  # D × F of the shared experts, each
    yield PhaseMemory("backward", gradients, saved, residual_stream + 2 * routed)
    gradients += (n_projections * stack + shared) * grad_element_bytes
    saved -= total_bytes(tensor for tensor in tensors if tensor.part in ("experts", "shared experts"))
    # the gradients per expert, and their concatenation
    yield PhaseMemory("backward", gradients, saved, residual_stream + 2 * routed)
    # the gradients of the output and of the input; of one stack, expert by expert
    yield PhaseMemory("backward", gradients, saved, vectors + residual_stream + stack * run.element_bytes)


def _boundary_runs(run: ForwardPass, table: TensorTable, layers: range) -> list[tuple[ForwardPass, int, int]]:
    """Return the runs of layers that may have the peak, each with its forward pass and its layer, the last run first.

    Saved tensors grow, and gradients shrink, by equal amounts per layer while consecutive layers are alike, and per
    period of the pattern. The peak is therefore at an end of such a run of layers, in the first or the last period. The
    gradients of shared keys and values also wait from the layer before their last reader, and a shared block has all
    its gradients from its last but one layer on. So has a looped layer from its last but one pass on: in earlier ones,
    only the saved tensors change.
    """
    config = run.config
    alike: dict[object, list[LayerGroup]] = {}
    for group in group_layers(config, run.keys, layers):
        of_layer = run._replace(config=group.config)
        alike.setdefault((layer_tensors(of_layer), _section(table, group.layers.first).tensors), []).append(group)
    found: dict[int, ForwardPass] = {}
    for groups in alike.values():
        of_layer = run._replace(config=groups[0].config)
        for part in LayerSet.union(group.layers for group in groups).parts:
            found |= dict.fromkeys(part.run_ends(), of_layer)
    pattern, shared = layer_pattern(config), shared_kv(config)
    for each in (*shared[:MAX_SHARED], *shared[-MAX_SHARED:]):
        layer = each.last_reader - 1
        found.setdefault(layer, run._replace(config=pattern.kinds[pattern.kind(layer)]))
    for section in table:
        if section.layers is not None and not section.is_of_each_layer:
            others = section.layers.within(range(section.layers.last))
            if len(others):
                kind = pattern.kinds[pattern.kind(others.last)]
                found.setdefault(others.last, run._replace(config=kind))
    if config.loop.n_loops is None:
        return [(found[layer], layer, layer) for layer in sorted(found, reverse=True)]
    ends = {end for part in loop_parts(config) for end in (part.layers[0], part.layers[-1])}
    for layer in ends - found.keys():
        found[layer] = run._replace(config=pattern.kinds[pattern.kind(layer)])
    return [
        (found[layer], layer, layer - each.layers.start + each.first_run)
        for each in reversed(passes(config))
        if each.n_later < MAX_PASSES
        for layer in sorted(found.keys() & set(each.layers), reverse=True)
    ]


def _section(table: TensorTable, layer: int) -> Section:
    """Return the tensors of ``layer``."""
    return next(each for each in table if each.is_of_each_layer and each.layers is not None and layer in each.layers)


def _sum_over(per_layer: Iterable[tuple[LayerSet, int]], layers: range) -> int:
    """Return the sum over consecutive layers of a number that each layer of a set has."""
    return sum(each.count(layers) * number for each, number in per_layer)
