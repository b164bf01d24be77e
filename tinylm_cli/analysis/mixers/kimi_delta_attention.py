"""Kimi delta attention: linear attention whose state decays by channel, in chunks or step by step.

Letters: B batch_size, T tokens, D d_model, H heads, K d_head, R gate_rank, L kernel_size, Q positions of a chunk, a
power of 2; P positions of all chunks of all sequences, with padding.

Operations are counted as matmuls, as of gated DeltaNet. In chunks: k·kᵀ and q·kᵀ below the diagonal of each chunk,
``2 · H · (pairs below the diagonal) · K`` each; the inverse of the system times the values, and the scores times the
delta-rule updates u, ``2 · H · pairs · K`` each; reading the state with keys and with queries, and adding to it,
``2 · T · H · K · K`` each. ``pairs`` lie within chunks, as for attention. In a decoding step, only the last three. The
product of a query with the key of its own position is elementwise, as are decays, gates and norms; the triangular
solve is not counted, as in torch's FlopCounterMode.

References:
    Kimi Team 2025 (Kimi Linear), section 3, https://arxiv.org/abs/2510.26692
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass, attended_pairs
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.norm import RMSNORM, norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Component, Tensor, linear
from tinylm_cli.config.schema import ModelConfig

COMPONENT: Component = "kimi_delta_attention"

QUERIES_KEYS_AND_VALUES = 3
"""Vectors of each head and position that the convolution reads."""

PROJECTED = ("decay", "gate")
"""The vectors of each head and position whose projection may be a product of two matrices."""


_SYSTEM_LEN = 64
"""Positions in a chunk of the fused kernel."""


class _Sizes(NamedTuple):
    """The sizes of a layer."""

    heads: int  # H
    inner: int  # H·K
    channels: int  # 3·H·K, which the convolution reads
    state: int  # H·K·K, elements of the states of all heads
    rank: int  # R, or 0


def _sizes(config: ModelConfig) -> _Sizes:
    settings = config.kimi_delta_attention
    heads = config.kimi_delta_attention_heads
    inner = heads * settings.d_head
    channels = QUERIES_KEYS_AND_VALUES * inner
    return _Sizes(heads, inner, channels, inner * settings.d_head, settings.gate_rank or 0)


class KimiDeltaAttention(Mixer):
    """``block.mixer: kimi_delta_attention``, as ``model/mixers/kimi_delta_attention.py`` computes it."""

    column_parallel = (
        *("q_proj", "k_proj", "v_proj", "b_proj", "conv", "A_log", "dt_bias"),
        *("decay_proj", "decay_b_proj", "gate_proj", "gate_b_proj"),
    )
    row_parallel = ("o_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the vectors of the decays, the projections, the depthwise convolution and the norm of the output."""
        d, settings, sizes = config.d_model, config.kimi_delta_attention, _sizes(config)
        yield Tensor(f"{COMPONENT}.A_log", (sizes.heads,), COMPONENT)  # (H)
        yield Tensor(f"{COMPONENT}.dt_bias", (sizes.inner,), COMPONENT)  # (H·K)
        for name in ("q_proj", "k_proj", "v_proj"):
            yield from linear(f"{COMPONENT}.{name}", d, sizes.inner, COMPONENT, bias=False)  # (H·K, D)
        yield from linear(f"{COMPONENT}.b_proj", d, sizes.heads, COMPONENT, bias=False)  # (H, D)
        for name in PROJECTED:
            if sizes.rank:
                yield from linear(f"{COMPONENT}.{name}_a_proj", d, sizes.rank, COMPONENT, bias=False)  # (R, D)
                yield from linear(f"{COMPONENT}.{name}_b_proj", sizes.rank, sizes.inner, COMPONENT, bias=False)
            else:
                yield from linear(f"{COMPONENT}.{name}_proj", d, sizes.inner, COMPONENT, bias=False)  # (H·K, D)
        yield Tensor(f"{COMPONENT}.conv.weight", (sizes.channels, 1, settings.kernel_size), COMPONENT)
        yield Tensor(f"{COMPONENT}.o_norm.weight", (settings.d_head,), COMPONENT)  # (K)
        yield from linear(f"{COMPONENT}.o_proj", sizes.inner, d, COMPONENT, bias=False)  # (D, H·K)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the matmuls of the chunked form, or of one step."""
        sizes, size = _sizes(config), _chunk_len(config, counted.tokens)

        def matmul(name: str, elements: int) -> Matmul:
            return Matmul(f"{COMPONENT}.{name}", "delta_rule", FLOPS_PER_ELEMENT * elements)

        n_chunks, rest = divmod(counted.tokens, size)
        if counted.attention == "full" and rest:  # the last chunk is padded
            n_chunks, rest = n_chunks + 1, 0
        tokens = 1 if counted.decodes else n_chunks * size + rest
        yield matmul("reads", tokens * sizes.state)  # k times the state: T × H × K × K
        yield matmul("writes", tokens * sizes.state)  # k ⊗ u: T × H × K × K
        yield matmul("outputs", tokens * sizes.state)  # q times the state: T × H × K × K
        if not counted.decodes:
            below = n_chunks * _pairs_below(size) + _pairs_below(rest)
            yield matmul("system", below * sizes.inner)  # K·Kᵀ: H × pairs × K
            yield matmul("scores", below * sizes.inner)  # Q·Kᵀ: H × pairs × K
            of_chunk = size**2 if counted.attention == "full" else attended_pairs(size, None)
            pairs = n_chunks * of_chunk + attended_pairs(rest, None)
            yield matmul("solution", pairs * sizes.inner)  # the inverse times the values: H × pairs × K
            yield matmul("within_chunks", pairs * sizes.inner)  # the scores times u: H × pairs × K

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the last L - 1 inputs of the convolution, and of the states, in float32 or wider."""
        sizes, element_bytes = _sizes(config), state_element_bytes(dtype)
        inputs = (config.kimi_delta_attention.kernel_size - 1) * sizes.channels * element_bytes  # (L - 1) × 3·H·K
        return inputs + sizes.state * max(element_bytes, FLOAT32_BYTES)  # H × K × K

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the heads."""
        yield f"{COMPONENT}.n_heads", config.kimi_delta_attention_heads

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the projections, the convolution, the delta rule, the norm and the gate save.

        With the flash kernel, as the kernels of flash-linear-attention, which recompute the states of chunks.

        References:
            https://github.com/fla-org/flash-linear-attention/blob/main/fla/ops/kda/chunk.py
        """
        sizes, tokens = _sizes(run.config), run.tokens
        yield x  # read by every projection except `*_b_proj` of low rank and `o_proj`
        if sizes.rank:  # B × T × R, not sharded
            ranks = len(PROJECTED) * tokens * sizes.rank * run.element_bytes
            yield SavedTensor("low-rank projections", COMPONENT, ranks, "sequence")
        yield from _fused(run) if run.backend == "flash" else _composed(run)
        yield _narrow(run, "o_proj input", tokens * sizes.inner)  # B × T × H·K

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of all chunks."""
        sizes = _sizes(run.config)
        size, rows = _chunks(run.config, run.setup.batch_size, run.seq_len)
        # keys and queries, decayed (3·K); decays, values (K each); the inverse, the system, the scores (Q each)
        per_head = 5 * run.config.kimi_delta_attention.d_head + 3 * size
        return rows * sizes.heads * per_head * run.upcast_bytes

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the convolution, the decays, the solve, the last chunk, all outputs, the gate, o_proj."""
        settings, sizes = config.kimi_delta_attention, _sizes(config)
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        size, rows = _chunks(config, inference.batch_size, inference.seq_len)
        residual_stream = 2 * inference.tokens * config.d_model * element_bytes  # x, norm(x)
        channels = inference.tokens * sizes.channels
        # queries, keys and values, concatenated; after those before them; convolved, or in float32
        padding = inference.batch_size * (settings.kernel_size - 1) * sizes.channels
        in_float32 = 2 * channels * element_bytes + channels * upcast_bytes
        yield residual_stream + max((padding + 3 * channels) * element_bytes, in_float32)
        # queries, keys and values; queries and keys of length 1; decays; write strengths
        vectors = inference.tokens * (6 * sizes.inner + sizes.heads)
        # before decays: the low-rank projection and its output; then their inputs and two intermediates (H·K each for
        # each token), and the biases dt_bias in float32 (H·K)
        ranks = inference.tokens * (sizes.rank + sizes.inner) * element_bytes
        inner = inference.tokens * sizes.inner
        yield residual_stream + (vectors - inner) * upcast_bytes + max(ranks, (3 * inner + sizes.inner) * upcast_bytes)
        # by chunk, per head and position: queries, keys, values, decays, summed decays, keys times write strengths (K
        # each), write strengths (1); the system, its inverse, the scores (Q each)
        solved = vectors + rows * sizes.heads * (6 * settings.d_head + 1 + 3 * size)
        yield residual_stream + (solved + size * size) * upcast_bytes  # and the identity that is solved for (Q × Q)
        # decays from the start and to the end, values times write strengths, decayed keys to read, queries and keys,
        # the outputs (K each)
        decayed = rows * 7 * sizes.inner
        state = inference.batch_size * sizes.state  # B × H × K × K
        updates = inference.batch_size * size * sizes.inner  # u of the last chunk, B × Q × H·K
        complete = solved + decayed + updates
        # a state, the decayed state, their sum with the update; or a state, and the outputs as one tensor (H·K)
        for transient in (3 * state, state + rows * sizes.inner):
            yield residual_stream + (complete + transient) * upcast_bytes
        # y, its norm, the output of the gate's projection (H·K each), and of its first factor (R)
        yield residual_stream + inference.tokens * (3 * sizes.inner + sizes.rank) * element_bytes
        yield residual_stream + inference.tokens * (sizes.inner + config.d_model) * element_bytes  # y, its projection

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the window of L inputs, multiplied with the weights, and of the vectors of a step."""
        settings, sizes = config.kimi_delta_attention, _sizes(config)
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        residual_stream = 2 * config.d_model * element_bytes  # x, norm(x)
        # queries, keys and values, concatenated and convolved; L inputs, their products (L × 3·H·K each)
        window = (2 + 2 * settings.kernel_size) * sizes.channels * element_bytes
        held = (5 * sizes.inner + sizes.heads) * upcast_bytes  # queries, keys and values; queries and keys of length 1
        # the inputs of the decays, the biases and an intermediate (H·K each); the inputs before the upcast (H·K)
        is_cast = upcast_bytes > element_bytes
        decays = held + sizes.inner * (3 * upcast_bytes + is_cast * element_bytes)
        ranks = held + (sizes.rank + sizes.inner) * element_bytes
        gated = (3 * sizes.inner + sizes.rank) * element_bytes  # y, normalized; the low-rank projection, its projection
        output = (sizes.inner + config.d_model) * element_bytes  # y, its projection
        return 0, tuple(residual_stream + each for each in (window, decays, ranks, gated, output))


