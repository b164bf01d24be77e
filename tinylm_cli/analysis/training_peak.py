"""The timeline of a training step: the gradients, activations and working memory of each phase that may be the peak.

Follows the order in which autograd runs the backward pass of ``model/lm.py:TinyTransformerLM``: the loss, the LM head,
each layer from the last to the first (its feed-forward part, then its attention), the embedding. Letters are those of
``analysis/saved_tensors``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinylm_cli.analysis.layer_groups import group_layers, uniform_ranges
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved_tensors.attention import OUTPUT
from tinylm_cli.analysis.saved_tensors.model import block, head, saved_before_layers
from tinylm_cli.analysis.saved_tensors.recompute import saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, deduplicated, total_bytes
from tinylm_cli.analysis.tensor_table import TensorTable
from tinylm_cli.reports.memory import PhaseMemory

_FEED_FORWARD = ("feed_forward", "experts", "router")


def training_timeline(
    run: ForwardPass,
    table: TensorTable,
    *,
    step_bytes: int,
    layers: range | None = None,
    expert_ways: int = 1,
) -> Iterator[PhaseMemory]:
    """Yield each phase of a step that may be its peak, in the order of the step.

    The backward pass goes from the loss to the embedding. It frees the saved tensors of a layer, and leaves the
    gradients of its parameters. Over layers of one kind the sum is linear, so its maximum is at the first or the last.

    Args:
        run: The forward pass.
        table: The tensors of ``layers``, and those before the first and after the last layer.
        step_bytes: Working memory of the optimizer.
        layers: The layers of a pipeline stage, which has the embedding or the loss if it has the first or the last
            layer; all layers when None.
        expert_ways: Expert-parallel degree.
    """
    config, width, grad_width = run.config, run.width, run.setup.grad_element_bytes
    layers = range(config.n_layers) if layers is None else layers
    is_first, is_last = layers.start == 0, layers.stop == config.n_layers
    logits = run.tokens * config.vocab_size  # B × T × V
    stream = run.tokens * config.d_model * width  # bytes of B × T × D
    embedding = config.vocab_size * config.d_model  # V × D
    before = total_bytes(
        tensor for tensor in deduplicated(saved_before_layers(run)) if is_first or tensor.part == "position"
    )
    head_gradients = 0
    if is_last:
        saved_by_head = deduplicated(head(run))
        saved = before + _saved_by_layers(run, layers) + total_bytes(saved_by_head)
        # the gradients of the log-probabilities and of the logits as cast, both in float32 or wider
        yield PhaseMemory("loss", 0, saved, 2 * logits * run.upcast_width)
        saved -= total_bytes(tensor for tensor in saved_by_head if tensor.part == "loss")
        head_gradients = total_params(table[-1:]) + (embedding if config.tie_weights else 0)  # norm, head
        # the gradients of the logits and of the head's input
        yield PhaseMemory("head gradient", head_gradients * grad_width, saved, logits * width + stream)
    for layer in _boundary_layers(run, layers):
        gradients = (head_gradients + _params_after(table, layer)) * grad_width
        saved = before + _saved_by_layers(run, range(layers.start, layer))
        yield from _layer(run, table, layer, gradients, saved, expert_ways)
    gradients = total_params(table) * grad_width
    if is_first:
        # a tied table's second gradient, from the look-up, and its sum with the head's
        tied = 2 * embedding * width if config.tie_weights and is_last else 0
        yield PhaseMemory("embedding gradient", gradients, before, tied + stream)
    yield PhaseMemory("optimizer step", gradients, 0, step_bytes)


def _layer(
    run: ForwardPass, table: TensorTable, layer: int, gradients: int, saved: int, expert_ways: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of one layer's backward pass: of its feed-forward part, then of its attention.

    Args:
        run: The forward pass.
        table: The tensors of the stage.
        layer: Index of the layer.
        gradients: Bytes of the gradients of all later layers.
        saved: Bytes saved by all earlier layers.
        expert_ways: Expert-parallel degree.
    """
    config, grad_width = run.config, run.setup.grad_element_bytes
    tensors = deduplicated(block(run, layer))
    own = tensors if run.setup.recompute == "full" else saved_by_layer(run, layer)
    stream = run.tokens * config.d_model * run.width  # gradient of the residual stream, B × T × D
    if config.has_experts(layer):
        yield from _experts(run, tensors, gradients, saved + total_bytes(own), expert_ways)
    else:
        n_hidden = 2 if config.feed_forward.gated else 1  # gradients of gate and up, or of up
        hidden = n_hidden * run.tokens * config.d_ff * run.width  # B × T × F each
        down_proj = config.d_ff * config.d_model * grad_width  # the layer's first gradient, (D, F)
        yield PhaseMemory("backward", gradients + down_proj, saved + total_bytes(own), stream + hidden)
    section = next(each for each in table if each.layers is not None and layer in each.layers)
    feed_forward = sum(tensor.params for tensor in section.tensors if tensor.component in _FEED_FORWARD) * grad_width
    last = max(index for index, tensor in enumerate(tensors) if tensor.part == "attention")
    # the output of attention is freed once the output projection has its gradient; a flash kernel still needs it
    is_output_freed = run.materializes_scores(layer)
    until_attention = total_bytes(
        tensor for tensor in tensors[: last + 1] if not (tensor.name == OUTPUT and is_output_freed)
    )
    working = stream + _attention_gradients(run, layer)
    yield PhaseMemory("backward", gradients + feed_forward, saved + until_attention, working)


