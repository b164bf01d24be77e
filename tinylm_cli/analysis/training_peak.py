"""A training step moment by moment: which gradients are there already, and which activations still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinylm_cli.analysis.layer_groups import group_layers, uniform_ranges
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved_tensors.model import block, head, saved_before_layers
from tinylm_cli.analysis.saved_tensors.recompute import saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, each_once, total_bytes
from tinylm_cli.analysis.tensor_table import TensorTable
from tinylm_cli.reports.memory import MomentMemory

_FEED_FORWARD = ("feed_forward", "experts", "router")


def training_timeline(
    run: ForwardPass,
    table: TensorTable,
    *,
    step_bytes: int,
    layers: range | None = None,
    expert_ways: int = 1,
) -> Iterator[MomentMemory]:
    """Yield every moment at which a step may hold the most, in the order of the step.

    The backward pass goes from the loss to the embedding: it drops what a layer kept, and leaves the gradients of its
    parameters. Between the ends the sum is linear in the layers behind, so it is highest at one of them.

    Args:
        run: The pass.
        table: The tensors of ``layers``, and of what stands before the first and after the last.
        step_bytes: What the optimizer computes with.
        layers: Those of a pipeline stage, which begins at the embedding or ends at the loss if they do; all when None.
        expert_ways: Ways that each layer's experts are divided.
    """
    config, width, grad_width = run.config, run.width, run.setup.grad_element_bytes
    layers = range(config.n_layers) if layers is None else layers
    is_first, is_last = layers.start == 0, layers.stop == config.n_layers
    logits, stream = run.tokens * config.vocab_size, run.tokens * config.d_model * width
    early = total_bytes(one for one in each_once(saved_before_layers(run)) if is_first or one.part == "position")
    table_params = config.vocab_size * config.d_model
    head_grads = 0
    if is_last:
        late = each_once(head(run))
        everything = early + _kept_by(run, layers) + total_bytes(late)
        yield MomentMemory("loss", 0, everything, 2 * logits * run.wide)
        left = everything - total_bytes(one for one in late if one.part == "loss")
        head_grads = total_params(table[-1:]) + (table_params if config.tie_weights else 0)
        yield MomentMemory("head gradient", head_grads * grad_width, left, logits * width + stream)
    for layer in _ends(run, layers):
        behind = head_grads + _params_after(table, layer)
        held = early + _kept_by(run, range(layers.start, layer))
        yield from _layer(run, table, layer, behind * grad_width, held, expert_ways)
    gradients = total_params(table) * grad_width
    if is_first:
        second = 2 * table_params * width if config.tie_weights and is_last else 0
        yield MomentMemory("embedding gradient", gradients, early, second + stream)
    yield MomentMemory("optimizer step", gradients, 0, step_bytes)


def _layer(
    run: ForwardPass,
    table: TensorTable,
    layer: int,
    gradients: int,
    held: int,
    expert_ways: int,
) -> Iterator[MomentMemory]:
    """Yield the widest moments of one layer's backward pass: in its feed-forward part, and in its attention."""
    config, kept, grad_width = run.config, each_once(block(run, layer)), run.setup.grad_element_bytes
    stream = run.tokens * config.d_model * run.width
    again = kept if run.setup.recompute == "full" else saved_by_layer(run, layer)
    if config.has_experts(layer):
        yield from _experts(run, kept, gradients, held + total_bytes(again), expert_ways)
    else:
        hidden = run.tokens * config.d_ff * run.width * (2 if config.feed_forward.gated else 1)
        down = config.d_ff * config.d_model
        yield MomentMemory("backward", gradients + down * grad_width, held + total_bytes(again), stream + hidden)
    section = next(s for s in table if s.layers is not None and layer in s.layers)
    done = sum(t.params for t in section.tensors if t.component in _FEED_FORWARD)
    last = max(index for index, one in enumerate(kept) if one.part == "attention")
    written = run.writes_scores(layer)
    read = (one.name == "mixed" and written for one in kept)  # by the output projection alone
    left = sum(one.nbytes for one, gone in zip(kept[: last + 1], read, strict=False) if not gone)
    yield MomentMemory("backward", gradients + done * grad_width, held + left, stream + _attention_work(run, layer))


