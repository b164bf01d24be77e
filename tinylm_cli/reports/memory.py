"""Memory of training and inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from tinylm_cli.reports.choices import AttentionKernel, Device, Optimizer, Quantization, Recompute

TrainingPhase = Literal["loss", "head gradient", "backward", "embedding gradient", "optimizer step"]


@dataclass(frozen=True)
class SdpaOverhead:
    """Attention tensors that tinylm's own model saves on CUDA but a flash kernel does not.

    Attributes:
        saves: ``scores`` of all query-key pairs, or the ``masks`` that are added to them.
        reasons: Features of the config that need them: ``soft-caps``, ``sinks``, ``windows``, ``ALiBi``, ``grouped
            keys``.
    """

    saves: Literal["scores", "masks"]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SavedPart:
    """Tensors that autograd saves in one part of a layer, or in one part outside the layers.

    Attributes:
        name: ``residual``, ``norm``, ``attention``, ``router``, ``experts``, ``shared experts``, ``feed_forward``,
            ``dropout``; outside the layers ``embedding``, ``position``, ``ln_f``, ``lm_head``, ``loss``.
        saved_bytes: Total bytes.
        tensor_parallel_bytes: Bytes that tensor parallelism shards: heads and hidden units.
        sequence_parallel_bytes: Bytes that only sequence parallelism shards: the residual stream, norms, dropout masks.
            All other tensors, such as rotary tables, are replicated.
    """

    name: str
    saved_bytes: int
    tensor_parallel_bytes: int
    sequence_parallel_bytes: int


@dataclass(frozen=True)
class LayerActivations:
    """Tensors that autograd saves in each layer of one kind.

    Attributes:
        name: ``layers``, and the properties that only this kind has: ``layers, window 4096``.
        count: Number of layers of the kind.
        layer_bytes: Bytes that one layer saves.
        recomputed_bytes: Bytes that one layer recomputes and holds during its backward pass.
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
        seq_len: Tokens per sequence.
        dtype: Type of weights and activations.
        attention_kernel: ``flash`` materializes neither scores nor masks. ``sdpa`` is torch's SDPA on the device: it
            takes masks, and materializes scores if no fused kernel applies. ``math`` materializes all scores.
        recompute: Activations that the backward pass recomputes.
        device: The device whose kernels run.
        saved_bytes: Bytes allocated at the end of the forward pass.
        recomputed_bytes: Maximum bytes that one layer recomputes.
        total_bytes: ``saved_bytes + recomputed_bytes``.
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
    """One part of a memory total.

    Attributes:
        name: Name of the part.
        part_bytes: Bytes of the part.
        share: Share of the total, 0 to 1.
    """

    name: str
    part_bytes: int
    share: float

    @classmethod
    def breakdown(cls, sizes: Mapping[str, int]) -> tuple[Self, ...]:
        """Return the nonzero parts, each with its share of the sum."""
        total = sum(sizes.values())
        return tuple(cls(name, size, size / total) for name, size in sizes.items() if size)


@dataclass(frozen=True)
class PhaseMemory:
    """Memory of one phase of a training step, without weights and optimizer state.

    Attributes:
        name: ``loss``: gradient of the logits, with all activations allocated. ``head gradient``: gradient of the LM
            head. ``backward``: backward pass of one layer. ``embedding gradient``: the last gradient. ``optimizer
            step``.
        gradients_bytes: Parameter gradients allocated so far.
        activations_bytes: Activations that are still saved, or recomputed.
        working_bytes: Gradients of activations, or the optimizer's temporaries.
    """

    name: TrainingPhase
    gradients_bytes: int
    activations_bytes: int
    working_bytes: int

    @property
    def held_bytes(self) -> int:
        """Gradients, activations and working memory."""
        return self.gradients_bytes + self.activations_bytes + self.working_bytes


@dataclass(frozen=True)
class TrainingMemory:
    """Training memory of one GPU that holds the entire model.

    Attributes:
        batch_size: Micro-batch: sequences per pass.
        seq_len: Tokens per sequence.
        dtype: Type of weights and activations.
        grad_dtype: Type of the gradients.
        optimizer: The optimizer.
        weights_bytes: Weights in ``dtype``, and buffers.
        master_bytes: Float32 master weights, or 0.
        gradients_bytes: Gradients of all parameters.
        optimizer_bytes: Optimizer state.
        activations: Tensors that autograd saves, by layer.
        logits_bytes: Logits, log-probabilities and the gradients of both, in the phase of the loss.
        total_bytes: The peak with gradient accumulation, which keeps gradients between passes.
        peak_bytes: The peak of a step that starts without gradients.
        peak_phase: The phase of the peak.
        foreach_peak_bytes: AdamW: the peak with torch's default on CUDA, ``foreach``, which holds the square roots of
            all second moments at once. Other optimizers: ``peak_bytes``, which assumes a fused step.
        parts: The parts of ``peak_bytes``.
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
        """Weights, master weights and optimizer state, which stay allocated during the entire step."""
        return self.weights_bytes + self.master_bytes + self.optimizer_bytes


@dataclass(frozen=True)
class InferenceMemory:
    """Inference memory of one GPU that holds the entire model.

    Attributes:
        batch_size: Sequences decoded together.
        seq_len: Tokens in the KV cache per sequence.
        dtype: Type of activations and of weights that are not quantized.
        cache_dtype: Type of the KV cache.
        prefill_tokens: Maximum prompt tokens per pass.
        quantization: Type of quantized weights, or ``none``.
        group_size: int4: inputs that share a scale and a zero point.
        attention_kernel: As for ``Activations``.
        weights_bytes: Weights, scales and zero points.
        quantized_params: Number of quantized parameters.
        cache_bytes: The KV cache.
        prefill_bytes: Working memory of a pass over a prompt, or a chunk of it, at its peak.
        decode_bytes: Working memory of a pass over one token per sequence, at its peak.
        working_bytes: The larger of ``prefill_bytes`` and ``decode_bytes``.
        total_bytes: Weights, KV cache and working memory.
        parts: The parts of ``total_bytes``.
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
