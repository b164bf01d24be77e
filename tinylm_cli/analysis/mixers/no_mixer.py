"""Layers without a sequence mixer: only a feed-forward network."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.matmul import Matmul
from tinylm_cli.analysis.mixers.mixer import Mixer
from tinylm_cli.analysis.saved_tensors.saved_tensor import SavedTensor
from tinylm_cli.analysis.tensor import Tensor


class NoMixer(Mixer):
    """``block.mixer: none``, which has no tensors and costs nothing."""

    column_parallel = row_parallel = ()
    supports_context_parallel = True

    def tensors(self, *_: object) -> Iterator[Tensor]:
        """Yield nothing."""
        return iter(())

    def matmuls(self, *_: object) -> Iterator[Matmul]:
        """Yield nothing."""
        return iter(())

    def cache_bytes(self, *_: object, **_sizes: object) -> int:
        """Return 0."""
        return 0

    def tensor_parallel_sizes(self, *_: object) -> Iterator[tuple[str, int]]:
        """Yield nothing."""
        return iter(())

    def saved(self, *_: object) -> Iterator[SavedTensor]:
        """Yield nothing."""
        return iter(())

    def gradient_bytes(self, *_: object) -> int:
        """Return 0."""
        return 0

    def prefill_bytes(self, *_: object) -> Iterator[int]:
        """Yield nothing."""
        return iter(())

    def decode_bytes(self, *_: object) -> tuple[int, tuple[int, ...]]:
        """Return no bytes and no points."""
        return 0, ()
