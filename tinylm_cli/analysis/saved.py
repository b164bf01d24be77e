"""What each part of the model keeps for its backward pass, tensor by tensor.

An operation keeps what its derivative needs: a linear map its input; a product both factors; a norm its input and the
statistics of each vector; softmax, ReLU, tanh and sigmoid what they put out; an addition nothing. A tensor that
several operations keep has one name here, and is held once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tinylm_cli.analysis.kernels import Way, attention_way
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import AttentionKernel, Device

INDEX_BYTES = 8
"""Token ids, targets, and the places that tokens are sent to and fetched from are 64-bit integers."""

Divided = Literal["tensor", "sequence", "none"]


class Kept(NamedTuple):
    """A tensor that is kept.

    Attributes:
        name: Unique within a layer, or within what stands outside the layers.
        part: The part of the model whose backward pass needs it.
        nbytes: Its bytes.
        divided: Whether tensor parallelism divides it, or sequence parallelism alone, or neither.
        core: Whether it lies between queries, keys and values and their mixture: what selective recomputation drops.
    """

    name: str
    part: str
    nbytes: int
    divided: Divided
    core: bool = False


class Pass(NamedTuple):
    """One forward pass.

    Attributes:
        config: The model.
        batch_size: B.
        seq_len: T.
        width: Bytes of an element of weights and activations.
        kernel: How attention is computed.
        device: Whose kernels run.
    """

    config: ModelConfig
    batch_size: int
    seq_len: int
    width: int
    kernel: AttentionKernel
    device: Device

    @property
    def tokens(self) -> int:
        """B · T."""
        return self.batch_size * self.seq_len

    @property
    def wide(self) -> int:
        """Bytes of an element of what is computed in float32 at least."""
        return max(self.width, 4)

    def banded(self, layer: int) -> bool:
        """Whether a layer's window is shorter than the sequence."""
        return (self.config.window(layer) or self.seq_len) < self.seq_len

    def way(self, layer: int) -> Way:
        """How a layer's attention is computed."""
        drops = self.config.dropout > 0
        return attention_way(self.config, self.kernel, device=self.device, banded=self.banded(layer), dropout=drops)

    def writes_scores(self, layer: int) -> bool:
        """Whether a layer's scores are written out."""
        return self.way(layer) in ("math", "own")

    def mask_width(self, width: int) -> int:
        """Bytes of an element of a dropout mask over elements of ``width`` bytes: a boolean, or on the CPU a factor."""
        return 1 if self.device == "cuda" else width


def embedding(run: Pass) -> Iterator[Kept]:
    """Yield what the embedding keeps: ids, the input of its norm, the mask of its dropout."""
    config = run.config
    yield Kept("tokens", "embedding", run.tokens * INDEX_BYTES, "sequence")
    stream = run.tokens * config.d_model
    if config.embedding.norm:
        embedded = Kept("embedded", "embedding", stream * run.width, "sequence")
        yield from norm(run, "embedding.norm", embedded, run.tokens, config.d_model)
    if config.dropout:
        yield Kept("dropout", "embedding", stream * run.mask_width(run.width), "sequence")


def position(run: Pass, windows: set[int | None]) -> Iterator[Kept]:
    """Yield what layers that see alike share: cosines and sines, or what fading adds to the scores.

    Args:
        run: The pass.
        windows: Those that layers have, None being one of them.
    """
    config, length = run.config, run.seq_len
    for window in windows:
        if config.position.kind == "rope":
            rotated = config.attention.d_rope if config.attention.kind == "latent" else rotated_dims(config)
            yield Kept(f"rotation {window}", "position", length * rotated * run.width, "none")
        if config.position.kind == "alibi" and run.way(0) == "fused":
            bias = config.n_heads * length**2 * run.width
            yield Kept(f"fading {window}", "position", bias, "tensor")


def rotated_dims(config: ModelConfig) -> int:
    """Return the dimensions of a head that rotate."""
    return int(config.d_head * config.position.rotary_fraction)


def block(run: Pass, layer: int) -> Iterator[Kept]:
    """Yield what one layer keeps, its input included; a tensor comes as often as an operation keeps it."""
    config = run.config
    before, after = config.norm.placement != "post", config.norm.placement != "pre"
    stream = run.tokens * config.d_model * run.width

    def vectors(name: str, part: str) -> Kept:
        return Kept(name, part, stream, "sequence")

    def branch(index: int) -> Iterator[Kept]:
        if after:
            put_out = vectors(f"branch {index}", "norm")
            yield from norm(run, f"post_ln_{index}", put_out, run.tokens, config.d_model)
        if config.dropout:
            nbytes = run.tokens * config.d_model * run.mask_width(run.width)
            yield Kept(f"dropout {index}", "dropout", nbytes, "sequence")

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


