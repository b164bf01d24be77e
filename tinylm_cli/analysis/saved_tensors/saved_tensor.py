"""A tensor that is kept, the pass that keeps it, and the sum of several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from tinylm_cli.analysis.attention_kernels import AttentionBackend, attention_backend
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import AttentionKernel, Device

Divided = Literal["tensor", "sequence", "none"]


class SavedTensor(NamedTuple):
    """A tensor that is kept.

    Attributes:
        name: Unique within a layer, or within what stands outside the layers.
        part: The part of the model whose backward pass needs it.
        nbytes: Its bytes.
        divided: Whether tensor parallelism divides it, or sequence parallelism alone, or neither.
        core: Whether it lies between queries, keys and values and their mixture: what selective recomputation drops.
    """

    name: str
    part: str
    nbytes: int
    divided: Divided
    core: bool = False


class ForwardPass(NamedTuple):
    """The forward pass of one micro-batch.

    Attributes:
        config: The model.
        setup: How it is trained.
        context: Context-parallel degree: GPUs that share each sequence.
    """

    config: ModelConfig
    setup: TrainingSetup
    context: int = 1

    @property
    def batch_size(self) -> int:
        """B."""
        return self.setup.batch_size

    @property
    def seq_len(self) -> int:
        """T, the tokens of each sequence on one GPU."""
        return self.keys // self.context

    @property
    def keys(self) -> int:
        """Positions that a query may attend to: all of the sequence, on whichever GPU."""
        return self.setup.length(self.config)

    @property
    def tokens(self) -> int:
        """B · T."""
        return self.batch_size * self.seq_len

    @property
    def width(self) -> int:
        """Bytes of one element of a weight or activation."""
        return self.setup.element_bytes

    @property
    def kernel(self) -> AttentionKernel:
        """How attention is computed."""
        return self.setup.attention_kernel

    @property
    def device(self) -> Device:
        """Whose kernels run."""
        return self.setup.device

    @property
    def wide(self) -> int:
        """Bytes of one element of a value computed in float32 or wider."""
        return max(self.width, 4)

    def banded(self, layer: int) -> bool:
        """Whether a layer's window is shorter than the sequence."""
        return (self.config.window(layer) or self.keys) < self.keys

    def backend(self, layer: int) -> AttentionBackend:
        """How a layer's attention is computed."""
        drops = self.config.dropout > 0
        return attention_backend(self.config, self.kernel, device=self.device, banded=self.banded(layer), dropout=drops)

    def writes_scores(self, layer: int) -> bool:
        """Whether a layer's scores are written out."""
        return self.backend(layer) in ("math", "eager")

    def mask_width(self, width: int) -> int:
        """Bytes of an element of a dropout mask over elements of ``width`` bytes: a boolean, or on the CPU a factor."""
        return 1 if self.device == "cuda" else width


def each_once(kept: Iterable[SavedTensor]) -> tuple[SavedTensor, ...]:
    """Return each tensor once, where it is first named."""
    found: dict[str, SavedTensor] = {}
    for one in kept:
        assert found.setdefault(one.name, one) == one, f"two tensors are named {one.name}"
    return tuple(found.values())


def total_bytes(kept: Iterable[SavedTensor]) -> int:
    """Return the bytes of tensors together."""
    return sum(one.nbytes for one in kept)
