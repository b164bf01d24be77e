"""Tensors that attention saves: inputs and outputs of its projections, and the core attention between them."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.dtypes import BOOL_BYTES, INT64_BYTES
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, Sharding

OUTPUT = "attention output"
"""The tensor (B, T, H·K_v) that the output gate, sub_norm or the output projection reads."""

GATE, GATE_INPUT, GATED_OUTPUT = "gate", "gate before softplus", "gated output"
"""The factor of the attention output, and their product, which are freed before the backward pass of core attention."""

SUB_NORM, SUB_NORM_OUTPUT = "sub_norm", "sub_norm output"
SUB_NORM_TENSORS = (
    *(f"{SUB_NORM} {part}" for part in ("input upcast", "scaled", "statistics", "gain")),
    SUB_NORM_OUTPUT,
)
"""The tensors of the norm before the output projection, freed before the backward pass of core attention."""

INPUT_PROJECTIONS = tuple(f"attention.{name}" for name in ("q_proj", "k_proj", "v_proj", "q_a_proj", "kv_a_proj"))
GATE_PROJECTION = "attention.gate_proj"
"""The projections of the input of attention, multi-head or latent."""

ROUTED_OUTPUT = "routed attention output"
EXPERT_OUTPUTS = ("attention expert outputs", "weighted attention expert outputs")
"""The tensors of the output projections of experts, freed before the backward pass of core attention."""

FACTOR = "difference factor"
DIFFERENCE, DIFFERENCE_NORM, NORMALIZED_DIFFERENCE = "difference", "difference norm", "normalized difference"
DIFFERENCES = (
    *(FACTOR, DIFFERENCE, f"{DIFFERENCE_NORM} input upcast", f"{DIFFERENCE_NORM} statistics", NORMALIZED_DIFFERENCE),
)
"""The tensors of differential attention after core attention, which are freed before its backward pass."""


def attention(run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
    """Yield the tensors that attention over the vectors ``x`` saves.

    Follows ``model/attention.py:SelfAttention.forward`` and ``model/latent_attention.py:LatentAttention.forward``.
    """
    config = run.config
    # read by all projections of x, or by the router
    gate_reads_latent = config.attention.kind == "latent" and config.attention.q_concat_raw
    yield from run.linear_input(x, *INPUT_PROJECTIONS, *(() if gate_reads_latent else (GATE_PROJECTION,)))
    if config.attention.n_experts is not None:
        yield from _routing(run)
    if config.attention.kind == "latent":
        yield from _latent_attention(run)
        return
    per_head, d_value = config.attention.qk_norm == "per_head", config.d_value_per_kv_head
    without_weight = {"weight": False, "zero_centered": False}
    qk_norm = config.norm if config.attention.qk_norm_weight else config.norm.model_copy(update=without_weight)
    projects = config.attention.kv_from is None  # keys and values
    for name, heads in (("q", config.n_heads), *([("k", config.n_kv_heads)] if projects else [])):
        if config.attention.qk_norm != "none":
            d_norm = config.d_head if per_head else heads * config.d_head  # K, or H·K
            rows = run.tokens * heads if per_head else run.tokens  # B·T·H, or B·T
            projected = _of_heads(run, f"{name} projected", heads, config.d_head)
            yield from norm(run, f"{name}_norm", projected, rows, d_norm, sharding="tensor", settings=qk_norm)
    if config.attention.v_norm and projects:
        source = "k projected" if config.attention.keys_as_values else "v projected"
        projected = _of_heads(run, source, config.n_kv_heads, d_value)
        rows, unweighted = run.tokens * config.n_kv_heads, config.norm.model_copy(update=without_weight)
        yield from norm(run, "v_norm", projected, rows, d_value, sharding="tensor", settings=unweighted)
    if config.attention.clip_qkv is not None:  # a clamp saves its input
        yield _of_heads(run, "q before clamp", config.n_heads, config.d_head)
        if projects:
            yield _of_heads(run, "k before clamp", config.n_kv_heads, config.d_head)
            yield _of_heads(run, "v before clamp", config.n_kv_heads, d_value)
    if config.attention.dynamic_mask_top_k is not None:
        yield from _dynamic_mask(run, config.attention.dynamic_mask_top_k)
    yield from _sdpa(run, kv_heads=config.n_kv_heads, d_value=config.d_value, d_value_storage=config.d_value)
    output = _of_heads(run, OUTPUT, config.n_heads, config.d_value)  # B × T × H × K_v
    if config.attention.differential:
        yield output
        yield from _differences(run)
        output = _of_heads(run, NORMALIZED_DIFFERENCE, config.n_heads, d_value)
    yield from _output_tensors(run, output, d_value)


def _dynamic_mask(run: ForwardPass, top_k: int) -> Iterator[SavedTensor]:
    """Yield the tensors that ``model/dynamic_mask.py:DynamicMask.forward`` saves.

    Its projection reads the values, which core attention saves too unless its matmul reads a copy of them.
    """
    config = run.config

    def of_keys(name: str) -> SavedTensor:  # B × T × G
        return SavedTensor(name, "attention", run.tokens * config.n_kv_heads * run.element_bytes, "none")

    if not (run.materializes_scores and config.n_kv_heads == config.n_heads and _reads_values_in_place(run)):
        yield _of_heads(run, "v", config.n_kv_heads, config.d_value_per_kv_head)  # read by proj
    yield of_keys("mask logits")  # the input of softplus
    yield of_keys("softplus of mask logits")  # times the scale
    yield of_keys("biases of keys")  # the output of exp
    if run.backend == "flash":
        return
    if top_k < run.keys:
        hidden = run.setup.batch_size * config.n_heads * run.seq_len * run.keys * BOOL_BYTES  # B × H × T × S
        yield _core("hidden keys", hidden)
    elif run.seq_len > 1:
        yield _core("hidden keys", run.seq_len * run.keys * BOOL_BYTES, "none")  # T × S
    if run.backend == "fused":
        mask = run.setup.batch_size * config.n_heads * run.seq_len * run.keys * run.element_bytes  # B × H × T × S
        yield _core("dynamic mask", mask)


def _output_tensors(run: ForwardPass, output: SavedTensor, d_value: int) -> Iterator[SavedTensor]:
    """Yield the tensors that the output gate, sub_norm and the output projection save.

    Args:
        run: The forward pass.
        output: The output of all heads.
        d_value: Elements of each head.
    """
    config, heads = run.config, run.config.n_heads
    if config.attention.gate:
        yield output
        d_gate = 1 if config.attention.gate_per_head else d_value
        yield _of_heads(run, GATE, heads, d_gate)
        if config.attention.gate_activation == "softplus":  # whose derivative needs its input
            yield _of_heads(run, GATE_INPUT, heads, d_gate)
        output = _of_heads(run, GATED_OUTPUT, heads, d_value)
    if config.attention.sub_norm:
        yield from norm(run, SUB_NORM, output, run.tokens, heads * d_value, sharding="tensor")
        output = _of_heads(run, SUB_NORM_OUTPUT, heads, d_value)
    if config.attention.n_experts is None:
        yield from run.linear_input(output, "attention.o_proj")
        return
    yield _of_heads(run, ROUTED_OUTPUT, heads, d_value)  # read by o_proj of the experts
    for name in EXPERT_OUTPUTS:
        size = run.tokens * config.attention_top_k * config.d_model * run.element_bytes  # B × T × k × D
        yield SavedTensor(name, "attention", size, "sequence")


def _routing(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that ``model/attention_experts.py:AttentionExperts.route`` and ``.queries`` save."""
    routed = run.tokens * run.config.attention_top_k  # B × T × k

    def of_experts(name: str, element_bytes: int) -> SavedTensor:
        return SavedTensor(name, "attention", routed * element_bytes, "sequence")

    yield of_experts("routing weights", run.upcast_bytes)
    for name in ("expert indices of attention", "order of attention", "rows of attention", "order of queries"):
        yield of_experts(name, INT64_BYTES)
    yield of_experts("sorted routing weights", run.element_bytes)
    yield of_experts("routed inputs", run.config.d_attention_input * run.element_bytes)