def head(run: Pass) -> Iterator[Kept]:
    """Yield what the final norm, the head and the cross-entropy of its logits keep.

    The loss is computed in float32 at least: it keeps the logarithms of all probabilities, the targets, and one number.
    """
    config = run.config
    stream = run.tokens * config.d_model * run.width
    yield from norm(run, "ln_f", Kept("output", "ln_f", stream, "sequence"), run.tokens, config.d_model, part="ln_f")
    yield Kept("ln_f out", "lm_head", stream, "sequence")
    logits = run.tokens * config.vocab_size
    if config.head.logit_softcap is not None:
        yield Kept("tanh", "lm_head", logits * run.width, "tensor")
    yield Kept("log-probabilities", "loss", logits * run.wide, "tensor")
    yield Kept("targets", "loss", run.tokens * INDEX_BYTES, "sequence")
    yield Kept("weight", "loss", run.wide, "none")


def norm(
    run: Pass,
    name: str,
    source: Kept,
    rows: int,
    width: int,
    *,
    part: str | None = None,
    divided: Divided = "sequence",
) -> Iterator[Kept]:
    """Yield what a norm over ``rows`` vectors of ``width`` dimensions keeps, but for what it puts out.

    Its input, and a mean and a deviation of each vector, or for RMSNorm the latter alone; float32 at least but for
    LayerNorm on the CPU. There RMSNorm is made of single operations: it keeps what it scaled before the weight comes,
    and in half precision a wide copy of its input in place of the input.

    Args:
        run: The pass.
        name: The norm's.
        source: The storage it reads from.
        rows: Vectors.
        width: Dimensions of each.
        part: Which it belongs to; that of its source when None, but that the residual stream's norms are ``norm``.
        divided: What divides its vectors.
    """
    settings = run.config.norm
    part = part or ("norm" if source.part == "residual" else source.part)
    composed = run.device == "cpu" and settings.kind == "rmsnorm"
    if composed and run.wide > run.width:
        yield Kept(f"{name} wide", part, rows * width * run.wide, divided)
    else:
        yield source
    if composed and settings.weight:
        yield Kept(f"{name} scaled", part, rows * width * run.wide, divided)
    centred = settings.kind == "layernorm"
    exact = run.width if centred and run.device == "cpu" else run.wide
    yield Kept(f"{name} statistics", part, rows * exact * (2 if centred else 1), divided)
    if settings.zero_centered:
        yield Kept(f"{name} weight", part, width * run.width, "none")


def attention(run: Pass, layer: int, x: Kept) -> Iterator[Kept]:
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


def _latent(run: Pass, layer: int) -> Iterator[Kept]:
    """Yield what latent attention keeps; values lie in one storage with the keys' dimensions that do not rotate."""
    config, settings = run.config, run.config.attention
    if settings.q_rank is not None:
        small = run.tokens * settings.q_rank * run.width
        compressed = Kept("q compressed", "attention", small, "sequence")
        yield from norm(run, "q_a_norm", compressed, run.tokens, settings.q_rank)
        yield Kept("q_a_norm out", "attention", small, "sequence")
    stored = run.tokens * (settings.kv_rank + settings.d_rope) * run.width
    yield from norm(
        run, "kv_a_norm", Kept("kv compressed", "attention", stored, "sequence"), run.tokens, settings.kv_rank
    )
    yield Kept("kv_a_norm out", "attention", run.tokens * settings.kv_rank * run.width, "sequence")
    expanded = settings.d_nope + settings.d_value
    yield from _attend(run, layer, kv_heads=config.n_heads, d_value=settings.d_value, stored_value=expanded)


def _attend(run: Pass, layer: int, *, kv_heads: int, d_value: int, stored_value: int) -> Iterator[Kept]:
    """Yield queries, keys, values, what weighs them, and their mixture, which the output projection reads.

    Args:
        run: The pass.
        layer: Which layer.
        kv_heads: G, heads of keys and values.
        d_value: V, dimensions of a value.
        stored_value: Dimensions of the storage that values lie in.
    """
    config, heads, length = run.config, run.config.n_heads, run.seq_len
    way = run.way(layer)
    if way in ("flash", "fused"):
        yield _heads(run, "q", heads, config.d_head)
        yield _heads(run, "k", kv_heads, config.d_head)
        yield _heads(run, "v", kv_heads, stored_value)
        yield _core("log-sum-exp", run.tokens * heads * run.wide)
        if way == "fused" and heads > 1 and length > 1 and _heads_apart(run):
            yield _heads(run, "mixed, heads apart", heads, d_value)._replace(core=True)
        if way == "fused" and run.banded(layer) and config.position.kind != "alibi":
            yield _core("band", length**2 * run.width, "none")
    else:
        own = run.width if way == "own" else run.wide
        in_place = 1 in (run.batch_size, heads) and own == run.width  # else values are copied side by side
        yield _heads(run, "q scaled", heads, config.d_head, own)._replace(core=True)
        yield _heads(run, "k scaled", heads, config.d_head, own)._replace(core=True)
        yield _heads(run, "v weighed", heads, stored_value if in_place else d_value, own)._replace(core=True)
        yield from _own_scores(run, banded=run.banded(layer)) if way == "own" else _torch_scores(run)
    yield _heads(run, "mixed", heads, d_value)


