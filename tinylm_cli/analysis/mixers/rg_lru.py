"""RG-LRU: a linear recurrence of single numbers with input-dependent gates, computed position by position.

Letters: B batch_size, T tokens, D d_model, I d_inner, H n_blocks of W = I / H dimensions, L kernel_size.

The recurrence, the gates and their normalization are elementwise and not counted; every matmul has a weight.

References:
    De et al. 2024 (Griffin), https://arxiv.org/abs/2402.19427
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.matmul import Matmul
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Tensor, linear
from tinylm_cli.config.schema import ModelConfig

GATES = ("input_gate", "decay_gate")
"""Block-diagonal maps of the convolved input."""

BRANCH_GRADIENTS = 2
"""Gradients (B, T, I) of the GELU branch and of the input of the convolution."""

RECURRENCE_GRADIENTS = 4
"""Gradients (B, T, I) of the input gate, the decay gate, the decays and the added inputs, in float32 or wider."""


class RgLru(Mixer):
    """``block.mixer: rg_lru``, as ``model/mixers/rg_lru.py:RgLru`` computes it."""

    column_parallel = ("decay", "gate_proj", "in_proj", "conv", *GATES)
    row_parallel = ("out_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the decays, the projections, the depthwise convolution, and both gates."""
        d, settings, inner = config.d_model, config.rg_lru, config.rg_lru_d_inner
        width = inner // settings.n_blocks
        yield Tensor("rg_lru.decay", (inner,), "rg_lru")  # (I)
        yield from linear("rg_lru.gate_proj", d, inner, "rg_lru", bias=settings.bias)  # (I, D)
        yield from linear("rg_lru.in_proj", d, inner, "rg_lru", bias=settings.bias)  # (I, D)
        yield Tensor("rg_lru.conv.weight", (inner, 1, settings.kernel_size), "rg_lru")  # (I, 1, L)
        if settings.bias:
            yield Tensor("rg_lru.conv.bias", (inner,), "rg_lru")  # (I)
        for gate in GATES:
            yield Tensor(f"rg_lru.{gate}.weight", (settings.n_blocks, width, width), "rg_lru")  # (H, W, W)
            yield Tensor(f"rg_lru.{gate}.bias", (settings.n_blocks, width), "rg_lru")  # (H, W)
        yield from linear("rg_lru.out_proj", inner, d, "rg_lru", bias=settings.bias)  # (D, I)

    def matmuls(self, *_: object) -> Iterator[Matmul]:
        """Yield nothing: the recurrence is elementwise."""
        return iter(())

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the last L - 1 inputs of the convolution, and of the state, in float32 or wider."""
        inner, element_bytes = config.rg_lru_d_inner, state_element_bytes(dtype)
        inputs = (config.rg_lru.kernel_size - 1) * inner * element_bytes  # (L - 1) × I
        return inputs + inner * max(element_bytes, FLOAT32_BYTES)  # I

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the blocks of the gates, which stay whole."""
        yield "rg_lru.n_blocks", config.rg_lru.n_blocks

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the projections, the convolution, the gates and the recurrence save."""
        inner, batch, upcast_bytes = run.config.rg_lru_d_inner, run.setup.batch_size, run.upcast_bytes
        is_cast = upcast_bytes > run.element_bytes

        def vectors(name: str, element_bytes: int, *, core: bool = False) -> SavedTensor:
            return SavedTensor(name, "rg_lru", run.tokens * inner * element_bytes, "tensor", core)  # B × T × I

        yield x  # read by gate_proj and in_proj
        yield vectors("gate_proj output", run.element_bytes)
        yield vectors("GELU output", run.element_bytes)
        padded = run.seq_len + run.config.rg_lru.kernel_size - 1  # T + L - 1
        yield SavedTensor("convolution input", "rg_lru", batch * padded * inner * run.element_bytes, "tensor")
        yield vectors("convolution output", run.element_bytes)
        if is_cast:
            yield vectors("x in float32", upcast_bytes, core=True)
            name = "decay parameter in float32"
            yield SavedTensor(name, "rg_lru", inner * upcast_bytes, "tensor", is_core_attention=True)
        yield SavedTensor("rate", "rg_lru", inner * upcast_bytes, "tensor", is_core_attention=True)  # -8 · softplus(Λ)
        # a; 1 - a², and its root; the root from the second position on, after a 1
        for name in ("input gate", "decay gate", "decay", "square", "square root", "scale", "gated x"):
            yield vectors(name, upcast_bytes, core=True)
        yield vectors("states", upcast_bytes, core=True)  # h before each position
        yield vectors("stacked states", run.element_bytes, core=True)
        yield vectors("out_proj input", run.element_bytes)

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of the branches, and of the recurrence."""
        branches, recurrence = BRANCH_GRADIENTS * run.element_bytes, RECURRENCE_GRADIENTS * run.upcast_bytes
        return run.tokens * run.config.rg_lru_d_inner * (branches + recurrence)

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the convolution, and of the recurrence."""
        inner, element_bytes = config.rg_lru_d_inner, inference.element_bytes
        upcast_bytes = max(element_bytes, FLOAT32_BYTES)
        held = inference.tokens * (2 * config.d_model + inner) * element_bytes  # x, norm(x); the GELU branch
        padding = inference.batch_size * (config.rg_lru.kernel_size - 1) * inner * element_bytes
        # the input of the convolution before and after padding; its output
        yield held + padding + inference.tokens * 3 * inner * element_bytes
        held += inner * upcast_bytes  # the rate
        # x; the gate of the input, the decays, their scale, the added inputs; each state, stacked
        yield held + inference.tokens * inner * (element_bytes + 6 * upcast_bytes)
        # x, the gated states (I each), their projection (D); the same in float32, but the states only once
        yield held + inference.tokens * ((2 * inner + config.d_model) * element_bytes + 5 * inner * upcast_bytes)

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the window of the convolution, and of the vectors of a step."""
        inner, element_bytes = config.rg_lru_d_inner, inference.element_bytes
        upcast_bytes = max(element_bytes, FLOAT32_BYTES)
        held = (2 * config.d_model + 2 * inner) * element_bytes  # x, norm(x); the GELU branch; in_proj output
        # L inputs, their products (L × I each), their sum
        window = (2 * config.rg_lru.kernel_size + 1) * inner * element_bytes
        # the gate of the input, the rate, the decay, its scale, the added input; the state, twice
        recurrence = 7 * inner * upcast_bytes
        # the state once; the gated state, its projection
        output = 6 * inner * upcast_bytes + (inner + config.d_model) * element_bytes
        return 0, (held + window, held + recurrence, held + output)