def _experts(
    run: ForwardPass, tensors: tuple[SavedTensor, ...], gradients: int, saved: int, expert_ways: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of a mixture of experts that may be its peak: ``model/experts.py:Experts.forward``, backwards.

    At its end the outputs of the experts have two gradients, before and after they are weighted. At its beginning the
    experts' saved tensors are freed and their weights have gradients. Then the gradients of the routed tokens are
    concatenated; last, the gradients of single experts are stacked, one stack after the other.
    """
    config, settings, grad_width = run.config, run.config.feed_forward, run.setup.grad_element_bytes
    assert settings.n_experts is not None
    stream = run.tokens * config.d_model * run.width  # B × T × D
    routed = settings.top_k * stream  # B × T × k × D
    matrix = config.d_model * config.d_expert  # D × F
    stack = settings.n_experts // expert_ways * matrix  # E × D × F
    n_projections = 3 if settings.gated else 2  # (gate,) up, down
    shared = n_projections * settings.n_shared_experts * matrix
    yield PhaseMemory("backward", gradients, saved, stream + 2 * routed)
    gradients += (n_projections * stack + shared) * grad_width
    saved -= total_bytes(tensor for tensor in tensors if tensor.part in ("experts", "shared experts"))
    yield PhaseMemory("backward", gradients, saved, stream + 2 * routed)  # the parts, and their concatenation
    yield PhaseMemory("backward", gradients, saved, 2 * stream + stack * run.width)  # the slices of one stack


def _attention_gradients(run: ForwardPass, layer: int) -> int:
    """Return the bytes of gradients that attention's backward pass holds at once.

    Of materialized scores, their own; else those of queries, keys, values and output. CUDA's flash kernel accumulates
    the queries' gradient in float32, with one number per query and head, and computes the gradients of keys and values
    for every query head before it sums those that share a key (Dao 2023, ``mha_bwd`` of
    https://github.com/Dao-AILab/flash-attention/blob/main/csrc/flash_attn/flash_api.cpp).
    """
    config = run.config
    heads, kv_heads = config.n_heads, config.n_heads if config.attention.kind == "latent" else config.n_kv_heads
    d_key, d_value = config.d_head, config.d_value  # K, K_v
    if run.materializes_scores(layer):
        scores = run.batch_size * heads * run.seq_len * run.keys  # B × H × T × S
        if config.dropout:
            weights = scores * run.upcast_width  # the softmax's gradient; that of dropout's output is freed before
        else:
            is_cast = run.upcast_width > run.width and run.backend(layer) == "eager"
            # the gradients of the softmax's output and input; where weights are cast, one is in the model's dtype
            weights = scores * (2 * run.upcast_width - (run.width if is_cast else 0))
        output = run.tokens * heads * d_value * run.upcast_width  # B × T × H × K_v
        return weights + output
    per_token = (heads + kv_heads) * (d_key + d_value) * run.width  # q and output of H heads, k and v of G heads
    if run.device == "cuda":
        per_token += heads * (d_key + 1) * run.upcast_width  # the queries' accumulator, a sum per query and head
        if kv_heads < heads:
            per_token += heads * (d_key + d_value) * run.width  # k and v for every query head
    return run.tokens * per_token


def _boundary_layers(run: ForwardPass, layers: range) -> Iterable[int]:
    """Return the first and the last of each kind among consecutive layers, the last one first.

    Kinds alternate within one period of the window pattern; a flash kernel saves the same with and without a window.
    """
    is_flash = run.kernel == "flash"
    period = len(run.config.attention.window_pattern)
    boundaries: set[int] = set()
    for uniform in uniform_ranges(run.config):
        within = range(max(uniform.start, layers.start), min(uniform.stop, layers.stop))
        for candidates in (reversed(within[:period]), within[-period:]):
            boundaries.update({run.banded(layer) and not is_flash: layer for layer in candidates}.values())
    return sorted(boundaries, reverse=True)


def _saved_by_layers(run: ForwardPass, layers: range) -> int:
    """Return the bytes that consecutive layers save."""
    groups = group_layers(run.config, run.keys, layers).values()
    return sum(group.n_layers * total_bytes(saved_by_layer(run, group.first)) for group in groups)


def _params_after(table: TensorTable, layer: int) -> int:
    """Return the parameters of all layers after ``layer``."""
    return sum(
        len(section.layers[max(0, layer + 1 - section.layers.start) :])
        * sum(tensor.params for tensor in section.tensors)
        for section in table
        if section.layers is not None
    )