def _chunk_len(config: ModelConfig, seq_len: int) -> int:
    """Return the positions of a chunk, Q: the next power of 2 of ``chunk_len`` or of the sequence."""
    shortest, size = min(config.kimi_delta_attention.chunk_len, seq_len), 1
    while size < shortest:
        size *= 2
    return size


def _chunks(config: ModelConfig, batch_size: int, seq_len: int) -> tuple[int, int]:
    """Return the positions of a chunk, Q, and the positions of all chunks of all sequences, P."""
    size = _chunk_len(config, seq_len)
    return size, batch_size * -(-seq_len // size) * size


def _pairs_below(length: int) -> int:
    """Return the pairs of a position and an earlier one: the elements below the diagonal."""
    return length * (length - 1) // 2


def _narrow(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in the dtype of the model, whose heads tensor parallelism shards."""
    return SavedTensor(name, COMPONENT, elements * run.element_bytes, "tensor")


def _wide(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in float32 or wider."""
    return SavedTensor(name, COMPONENT, elements * run.upcast_bytes, "tensor")


def _fused(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of fused kernels for the convolution with SiLU, the delta rule, and the norm with its gate."""
    sizes, tokens = _sizes(run.config), run.tokens
    yield _narrow(run, "convolution input", tokens * sizes.channels)
    yield _narrow(run, "queries, keys and values", tokens * sizes.channels)
    yield _wide(run, "inverse lengths", tokens * 2 * sizes.heads)  # of queries and of keys, B × T × H each
    yield _narrow(run, "decay inputs", tokens * sizes.inner)  # the kernel computes the decays from it, B × T × H·K
    yield _wide(run, "write strengths", tokens * sizes.heads)  # B × T × H
    # inverse systems and scores of each chunk, B × T × H × 64 each
    yield _narrow(run, "chunk matrices", 2 * tokens * sizes.heads * _SYSTEM_LEN)
    yield _narrow(run, "output", tokens * sizes.inner)  # B × T × H·K
    yield _wide(run, "norm statistics", tokens * sizes.heads)
    yield _narrow(run, "gate", tokens * sizes.inner)  # B × T × H·K


def _composed(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/kimi_delta_attention.py:KimiDeltaAttention.forward``."""
    settings, sizes, tokens = run.config.kimi_delta_attention, _sizes(run.config), run.tokens
    padded = run.setup.batch_size * (run.seq_len + settings.kernel_size - 1)  # B × (T + L - 1)
    yield _narrow(run, "convolution input", padded * sizes.channels)
    yield _narrow(run, "convolution output", tokens * sizes.channels)  # read by SiLU
    yield _wide(run, "queries, keys and values", tokens * sizes.channels)  # read to scale queries and keys
    yield _wide(run, "inverse lengths", tokens * 2 * sizes.heads)  # of queries and of keys, B × T × H each
    yield _wide(run, "write strengths", tokens * sizes.heads)  # sigmoid of b_proj's output, B × T × H
    yield _wide(run, "decays", 2 * tokens * sizes.inner)  # input and output of softplus or sigmoid, B × T × H·K each
    # exp(A_log), and its negative without a bound, H each
    yield _wide(run, "decay rates", (1 if settings.max_decay_rate is not None else 2) * sizes.heads)
    for tensor in _delta_rule(run):
        yield tensor._replace(is_core_attention=True)
    rows = _chunks(run.config, run.setup.batch_size, run.seq_len)[1]  # in float32 or wider, padding included
    is_cast = run.upcast_bytes > run.element_bytes
    output = _narrow(run, "output", tokens * sizes.inner) if is_cast else _wide(run, "output", rows * sizes.inner)
    vectors = tokens * sizes.heads
    yield from norm(run, "output norm", output, vectors, settings.d_head, sharding="tensor", settings=RMSNORM)
    yield _narrow(run, "gate", 2 * tokens * sizes.inner)  # the normalized output, the sigmoid: B × T × H·K each


def _delta_rule(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/kimi_delta_attention.py:chunked_channel_delta_rule``."""
    sizes = _sizes(run.config)
    size, rows = _chunks(run.config, run.setup.batch_size, run.seq_len)  # Q, P
    vectors = rows * sizes.inner  # P × H·K
    n_levels = size.bit_length() - 1  # log2 Q: blocks of 1, 2, 4, … positions are merged
    has_system = size > 1
    yield _wide(run, "chunk write strengths", rows * sizes.heads)  # P × H
    yield _wide(run, "chunk decays", 2 * vectors)  # from the start, and to the end of the chunk: P × H·K each
    # queries; keys, times write strengths, and decayed to the end of the chunk: P × H·K each; queries and keys decayed
    # from its start multiply the state, whose gradient needs them unless it is the initial one
    n_saved = 6 if run.seq_len > size else 4
    yield _wide(run, "chunk keys and queries", n_saved * vectors)
    # of half of the positions: decays from and to the middle; keys, written keys and queries that they multiply
    yield _wide(run, "block keys and queries", n_levels * 5 * vectors // 2)
    # the inverse, the scores, and the system: P × H × Q each
    yield _wide(run, "chunk matrices", (2 + has_system) * rows * sizes.heads * size)
    # values, the solutions of the systems, and their right-hand sides: P × H·K each
    yield _wide(run, "chunk values", (2 + has_system) * vectors)
    yield _wide(run, "chunk states", rows // size * sizes.state)  # the state before each chunk, B × c × H × K × K
