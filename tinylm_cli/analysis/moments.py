"""A training step moment by moment: which gradients are there already, and which activations still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tinylm_cli.analysis.activations import before, held_bytes, kept_by_layer, once, sorts
from tinylm_cli.analysis.saved import Kept, Pass, block, head
from tinylm_cli.analysis.table import Section, TensorTable
from tinylm_cli.reports.memory import MomentMemory, Recompute

_FEED_FORWARD = ("feed_forward", "experts", "router")


def moments(
    run: Pass, table: TensorTable, *, recompute: Recompute, grad_width: int, step_bytes: int
) -> Iterator[MomentMemory]:
    """Yield every moment at which a step may hold the most, in the order of the step.

    The backward pass goes from the loss to the embedding: it drops what a layer kept, and leaves the gradients of its
    parameters. Between the ends the sum is linear in the layers behind, so it is highest at one of them.

    Args:
        run: The pass.
        table: The model's tensors.
        recompute: What is computed again.
        grad_width: Bytes of an element of the gradients kept.
        step_bytes: What the optimizer computes with.
    """
    config, width = run.config, run.width
    logits, stream = run.tokens * config.vocab_size, run.tokens * config.d_model * width
    early, late = held_bytes(once(before(run))), once(head(run))
    layers = _kept_by(run, config.n_layers, recompute)
    everything = early + layers + held_bytes(late)
    yield MomentMemory("loss", 0, everything, 2 * logits * run.wide)
    probabilities = held_bytes(one for one in late if one.part == "loss")
    table_params = config.vocab_size * config.d_model
    head_grads = _params(table[-1:]) + (table_params if config.tie_weights else 0)
    yield MomentMemory("head gradient", head_grads * grad_width, everything - probabilities, logits * width + stream)
    for layer in _ends(run):
        behind = head_grads + _params_after(table, layer)
        held = early + _kept_by(run, layer, recompute)
        yield from _layer(run, table, layer, recompute, behind * grad_width, held, grad_width)
    second = 2 * table_params * width if config.tie_weights else 0
    gradients = _params(table) * grad_width
    yield MomentMemory("embedding gradient", gradients, early, second + stream)
    yield MomentMemory("optimizer step", gradients, 0, step_bytes)


def _layer(
    run: Pass, table: TensorTable, layer: int, recompute: Recompute, gradients: int, held: int, grad_width: int
) -> Iterator[MomentMemory]:
    """Yield the two widest moments of one layer's backward pass: in its feed-forward part, and in its attention."""
    config, kept = run.config, once(block(run, layer))
    stream = run.tokens * config.d_model * run.width
    again = kept if recompute == "full" else kept_by_layer(run, layer, recompute)
    if config.has_experts(layer):
        yield from _experts(run, kept, gradients, held + held_bytes(again), grad_width)
    else:
        hidden = run.tokens * config.d_ff * run.width * (2 if config.feed_forward.gated else 1)
        down = config.d_ff * config.d_model
        yield MomentMemory("backward", gradients + down * grad_width, held + held_bytes(again), stream + hidden)
    section = next(s for s in table if s.layers is not None and layer in s.layers)
    done = sum(t.params for t in section.tensors if t.component in _FEED_FORWARD)
    last = max(index for index, one in enumerate(kept) if one.part == "attention")
    read = (one.name == "mixed" and run.kernel == "math" for one in kept)  # by the output projection alone
    left = sum(one.nbytes for one, gone in zip(kept[: last + 1], read, strict=False) if not gone)
    yield MomentMemory("backward", gradients + done * grad_width, held + left, stream + _attention_work(run))


def _experts(run: Pass, kept: tuple[Kept, ...], gradients: int, held: int, grad_width: int) -> Iterator[MomentMemory]:
    """Yield the widest moments of a mixture: at its end, and at its beginning.

    At the end what the experts put out has two derivatives, before and after it is weighted. At the beginning what they
    kept is gone and each weight has its gradient: the derivatives of what was sent to them are put together, then the
    gradients of the experts to that of a stack, one stack after the other.
    """
    config, settings = run.config, run.config.feed_forward
    assert settings.n_experts is not None
    stream = run.tokens * config.d_model * run.width
    sent = settings.top_k * stream
    stack, stacks = settings.n_experts * config.d_model * config.d_expert, 3 if settings.gated else 2
    shared = stacks * settings.n_shared_experts * config.d_model * config.d_expert
    gone = held_bytes(one for one in kept if one.part in ("experts", "shared experts"))
    yield MomentMemory("backward", gradients, held, stream + 2 * sent)
    done = gradients + (stacks * stack + shared) * grad_width
    yield MomentMemory("backward", done, held - gone, stream + max(2 * sent, stream + stack * run.width))


def _attention_work(run: Pass) -> int:
    """Return the bytes of derivatives beside each other: of queries, keys, values and mixture, or of scores."""
    config = run.config
    heads, kv_heads = config.n_heads, config.n_heads if config.attention.kind == "latent" else config.n_kv_heads
    if run.kernel == "math":
        scores = run.batch_size * heads * run.seq_len**2
        if config.dropout:  # its output is gone when the second derivative comes
            derivatives = scores * run.wide
        else:
            rounded = run.wide > run.width and (config.attention.logit_softcap is not None or config.attention.sinks)
            derivatives = scores * (2 * run.wide - (run.width if rounded else 0))
        return derivatives + run.tokens * heads * config.d_value * run.wide
    vectors = (heads + kv_heads) * (config.d_head + config.d_value)
    return run.tokens * vectors * run.width


def _ends(run: Pass) -> Iterable[int]:
    """Return the last and the first layer, and those at which layers with experts begin."""
    config = run.config
    dense = config.feed_forward.n_dense_layers if config.feed_forward.n_experts is not None else 0
    return sorted({0, config.n_layers - 1, *((dense - 1, dense) if dense else ())}, reverse=True)


def _kept_by(run: Pass, n_layers: int, recompute: Recompute) -> int:
    """Return what the first ``n_layers`` keep."""
    found = sorts(run.config, run.seq_len, n_layers)
    return sum(count * held_bytes(kept_by_layer(run, first, recompute)) for first, count in found.values())


def _params(sections: Iterable[Section]) -> int:
    return sum(section.repeats * tensor.params for section in sections for tensor in section.tensors)


def _params_after(table: TensorTable, layer: int) -> int:
    """Return the parameters of the layers after ``layer``."""
    return sum(
        len(section.layers[max(0, layer + 1 - section.layers.start) :])
        * sum(tensor.params for tensor in section.tensors)
        for section in table
        if section.layers is not None
    )
