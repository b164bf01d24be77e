"""Mamba: a selective state-space model with a decay for each number of the state, computed position by position.

Letters: B batch_size, T tokens, D d_model, I d_inner, N d_state, R dt_rank, L kernel_size, H n_heads, Q tokens of a
chunk.

Operations are counted as matmuls, in both forms: Δ·x ⊗ b, ``2 · T · I · N``, and h·c, ``2 · T · I · N``,
with the input and output vectors b and c of the state space. Decays,
the sum that updates the state, gates and norms are elementwise and not counted.

References:
    Gu and Dao 2023, https://arxiv.org/abs/2312.00752
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, Sharding, deduplicated
from tinylm_cli.analysis.tensor import Tensor, linear
from tinylm_cli.config.blocks import Norm
from tinylm_cli.config.schema import ModelConfig

X_AND_Z = 2
"""The input projection gives the values of the state-space model, and their gate."""

_KERNEL_CHUNK_LEN = 2048
"""Positions after each of which the fused kernel saves the state."""


class Mamba(Mixer):
    """``block.mixer: mamba``, as ``model/mixers/mamba.py:Mamba`` computes it."""

    column_parallel = ("in_proj", "conv", "dt_proj", "A_log", "D")
    row_parallel = ("x_proj", "out_proj")

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the decays and skips, the projections, the depthwise convolution, and the norms of Δ, B and C."""
        d, settings, inner = config.d_model, config.mamba, config.mamba_d_inner
        yield Tensor("mamba.A_log", (inner, settings.d_state), "mamba")  # (I, N)
        yield Tensor("mamba.D", (inner,), "mamba")  # (I)
        yield from linear("mamba.in_proj", d, X_AND_Z * inner, "mamba", bias=settings.bias)  # (2·I, D)
        yield Tensor("mamba.conv.weight", (inner, 1, settings.kernel_size), "mamba")  # (I, 1, L)
        if settings.conv_bias:
            yield Tensor("mamba.conv.bias", (inner,), "mamba")  # (I)
        projected = _projected(config)
        heads, d_projected = settings.n_heads, sum(projected.values())
        yield from linear(
            "mamba.x_proj", inner // heads, heads * d_projected, "mamba", bias=False
        )  # (H·(R + 2·N), I/H)
        if settings.norm == "weighted":
            for name, size in projected.items():
                yield Tensor(f"mamba.{name}_norm.weight", (size,), "mamba")  # (R), (N), (N)
        yield from linear("mamba.dt_proj", config.mamba_dt_rank, inner, "mamba", bias=True)  # (I, R)
        yield from linear("mamba.out_proj", inner, d, "mamba", bias=settings.bias)  # (D, I)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the outer products and the outputs of all positions."""
        state = config.mamba_d_inner * config.mamba.d_state  # I × N
        flops = FLOPS_PER_ELEMENT * counted.tokens * state
        yield Matmul("mamba.states", "mamba_scan", flops)  # Δ·x ⊗ B: 2 × T × I × N
        yield Matmul("mamba.outputs", "mamba_scan", flops)  # h·C: 2 × T × I × N

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the last L - 1 inputs of the convolution, and of the states, in float32 or wider."""
        inner, element_bytes = config.mamba_d_inner, state_element_bytes(dtype)
        inputs = (config.mamba.kernel_size - 1) * inner * element_bytes  # (L - 1) × I
        return inputs + inner * config.mamba.d_state * max(element_bytes, FLOAT32_BYTES)  # I × N

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the inner dimensions, or the heads if there are several."""
        if config.mamba.n_heads > 1:
            yield "mamba.n_heads", config.mamba.n_heads
        else:
            yield "mamba.d_inner", config.mamba_d_inner

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the projections, the convolution, the scan and the gate save.

        With the flash kernel, as ``MambaInnerFn`` of the reference implementation, which runs all but the input
        projection: it saves the outputs of the projections and of the scan, and recomputes the rest.

        References:
            https://github.com/state-spaces/mamba/blob/main/mamba_ssm/ops/selective_scan_interface.py
        """
        yield x
        yield from _fused(run) if run.backend == "flash" else _composed(run)

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of the scan: of decays, added inputs and states, and of its vectors."""
        inner, state = run.config.mamba_d_inner, run.config.mamba_d_inner * run.config.mamba.d_state
        vectors = X_AND_Z * inner * run.element_bytes + 2 * inner * run.upcast_bytes  # in_proj output; x·Δ and Δ
        if run.backend == "flash":
            return run.tokens * vectors
        chunk = run.setup.batch_size * min(run.config.mamba.chunk_len, run.seq_len)  # B × Q
        # the stacked states, each state, the added inputs and their decays (I × N each)
        return run.tokens * vectors + 4 * chunk * state * run.upcast_bytes

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the convolution, of the last chunk of the scan, and of the gate.

        The flash kernel computes the scan without tensors of states.
        """
        d, inner, settings = config.d_model, config.mamba_d_inner, config.mamba
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        held = inference.tokens * (2 * d + X_AND_Z * inner) * element_bytes  # x, norm(x); in_proj output
        padding = inference.batch_size * (settings.kernel_size - 1) * inner * element_bytes
        # the inputs of the convolution with those before them; its output
        yield held + padding + inference.tokens * 2 * inner * element_bytes
        if inference.backend == "flash":
            yield held + inference.tokens * 3 * inner * element_bytes  # x, Δ, y
            return
        is_cast, n, heads = upcast_bytes > element_bytes, settings.d_state, settings.n_heads
        held += inference.tokens * inner * element_bytes + inner * n * upcast_bytes  # x (I); A (I × N)
        if heads > 1:  # A of each sequence, and the state by head
            held += 2 * inference.batch_size * inner * n * upcast_bytes
        # Δ, x in float32 (I each); B, C (N each)
        held += inference.tokens * ((1 + is_cast) * inner + 2 * heads * n) * upcast_bytes
        chunk = inference.batch_size * min(settings.chunk_len, inference.seq_len)  # B × Q
        states = chunk * inner * n * upcast_bytes  # B × Q × I × N
        copies = chunk * (inner + 2 * heads * n) * upcast_bytes  # Δ·x, B and C of the chunk
        outputs = inference.tokens * inner * upcast_bytes
        state = inference.batch_size * inner * n * upcast_bytes  # before a chunk or after the last one, B × I × N
        # Δ·x, y; decays, added inputs, each state, stacked
        yield held + 2 * outputs + copies + state + 4 * states
        yield held + 3 * outputs + state  # Δ·x; y of each chunk, concatenated
        # y, which is cast; the projected output
        yield held + outputs + inference.tokens * (is_cast * inner + d) * element_bytes

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the window of the convolution, and of the decays of the states."""
        d, inner, settings = config.d_model, config.mamba_d_inner, config.mamba
        element_bytes, upcast_bytes = inference.element_bytes, inference.upcast_bytes
        held = (2 * d + X_AND_Z * inner) * element_bytes  # x, norm(x); in_proj output
        window = (2 * settings.kernel_size + 1) * inner * element_bytes  # L inputs, their products (L × I), their sum
        is_cast, decays = upcast_bytes > element_bytes, inner * settings.d_state  # I × N
        # A; Δ, x in float32; B, C
        held_by_scan = (decays + ((1 + is_cast) * inner + 2 * settings.n_heads * settings.d_state)) * upcast_bytes
        if settings.n_heads > 1:
            held_by_scan += decays * upcast_bytes  # the state by head
        held_by_scan += inner * element_bytes  # x
        states = (2 * decays + inner) * upcast_bytes  # Δ·A, its exponential; Δ·x
        output = inner * upcast_bytes + (is_cast * inner + d) * element_bytes  # y, which is cast; the projected output
        return 0, (held + window, held + held_by_scan + states, held + held_by_scan + output)


