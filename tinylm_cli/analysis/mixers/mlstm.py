"""mLSTM: linear attention with exponential gates and a normalizer, in chunks or step by step.

Letters: B batch_size, T tokens, D d_model, H heads, K d_key, V d_value, Q positions of a chunk. The normalizer is one
more column of the memory: W = V + 1.

Operations are counted as matmuls. In chunks: Q·Kᵀ within chunks, ``2 · H · pairs · K``, and the scores times the
values, ``2 · H · pairs · W``; reading the memory with queries, and adding to it, ``2 · T · H · K · W`` each. ``pairs``
are those within chunks, as for attention. In a decoding step, only the last two. Gates, decays and the norm are
elementwise.

References:
    Beck et al. 2024 (xLSTM), section 2.3, https://arxiv.org/abs/2405.04517;
    Beck et al. 2025 (tiled flash linear attention), section 2.2, https://arxiv.org/abs/2503.14376
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import BOOL_BYTES, FLOAT32_BYTES
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Component, Tensor, linear
from tinylm_cli.config.blocks import Norm
from tinylm_cli.config.schema import ModelConfig

COMPONENT: Component = "mlstm"

GATES = 2
"""The input gate and the forget gate of each head."""

LAYERNORM = Norm(kind="layernorm")
"""Settings of the norm of each head, in any model."""


class _Sizes(NamedTuple):
    """The sizes of a layer."""

    heads: int  # H
    keys: int  # H·K
    values: int  # H·V
    sums: int  # H·W
    memory: int  # H·K·W, elements of the memories of all heads


def _sizes(config: ModelConfig) -> _Sizes:
    settings = config.mlstm
    heads, width = config.mlstm_heads, settings.d_value + 1  # H, W
    keys = heads * settings.d_key
    return _Sizes(heads, keys, heads * settings.d_value, heads * width, keys * width)


class Mlstm(Mixer):
    """``block.mixer: mlstm``, as ``model/mixers/mlstm.py`` computes it."""

    column_parallel = ("q_proj", "k_proj", "v_proj", "i_proj", "f_proj", "gate_proj", "o_norm")
    row_parallel = ("o_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the projections (of the gates with biases), and the norm of the output."""
        d, sizes = config.d_model, _sizes(config)
        yield from linear(f"{COMPONENT}.q_proj", d, sizes.keys, COMPONENT, bias=False)  # (H·K, D)
        yield from linear(f"{COMPONENT}.k_proj", d, sizes.keys, COMPONENT, bias=False)  # (H·K, D)
        yield from linear(f"{COMPONENT}.v_proj", d, sizes.values, COMPONENT, bias=False)  # (H·V, D)
        yield from linear(f"{COMPONENT}.i_proj", d, sizes.heads, COMPONENT, bias=True)  # (H, D), (H)
        yield from linear(f"{COMPONENT}.f_proj", d, sizes.heads, COMPONENT, bias=True)  # (H, D), (H)
        yield from linear(f"{COMPONENT}.gate_proj", d, sizes.values, COMPONENT, bias=False)  # (H·V, D)
        yield Tensor(f"{COMPONENT}.o_norm.weight", (sizes.values,), COMPONENT)  # (H·V)
        yield from linear(f"{COMPONENT}.o_proj", sizes.values, d, COMPONENT, bias=False)  # (D, H·V)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the matmuls of the chunked form, or of one step."""
        sizes = _sizes(config)

        def matmul(name: str, elements: int) -> Matmul:
            return Matmul(f"{COMPONENT}.{name}", "linear_attention", FLOPS_PER_ELEMENT * elements)

        tokens = 1 if counted.decodes else counted.tokens
        yield matmul("writes", tokens * sizes.memory)  # k ⊗ v: T × H × K × W
        yield matmul("outputs", tokens * sizes.memory)  # q times the memory: T × H × K × W
        if not counted.decodes:
            pairs = counted.pairs_in_chunks(config.mlstm.chunk_len, is_padded=False)
            yield matmul("scores", pairs * sizes.keys)  # Q·Kᵀ: H × pairs × K
            yield matmul("within_chunks", pairs * sizes.sums)  # the scores times the values: H × pairs × W

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the memories, and of a maximum for each head, in float32 or wider."""
        sizes = _sizes(config)
        elements = sizes.memory + sizes.heads  # H × K × W; H
        return elements * max(state_element_bytes(dtype), FLOAT32_BYTES)

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the heads."""
        yield "mlstm.n_heads", config.mlstm_heads

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the projections, the recurrence, the norm and the gate save.

        With the flash kernel, as the kernels of mlstm_kernels, which recompute the memories of chunks.

        References:
            https://github.com/NX-AI/mlstm_kernels/blob/main/mlstm_kernels/torch/chunkwise/triton_xl_chunk/fwbw.py
        """
        sizes, tokens = _sizes(run.config), run.tokens
        yield x  # read by all projections but o_proj
        if run.config.mlstm.gate_softcap is not None:
            yield _wide(run, "tanh of the gates", GATES * tokens * sizes.heads)  # B × T × 2·H
        yield from _fused(run) if run.backend == "flash" else _composed(run)
        output = _narrow(run, "output", tokens * sizes.values)  # B × T × H·V
        heads, d_value = tokens * sizes.heads, run.config.mlstm.d_value
        yield from norm(run, "output norm", output, heads, d_value, sharding="tensor", settings=LAYERNORM)
        # B × T × H·V each: the normalized output, without and with its weight; the sigmoid
        yield _narrow(run, "gate", 3 * tokens * sizes.values)
        yield _narrow(run, "o_proj input", tokens * sizes.values)  # B × T × H·V

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of queries, keys and values of all chunks, and of the widest again."""
        sizes = _sizes(run.config)
        # queries and keys (H·K each), values with a column of ones (H·W); a copy of the widest
        per_token = 2 * sizes.keys + sizes.sums + max(sizes.keys, sizes.sums)
        return per_token * run.tokens * run.upcast_bytes

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the projections, of a chunk, of all outputs and of the gate."""
        sizes, tokens, batch = _sizes(config), inference.tokens, inference.batch_size
        wide, narrow = inference.upcast_bytes, inference.element_bytes
        residual_stream = 2 * tokens * config.d_model * narrow  # x, norm(x)
        yield residual_stream + 3 * tokens * sizes.keys * wide  # queries; keys in the order of tokens and of heads
        # queries and keys (H·K each), values (H·W), both gates (H each) of each token; the maximum before a chunk (H)
        held = tokens * (2 * sizes.keys + sizes.sums + GATES * sizes.heads) + batch * sizes.heads
        size = min(config.mlstm.chunk_len, inference.seq_len)  # Q
        mask = size * size * BOOL_BYTES
        n_full, rest = divmod(inference.seq_len, size)
        for length, before in ((size, (n_full - 1) * size), (rest, n_full * size)):
            done = batch * before * (sizes.sums + sizes.heads)  # outputs and maxima of the chunks before
            for elements in _chunk_elements(sizes, batch, length):
                yield residual_stream + mask + (held + done + elements) * wide
        outputs = tokens * sizes.sums
        # outputs (H·W) and maxima (H), by chunk and concatenated; the memory
        both = 2 * (outputs + tokens * sizes.heads)
        yield residual_stream + mask + (held + both + batch * sizes.memory) * wide
        # the outputs, their maxima, the least denominators and the denominators, the quotients
        yield residual_stream + (held + outputs + tokens * (3 * sizes.heads + sizes.values)) * wide
        # the output, the normalized output, the gate, and its sigmoid or product
        yield residual_stream + 4 * tokens * sizes.values * narrow
        # the output, the gated output, and its projection
        yield residual_stream + tokens * (2 * sizes.values + config.d_model) * narrow

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the vectors of a step: x and norm(x), and the vectors of the recurrence or the gate."""
        sizes, wide, narrow = _sizes(config), inference.upcast_bytes, inference.element_bytes
        residual_stream = 2 * config.d_model * narrow  # x, norm(x)
        # the query and the key (H·K each); the key before its cast
        projections = 2 * sizes.keys * wide + (wide > narrow) * sizes.keys * narrow
        # query, key (H·K each); value, the value times its weight, the output (H·W each); both gates, the decayed
        # maximum and the new one (H each)
        recurrence = 2 * sizes.keys + 3 * sizes.sums + (GATES + 2) * sizes.heads
        gate = 4 * sizes.values  # the output, the normalized output, the gate, and its sigmoid or product
        projection = 2 * sizes.values + config.d_model  # the output, the gated output, and its projection
        points = (projections, recurrence * wide, gate * narrow, projection * narrow)
        return 0, tuple(residual_stream + point for point in points)


