"""Lightning attention: linear attention whose heads decay at constant rates, in chunks or step by step.

Letters: B batch_size, T tokens, D d_model, H heads, K d_head, Q positions of a chunk.

Operations are counted as matmuls. In chunks: q·kᵀ within chunks, and the scores times the values,
``2 · H · pairs · K`` each; reading the state with queries, and adding to it, ``2 · T · H · K · K`` each. ``pairs`` are
those within chunks, as for attention. In a decoding step, only the last two. Decays, the gate and the norm are
elementwise.

References:
    Qin et al. 2024 (Lightning Attention-2), algorithm 1, https://arxiv.org/abs/2401.04658
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.norm import RMSNORM, norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Component, Tensor, linear
from tinylm_cli.config.schema import ModelConfig

COMPONENT: Component = "lightning_attention"

QUERIES_KEYS_AND_VALUES = 3
"""Vectors of each head and position that the recurrence reads."""


class _Sizes(NamedTuple):
    """The sizes of a layer."""

    heads: int  # H
    inner: int  # H·K
    state: int  # H·K·K, elements of the states of all heads


def _sizes(config: ModelConfig) -> _Sizes:
    heads, d_head = config.lightning_attention_heads, config.lightning_attention.d_head
    inner = heads * d_head
    return _Sizes(heads, inner, inner * d_head)


class LightningAttention(Mixer):
    """``block.mixer: lightning_attention``, as ``model/mixers/lightning_attention.py`` computes it."""

    column_parallel = ("q_proj", "k_proj", "v_proj", "gate_proj")
    row_parallel = ("o_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the projections and the norm of the output; the decays are constants."""
        d, inner = config.d_model, _sizes(config).inner
        for name in ("q_proj", "k_proj", "v_proj", "gate_proj"):
            yield from linear(f"{COMPONENT}.{name}", d, inner, COMPONENT, bias=False)  # (H·K, D)
        yield Tensor(f"{COMPONENT}.o_norm.weight", (inner,), COMPONENT)  # (H·K)
        yield from linear(f"{COMPONENT}.o_proj", inner, d, COMPONENT, bias=False)  # (D, H·K)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the matmuls of the chunked form, or of one step."""
        sizes = _sizes(config)

        def matmul(name: str, elements: int) -> Matmul:
            return Matmul(f"{COMPONENT}.{name}", "linear_attention", FLOPS_PER_ELEMENT * elements)

        tokens = 1 if counted.decodes else counted.tokens
        yield matmul("writes", tokens * sizes.state)  # k ⊗ v: T × H × K × K
        yield matmul("outputs", tokens * sizes.state)  # q times the state: T × H × K × K
        if not counted.decodes:
            pairs = counted.pairs_in_chunks(config.lightning_attention.chunk_len, is_padded=False)
            yield matmul("scores", pairs * sizes.inner)  # Q·Kᵀ: H × pairs × K
            yield matmul("within_chunks", pairs * sizes.inner)  # the scores times the values: H × pairs × K

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the states, in float32 or wider."""
        return _sizes(config).state * max(state_element_bytes(dtype), FLOAT32_BYTES)  # H × K × K

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the heads."""
        yield "lightning_attention.n_heads", config.lightning_attention_heads

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the projections, the linear attention, the norm and the gate save.

        With the flash kernel, as the kernels of flash-linear-attention, which recompute the states of chunks.

        References:
            https://github.com/fla-org/flash-linear-attention/blob/main/fla/ops/simple_gla/chunk.py
        """
        sizes, tokens = _sizes(run.config), run.tokens
        yield x  # read by all projections but o_proj
        vectors = QUERIES_KEYS_AND_VALUES * tokens * sizes.inner  # B × T × 3·H·K
        yield _narrow(run, "SiLU input", vectors)
        if run.backend == "flash":
            yield _narrow(run, "queries, keys and values", vectors)
        else:
            yield _wide(run, "queries, keys and values", vectors)
            for tensor in _chunks(run):
                yield tensor._replace(is_core_attention=True)
        output = _narrow(run, "output", tokens * sizes.inner)  # B × T × H·K
        yield from norm(run, "output norm", output, tokens, sizes.inner, sharding="tensor", settings=RMSNORM)
        yield _narrow(run, "gate", 2 * tokens * sizes.inner)  # the normalized output, the sigmoid: B × T × H·K each
        yield _narrow(run, "o_proj input", tokens * sizes.inner)  # B × T × H·K

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of queries, keys and values of all chunks, and of one of the three."""
        # B × T × H·K each
        return (QUERIES_KEYS_AND_VALUES + 1) * run.tokens * _sizes(run.config).inner * run.upcast_bytes

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the last chunk, and of the outputs of all chunks, concatenated."""
        sizes, batch = _sizes(config), inference.batch_size
        upcast_bytes = inference.upcast_bytes
        residual_stream = 2 * inference.tokens * config.d_model * inference.element_bytes  # x, norm(x)
        size = min(config.lightning_attention.chunk_len, inference.seq_len)  # Q
        decays = size * size * sizes.heads * upcast_bytes  # H × Q × Q
        vectors = inference.tokens * sizes.inner  # B × T × H·K
        held = residual_stream + decays + QUERIES_KEYS_AND_VALUES * vectors * upcast_bytes
        scores = batch * size * size * sizes.heads  # B × H × Q × Q
        rows = batch * size * sizes.inner  # B × Q × H·K
        state = batch * sizes.state  # B × H × K × K
        # outputs of all chunks; the scores before and after decay
        yield held + (vectors + state + 2 * scores) * upcast_bytes
        # the outputs of a chunk in two parts; queries times decays
        yield held + (vectors + state + scores + 2 * rows) * upcast_bytes
        # the scores; a state, the decayed state, the update, and their sum
        yield held + (vectors + scores + 4 * state) * upcast_bytes
        yield held + (2 * vectors + state) * upcast_bytes  # outputs of each chunk, and of all

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the vectors of a step: x and norm(x), and the vectors of the recurrence."""
        # query, key, value; the output, the normalized output, the gate (H·K each)
        held = (QUERIES_KEYS_AND_VALUES + 3) * _sizes(config).inner * inference.upcast_bytes
        return 0, (2 * config.d_model * inference.element_bytes + held,)  # x, norm(x)


def _narrow(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in the dtype of the model, whose heads tensor parallelism shards."""
    return SavedTensor(name, COMPONENT, elements * run.element_bytes, "tensor")


def _wide(run: ForwardPass, name: str, elements: int) -> SavedTensor:
    """Return a tensor in float32 or wider."""
    return SavedTensor(name, COMPONENT, elements * run.upcast_bytes, "tensor")


def _chunks(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/lightning_attention.py:chunked_linear_attention`` except its arguments."""
    sizes, batch, length = _sizes(run.config), run.setup.batch_size, run.seq_len
    size = min(run.config.lightning_attention.chunk_len, length)  # Q
    n_full, rest = divmod(length, size)
    # between positions, and from the start: H × (Q + 1) × Q
    yield _wide(run, "chunk decays", sizes.heads * (size + 1) * size)
    pairs = n_full * size * size + rest * rest
    yield _wide(run, "chunk scores", batch * pairs * sizes.heads)  # B × H × Q × Q of each chunk
    # keys decayed to the end of their chunk; queries decayed from the start of theirs, which multiply the state, whose
    # gradient needs them unless it is the initial one
    decayed = length + (length - size)
    yield _wide(run, "chunk queries and keys", batch * decayed * sizes.inner)
    yield _wide(run, "chunk states", batch * (n_full + bool(rest)) * sizes.state)  # the state before each chunk
