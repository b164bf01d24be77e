"""What attention keeps: its projections, and what lies between queries, keys and values and their mixture."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import Divided, ForwardPass, SavedTensor


def attention(run: ForwardPass, layer: int, x: SavedTensor) -> Iterator[SavedTensor]:
    """Yield what attention over the vectors ``x`` keeps."""
    config = run.config
    yield x
    if config.attention.kind == "latent":
        yield from _latent(run, layer)
        return
    per_head = config.attention.qk_norm == "per_head"
    for name, heads in (("q", config.n_heads), ("k", config.n_kv_heads)):
        if config.attention.qk_norm != "none":
            width = config.d_head if per_head else heads * config.d_head
            rows = run.tokens * heads if per_head else run.tokens
            projected = _heads(run, f"{name} projected", heads, config.d_head)
            yield from norm(run, f"{name}_norm", projected, rows, width, divided="tensor")
    yield from _attend(run, layer, kv_heads=config.n_kv_heads, d_value=config.d_head, stored_value=config.d_head)


def _latent(run: ForwardPass, layer: int) -> Iterator[SavedTensor]:
    """Yield what latent attention keeps; values lie in one storage with the keys' dimensions that do not rotate."""
    config, settings = run.config, run.config.attention
    if settings.q_rank is not None:
        small = run.tokens * settings.q_rank * run.width
        compressed = SavedTensor("q compressed", "attention", small, "sequence")
        yield from norm(run, "q_a_norm", compressed, run.tokens, settings.q_rank)
        yield SavedTensor("q_a_norm out", "attention", small, "sequence")
    stored = run.tokens * (settings.kv_rank + settings.d_rope) * run.width
    yield from norm(
        run, "kv_a_norm", SavedTensor("kv compressed", "attention", stored, "sequence"), run.tokens, settings.kv_rank
    )
    yield SavedTensor("kv_a_norm out", "attention", run.tokens * settings.kv_rank * run.width, "sequence")
    expanded = settings.d_nope + settings.d_value
    yield from _attend(run, layer, kv_heads=config.n_heads, d_value=settings.d_value, stored_value=expanded)


def _attend(run: ForwardPass, layer: int, *, kv_heads: int, d_value: int, stored_value: int) -> Iterator[SavedTensor]:
    """Yield queries, keys, values, what weighs them, and their mixture, which the output projection reads.

    Args:
        run: The pass.
        layer: Which layer.
        kv_heads: G, heads of keys and values.
        d_value: V, dimensions of a value.
        stored_value: Dimensions of the storage that values lie in.
    """
    config, heads, length = run.config, run.config.n_heads, run.seq_len
    backend = run.backend(layer)
    if backend in ("flash", "fused"):
        yield _heads(run, "q", heads, config.d_head)
        yield _heads(run, "k", kv_heads, config.d_head)
        yield _heads(run, "v", kv_heads, stored_value)
        yield _core("log-sum-exp", run.tokens * heads * run.wide)
        if backend == "fused" and heads > 1 and length > 1 and _heads_apart(run):
            yield _heads(run, "mixed, heads apart", heads, d_value)._replace(core=True)
        if backend == "fused" and run.banded(layer) and config.position.kind != "alibi":
            yield _core("band", length * run.keys * run.width, "none")
    else:
        own = run.width if backend == "eager" else run.wide
        in_place = 1 in (run.batch_size, heads) and own == run.width  # else values are copied side by side
        yield _heads(run, "q scaled", heads, config.d_head, own)._replace(core=True)
        yield _heads(run, "k scaled", heads, config.d_head, own)._replace(core=True)
        yield _heads(run, "v weighed", heads, stored_value if in_place else d_value, own)._replace(core=True)
        yield from _own_scores(run, banded=run.banded(layer)) if backend == "eager" else _torch_scores(run)
    yield _heads(run, "mixed", heads, d_value)


def _heads_apart(run: ForwardPass) -> bool:
    """Return whether queries lie head by head in memory.

    Torch's fused kernels put their mixture out as queries lie. Those of a projection lie token by token, as the output
    projection reads the mixture; what rotation and norms of each head put out does not, and the mixture is copied.
    """
    return run.config.position.kind == "rope" or run.config.attention.qk_norm == "per_head"


def _torch_scores(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield what torch's own attention keeps of scores: in float32 at least, the weights and what dropout leaves."""
    scores = run.batch_size * run.config.n_heads * run.seq_len * run.keys
    yield _core("weights", scores * run.wide)
    if run.config.dropout:
        yield _core("weights mask", scores * run.mask_width(run.wide))
        yield _core("weights left", scores * run.wide)


def _own_scores(run: ForwardPass, *, banded: bool) -> Iterator[SavedTensor]:
    """Yield what soft-capped scores, and those beside a sink, keep: tinylm's model writes each step out."""
    config, length = run.config, run.seq_len
    rows = run.batch_size * config.n_heads * length
    scores = rows * run.keys
    fades, sinks = config.position.kind == "alibi", config.attention.sinks
    if config.attention.logit_softcap is not None:
        yield _core("tanh", scores * run.width)
    if not fades and length > 1:
        yield _core("unseen", length * run.keys, "none")
    yield _core("weights", (scores + rows if sinks else scores) * run.wide)
    masked = (fades or banded) and not sinks
    if masked:
        yield _core("rows that see nothing", rows)
    if config.dropout:
        yield _core("weights mask", scores * run.mask_width(run.width))
        yield _core("weights left", scores * run.width)
    elif run.wide > run.width:
        yield _core("weights rounded", scores * run.width)
    elif masked:
        yield _core("weights masked", scores * run.wide)


def _heads(run: ForwardPass, name: str, heads: int, dims: int, width: int | None = None) -> SavedTensor:
    return SavedTensor(name, "attention", run.tokens * heads * dims * (width or run.width), "tensor")


def _core(name: str, nbytes: int, divided: Divided = "tensor") -> SavedTensor:
    return SavedTensor(name, "attention", nbytes, divided, core=True)
