"""One saved tensor, the forward pass that saves it, and the sum of several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


class LayerAdapters(NamedTuple):
    """The low-rank adapters of the linear maps in a layer, or outside the layers; all other weights are frozen."""

    # The maps that share an adapter, by name: ``feed_forward.up_proj``; and its rank. Ordered by name.
    ranks: tuple[tuple[tuple[str, ...], int], ...]
    dropout: float = 0.0  # Dropout of the input of each adapter.
    trained: frozenset[str] = frozenset()  # Maps whose own weight is trained.


class ForwardPass(NamedTuple):
    """The forward pass of one micro-batch, through the model or through a layer of one kind."""

    config: ModelConfig  # the model; in a layer, the config of its kind
    setup: TrainingSetup  # how it is trained
    context: int = 1  # context-parallel degree: GPUs that share each sequence
    adapters: LayerAdapters | None = None  # adapters of the layer if its weights are frozen; None if they are trained

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
    def is_frozen(self) -> bool:
        """Whether only adapters are trained."""
        return self.adapters is not None

    @property
    def grad_element_bytes(self) -> int:
        """Bytes of one element of the gradient of a weight; 0 if weights are frozen."""
        return 0 if self.is_frozen else self.setup.grad_element_bytes

    def linear_input(self, x: SavedTensor, *names: str) -> Iterator[SavedTensor]:
        """Yield the tensors that linear maps of ``x`` save: ``x`` for the gradients of their weights.

        A frozen map saves nothing but its weight. Its adapter ``B(A(dropout(x)))`` saves the input of A and of B.

        Args:
            x: The input.
            names: Names of the maps within the layer.
        """
        if self.adapters is None or self.adapters.trained.intersection(names):
            yield x
        if self.adapters is None:
            return
        for (first, *_), rank in ((maps, rank) for maps, rank in self.adapters.ranks if maps[0] in names):
            if self.adapters.dropout:
                mask = x.nbytes // self.element_bytes * self.dropout_mask_element_bytes(self.element_bytes)
                yield x._replace(name=f"{first} adapter dropout mask", nbytes=mask)
                yield x._replace(name=f"{first} adapter dropped input")
            else:
                yield x
            hidden = self.tokens * rank * self.element_bytes  # B × T × r, read by B
            yield SavedTensor(f"{first} adapter hidden", x.part, hidden, "none")

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