def _projected(config: ModelConfig) -> dict[str, int]:
    """Return the dimensions of Δ, B and C in the output of x_proj: R, N and N."""
    d_state = config.mamba.d_state
    return {"dt": config.mamba_dt_rank, "b": d_state, "c": d_state}


def _vectors(run: ForwardPass, name: str, dims: int, element_bytes: int) -> SavedTensor:
    """Return a tensor of ``dims`` elements per token; tensor parallelism divides the inner dimensions."""
    return SavedTensor(name, "mamba", run.tokens * dims * element_bytes, "tensor")  # B × T × dims


def _x_proj_output(run: ForwardPass) -> SavedTensor:
    elements = _rows(run) * sum(_projected(run.config).values())  # B × T × H × (R + 2·N)
    return SavedTensor("x_proj output", "mamba", elements * run.element_bytes, _sharding(run))


def _rows(run: ForwardPass) -> int:
    """Return the vectors of Δ, B and C each, B · T · H."""
    return run.tokens * run.config.mamba.n_heads


def _sharding(run: ForwardPass) -> Sharding:
    """Return the parallelism that shards Δ, B and C: tensor parallelism divides several heads."""
    return "tensor" if run.config.mamba.n_heads > 1 else "none"


def _fused(run: ForwardPass) -> Iterator[SavedTensor]:
    inner, d_state = run.config.mamba_d_inner, run.config.mamba.d_state
    yield _vectors(run, "in_proj output", X_AND_Z * inner, run.element_bytes)
    yield _x_proj_output(run)
    # B × T × H × N each
    yield SavedTensor("B and C", "mamba", _rows(run) * 2 * d_state * run.element_bytes, _sharding(run))
    n_states = run.setup.batch_size * -(-run.seq_len // _KERNEL_CHUNK_LEN)
    # the product of the decays up to each of them, and the state: B × I × 2·N
    yield SavedTensor("scan states", "mamba", n_states * inner * 2 * d_state * FLOAT32_BYTES, "tensor")
    yield _vectors(run, "scan output", inner, run.element_bytes)  # before the gate


def _composed(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of ``model/mixers/mamba.py:Mamba.forward`` after its input, in float32 or wider inside."""
    settings, inner, upcast_bytes = run.config.mamba, run.config.mamba_d_inner, run.upcast_bytes
    is_cast, batch = upcast_bytes > run.element_bytes, run.setup.batch_size

    def core(name: str, elements: int) -> SavedTensor:
        return SavedTensor(name, "mamba", elements * upcast_bytes, "tensor", is_core_attention=True)

    padded = run.seq_len + settings.kernel_size - 1  # T + L - 1
    yield SavedTensor("convolution input", "mamba", batch * padded * inner * run.element_bytes, "tensor")
    yield _vectors(run, "convolution output", inner, run.element_bytes)
    yield _vectors(run, "x_proj input", inner, run.element_bytes)
    yield from deduplicated(_projections(run))
    yield core("Δ before softplus", run.tokens * inner)
    yield core("Δ", run.tokens * inner)
    # of several heads, A and D are copied for each sequence
    copies = batch if settings.n_heads > 1 else 1
    yield core("A", (1 + copies) * inner * settings.d_state)  # exp(A_log), its negative
    if is_cast:
        yield core("x in float32", run.tokens * inner)
    if is_cast or copies > 1:
        yield core("D in float32", copies * inner)
    yield core("Δ·x", run.tokens * inner)
    state = inner * settings.d_state  # I × N
    yield core("scan decays", run.tokens * state)  # B × T × I × N
    # B × T × I × N: the state before each position
    yield core("scan states", run.tokens * state)
    yield core("scan states, stacked", run.tokens * state)  # B × T × I × N
    yield core("gated input", run.tokens * inner)  # y
    if is_cast:
        yield core("z", run.tokens * inner)
    else:
        yield _vectors(run, "in_proj output", X_AND_Z * inner, run.element_bytes)  # z is a view of it
    yield core("activated gate", run.tokens * inner)  # SiLU(z)
    yield _vectors(run, "out_proj input", inner, run.element_bytes)


def _projections(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors of Δ, B and C between x_proj and the scan."""
    settings, output = run.config.mamba, _x_proj_output(run)
    for name, size in _projected(run.config).items():
        elements, source = _rows(run) * size, output
        if settings.norm != "none":
            of_norm = Norm(kind="rmsnorm", weight=settings.norm == "weighted")
            yield from norm(run, f"{name}_norm", output, _rows(run), size, settings=of_norm, sharding=_sharding(run))
            source = SavedTensor(f"{name}_norm output", "mamba", elements * run.element_bytes, _sharding(run))
        if name == "dt":
            yield source  # read by dt_proj
        else:
            yield SavedTensor(f"{name} in chunks", "mamba", elements * run.upcast_bytes, _sharding(run))
