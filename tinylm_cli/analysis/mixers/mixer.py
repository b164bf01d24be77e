"""The interface for the costs of a sequence mixer; code that sums over layers does not depend on the kind of mixer.

Letters: B batch_size, T tokens read, S positions in the cache, D d_model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from tinylm_cli.analysis.dtypes import DTYPE_BYTES, FLOAT32_BYTES

if TYPE_CHECKING:
    from tinylm_cli.analysis.attention_kernels import AttentionBackend
    from tinylm_cli.analysis.matmul import Matmul, SequencePass
    from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
    from tinylm_cli.analysis.tensor import Tensor
    from tinylm_cli.config.schema import ModelConfig


HALF_PRECISION_BYTES = DTYPE_BYTES["bfloat16"]


class InferencePass(NamedTuple):
    """A forward pass without gradients through one layer."""

    batch_size: int  # B, sequences at once
    seq_len: int  # T, tokens read of each sequence
    kv_len: int  # S, positions attended to; the last T of them are read in this pass
    element_bytes: int  # bytes of an element of weights and activations
    backend: AttentionBackend  # the implementation of attention; other mixers ignore it

    @property
    def upcast_bytes(self) -> int:
        """Bytes of an element of a tensor upcast to at least float32."""
        return max(self.element_bytes, FLOAT32_BYTES)

    @property
    def tokens(self) -> int:
        """B · T."""
        return self.batch_size * self.seq_len


class Mixer(ABC):
    """A sequence mixer. Each method describes one layer whose kind has the given config.

    Attributes:
        column_parallel: Names of modules or parameters whose rows tensor parallelism shards: (out, in) weights by their
            outputs, and vectors with an element for each output.
        row_parallel: Names of modules whose weights it shards by their inputs; their outputs are summed.
        caches_tokens: Whether its cache grows with the sequence; otherwise it has a state of constant size, or none.
        supports_context_parallel: Whether the sequence can be sharded, by passing keys and values around a ring.
    """

    column_parallel: ClassVar[tuple[str, ...]]
    row_parallel: ClassVar[tuple[str, ...]]
    caches_tokens: ClassVar[bool] = False
    supports_context_parallel: ClassVar[bool] = False

    @abstractmethod
    def tensors(self, config: ModelConfig) -> Iterator[Tensor]:
        """Yield the parameters, in the order and under the names of the module in ``model/``."""

    @abstractmethod
    def matmuls(self, config: ModelConfig, counted: SequencePass) -> Iterator[Matmul]:
        """Yield the operations without a weight matrix on the tokens of one sequence.

        The matmuls of weight matrices follow from :meth:`tensors`.
        """

    @abstractmethod
    def cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes that decoding keeps of one sequence of ``seq_len`` tokens.

        ``dtype`` is a key of ``DTYPE_BYTES``, ``float8`` or ``int8``; the last two only store keys and values.
        """

    def read_cache_bytes(self, config: ModelConfig, *, seq_len: int, dtype: str) -> int:
        """Return the bytes of its cache that one step reads: all of them, unless it selects positions."""
        return self.cache_bytes(config, seq_len=seq_len, dtype=dtype)

    def state_bytes(self, config: ModelConfig, *, dtype: str) -> int:
        """Return the bytes of its cache that do not depend on the number of tokens."""
        return 0 if self.caches_tokens else self.cache_bytes(config, seq_len=1, dtype=dtype)

    @abstractmethod
    def tensor_parallel_sizes(self, config: ModelConfig) -> Iterator[tuple[str, int]]:
        """Yield the name and value of each size that tensor parallelism divides."""

    def ring_elements(self, config: ModelConfig, *, tensor_parallel: int) -> int:  # noqa: ARG002
        """Return the elements per token that one GPU passes around the ring of context parallelism."""
        return 0

    def summed_elements(self, config: ModelConfig) -> int:  # noqa: ARG002
        """Return the elements per token that tensor parallelism all-reduces in addition to the sub-layer's output."""
        return 0

    @abstractmethod
    def saved(self, run: ForwardPass, x: SavedTensor) -> Iterator[SavedTensor]:
        """Yield the tensors that autograd saves, in the order of the module, given its input ``x`` (B, T, D)."""

    @abstractmethod
    def gradient_bytes(self, run: ForwardPass) -> int:
        """Return the bytes of gradients that the backward pass holds at once."""

    @abstractmethod
    def prefill_bytes(self, config: ModelConfig, inference: InferencePass) -> Iterator[int]:
        """Yield the bytes that reading tokens holds, at each point where memory may peak."""

    @abstractmethod
    def decode_bytes(self, config: ModelConfig, inference: InferencePass) -> tuple[int, tuple[int, ...]]:
        """Return the bytes that decoding one token of one sequence holds throughout, and at each point that may peak.

        The cache of ``inference.kv_len`` positions is not included.
        """


def norm_bytes(config: ModelConfig, element_bytes: int) -> int:
    """Return the bytes that a norm of the config allocates for each element of its input.

    Torch's RMSNorm on the CPU is composed of single operations in float32 or wider.
    """
    if config.norm.kind == "layernorm":
        return element_bytes  # its output
    upcast_bytes = max(element_bytes, FLOAT32_BYTES)
    if upcast_bytes == element_bytes:
        return 2 * upcast_bytes  # scaled, times the weight
    return 3 * upcast_bytes  # upcast, scaled, times the weight


def state_element_bytes(dtype: str) -> int:
    """Return the bytes of an element of a cached convolution input: the cache dtype, but 16 bits in an 8-bit cache."""
    return DTYPE_BYTES.get(dtype, HALF_PRECISION_BYTES)