def _experts(
    run: ForwardPass, kept: tuple[SavedTensor, ...], gradients: int, held: int, ways: int
) -> Iterator[MomentMemory]:
    """Yield the moments of a mixture that may be its widest: at its end, and at its beginning.

    At the end what the experts put out has two derivatives, before and after it is weighted. At the beginning what they
    kept is gone and each weight has its gradient: the derivatives of what was sent to them are put together, then the
    gradients of the experts to that of a stack, one stack after the other.
    """
    config, settings, grad_width = run.config, run.config.feed_forward, run.setup.grad_element_bytes
    assert settings.n_experts is not None
    stream = run.tokens * config.d_model * run.width
    sent = settings.top_k * stream
    stack, stacks = settings.n_experts // ways * config.d_model * config.d_expert, 3 if settings.gated else 2
    shared = stacks * settings.n_shared_experts * config.d_model * config.d_expert
    gone = total_bytes(one for one in kept if one.part in ("experts", "shared experts"))
    yield MomentMemory("backward", gradients, held, stream + 2 * sent)
    done = gradients + (stacks * stack + shared) * grad_width
    yield MomentMemory("backward", done, held - gone, stream + 2 * sent)
    yield MomentMemory("backward", done, held - gone, 2 * stream + stack * run.width)


def _attention_work(run: ForwardPass, layer: int) -> int:
    """Return the bytes of derivatives beside each other: of queries, keys, values and mixture, or of scores.

    CUDA's flash kernel adds up the queries' in float32, with one number for each query and head, and makes the keys'
    and values' for every head of queries before it sums those that share them (Dao 2023, ``mha_bwd`` of
    https://github.com/Dao-AILab/flash-attention/blob/main/csrc/flash_attn/flash_api.cpp).
    """
    config = run.config
    heads, kv_heads = config.n_heads, config.n_heads if config.attention.kind == "latent" else config.n_kv_heads
    if run.writes_scores(layer):
        scores = run.batch_size * heads * run.seq_len * run.keys
        if config.dropout:  # its output is gone when the second derivative comes
            derivatives = scores * run.wide
        else:
            rounded = run.wide > run.width and run.backend(layer) == "eager"
            derivatives = scores * (2 * run.wide - (run.width if rounded else 0))
        return derivatives + run.tokens * heads * config.d_value * run.wide
    each = config.d_head + config.d_value
    vectors = (heads + kv_heads) * each * run.width
    if run.device == "cuda":
        vectors += heads * (config.d_head + 1) * run.wide + (heads * each * run.width if kv_heads < heads else 0)
    return run.tokens * vectors


def _ends(run: ForwardPass, layers: range) -> Iterable[int]:
    """Return the first and the last of each sort among some consecutive layers, the last one first.

    Sorts go round within a pattern; a flash kernel does not tell them apart.
    """
    flash = run.kernel == "flash"
    period = len(run.config.attention.window_pattern)
    ends: set[int] = set()
    for each in uniform_ranges(run.config):
        within = range(max(each.start, layers.start), min(each.stop, layers.stop))
        ends.update({run.banded(layer) and not flash: layer for layer in reversed(within[:period])}.values())
        ends.update({run.banded(layer) and not flash: layer for layer in within[-period:]}.values())
    return sorted(ends, reverse=True)


def _kept_by(run: ForwardPass, layers: range) -> int:
    """Return what some consecutive layers keep."""
    groups = group_layers(run.config, run.keys, layers).values()
    return sum(group.n_layers * total_bytes(saved_by_layer(run, group.first)) for group in groups)


def _params_after(table: TensorTable, layer: int) -> int:
    """Return the parameters of the layers after ``layer``."""
    return sum(
        len(section.layers[max(0, layer + 1 - section.layers.start) :])
        * sum(tensor.params for tensor in section.tensors)
        for section in table
        if section.layers is not None
    )
