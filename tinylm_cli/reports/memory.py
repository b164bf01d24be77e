"""What training and running a model hold in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

AttentionKernel = Literal["flash", "sdpa", "math"]
Recompute = Literal["none", "selective", "full"]
Device = Literal["cuda", "cpu"]
Optimizer = Literal["adamw", "adamw_8bit", "adafactor", "muon", "sgd", "sgd_momentum"]
Quantization = Literal["none", "int8", "float8", "int4"]
Moment = Literal["loss", "head gradient", "backward", "embedding gradient", "optimizer step"]


@dataclass(frozen=True)
class OwnAttention:
    """What tinylm's own model keeps of attention on CUDA that a flash kernel does not.

    Attributes:
        keeps: ``scores``, of every query and key; ``masks``, which torch is given to add.
        because: What of the config asks for it: ``soft-caps``, ``sinks``, ``windows``, ``ALiBi``, ``grouped keys``.
    """

    keeps: Literal["scores", "masks"]
    because: tuple[str, ...]


@dataclass(frozen=True)
class KeptPart:
    """What one part of a layer, or of what stands outside the layers, keeps for the backward pass.

    Attributes:
        name: ``residual``, ``norm``, ``attention``, ``router``, ``experts``, ``shared experts``, ``feed_forward``,
            ``dropout``; outside the layers ``embedding``, ``position``, ``ln_f``, ``lm_head``, ``loss``.
        kept_bytes: All of it.
        tensor_parallel_bytes: Of these, what tensor parallelism divides: heads and hidden layers.
        sequence_parallel_bytes: What only sequence parallelism divides: the residual stream, norms, dropout masks.
            What neither divides, as tables for every position, is the rest.
    """

    name: str
    kept_bytes: int
    tensor_parallel_bytes: int
    sequence_parallel_bytes: int


@dataclass(frozen=True)
class LayerActivations:
    """What each layer of one sort keeps.

    Attributes:
        name: ``blocks``, and what sets the sort apart where there are several: ``blocks, window 4096``.
        count: Layers of the sort.
        layer_bytes: What one layer keeps from its forward pass to its backward pass.
        recomputed_bytes: What one layer computes again, and holds while its backward pass runs.
        parts: What makes up ``layer_bytes``, in the order of the layer.
    """

    name: str
    count: int
    layer_bytes: int
    recomputed_bytes: int
    parts: tuple[KeptPart, ...]


@dataclass(frozen=True)
class Activations:
    """What autograd keeps between the forward and the backward pass of one training step.

    Attributes:
        batch_size: Sequences in the pass.
        seq_len: Tokens in each.
        dtype: Type of weights and activations.
        attention_kernel: ``flash``: neither scores nor masks are written out; ``sdpa``: what torch does on the device,
            given masks, and scores where it has no kernel; ``math``: all scores are written out.
        recompute: What the backward pass computes again.
        device: Whose kernels run.
        kept_bytes: Held at the end of the forward pass.
        recomputed_bytes: What the widest layer holds besides, while its backward pass computes again.
        total_bytes: The sum of these two.
        outside: What stands outside the layers keeps.
        layers: Each sort of layer, held once with its count.
    """

    batch_size: int
    seq_len: int
    dtype: str
    attention_kernel: AttentionKernel
    recompute: Recompute
    device: Device
    kept_bytes: int
    recomputed_bytes: int
    total_bytes: int
    outside: tuple[KeptPart, ...]
    layers: tuple[LayerActivations, ...]


@dataclass(frozen=True)
class MemoryPart:
    """One piece of a whole, fit for a stacked bar.

    Attributes:
        name: What it is.
        part_bytes: Its bytes.
        share: Of the whole, 0 to 1.
    """

    name: str
    part_bytes: int
    share: float

    @classmethod
    def breakdown(cls, sizes: Mapping[str, int]) -> tuple[Self, ...]:
        """Return the parts that are not empty, each with its share of the sum."""
        total = sum(sizes.values())
        return tuple(cls(name, size, size / total) for name, size in sizes.items() if size)


@dataclass(frozen=True)
class MomentMemory:
    """What is held at one moment of a training step, beside weights and optimizer.

    Attributes:
        name: ``loss``: the derivative of the logits is computed, and every activation is held; ``head gradient``: that
            of the head's weights; ``backward``: somewhere in a layer; ``embedding gradient``: the last one is added;
            ``optimizer step``.
        gradients_bytes: Gradients of parameters that are there by then.
        activations_bytes: Activations that are still there, or there again.
        working_bytes: What is computed with and dropped at once: derivatives of activations, the optimizer's own.
    """

    name: Moment
    gradients_bytes: int
    activations_bytes: int
    working_bytes: int

    @property
    def held_bytes(self) -> int:
        """All of it."""
        return self.gradients_bytes + self.activations_bytes + self.working_bytes


@dataclass(frozen=True)
class TrainingMemory:
    """What one GPU holds to train a model that it holds whole.

    Attributes:
        batch_size: Sequences in one pass.
        seq_len: Tokens in each.
        dtype: Type of weights and activations.
        grad_dtype: Type that gradients are kept in.
        optimizer: What updates the weights.
        weights_bytes: Weights in ``dtype``, and tables of positions.
        master_bytes: A float32 copy of the weights that the optimizer updates, or 0.
        gradients_bytes: Gradients of all parameters.
        optimizer_bytes: What the optimizer keeps from step to step.
        activations: What autograd keeps, by layer.
        logits_spike_bytes: Logits, their log-softmax and the derivatives of both, where the loss is computed.
        total_bytes: The peak where gradients stay from pass to pass, as they do when they are accumulated.
        peak_bytes: The most that is held at one moment of a step that starts without gradients.
        peak_moment: That moment.
        foreach_peak_bytes: AdamW: the peak where its step is torch's default on CUDA, ``foreach``, which holds the root
            of every second moment at once; else as ``peak_bytes``, which is of a fused step there.
        parts: What makes up ``peak_bytes``.
        moments: What is held at each moment.
    """

    batch_size: int
    seq_len: int
    dtype: str
    grad_dtype: str
    optimizer: Optimizer
    weights_bytes: int
    master_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations: Activations
    logits_spike_bytes: int
    total_bytes: int
    peak_bytes: int
    peak_moment: Moment
    foreach_peak_bytes: int
    parts: tuple[MemoryPart, ...]
    moments: tuple[MomentMemory, ...]

    @property
    def resident_bytes(self) -> int:
        """What is there all the time: weights, their master copy and the optimizer's state."""
        return self.weights_bytes + self.master_bytes + self.optimizer_bytes


