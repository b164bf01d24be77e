"""The memory timeline of a training step: gradients, activations and working memory of each phase.

Autograd runs the backward pass of ``model/lm.py:TinyTransformerLM`` in this order: the loss, the head, each layer
from the last to the first (its feed-forward part, then its mixer), the embedding. Multi-token prediction modules come
before all of these (``analysis/mtp_backward.py``). ``analysis/saved_tensors`` defines the letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tinylm_cli.analysis.layer_backward import STREAM_GRADIENTS, layer_backward, shared_block_backward
from tinylm_cli.analysis.layer_kinds import LayerGroup, LayerSet, group_layers, layer_runs
from tinylm_cli.analysis.loop import Pass, loop_parts, n_runs, pass_of, passes
from tinylm_cli.analysis.mtp_backward import (
    LOSS_GRADIENTS,
    SUMMED,
    WAITING,
    layer_section,
    mtp_module_memory,
    mtp_timeline,
)
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved_tensors.loop import normalized_passes, saved_after_pass
from tinylm_cli.analysis.saved_tensors.model import head, layer_tensors, saved_before_layers
from tinylm_cli.analysis.saved_tensors.mtp import apart_from_first_layer
from tinylm_cli.analysis.saved_tensors.recompute import kept_of_layers, saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, deduplicated, total_bytes
from tinylm_cli.analysis.shared_kv import pending_gradient_elements, shared_kv
from tinylm_cli.analysis.tensor_table import Section, TensorTable
from tinylm_cli.config.layer_kinds import layer_pattern, mtp_layer
from tinylm_cli.reports.memory import PhaseMemory

MAX_SHARED = 4
"""The keys and values that layers share, first and last ones, at whose readers a search for the peak looks."""

MAX_PASSES = 2
"""The passes through a looped layer, last ones, at which a search for the peak looks."""


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
    embedding = config.embedding_rows * config.d_model  # C·V × D
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
    later_gradients = embedded = 0  # bytes of the gradients of head and modules, and of the gradient of the embeddings
    if is_last:
        saved_by_head = deduplicated(head(run))
        saved = embedding_bytes + _sum_over(saved_by, runs) + total_bytes(saved_by_head)
        waiting = summed = 0
        if has_mtp:
            modules = mtp_module_memory(run, table)
            kind = run._replace(config=mtp_layer(config))
            phases = layer_backward(kind, layer_section(table), 0, 0, expert_parallel)
            yield from mtp_timeline(run, modules, saved, phases)
            later_gradients = config.head.n_mtp_layers * modules.gradients
            waiting, embedded = WAITING * residual_stream, residual_stream
            summed = modules.head_gradient  # the sum over all modules, until the gradient of the model's head is added
        if config.n_outputs:
            working = LOSS_GRADIENTS * run.loss_inputs * run.upcast_bytes  # B × T × V, or as many scores, each
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
        if config.block.hyper_streams is not None:  # hyper_head: gradients of its output (D) and of the streams (n × D)
            working = residual_stream * (1 + STREAM_GRADIENTS * config.block.hyper_streams)
            yield PhaseMemory("head gradient", later_gradients, saved, working)
        if config.block.altup_streams is not None:
            # altup_head, before the last projection: the saved streams (n × D) and projected vector (D); the gradients
            # of the streams projected before (n - 2), of the output, and 5 while a vector is rescaled (D each)
            working = residual_stream * (2 * config.block.altup_streams + 5)
            freed = total_bytes(tensor for tensor in saved_by_head if tensor.part != "loss")
            yield PhaseMemory("head gradient", later_gradients, saved - freed, working)
        if has_mtp:
            # the gradients of the head that are added, of the hidden states (B × T × D), and those of the modules
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
        section = _section(table, layer)
        phases = layer_backward(of_layer, section, gradients, saved, expert_parallel)
        if with_block:
            n_readers = sum(each.count(later) for each in with_block)
            # the gradient of the embeddings: first a view of the gradient of both inputs (2·D), then a sum (D)
            embedded = min(n_readers, 1) * (2 if n_readers == 1 else 1) * residual_stream
        if of_layer.config.block.has_shared_block:
            embedded = 0 if layer == 0 else embedded  # whose input is the embeddings
            phases = shared_block_backward(of_layer, table, section, layer, gradients, saved)
        if config.loop.n_loops is not None:
            phases = _in_pass(phases, pass_of(config, number), section, run, gradients)
        is_after_shortcut = layer > 0 and pattern.kinds[pattern.kind(layer - 1)].feed_forward.shortcut
        deferred = residual_stream if is_after_shortcut else 0  # the gradient of the output of the experts before
        for phase in phases:
            yield replace(phase, working_bytes=phase.working_bytes + embedded + waiting_kv + deferred)
    if with_block:
        embedded = residual_stream
    gradients = total_params(table) * grad_element_bytes
    if embeds:
        # the embedding-lookup gradient of a tied table, and its sum with the LM-head gradient
        tables = 2 * embedding * element_bytes if config.tie_weights and is_last else 0
        if config.embedding.n_codebooks > 1:  # the gradients of the codebooks' tables, and of all as one tensor
            tables = max(tables, embedding * element_bytes)
        # the gradients of the inputs of all layers, one by one and stacked
        inputs = 2 * config.n_layers * per_layer_input
        # the gradient of the embeddings, and of its copies, if any; with modules also theirs, and the sum of both
        n_streams = config.block.n_streams if config.block.n_streams > 1 else 0
        of_embeddings = residual_stream * (1 + n_streams) + WAITING * embedded
        working = max(tables + residual_stream + inputs, of_embeddings)
        yield PhaseMemory("embedding gradient", gradients, embedding_bytes, working)
    yield PhaseMemory("optimizer step", gradients, 0, step_bytes)


def _head_section(table: TensorTable) -> TensorTable:
    """Return the tensors after the layers: the final norm and the head."""
    return tuple(section for section in table if not section.is_repeated)[-1:]


def _in_pass(
    phases: Iterable[PhaseMemory], own: Pass, section: Section, run: ForwardPass, gradients: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of a run of a looped layer.

    Except in the last pass, the gradient of a weight is added to the sum over later passes as soon as it is computed.
    The gradient of a hidden state that several passes read is held until the earliest of them has added to it: the
    injected input, and the high-level state in passes of the low-level module.

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
    pattern = layer_pattern(config)
    shared = [each for each in shared_kv(config) if each.last_reader in layers]
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
