"""Mamba-2 (SSD): a state-space model with one decay per head, computed in chunks or step by step.

Letters: B batch_size, T tokens, D d_model, H heads, P d_head, I = H·P, N d_state, G n_groups, L kernel_size, Q tokens
of a chunk, c chunks.

Operations are counted as matmuls, as in section 6 of the paper; b and c are the input and output vectors of the state
space. In chunks: c·bᵀ within chunks, ``2 · G · pairs · N``; these times x, ``2 · H · pairs · P``; the states of chunks,
``2 · T · I · N``; their outputs, ``2 · T · I · N``. The pairs are of tokens in the same chunk. In a decoding step:
x ⊗ b and S·c, ``2 · I · N`` each. Decays, gates, norms and the recurrence between chunks are elementwise and not
counted.

References:
    Dao and Gu 2024, https://arxiv.org/abs/2405.21060
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import BOOL_BYTES, FLOAT32_BYTES
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Tensor, linear
from tinylm_cli.config.schema import ModelConfig

B_AND_C = 2
"""Each group of heads has an input vector B and an output vector C."""

PER_HEAD = ("dt_bias", "A_log", "D")
"""Vectors with an element for each head: of the step size, of the decay, and of the skip connection."""


class _Sizes(NamedTuple):
    """The sizes of a layer."""

    heads: int  # H
    inner: int  # I = H·P
    shared: int  # G·N
    channels: int  # I + 2·G·N, which the convolution reads
    state: int  # I·N, elements of the states of all heads


def _sizes(config: ModelConfig) -> _Sizes:
    settings, heads = config.mamba2, config.mamba2_heads
    inner, shared = heads * settings.d_head, settings.n_groups * settings.d_state
    return _Sizes(heads, inner, shared, inner + B_AND_C * shared, inner * settings.d_state)


class Mamba2(Mixer):
    """``block.mixer: mamba2``, as ``model/mixers/mamba2.py:Mamba2`` computes it."""

    column_parallel = ("in_proj", "conv", "norm", *PER_HEAD)
    row_parallel = ("out_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the vectors of the heads, the projections, the depthwise convolution and the gated norm."""
        d, settings, sizes = config.d_model, config.mamba2, _sizes(config)
        for name in PER_HEAD:
            yield Tensor(f"mamba2.{name}", (sizes.heads,), "mamba2")  # (H)
        projected = sizes.inner + sizes.channels + sizes.heads  # z; x, B and C; Δ
        yield from linear("mamba2.in_proj", d, projected, "mamba2", bias=settings.bias)  # (2·I + 2·G·N + H, D)
        yield Tensor("mamba2.conv.weight", (sizes.channels, 1, settings.kernel_size), "mamba2")  # (I + 2·G·N, 1, L)
        if settings.conv_bias:
            yield Tensor("mamba2.conv.bias", (sizes.channels,), "mamba2")  # (I + 2·G·N)
        if settings.norm != "none":
            yield Tensor("mamba2.norm.weight", (sizes.inner,), "mamba2")  # (I)
        yield from linear("mamba2.out_proj", sizes.inner, d, "mamba2", bias=settings.bias)  # (D, I)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the matmuls of the chunked form, or of one step."""
        settings, sizes = config.mamba2, _sizes(config)
        if counted.decodes:
            update = FLOPS_PER_ELEMENT * sizes.state  # x ⊗ B: 2 × I × N
            yield Matmul("mamba2.states", "mamba2_scan", update)
            yield Matmul("mamba2.outputs", "mamba2_scan", update)  # S·C: 2 × I × N
            return
        pairs, tokens = counted.pairs_in_chunks(settings.chunk_len), counted.tokens_in_chunks(settings.chunk_len)
        scores = FLOPS_PER_ELEMENT * pairs * sizes.shared  # C·Bᵀ: 2 × pairs × G × N
        within = FLOPS_PER_ELEMENT * pairs * sizes.inner  # scores times x: 2 × pairs × H × P
        states = FLOPS_PER_ELEMENT * tokens * sizes.state  # xᵀ·B of each chunk: 2 × T × I × N
        yield Matmul("mamba2.scores", "mamba2_scan", scores)
        yield Matmul("mamba2.within_chunks", "mamba2_scan", within)
        yield Matmul("mamba2.states", "mamba2_scan", states)
        yield Matmul("mamba2.outputs", "mamba2_scan", states)  # C times the state before the chunk: 2 × T × I × N

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the last L - 1 inputs of the convolution, and of the states, in float32 or wider."""
        sizes, element_bytes = _sizes(config), state_element_bytes(dtype)
        inputs = (config.mamba2.kernel_size - 1) * sizes.channels * element_bytes  # (L - 1) × (I + 2·G·N)
        return inputs + sizes.state * max(element_bytes, FLOAT32_BYTES)  # H × P × N

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the groups; their heads stay together."""
        yield "mamba2.n_groups", config.mamba2.n_groups

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the projections, the convolution, the scan and the gated norm save.

        With the flash kernel, as ``MambaSplitConv1dScanCombinedFn`` of the reference implementation, which runs all but
        the input projection: it saves that projection's output and the outputs of the scan, and recomputes the rest.

        References:
            https://github.com/state-spaces/mamba/blob/main/mamba_ssm/ops/triton/ssd_combined.py
        """
        yield from run.linear_input(x, "mamba2.in_proj")
        if run.config.mamba2.multipliers is not None:
            sizes = _sizes(run.config)  # of each part of the output of in_proj: 2·I + 2·G·N + H
            factors = (sizes.inner + sizes.channels + sizes.heads) * run.element_bytes
            yield SavedTensor("multipliers", "mamba2", factors, "tensor")
        if run.backend == "flash":
            yield from _fused(run)
        else:
            yield from _composed(run)

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of x, B, C and Δ and, without a fused kernel, of scores in chunks."""
        sizes, settings = _sizes(run.config), run.config.mamba2
        # in_proj output; y and its gated product
        per_token = (sizes.inner + sizes.channels + sizes.heads + 2 * sizes.inner) * run.element_bytes
        if run.backend != "flash":
            # decays and decayed scores of H heads, and scores of G groups, with each position of the chunk
            chunk = min(settings.chunk_len, run.seq_len)
            per_token += chunk * (2 * sizes.heads + settings.n_groups) * run.upcast_bytes
            per_token += (sizes.channels + 2 * sizes.inner) * run.upcast_bytes  # x, B, C; y, its gated product
        return run.tokens * per_token

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the convolution, of the scan, and of the gated norm.

        The flash kernel computes the scan in the dtype of the model, without tensors of pairs.
        """
        d, sizes, settings = config.d_model, _sizes(config), config.mamba2
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        projected = sizes.inner + sizes.channels + sizes.heads
        held = inference.tokens * (2 * d + projected) * element_bytes  # x, norm(x); in_proj output
        padding = inference.batch_size * (settings.kernel_size - 1) * sizes.channels * element_bytes
        # the inputs of the convolution with those before them; its output
        yield held + padding + inference.tokens * 2 * sizes.channels * element_bytes
        scanned = sizes.channels * element_bytes  # x, B and C
        if inference.backend == "flash":
            yield held + inference.tokens * (scanned + 2 * sizes.inner * element_bytes)  # y, its gated norm
            return
        scanned += (sizes.channels if upcast_bytes > element_bytes else 0) * upcast_bytes  # in float32
        chunk = min(settings.chunk_len, inference.seq_len)  # Q
        n_chunks = -(-inference.seq_len // chunk)
        rows = inference.batch_size * n_chunks * chunk  # B × c × Q
        # x times Δ by head; B and C padded, and by group; Δ, its decay, padded, and summed
        chunked = rows * (sizes.inner + 2 * B_AND_C * sizes.shared + 4 * sizes.heads) * upcast_bytes
        yield held + inference.tokens * scanned + chunked
        # x times Δ, and by head; B and C by group; Δ, its decay, the summed decay, a temporary
        in_chunks = (2 * sizes.inner + B_AND_C * sizes.shared + 4 * sizes.heads) * upcast_bytes
        scanning = held + inference.tokens * scanned + rows * in_chunks
        inner = rows * sizes.inner * upcast_bytes
        states = inference.batch_size * n_chunks * sizes.state * upcast_bytes  # B × c × I × N
        # decay from s to t, exponentiated; the scores of each group
        pairs = rows * chunk * (2 * sizes.heads + settings.n_groups) * upcast_bytes
        pairs += chunk * chunk * BOOL_BYTES  # the mask
        yield scanning + pairs + rows * chunk * sizes.heads * upcast_bytes + inner  # the decayed scores; y
        yield scanning + pairs + 2 * inner + 3 * states  # y, x decayed to the end; states added, each, stacked
        # y before and after the sum, x decayed, the outputs of states before and after their decay; two states
        yield scanning + pairs + 5 * inner + 2 * states
        is_cast = upcast_bytes > element_bytes
        scanned += 2 * sizes.heads * upcast_bytes  # Δ, its decay
        # y, normalized, times the weight; the weight in float32
        gated = inference.tokens * 3 + is_cast
        yield held + inference.tokens * scanned + gated * sizes.inner * upcast_bytes
        # y, which is cast; the projected output
        output = sizes.inner * upcast_bytes + (is_cast * sizes.inner + d) * element_bytes
        yield held + inference.tokens * (scanned + output)

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the window of the convolution, and of the update of the states in place."""
        d, sizes, settings = config.d_model, _sizes(config), config.mamba2
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        held = (2 * d + sizes.inner + sizes.channels + sizes.heads) * element_bytes  # x, norm(x); in_proj output
        # L inputs of the convolution, their products (L each), their sum
        window = (2 * settings.kernel_size + 1) * sizes.channels * element_bytes
        is_cast = upcast_bytes > element_bytes
        # x, B and C, in float32 as well; Δ, its decay
        held_by_scan = sizes.channels * (element_bytes + is_cast * upcast_bytes) + 2 * sizes.heads * upcast_bytes
        # y, normalized, times the weight, which is cast
        scan = held_by_scan + (3 + is_cast) * sizes.inner * upcast_bytes
        # y, which is cast; the projected output
        output = held_by_scan + sizes.inner * upcast_bytes + (is_cast * sizes.inner + d) * element_bytes
        return 0, (held + window, held + scan, held + output)