@dataclass(frozen=True)
class InferenceMemory:
    """What one GPU holds to run a model that it holds whole.

    Attributes:
        batch_size: Sequences at once.
        seq_len: Tokens kept of each.
        dtype: Type of activations, and of weights that are not rounded.
        cache_dtype: Type of the cache.
        prefill_tokens: The most tokens of a prompt that are read in one pass.
        quantization: What linear weights are rounded to.
        group_size: int4: weights that share a scale and a zero.
        attention_kernel: As for ``Activations``.
        weights_bytes: All weights, scales and zeros.
        quantized_params: Weights that are rounded.
        cache_bytes: Keys and values, or what latent attention keeps.
        prefill_bytes: The most a pass over one prompt, or a piece of it, holds beside weights and cache.
        decode_bytes: The same for a pass over one token of each sequence.
        working_bytes: The larger of the two.
        total_bytes: Weights, cache and working memory.
        parts: What makes up ``total_bytes``.
    """

    batch_size: int
    seq_len: int
    dtype: str
    cache_dtype: str
    attention_kernel: AttentionKernel
    prefill_tokens: int
    quantization: Quantization
    group_size: int
    weights_bytes: int
    quantized_params: int
    cache_bytes: int
    prefill_bytes: int
    decode_bytes: int
    working_bytes: int
    total_bytes: int
    parts: tuple[MemoryPart, ...]
