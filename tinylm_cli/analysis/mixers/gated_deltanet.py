"""Gated DeltaNet: linear attention whose state decays and is corrected by the delta rule, in chunks or step by step.

Letters: B batch_size, T tokens, D d_model, G key heads, H value heads, K d_key, V d_value, L kernel_size, Q positions
of a chunk.

Operations are counted as matmuls. In chunks: k·kᵀ and q·kᵀ within chunks, ``2 · H · pairs · K`` each; the inverse of
the system times the values, and the scores times the delta-rule updates u, ``2 · H · pairs · V`` each; reading the
state with keys and with queries, and adding to it, ``2 · T · H · K · V`` each. ``pairs`` lie within chunks, as for
attention. In a decoding step, only the last three. The triangular solve is not counted, as in torch's FlopCounterMode;
decays, gates and norms are elementwise.

References:
    Yang et al. 2024, section 3.3, https://arxiv.org/abs/2412.06464
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import BOOL_BYTES, FLOAT32_BYTES
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.norm import RMSNORM, norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Component, Tensor, linear
from tinylm_cli.config.schema import ModelConfig

QUERIES_AND_KEYS = 2
"""Each key head has a query and a key per position."""

PER_HEAD = ("A_log", "dt_bias")
"""Vectors with an element for each value head, of which its decay is computed."""


class _Sizes(NamedTuple):
    """The sizes of a layer."""

    key_heads: int  # G
    heads: int  # H
    keys: int  # G·K
    values: int  # H·V
    channels: int  # 2·G·K + H·V, which the convolution reads
    state: int  # H·K·V, elements of the states of all heads


def _sizes(config: ModelConfig) -> _Sizes:
    settings = config.gated_deltanet
    key_heads, heads = config.gated_deltanet_key_heads, config.gated_deltanet_value_heads
    keys, values = key_heads * settings.d_key, heads * settings.d_value
    return _Sizes(key_heads, heads, keys, values, QUERIES_AND_KEYS * keys + values, values * settings.d_key)


class GatedDeltaNet(Mixer):
    """``block.mixer: gated_deltanet``, as ``model/mixers/gated_deltanet.py:GatedDeltaNet`` computes it."""

    column_parallel = ("q_proj", "k_proj", "v_proj", "a_proj", "b_proj", "gate_proj", "conv", *PER_HEAD)
    row_parallel = ("o_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the vectors of the heads, the projections, the depthwise convolution and the norm of the output."""
        d, settings, sizes = config.d_model, config.gated_deltanet, _sizes(config)
        component: Component = "gated_deltanet"
        for name in PER_HEAD:
            yield Tensor(f"{component}.{name}", (sizes.heads,), component)  # (H)
        yield from linear(f"{component}.q_proj", d, sizes.keys, component, bias=False)  # (G·K, D)
        yield from linear(f"{component}.k_proj", d, sizes.keys, component, bias=False)  # (G·K, D)
        yield from linear(f"{component}.v_proj", d, sizes.values, component, bias=False)  # (H·V, D)
        yield from linear(f"{component}.a_proj", d, sizes.heads, component, bias=False)  # (H, D)
        yield from linear(f"{component}.b_proj", d, sizes.heads, component, bias=False)  # (H, D)
        if settings.gate:
            yield from linear(f"{component}.gate_proj", d, sizes.values, component, bias=False)  # (H·V, D)
        yield Tensor(f"{component}.conv.weight", (sizes.channels, 1, settings.kernel_size), component)
        yield Tensor(f"{component}.o_norm.weight", (settings.d_value,), component)  # (V)
        yield from linear(f"{component}.o_proj", sizes.values, d, component, bias=False)  # (D, H·V)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the matmuls of the chunked form, or of one step."""
        settings, sizes = config.gated_deltanet, _sizes(config)

        def matmul(name: str, elements: int) -> Matmul:
            return Matmul(f"gated_deltanet.{name}", "delta_rule", FLOPS_PER_ELEMENT * elements)

        tokens = 1 if counted.decodes else counted.tokens_in_chunks(settings.chunk_len)
        yield matmul("reads", tokens * sizes.state)  # k times the state: T × H × K × V
        yield matmul("writes", tokens * sizes.state)  # k ⊗ u: T × H × K × V
        yield matmul("outputs", tokens * sizes.state)  # q times the state: T × H × K × V
        if not counted.decodes:
            pairs = counted.pairs_in_chunks(settings.chunk_len)
            yield matmul("system", pairs * sizes.heads * settings.d_key)  # K·Kᵀ: H × pairs × K
            yield matmul("scores", pairs * sizes.heads * settings.d_key)  # Q·Kᵀ: H × pairs × K
            yield matmul("solution", pairs * sizes.values)  # the inverse times the values: H × pairs × V
            yield matmul("within_chunks", pairs * sizes.values)  # the scores times u: H × pairs × V

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the last L - 1 inputs of the convolution, and of the states, in float32 or wider."""
        sizes, element_bytes = _sizes(config), state_element_bytes(dtype)
        inputs = (config.gated_deltanet.kernel_size - 1) * sizes.channels * element_bytes  # (L - 1) × (2·G·K + H·V)
        return inputs + sizes.state * max(element_bytes, FLOAT32_BYTES)  # H × K × V

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the key heads; the value heads that share a key stay together."""
        yield "gated_deltanet.n_key_heads", config.gated_deltanet_key_heads

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the projections, the convolution, the delta rule, the norm and the gate save.

        With the flash kernel, as the kernels of flash-linear-attention, which recompute the states of chunks.

        References:
            https://github.com/fla-org/flash-linear-attention/blob/main/fla/ops/gated_delta_rule/chunk.py
        """
        names = ("q_proj", "k_proj", "v_proj", "a_proj", "b_proj", "gate_proj")
        yield from run.linear_input(x, *(f"gated_deltanet.{name}" for name in names))  # all projections but o_proj
        yield from _fused(run) if run.backend == "flash" else _composed(run)
        # B × T × H·V
        output = _narrow(run, "o_proj input", run.tokens * _sizes(run.config).values)
        yield from run.linear_input(output, "gated_deltanet.o_proj")

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of all chunks."""
        settings, sizes = run.config.gated_deltanet, _sizes(run.config)
        size, rows = _chunks(run.config, run.setup.batch_size, run.seq_len)
        # keys and queries, decayed (3·K); values (V); the inverse, the system, the scores (Q)
        per_head = 3 * settings.d_key + settings.d_value + 3 * size
        return rows * sizes.heads * per_head * run.upcast_bytes

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the convolution, the scores, the last chunk, all outputs, and the output projection."""
        settings, sizes = config.gated_deltanet, _sizes(config)
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        size, rows = _chunks(config, inference.batch_size, inference.seq_len)
        residual_stream = 2 * config.d_model * element_bytes  # x, norm(x)
        padding = inference.batch_size * (settings.kernel_size - 1) * sizes.channels * element_bytes
        # queries, keys and values, concatenated, after those before them, convolved
        yield padding + inference.tokens * (residual_stream + 4 * sizes.channels * element_bytes)
        # queries, keys and values; queries and keys of each value head
        mixed = sizes.channels + QUERIES_AND_KEYS * sizes.heads * settings.d_key
        mask = size * size * BOOL_BYTES  # Q × Q
        # per head and position: write strengths and decays by token and by chunk, step sizes, the summed decays, their
        # exponentials
        vectors = 7
        # by chunk, per head and position: queries, keys, keys times write strengths (K each), values (V); decays
        # between positions, the system, its inverse, q·kᵀ, the scores (Q each)
        scoring = 3 * settings.d_key + settings.d_value + 5 * size + vectors
        scores = inference.tokens * mixed + rows * sizes.heads * scoring
        yield inference.tokens * residual_stream + mask + scores * upcast_bytes
        # queries, keys, keys times write strengths, decayed keys to read, queries and keys (K each); values, values
        # times write strengths, outputs (V each); the four matrices without q·kᵀ (Q each)
        per_head = 6 * settings.d_key + 3 * settings.d_value + 4 * size + vectors
        state = inference.batch_size * sizes.state  # B × H × K × V
        updates = inference.batch_size * size * sizes.values  # u of the last chunk, B × Q × H·V
        held = inference.tokens * mixed + rows * sizes.heads * per_head + updates
        # a state, the decayed state, their sum with the update; or a state, and the outputs as one tensor (H·V)
        for transient in (3 * state, state + rows * sizes.values):
            yield inference.tokens * residual_stream + mask + (held + transient) * upcast_bytes
        output = (sizes.values + config.d_model) * element_bytes  # y, its projection
        # and the write strengths, the step sizes, the decays (H each)
        yield inference.tokens * (residual_stream + (mixed + 3 * sizes.heads) * upcast_bytes + output)

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the window of L inputs, multiplied with the weights, and of the vectors of a step."""
        settings, sizes = config.gated_deltanet, _sizes(config)
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        is_cast, is_shared = upcast_bytes > element_bytes, sizes.heads > sizes.key_heads
        residual_stream = 2 * config.d_model * element_bytes  # x, norm(x)
        # queries, keys and values, concatenated and convolved; L inputs, their products (L × (2·G·K + H·V) each)
        window = (3 + 2 * settings.kernel_size) * sizes.channels * element_bytes
        repeated = QUERIES_AND_KEYS * sizes.heads * settings.d_key  # a query and a key for each value head
        # queries, keys and values; queries and keys of length 1, queries scaled
        lengths = sizes.channels + 3 * sizes.keys + is_shared * repeated
        # queries, keys and values; write strengths, step sizes, decays
        held = sizes.channels + repeated + 3 * sizes.heads
        # y, which is cast, and in float32 again; its inverse lengths; normalized, times the weight
        normed = (held + (3 + is_cast) * sizes.values + sizes.heads) * upcast_bytes
        normed += is_cast * sizes.values * element_bytes
        output = held * upcast_bytes + (sizes.values + config.d_model) * element_bytes  # y, its projection
        return 0, tuple(residual_stream + each for each in (window, lengths * upcast_bytes, normed, output))


