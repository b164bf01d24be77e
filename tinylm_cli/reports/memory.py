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
TrainingPhase = Literal["loss", "head gradient", "backward", "embedding gradient", "optimizer step"]


@dataclass(frozen=True)
class SdpaOverhead:
    """What tinylm's own model keeps of attention on CUDA that a flash kernel does not.

    Attributes:
        saves: ``scores``, of every query and key; ``masks``, which torch is given to add.
        reasons: What of the config asks for it: ``soft-caps``, ``sinks``, ``windows``, ``ALiBi``, ``grouped keys``.
    """

    saves: Literal["scores", "masks"]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SavedPart:
    """Tensors that autograd saves in one part of a layer, or in one part outside the layers.

    Attributes:
        name: ``residual``, ``norm``, ``attention``, ``router``, ``experts``, ``shared experts``, ``feed_forward``,
            ``dropout``; outside the layers ``embedding``, ``position``, ``ln_f``, ``lm_head``, ``loss``.
        saved_bytes: Their bytes.
        tensor_parallel_bytes: Those that tensor parallelism divides: heads and hidden layers.
        sequence_parallel_bytes: Those that only sequence parallelism divides: the residual stream, norms, dropout
            masks. The rest, such as rotary tables, is not divided.
    """

    name: str
    saved_bytes: int
    tensor_parallel_bytes: int
    sequence_parallel_bytes: int


@dataclass(frozen=True)
class LayerActivations:
    """Tensors that autograd saves in each layer of one kind.

    Attributes:
        name: ``blocks``, and the properties that only this kind has: ``blocks, window 4096``.
        count: Layers of the kind.
        layer_bytes: Bytes that one layer saves.
        recomputed_bytes: Bytes that one layer recomputes, and holds during its backward pass.
        parts: The parts of ``layer_bytes``, in the order of the layer.
    """

    name: str
    count: int
    layer_bytes: int
    recomputed_bytes: int
    parts: tuple[SavedPart, ...]


@dataclass(frozen=True)
class Activations:
    """Tensors that autograd saves between the forward and the backward pass of one training step.

    Attributes:
        batch_size: Sequences in the pass.
        seq_len: Tokens in each.
        dtype: Type of weights and activations.
        attention_kernel: ``flash`` materializes neither scores nor masks; ``sdpa`` is torch on the device, which takes
            masks, and materializes scores where it has no fused kernel; ``math`` materializes all scores.
        recompute: Activations that the backward pass recomputes.
        device: The device whose kernels run.
        saved_bytes: Bytes held at the end of the forward pass.
        recomputed_bytes: Bytes that one layer recomputes, at most.
        total_bytes: Their sum.
        outside: Parts outside the layers.
        layers: Each kind of layer once, with its count.
    """

    batch_size: int
    seq_len: int
    dtype: str
    attention_kernel: AttentionKernel
    recompute: Recompute
    device: Device
    saved_bytes: int
    recomputed_bytes: int
    total_bytes: int
    outside: tuple[SavedPart, ...]
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
class PhaseMemory:
    """Memory of one phase of a training step, beside weights and optimizer state.

    Attributes:
        name: ``loss``: the gradient of the logits, while all activations are held. ``head gradient``: the gradient of
            the LM head. ``backward``: in one layer. ``embedding gradient``: the last gradient. ``optimizer step``.
        gradients_bytes: Gradients of parameters that exist by then.
        activations_bytes: Activations that are still saved, or recomputed.
        working_bytes: Gradients of activations, or the optimizer's temporaries.
    """

    name: TrainingPhase
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
        logits_bytes: Logits, log-probabilities and the gradients of both, in the phase of the loss.
        total_bytes: The peak where gradients stay from pass to pass, as they do when they are accumulated.
        peak_bytes: The most that is held at once in a step that starts without gradients.
        peak_phase: The phase of the peak.
        foreach_peak_bytes: AdamW: the peak where its step is torch's default on CUDA, ``foreach``, which holds the root
            of every second moment at once; else as ``peak_bytes``, which is of a fused step there.
        parts: What makes up ``peak_bytes``.
        timeline: Each phase of a step that may be the peak, in the order of the step.
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
    logits_bytes: int
    total_bytes: int
    peak_bytes: int
    peak_phase: TrainingPhase
    foreach_peak_bytes: int
    parts: tuple[MemoryPart, ...]
    timeline: tuple[PhaseMemory, ...]

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