def _chunk_elements(sizes: _Sizes, batch_size: int, length: int) -> Iterator[int]:
    """Yield the elements that a chunk of ``length`` positions creates, at each point that may peak."""
    # the vectors of ``model/mixers/mlstm.py:_chunk``: total, written, m, read, from_start (B × H × Q each)
    vectors = 5 * batch_size * length * sizes.heads
    square = batch_size * length * length * sizes.heads  # B × H × Q × Q
    keys, sums = batch_size * length * sizes.keys, batch_size * length * sizes.sums  # B × Q × H·K, B × Q × H·W
    memory = batch_size * sizes.memory  # B × H × K × W
    # the memory; weights, and scores before and after they are applied
    yield vectors + memory + 3 * square
    # weights and scores; two parts of the outputs; the decayed queries, or the sum of both parts
    yield vectors + memory + 2 * square + 2 * sums + max(keys, sums)
    # weights, scores and outputs; decayed keys, and their product with the values
    yield vectors + memory + 2 * square + sums + keys + memory
    # weights, scores and outputs; the memory, the decayed memory, the update, and their sum
    yield vectors + 2 * square + sums + 4 * memory


def _narrow(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in the dtype of the model, whose heads tensor parallelism shards."""
    return SavedTensor(name, COMPONENT, elements * run.element_bytes, "tensor")


def _wide(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in float32 or wider."""
    return SavedTensor(name, COMPONENT, elements * run.upcast_bytes, "tensor")


def _fused(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that the fused kernel saves, except its output."""
    sizes, tokens = _sizes(run.config), run.tokens
    yield _narrow(run, "queries, keys and values", tokens * (2 * sizes.keys + sizes.values))
    yield _wide(run, "gates", GATES * tokens * sizes.heads)  # B × T × 2·H
    yield _wide(run, "denominators and maxima", 2 * tokens * sizes.heads)  # B × T × H each


def _composed(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/mlstm.py:Mlstm`` between the gates' soft-cap and its output."""
    sizes, tokens = _sizes(run.config), run.tokens
    yield _wide(run, "queries, keys and values", tokens * (2 * sizes.keys + sizes.sums))
    yield _wide(run, "forget gate", tokens * sizes.heads)  # the input of softplus, B × T × H
    for tensor in _chunks(run):
        yield tensor._replace(is_core_attention=True)
    yield _wide(run, "sums", tokens * sizes.sums)  # B × T × H·W
    # B × T × H each: the weights of the normalizer, their least values, and the denominators
    yield _wide(run, "denominators", 3 * tokens * sizes.heads)


def _chunks(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/mlstm.py:chunked_mlstm`` except its arguments and results."""
    sizes, batch, length = _sizes(run.config), run.setup.batch_size, run.seq_len
    size = min(run.config.mlstm.chunk_len, length)  # Q
    n_full, rest = divmod(length, size)
    yield SavedTensor("chunk mask", COMPONENT, size * size * BOOL_BYTES, "none")  # Q × Q
    pairs = n_full * size * size + rest * rest
    # weights, and scores before and after they are applied: B × H × Q × Q of each chunk
    yield _wide(run, "chunk scores", 3 * batch * pairs * sizes.heads)
    yield _wide(run, "chunk decays", batch * length * sizes.heads)  # from the start of the chunk, B × T × H
    # keys decayed to the end of their chunk; queries decayed from the start of theirs, which multiply the memory, whose
    # gradient needs them unless it is the initial one
    decayed = length + (length - size)
    yield _wide(run, "chunk queries and keys", batch * decayed * sizes.keys)
    yield _wide(run, "chunk memories", batch * (n_full + bool(rest)) * sizes.memory)  # the memory before each chunk
