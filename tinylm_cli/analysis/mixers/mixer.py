"""The costs that every sequence mixer describes, so that no sum over layers asks which mixers there are.

Letters: B batch_size, T tokens read, S positions in the cache, D d_model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tinylm_cli.analysis.attention_kernels import AttentionBackend
    from tinylm_cli.analysis.matmul import Matmul, PairCount
    from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
    from tinylm_cli.analysis.tensor import Tensor
    from tinylm_cli.config.schema import ModelConfig


class InferencePass(NamedTuple):
    """A forward pass without gradients through one layer."""

    batch_size: int  # B, sequences at once
    seq_len: int  # T, tokens read of each sequence
    kv_len: int  # S, positions attended to; the last T of them are read in this pass
    element_bytes: int  # bytes of an element of weights and activations
    backend: AttentionBackend  # the implementation of attention; other mixers ignore it

    @property
    def tokens(self) -> int:
        """B · T."""
        return self.batch_size * self.seq_len


class Mixer(ABC):
    """A sequence mixer. Each method describes one layer whose kind has the given config."""

    @abstractmethod
    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the parameters, in the order and under the names of the module in ``model/``."""

    @abstractmethod
    def matmuls(self, config: ModelConfig, tokens: int, pairs: PairCount, *, absorbed: bool) -> Iterator[Matmul]:
        """Yield the operations without a weight matrix on ``tokens`` tokens of one sequence.

        The matmuls of weight matrices follow from :meth:`tensors`.

        Args:
            config: The config of the kind of layers.
            tokens: T.
            pairs: Returns the (query, key) pairs that count for a window.
            absorbed: Whether the layer decodes one token with its cache.
        """

    @abstractmethod
    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes that decoding keeps of one sequence of ``seq_len`` tokens.

        ``dtype`` is a key of ``DTYPE_BYTES``, ``float8`` or ``int8``; the last two only store keys and values.
        """

    @abstractmethod
    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that autograd saves, in the order of the module, given its input ``x`` (B, T, D)."""

    @abstractmethod
    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of gradients that the backward pass holds at once."""

    @abstractmethod
    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes that reading tokens holds, at each point that may peak."""

    @abstractmethod
    def decode_bytes(
        self, config: ModelConfig, *, seq_len: int, element_bytes: int, backend: AttentionBackend
    ) -> tuple[int, tuple[int, ...]]:
        """Return the bytes that decoding one token of one sequence holds throughout, and at each point that may peak.

        The cache of ``seq_len`` positions is not included.
        """
