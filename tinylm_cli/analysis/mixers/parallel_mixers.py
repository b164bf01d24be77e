"""Two sequence mixers in parallel on one input, whose outputs are added.

References:
    Zuo et al. 2025 (Falcon-H1), section 2, https://arxiv.org/abs/2507.22448
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tinylm_cli.analysis.matmul import Matmul, SequencePass
from tinylm_cli.analysis.mixers.mixer import InferencePass, Mixer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.tensor import Tensor
from tinylm_cli.config.schema import ModelConfig


class ParallelMixers(Mixer):
    """Mixers in parallel, as ``model/block.py:TransformerBlock`` adds them.

    Args:
        *mixers: The mixers, in the order in which they run; the first caches tokens.
    """

    column_parallel = ()  # its mixers register theirs
    row_parallel = ()
    caches_tokens = True

    def __init__(self, *mixers: Mixer) -> None:
        self.mixers = mixers

    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the parameters of each mixer."""
        return chain.from_iterable(each.tensors(config) for each in self.mixers)

    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the operations of each mixer."""
        return chain.from_iterable(each.matmuls(config, counted) for each in self.mixers)

    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes of all caches."""
        return sum(each.cache_bytes(config, seq_len=seq_len, dtype=dtype) for each in self.mixers)

    def read_cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes that one step reads of all caches."""
        return sum(each.read_cache_bytes(config, seq_len=seq_len, dtype=dtype) for each in self.mixers)

    def state_bytes(self, config: ModelConfig, *, dtype: str) -> int:
        """Return the bytes of all states of constant size."""
        return sum(each.state_bytes(config, dtype=dtype) for each in self.mixers)

    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the sizes of each mixer."""
        return chain.from_iterable(each.tensor_parallel_sizes(config) for each in self.mixers)

    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that each mixer saves; their sum saves none."""
        return chain.from_iterable(each.saved(run, x) for each in self.mixers)

    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of the gradients of one mixer, and of the gradient of the input from the others."""
        vectors = run.tokens * run.config.d_model * run.element_bytes  # B × T × D
        return vectors + max(each.gradient_bytes(run) for each in self.mixers)

    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes of each mixer, with the outputs of the mixers before it."""
        vectors = inference.tokens * config.d_model * inference.element_bytes  # B × T × D
        for index, each in enumerate(self.mixers):
            for point in each.prefill_bytes(config, inference):
                yield index * vectors + point

    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of each mixer, with the outputs of the mixers before it."""
        vector = config.d_model * inference.element_bytes  # D
        held = [each.decode_bytes(config, inference) for each in self.mixers]
        points = [index * vector + throughout + point for index, (throughout, of) in enumerate(held) for point in of]
        return 0, tuple(points)