def _heads_apart(run: Pass) -> bool:
    """Return whether queries lie head by head in memory.

    Torch's fused kernels put their mixture out as queries lie. Those of a projection lie token by token, as the output
    projection reads the mixture; what rotation and norms of each head put out does not, and the mixture is copied.
    """
    return run.config.position.kind == "rope" or run.config.attention.qk_norm == "per_head"


def _torch_scores(run: Pass) -> Iterator[Kept]:
    """Yield what torch's own attention keeps of scores: in float32 at least, the weights and what dropout leaves."""
    scores = run.batch_size * run.config.n_heads * run.seq_len**2
    yield _core("weights", scores * run.wide)
    if run.config.dropout:
        yield _core("weights mask", scores * run.mask_width(run.wide))
        yield _core("weights left", scores * run.wide)


def _own_scores(run: Pass, *, banded: bool) -> Iterator[Kept]:
    """Yield what soft-capped scores, and those beside a sink, keep: tinylm's model writes each step out."""
    config, length = run.config, run.seq_len
    rows = run.batch_size * config.n_heads * length
    scores = rows * length
    fades, sinks = config.position.kind == "alibi", config.attention.sinks
    if config.attention.logit_softcap is not None:
        yield _core("tanh", scores * run.width)
    if not fades and length > 1:
        yield _core("unseen", length**2, "none")
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


def _heads(run: Pass, name: str, heads: int, dims: int, width: int | None = None) -> Kept:
    return Kept(name, "attention", run.tokens * heads * dims * (width or run.width), "tensor")


def _core(name: str, nbytes: int, divided: Divided = "tensor") -> Kept:
    return Kept(name, "attention", nbytes, divided, core=True)


def feed_forward(run: Pass, part: str, rows: int, width: int) -> Iterator[Kept]:
    """Yield what one network of ``width`` keeps for ``rows`` vectors, but for its input.

    Args:
        run: The pass.
        part: ``feed_forward`` or ``experts``.
        rows: Vectors it reads.
        width: F.
    """
    settings = run.config.feed_forward

    def hidden(name: str) -> Kept:
        return Kept(f"{part} {name}", part, rows * width * run.width, "tensor")

    if settings.clamp is not None:
        yield hidden("gate unbounded")
        yield hidden("up unbounded")
    if settings.activation != "relu":  # which is differentiated by what it puts out
        yield hidden("before")
    if settings.activation == "quick_gelu":
        yield hidden("sigmoid")
    if settings.gated:
        yield hidden("activated")
        yield hidden("up")
    yield hidden("between")


def experts(run: Pass) -> Iterator[Kept]:
    """Yield what a mixture of experts keeps, but for its input, however tokens are spread over the experts.

    Each token is copied for each of its experts; the router works in float32 at least.
    """
    config, settings = run.config, run.config.feed_forward
    tokens, sent = run.tokens, run.tokens * settings.top_k
    assert settings.n_experts is not None

    def routed(name: str, nbytes: int) -> Kept:
        return Kept(name, "router", nbytes, "sequence")

    yield routed("scores", tokens * settings.n_experts * run.wide)
    if settings.n_groups > 1:
        best = min(2 if settings.router == "sigmoid" else 1, settings.n_experts // settings.n_groups)
        yield routed("best of each group", tokens * settings.n_groups * best * INDEX_BYTES)
        yield routed("groups", tokens * (settings.top_k_groups * INDEX_BYTES + settings.n_groups))
    yield routed("chosen", sent * INDEX_BYTES)
    if settings.router == "topk_softmax" or settings.renormalise:
        yield routed("chosen scores", sent * run.wide)
    if settings.renormalise:
        yield routed("their sum", tokens * run.wide)
    yield routed("order and rows", 2 * sent * INDEX_BYTES)
    yield routed("chosen weights", sent * run.width)
    yield Kept("sent", "experts", sent * config.d_model * run.width, "sequence")
    yield from feed_forward(run, "experts", sent, config.d_expert)
    yield Kept("put out", "experts", sent * config.d_model * run.width, "sequence")
    yield Kept("weighted", "experts", sent * config.d_model * run.width, "sequence")  # index_add keeps its source
    if settings.n_shared_experts:
        yield from feed_forward(run, "shared experts", tokens, settings.n_shared_experts * config.d_expert)