def _differences(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that differential attention saves after its output, up to the normalized difference."""
    config, pairs = run.config, run.config.n_heads // 2
    yield SavedTensor(FACTOR, "attention", 2 * run.upcast_bytes + run.element_bytes, "none")  # two exponentials, λ
    difference = _of_heads(run, DIFFERENCE, pairs, config.d_value)  # B × T × H/2 × 2·K
    unweighted = config.norm.model_copy(update={"kind": "rmsnorm", "weight": False, "zero_centered": False})
    rows = run.tokens * pairs  # B·T × H/2
    yield from norm(run, DIFFERENCE_NORM, difference, rows, config.d_value, sharding="tensor", settings=unweighted)


def _latent_attention(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of latent attention; v and k_nope are views of one storage (N + K_v)."""
    config, settings, rows = run.config, run.config.attention, run.tokens

    def vectors(name: str, dims: int) -> SavedTensor:
        return SavedTensor(name, "attention", rows * dims * run.element_bytes, "sequence")  # B × T × dims

    if settings.q_rank is not None:
        yield from norm(run, "q_a_norm", vectors("q_a_proj output", settings.q_rank), rows, settings.q_rank)
        if settings.q_concat_raw:  # with its input; read by q_b_proj and gate_proj
            latent = vectors("q_a_norm output and input", 2 * settings.q_rank)
        else:
            latent = vectors("q_a_norm output", settings.q_rank)  # times its factor, if any; read by q_b_proj
        reads_too = (GATE_PROJECTION,) if settings.q_concat_raw else ()
        yield from run.linear_input(latent, "attention.q_b_proj", *reads_too)
    compressed = vectors("kv_a_proj output", settings.kv_rank + settings.d_rope)  # C + R, one storage
    yield from norm(run, "kv_a_norm", compressed, rows, settings.kv_rank)
    # times its factor, if any
    yield from run.linear_input(vectors("kv_a_norm output", settings.kv_rank), "attention.kv_b_proj")
    if settings.k_rope_norm:
        yield from norm(run, "k_rope_norm", compressed, rows, settings.d_rope)
    d_storage = settings.d_nope + config.d_value
    yield from _sdpa(run, kv_heads=config.n_heads, d_value=config.d_value, d_value_storage=d_storage)
    output = _of_heads(run, OUTPUT, config.n_heads, config.d_value)  # B × T × H × K_v
    yield from _output_tensors(run, output, config.d_value)


def _sdpa(run: ForwardPass, *, kv_heads: int, d_value: int, d_value_storage: int) -> Iterator[SavedTensor]:
    """Yield queries, keys and values, core attention, and the attention output if the kernel saves it.

    Follows ``model/sdpa.py:sdpa``. With ``attention.kv_from``, the layer whose keys and values these are saves them,
    unless the kernel makes copies.

    Args:
        run: The forward pass.
        kv_heads: G, heads of keys and values.
        d_value: K_v, dimensions of a value.
        d_value_storage: Dimensions of the storage that a value is a view of.
    """
    config, heads, backend = run.config, run.config.n_heads, run.backend
    if backend in ("flash", "fused"):
        yield _of_heads(run, "q", heads, config.d_head)  # B × T × H × K
        if not config.attention.kv_from:
            yield _of_heads(run, "k", kv_heads, config.d_head)  # B × T × G × K
        if not config.attention.kv_from or config.attention.differential:  # which concatenates values
            yield _of_heads(run, "v", kv_heads, d_value_storage)  # B × T × G × K_v
        yield _core("log-sum-exp", run.tokens * heads * run.upcast_bytes)  # B × T × H
        is_copied = not config.attention.differential and _has_head_major_queries(run)
        if backend == "fused" and heads > 1 and run.seq_len > 1 and is_copied:
            yield _of_heads(run, "attention output by head", heads, d_value)._replace(is_core_attention=True)
        else:
            yield _of_heads(run, OUTPUT, heads, d_value)  # B × T × H × K_v
        has_biases = config.position.kind == "alibi" or config.attention.dynamic_mask_top_k is not None
        if backend == "fused" and run.is_banded and not has_biases:
            yield _core("mask bias", run.masks * run.seq_len * run.keys * run.element_bytes, "none")  # T × S each
    else:
        element_bytes = run.element_bytes if backend == "eager" else run.upcast_bytes
        d_saved_value = d_value_storage if _reads_values_in_place(run) else d_value
        yield _of_heads(run, "q scaled", heads, config.d_head, element_bytes)._replace(is_core_attention=True)
        copied = tuple(_copies_of_shared_kv(run)) if config.attention.kv_from else ("k scaled", "v repeated")
        if "k scaled" in copied:
            yield _of_heads(run, "k scaled", heads, config.d_head, element_bytes)._replace(is_core_attention=True)
        if "v repeated" in copied:
            yield _of_heads(run, "v repeated", heads, d_saved_value, element_bytes)._replace(is_core_attention=True)
        yield from _eager_scores(run, banded=run.is_banded) if backend == "eager" else _math_scores(run)


def _reads_values_in_place(run: ForwardPass) -> bool:
    """Return whether the matmul of materialized weights and values reads the values of all heads in place.

    A batched matmul copies values that are not contiguous, and the math backend upcasts them.
    """
    is_cast = run.backend == "math" and run.upcast_bytes > run.element_bytes
    return 1 in (run.setup.batch_size, run.config.n_heads) and not is_cast


def _copies_of_shared_kv(run: ForwardPass) -> Iterator[str]:
    """Yield the keys and values of an earlier layer that a matmul does not read in place."""
    config = run.config
    # one KV head per query head: nothing is repeated; contiguous as (B, H, T, K), or with B or H of 1 as good as that
    is_whole, is_flat = config.n_kv_heads == config.n_heads, 1 in (run.setup.batch_size, config.n_heads)
    if not (run.backend == "eager" and is_whole and (is_flat or _has_head_major_queries(run))):
        yield "k scaled"  # the math backend multiplies keys by √scale
    is_cast = run.backend == "math" and run.upcast_bytes > run.element_bytes
    is_concatenated = config.attention.differential
    if is_cast or is_concatenated or not (is_whole and (is_flat or config.attention.v_norm)):
        yield "v repeated"


def _has_head_major_queries(run: ForwardPass) -> bool:
    """Return whether queries are contiguous as (B, H, T, K), so that the attention output must be copied.

    Torch's fused kernels write their output in the memory layout of the queries. The query projection writes
    (B, T, H, K), which the output projection reads without a copy; RoPE, per-head norms and the concatenation of latent
    attention write (B, H, T, K).
    """
    attention = run.config.attention
    return run.config.position.kind == "rope" or attention.qk_norm == "per_head" or attention.kind == "latent"


def _math_scores(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of torch's math backend, which computes scores (B, H, T, S) in float32 or wider."""
    scores = run.setup.batch_size * run.config.n_heads * run.seq_len * run.keys  # B × H × T × S
    yield _core("softmax", scores * run.upcast_bytes)
    if run.config.dropout:
        yield _core("dropout mask", scores * run.dropout_mask_element_bytes(run.upcast_bytes))
        yield _core("dropped weights", scores * run.upcast_bytes)


def _eager_scores(run: ForwardPass, *, banded: bool) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/sdpa.py:sdpa`` on the eager path: soft-caps, masks, sinks and softmax."""
    config, length = run.config, run.seq_len
    rows = run.setup.batch_size * config.n_heads * length  # B × H × T
    scores = rows * run.keys  # B × H × T × S
    has_sinks = config.attention.sinks
    has_biases = config.position.kind == "alibi" or config.attention.dynamic_mask_top_k is not None
    if config.attention.logit_softcap is not None:
        yield _core("tanh", scores * run.element_bytes)
    if not has_biases and length > 1:
        yield _core("mask", run.masks * length * run.keys * BOOL_BYTES, "none")  # T × S each, saved by masked_fill
    sinks = rows if has_sinks else 0  # one extra softmax column per row
    yield _core("softmax", (scores + sinks) * run.upcast_bytes)
    has_fully_masked_rows = (has_biases or banded) and not has_sinks
    if has_fully_masked_rows:
        yield _core("fully masked rows", rows * BOOL_BYTES)  # B × H × T × 1
    if config.dropout:
        yield _core("dropout mask", scores * run.dropout_mask_element_bytes(run.element_bytes))
        yield _core("dropped weights", scores * run.element_bytes)
    elif run.upcast_bytes > run.element_bytes:
        yield _core("weights cast", scores * run.element_bytes)
    elif has_fully_masked_rows:
        yield _core("weights with fully masked rows zeroed", scores * run.upcast_bytes)


def _of_heads(run: ForwardPass, name: str, heads: int, dims: int, element_bytes: int | None = None) -> SavedTensor:
    """Return a tensor of ``dims`` elements per token and head; tensor parallelism divides the heads."""
    return SavedTensor(name, "attention", run.tokens * heads * dims * (element_bytes or run.element_bytes), "tensor")


def _core(name: str, nbytes: int, sharding: Sharding = "tensor") -> SavedTensor:
    return SavedTensor(name, "attention", nbytes, sharding, is_core_attention=True)


def attention_gradient_bytes(run: ForwardPass) -> int:
    """Return the bytes of gradients that attention's backward pass holds at once: of its experts, or its core."""
    if run.config.attention.n_experts is None:
        return _core_gradient_bytes(run)
    routed = run.tokens * run.config.attention_top_k * run.config.d_model * run.element_bytes  # B × T × k × D
    return max(_core_gradient_bytes(run), 2 * routed)  # of the outputs of experts, weighted and not


def _core_gradient_bytes(run: ForwardPass) -> int:
    """Return the bytes of gradients that the backward pass of core attention holds at once.

    If scores are materialized, these are gradients of scores; otherwise of queries, keys, values and output. CUDA's
    flash kernel accumulates the query gradient in float32, with one scalar per query and head. It computes key and
    value gradients for every query head before it sums over the heads that share a key (Dao 2023, ``mha_bwd`` of
    https://github.com/Dao-AILab/flash-attention/blob/main/csrc/flash_attn/flash_api.cpp).
    """
    config = run.config
    heads, kv_heads = config.n_heads, config.n_heads if config.attention.kind == "latent" else config.n_kv_heads
    d_key, d_value = config.d_head, config.d_value  # K, K_v
    if run.materializes_scores:
        scores = run.setup.batch_size * heads * run.seq_len * run.keys  # B × H × T × S
        if config.dropout:
            # the gradient of the softmax output; the gradient of the dropout output is freed
            weights = scores * run.upcast_bytes
        else:
            is_cast = run.upcast_bytes > run.element_bytes and run.backend == "eager"
            # the gradients of the softmax output and input; if weights are cast, one of them is in the model's dtype
            weights = scores * (2 * run.upcast_bytes - (run.element_bytes if is_cast else 0))
        output = run.tokens * heads * d_value * run.upcast_bytes  # B × T × H × K_v
        return weights + output
    # q and output of H heads, k and v of G heads
    per_token = (heads + kv_heads) * (d_key + d_value) * run.element_bytes
    if run.setup.device == "cuda":
        per_token += heads * (d_key + 1) * run.upcast_bytes  # the query accumulator, one scalar per query and head
        if kv_heads < heads:
            per_token += heads * (d_key + d_value) * run.element_bytes  # k and v for every query head
    return run.tokens * per_token
