"""Gated short convolution: ``out_proj(gate_out ⊙ conv(gate_in ⊙ x))``, where one map of the input gives all three.

Letters: B batch_size, T tokens, D d_model, L kernel_size.

References:
    Liquid AI 2025 (LFM2), section 2, https://arxiv.org/abs/2511.23404
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.matmul import Matmul
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, Sharding
from tinylm_cli.analysis.tensor import Tensor, linear
from tinylm_cli.config.schema import ModelConfig

BRANCHES = 3
"""The input projection gives a gate before the convolution, a gate after it, and the values that it reads."""


class ShortConv(Mixer):
    """``block.mixer: short_conv``, as ``model/mixers/short_conv.py:ShortConv`` computes it."""

    column_parallel = ("in_proj", "conv")
    row_parallel = ("out_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the input projection, the depthwise convolution, and the output projection."""
        d, settings = config.d_model, config.short_conv
        yield from linear("short_conv.in_proj", d, BRANCHES * d, "short_conv", bias=settings.bias)  # (3·D, D)
        yield Tensor("short_conv.conv.weight", (d, 1, settings.kernel_size), "short_conv")  # (D, 1, L)
        if settings.bias:
            yield Tensor("short_conv.conv.bias", (d,), "short_conv")  # (D)
        yield from linear("short_conv.out_proj", d, d, "short_conv", bias=settings.bias)  # (D, D)

    def matmuls(self, *_: object) -> Iterator[Matmul]:
        """Yield nothing: the convolution is a weight, which multiplies ``2 · T · D · L``; gates are elementwise."""
        return iter(())

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the state: the last L - 1 inputs of the convolution, for any number of tokens."""
        kept = config.short_conv.kernel_size - 1
        return kept * config.d_model * state_element_bytes(dtype)  # (L - 1) × D

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the channels."""
        yield "d_model", config.d_model

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the inputs of both projections, and the factors of both gates."""
        d, batch = run.config.d_model, run.setup.batch_size

        def vectors(name: str, dims: int, rows: int = run.tokens, sharding: Sharding = "tensor") -> SavedTensor:
            return SavedTensor(name, "short_conv", rows * dims * run.element_bytes, sharding)

        yield from run.linear_input(x, "short_conv.in_proj")
        yield vectors("in_proj output", BRANCHES * d)  # B × T × 3·D, both gates and the values
        padded = run.seq_len + run.config.short_conv.kernel_size - 1  # T + L - 1
        yield vectors("convolution input", d, batch * padded)  # B × (T + L - 1) × D
        yield vectors("convolution output", d)  # B × T × D, a factor of the gate after it
        yield from run.linear_input(vectors("out_proj input", d), "short_conv.out_proj")  # B × T × D

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of the three branches, and of the convolution's input and output."""
        branches = BRANCHES + 2  # in_proj output (3·D); input and output of the convolution (D each)
        return run.tokens * branches * run.config.d_model * run.element_bytes

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the convolution; its output, the gated output and the projected output take no more."""
        d, kept = config.d_model, config.short_conv.kernel_size - 1
        held = 2 + BRANCHES  # x, norm(x); in_proj output (3·D)
        padding = inference.batch_size * kept * d * inference.element_bytes  # (L - 1) × D
        # the input of the convolution before and after padding; its output
        yield padding + inference.tokens * (held + 3) * d * inference.element_bytes

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the window of L inputs, multiplied with the weights."""
        window = 2 * config.short_conv.kernel_size * config.d_model  # the window, its products (L × D each)
        held = 2 + BRANCHES + 2  # x, norm(x); in_proj output (3·D); input and output of the convolution
        return 0, (inference.element_bytes * (held * config.d_model + window),)