def _vectors(run: ForwardPass, name: str, dims: int, element_bytes: int) -> SavedTensor:
    """Return a tensor of ``dims`` elements per token; tensor parallelism divides the heads."""
    return SavedTensor(name, "mamba2", run.tokens * dims * element_bytes, "tensor")  # B × T × dims


def _projected(run: ForwardPass) -> SavedTensor:
    sizes = _sizes(run.config)
    return _vectors(run, "in_proj output", sizes.inner + sizes.channels + sizes.heads, run.element_bytes)


def _norm_groups(config: ModelConfig) -> int:
    """Return the groups of dimensions that the gated norm normalizes; 0 without one."""
    return {"grouped": config.mamba2.n_groups, "full": 1, "none": 0}[config.mamba2.norm]


def _fused(run: ForwardPass) -> Iterator[SavedTensor]:
    yield _projected(run)  # z, x, B, C and Δ
    yield _vectors(run, "scan output", _sizes(run.config).inner, run.element_bytes)  # before the gate
    if groups := _norm_groups(run.config):
        yield _vectors(run, "norm statistics", groups, run.upcast_bytes)


def _composed(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/mamba2.py:Mamba2.forward`` after its input, in float32 or wider inside."""
    config, sizes, upcast_bytes = run.config, _sizes(run.config), run.upcast_bytes
    settings, batch = config.mamba2, run.setup.batch_size
    is_cast = upcast_bytes > run.element_bytes

    def core(name: str, elements: int) -> SavedTensor:
        return SavedTensor(name, "mamba2", elements * upcast_bytes, "tensor", is_core_attention=True)

    padded = run.seq_len + settings.kernel_size - 1  # T + L - 1
    yield SavedTensor("convolution input", "mamba2", batch * padded * sizes.channels * run.element_bytes, "tensor")
    yield _vectors(run, "convolution output", sizes.channels, run.element_bytes)
    yield core("Δ before softplus", run.tokens * sizes.heads)
    if settings.min_dt > 0 or settings.max_dt is not None:
        yield core("Δ before clamp", run.tokens * sizes.heads)
    yield core("Δ", run.tokens * sizes.heads)
    # exp(A_log), which only the gradient of A_log needs, its negative; D in float32
    yield core("per head", ((1 if run.is_frozen else 2) + is_cast) * sizes.heads)
    yield core("x, B and C", run.tokens * sizes.channels)
    yield from _scan(run, core)
    yield core("gated input", run.tokens * sizes.inner)  # y
    if is_cast:
        yield core("z", run.tokens * sizes.inner)
    else:
        yield _projected(run)  # z is a view of it
    yield core("activated gate", run.tokens * sizes.inner)  # SiLU(z)
    if groups := _norm_groups(config):
        yield core("norm input", run.tokens * sizes.inner)
        yield core("norm statistics", run.tokens * groups)
        if not run.is_frozen:  # for the gradient of the weight
            yield core("normalized", run.tokens * sizes.inner)
        if is_cast:
            yield core("norm weight", sizes.inner)
    yield from run.linear_input(_vectors(run, "out_proj input", sizes.inner, run.element_bytes), "mamba2.out_proj")


def _scan(run: ForwardPass, core: Callable[[str, int], SavedTensor]) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/mamba2.py:chunked_scan``."""
    sizes, groups, batch = _sizes(run.config), run.config.mamba2.n_groups, run.setup.batch_size
    chunk = min(run.config.mamba2.chunk_len, run.seq_len)  # Q
    n_chunks = -(-run.seq_len // chunk)  # c
    tokens = batch * n_chunks * chunk  # B × c × Q
    pairs = tokens * chunk  # B × c × Q × Q
    yield SavedTensor("scan mask", "mamba2", chunk * chunk * BOOL_BYTES, "none", is_core_attention=True)  # Q × Q
    yield core("scan decay between positions", pairs * sizes.heads)  # B × c × H × Q × Q
    yield core("scan B and C in chunks", B_AND_C * tokens * sizes.shared)  # B × c × G × Q × N each
    yield core("scan scores", pairs * groups)  # B × c × G × Q × Q
    yield core("scan decayed scores", pairs * sizes.heads)  # B × c × H × Q × Q
    yield core("scan x in chunks", tokens * sizes.inner)  # B × c × H × Q × P
    yield core("scan decay to the end", tokens * sizes.heads)  # B × c × H × Q
    yield core("scan x decayed to the end", tokens * sizes.inner)  # B × c × G × R·P × Q
    yield core("scan decay of chunks", batch * n_chunks * sizes.heads)  # B × c × H
    yield core("scan states", batch * (n_chunks - 1) * sizes.state)  # B × I × N, a factor of each step between chunks
    yield core("scan states before chunks", batch * n_chunks * sizes.state)  # B × c × I × N
    yield core("scan outputs of states", tokens * sizes.inner)  # B × c × Q × I
    yield core("scan decay from the start", tokens * sizes.heads)  # B × c × H × Q
