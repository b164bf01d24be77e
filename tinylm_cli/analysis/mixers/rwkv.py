"""RWKV-4's time mixing: weighted averages whose weights decay with the distance, computed position by position.

Letters: B batch_size, T tokens, D d_model, I d_inner.

The sums, their decays and the mixes of two positions are elementwise and not counted; every matmul has a weight.

References:
    Peng et al. 2023, https://arxiv.org/abs/2305.13048
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.matmul import Matmul
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer, state_element_bytes
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Tensor, linear
from tinylm_cli.config.schema import ModelConfig

PROJECTED = ("r", "k", "v")
"""Receptances, keys and values, each projected from a mix of its own."""

AVERAGED = ("decay", "weight", "numerators", "denominators", "earlier", "own", "numerator", "denominator")
"""Tensors of the averages: decays and weights, sums before each position, the weights of earlier positions and of the
position itself, and the sums of both."""

SUMS = 3
"""The state of an inner dimension: numerator, denominator, and their exponent."""


class Rwkv(Mixer):
    """``block.mixer: rwkv``, as ``model/mixers/rwkv.py:Rwkv`` computes it."""

    column_parallel = ("decay", "bonus", "r_proj", "k_proj", "v_proj")
    row_parallel = ("o_proj",)

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the decays and bonuses, the coefficients of each token shift, and the projections."""
        d, inner = config.d_model, config.rwkv_d_inner
        for name in ("decay", "bonus"):
            yield Tensor(f"rwkv.{name}", (inner,), "rwkv")  # (I)
        for name in PROJECTED:
            yield Tensor(f"rwkv.mix_{name}", (d,), "rwkv")  # (D)
        for name in PROJECTED:
            yield from linear(f"rwkv.{name}_proj", d, inner, "rwkv", bias=False)  # (I, D)
        yield from linear("rwkv.o_proj", inner, d, "rwkv", bias=False)  # (D, I)

    def matmuls(self, *_: object) -> Iterator[Matmul]:
        """Yield nothing: the sums are elementwise."""
        return iter(())

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:  # noqa: ARG002
        """Return the bytes of the last input, and of the sums, in float32 or wider."""
        element_bytes = state_element_bytes(dtype)
        sums = SUMS * config.rwkv_d_inner * max(element_bytes, FLOAT32_BYTES)  # 3 × I
        return config.d_model * element_bytes + sums  # D

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the inner dimensions."""
        yield "rwkv.d_inner", config.rwkv_d_inner

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that the mixes, the projections and the averages save."""
        inner, upcast_bytes = run.config.rwkv_d_inner, run.upcast_bytes

        def vectors(name: str, element_bytes: int, *, core: bool = False) -> SavedTensor:
            return SavedTensor(name, "rwkv", run.tokens * inner * element_bytes, "tensor", core)  # B × T × I

        yield x  # one end of each mix
        # the other end; the mixes, which every GPU of tensor parallelism projects
        for name in ("shifted input", *(f"{each}_proj input" for each in PROJECTED)):
            size = run.tokens * run.config.d_model * run.element_bytes  # B × T × D
            yield SavedTensor(name, "rwkv", size, "none")
        yield vectors("receptance", run.element_bytes)
        yield vectors("value", upcast_bytes, core=upcast_bytes > run.element_bytes)
        yield SavedTensor("rate", "rwkv", inner * upcast_bytes, "tensor", is_core_attention=True)  # e^decay
        for name in AVERAGED:
            yield vectors(name, upcast_bytes, core=True)
        yield vectors("average", run.element_bytes)
        yield vectors("o_proj input", run.element_bytes)

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of the averages, or later of the mixes and of both positions in them."""
        inner, upcast_bytes = run.config.rwkv_d_inner, run.upcast_bytes
        # receptances; values, own weights, numerators, denominators
        averages = inner * (run.element_bytes + 4 * upcast_bytes)
        # a mix, two products, x and the shifted input; the tensors of the averages are freed by then
        mixes = 5 * run.config.d_model * run.element_bytes - len(AVERAGED) * inner * upcast_bytes
        return run.tokens * max(averages, mixes)

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of the projections, and of the averages."""
        inner, element_bytes = config.rwkv_d_inner, inference.element_bytes
        upcast_bytes = max(element_bytes, FLOAT32_BYTES)
        inputs = 2 * config.d_model + 3 * inner  # x, norm(x); receptances, keys, values
        # the shifted input, and its mix with x (D each)
        yield inference.tokens * (inputs + 2 * config.d_model) * element_bytes
        is_cast = upcast_bytes > element_bytes
        copies = 2 * inner * upcast_bytes if is_cast else 0  # keys and values
        # exponents, decays, weights, weighted values, each sum, all stacked
        averages = inputs * element_bytes + copies + 6 * inner * upcast_bytes
        # the rate, and the bonus if it is cast; of each sequence, a sum before the first position
        yield inference.tokens * averages + (1 + is_cast + inference.batch_size) * inner * upcast_bytes

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of the vectors of a step."""
        return 0, tuple(self.prefill_bytes(config, inference))
