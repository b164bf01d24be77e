"""One saved tensor, the forward pass that saves it, and the sum of several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from tinylm_cli.analysis.attention_kernels import AttentionBackend, attention_backend
from tinylm_cli.analysis.dtypes import BOOL_BYTES, FLOAT32_BYTES
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig

Sharding = Literal["tensor", "sequence", "none"]
"""The parallelism that shards a tensor: tensor parallelism, sequence parallelism only, or neither."""


class SavedTensor(NamedTuple):
    """A tensor that autograd saves.

    Attributes:
        name: Unique within a layer, or outside the layers.
        part: The part of the model whose backward pass needs it.
        nbytes: Its bytes.
        sharding: The parallelism that shards it.
        is_core_attention: Whether it is computed from queries, keys and values before the attention output; selective
            recomputation drops it.
    """

    name: str
    part: str
    nbytes: int
    sharding: Sharding
    is_core_attention: bool = False


class ForwardPass(NamedTuple):
    """The forward pass of one micro-batch, through the model or through a layer of one kind."""

    config: ModelConfig  # the model; in a layer, the config of its kind
    setup: TrainingSetup  # how it is trained
    context: int = 1  # context-parallel degree: GPUs that share each sequence

    @property
    def seq_len(self) -> int:
        """T, the tokens per sequence on one GPU."""
        return self.keys // self.context

    @property
    def keys(self) -> int:
        """Positions that a query may attend to: the full sequence, over all context-parallel GPUs."""
        return self.setup.length(self.config)

    @property
    def tokens(self) -> int:
        """B · T."""
        return self.setup.batch_size * self.seq_len

    @property
    def outputs(self) -> int:
        """Elements of the head's outputs at all tokens: B · T · C · V logits, B · T · L scores, or 0 without a head."""
        return self.tokens * self.config.n_outputs

    @property
    def loss_inputs(self) -> int:
        """Elements of the outputs that the loss reads; B · L, the last token's, in sequence classification."""
        of_last_token = self.config.head.kind == "sequence_classification"
        return self.setup.batch_size * self.config.n_outputs if of_last_token else self.outputs

    @property
    def element_bytes(self) -> int:
        """Bytes of one element of a weight or activation."""
        return self.setup.element_bytes

    @property
    def upcast_bytes(self) -> int:
        """Bytes of one element that is computed in float32 or wider."""
        return max(self.element_bytes, FLOAT32_BYTES)

    @property
    def is_banded(self) -> bool:
        """Whether the layer's window, or the selection of its indexer, is shorter than the sequence."""
        return (self.config.attention.window or self.keys) < self.keys or self.is_indexed

    @property
    def is_indexed(self) -> bool:
        """Whether the layer's indexer selects some of the positions, differently in each sequence."""
        return (self.config.attention.index_top_k or self.keys) < self.keys

    @property
    def masks(self) -> int:
        """The masks of the layer, (T, S) each: one for all sequences, or one for each."""
        return self.setup.batch_size if self.is_indexed else 1

    @property
    def backend(self) -> AttentionBackend:
        """The attention backend of the layer."""
        drops = self.config.dropout > 0
        return attention_backend(
            self.config,
            self.setup.attention_kernel,
            device=self.setup.device,
            banded=self.is_banded,
            dropout=drops,
            trains=True,
        )

    @property
    def materializes_scores(self) -> bool:
        """Whether the layer's attention scores are written to memory."""
        return self.backend in ("math", "eager")

    def dropout_mask_element_bytes(self, element_bytes: int) -> int:
        """Bytes of an element of a dropout mask: a boolean on CUDA; on the CPU a factor in the tensor's dtype."""
        return BOOL_BYTES if self.setup.device == "cuda" else element_bytes


def deduplicated(tensors: Iterable[SavedTensor]) -> tuple[SavedTensor, ...]:
    """Return each tensor once, in the order of first occurrence."""
    found: dict[str, SavedTensor] = {}
    for tensor in tensors:
        assert found.setdefault(tensor.name, tensor) == tensor, f"two tensors are named {tensor.name}"
    return tuple(found.values())


def total_bytes(tensors: Iterable[SavedTensor]) -> int:
    """Return the sum of the tensors' bytes."""
    return sum(tensor.nbytes for tensor in tensors)