_SYSTEM_LEN = 64
"""Positions in a chunk of the fused kernel, which saves the inverse of each chunk's system."""


def _chunks(config: ModelConfig, batch_size: int, seq_len: int) -> tuple[int, int]:
    """Return the positions of a chunk, Q, and the positions of all chunks of all sequences, with padding."""
    size = min(config.gated_deltanet.chunk_len, seq_len)
    return size, batch_size * -(-seq_len // size) * size


def _narrow(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in the dtype of the model, whose heads tensor parallelism shards."""
    return SavedTensor(name, "gated_deltanet", elements * run.element_bytes, "tensor")


def _wide(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in float32 or wider."""
    return SavedTensor(name, "gated_deltanet", elements * run.upcast_bytes, "tensor")


def _fused(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of fused kernels for the convolution with SiLU, the delta rule, and the norm with its gate."""
    sizes, tokens = _sizes(run.config), run.tokens
    yield _narrow(run, "convolution input", tokens * sizes.channels)
    yield _narrow(run, "queries, keys and values", tokens * sizes.channels)
    yield _wide(run, "inverse lengths", tokens * QUERIES_AND_KEYS * sizes.key_heads)  # B × T × 2·G
    # B × T × H each: the outputs of a_proj and b_proj; write strengths, and decays summed in each chunk
    yield _narrow(run, "decay and write inputs", 2 * tokens * sizes.heads)
    yield _wide(run, "decays and write strengths", 2 * tokens * sizes.heads)
    yield _narrow(run, "inverse systems", tokens * sizes.heads * _SYSTEM_LEN)  # B × T × H × 64
    yield _narrow(run, "output", tokens * sizes.values)  # B × T × H·V
    yield _wide(run, "norm statistics", tokens * sizes.heads)
    if run.config.gated_deltanet.gate:
        yield _narrow(run, "gate", tokens * sizes.values)  # B × T × H·V


def _composed(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/gated_deltanet.py:GatedDeltaNet.forward`` between x and o_proj."""
    settings, sizes, tokens = run.config.gated_deltanet, _sizes(run.config), run.tokens
    padded = run.setup.batch_size * (run.seq_len + settings.kernel_size - 1)  # B × (T + L - 1)
    yield _narrow(run, "convolution input", padded * sizes.channels)  # also if the weight is frozen
    yield _narrow(run, "convolution output", tokens * sizes.channels)  # read by SiLU
    yield _wide(run, "queries, keys and values", tokens * sizes.channels)  # read to scale queries and keys
    yield _wide(run, "inverse lengths", tokens * QUERIES_AND_KEYS * sizes.key_heads)  # B × T × 2·G
    yield _wide(run, "write strengths", tokens * sizes.heads)  # sigmoid of b_proj's output, B × T × H
    n_saved = 1 if run.is_frozen else 2  # the others are for the gradient of A_log
    yield _wide(run, "step sizes", n_saved * tokens * sizes.heads)  # input (and output) of softplus, B × T × H each
    yield _wide(run, "decay rates", n_saved * sizes.heads)  # the negative of exp(A_log) (and exp(A_log)), H each
    for tensor in _delta_rule(run):
        yield tensor._replace(is_core_attention=True)
    rows = _chunks(run.config, run.setup.batch_size, run.seq_len)[1]  # in float32 or wider, padding included
    is_cast = run.upcast_bytes > run.element_bytes
    output = _narrow(run, "output", tokens * sizes.values) if is_cast else _wide(run, "output", rows * sizes.values)
    vectors, d_value = tokens * sizes.heads, settings.d_value
    yield from norm(run, "output norm", output, vectors, d_value, sharding="tensor", settings=RMSNORM)
    if settings.gate:
        # B × T × H·V each: the normalized output; input and output of SiLU
        yield _narrow(run, "gate", 3 * tokens * sizes.values)


def _delta_rule(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/gated_deltanet.py:chunked_delta_rule``."""
    settings, sizes = run.config.gated_deltanet, _sizes(run.config)
    size, rows = _chunks(run.config, run.setup.batch_size, run.seq_len)  # Q, P = B × c·Q
    yield SavedTensor("chunk mask", "gated_deltanet", size * size * BOOL_BYTES, "none")  # Q × Q
    yield _wide(run, "chunk decays", rows * sizes.heads * size)  # P × H × Q, between positions of a chunk
    # P × H each: the decay from the start of a chunk; write strengths
    yield _wide(run, "chunk vectors", 2 * rows * sizes.heads)
    # queries; keys, times write strengths, and decayed to the end of the chunk: P × H·K each; queries and keys decayed
    # from its start multiply the state, whose gradient needs them unless it is the initial one
    n_saved = 6 if run.seq_len > size else 4
    yield _wide(run, "chunk keys and queries", n_saved * rows * sizes.heads * settings.d_key)
    # K·Kᵀ, the system, its inverse; Q·Kᵀ, the scores: P × H × Q each
    yield _wide(run, "chunk matrices", 5 * rows * sizes.heads * size)
    # values; the right-hand sides of the systems, and their solutions: P × H·V each
    yield _wide(run, "chunk values", 3 * rows * sizes.values)
    yield _wide(run, "chunk states", rows // size * sizes.state)  # the state before each chunk, B × c × H × K × V
