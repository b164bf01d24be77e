"""Memory of training and inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from tinylm_cli.config.choices import Strategy, WeightDtype
from tinylm_cli.reports.choices import AttentionKernel, Device, Optimizer, Recompute
from tinylm_cli.reports.record import Record

TrainingPhase = Literal["loss", "head gradient", "backward", "embedding gradient", "optimizer step"]


class SdpaOverhead(Record):
    """Attention tensors that tinylm's own model saves on CUDA but a flash kernel does not."""

    saves: Literal["scores", "masks"]  # ``scores`` of all query-key pairs, or the ``masks`` that are added to them.
    # Features of the config that need them: ``soft-caps``, ``sinks``, ``windows``, ``ALiBi``, ``grouped keys``.
    reasons: tuple[str, ...]


class SavedPart(Record):
    """Tensors that autograd saves in one part of a layer, or in one part outside the layers."""

    # ``residual``, ``norm``, ``attention``, ``router``, ``experts``, ``shared experts``, ``feed_forward``, ``dropout``;
    # outside the layers ``embedding``, ``position``, ``loop`` (between passes), ``ln_f``, ``lm_head`` or ``score``,
    # ``loss``, and ``mtp`` for all multi-token prediction modules with their losses.
    name: str
    saved_bytes: int  # Total bytes.
    tensor_parallel_bytes: int  # Bytes that tensor parallelism shards: heads and hidden units.
    # Bytes that only sequence parallelism shards: the residual stream, norms, dropout masks. All other tensors, such as
    # rotary tables, are replicated.
    sequence_parallel_bytes: int


class LayerActivations(Record):
    """Tensors that autograd saves in each layer of one kind."""

    name: str  # ``layers``, and the properties that only this kind has: ``layers, window 4096``.
    count: int  # Number of layers of the kind.
    layer_bytes: int  # Bytes that one layer saves, in all passes of a loop.
    recomputed_bytes: int  # Bytes that one layer recomputes and keeps during its backward pass.
    parts: tuple[SavedPart, ...]  # The parts of ``layer_bytes``, in the order of the layer.


class Activations(Record):
    """Tensors that autograd saves between the forward and the backward pass of one training step."""

    batch_size: int  # Sequences in the pass.
    seq_len: int  # Tokens per sequence.
    dtype: str  # Data type of weights and activations.
    # ``flash`` materializes neither scores nor masks. ``sdpa`` is torch's SDPA on the device: it takes masks, and
    # materializes scores if no fused kernel applies. ``math`` materializes all scores.
    attention_kernel: AttentionKernel
    recompute: Recompute  # Activations that the backward pass recomputes.
    device: Device  # The device whose kernels run.
    saved_bytes: int  # Bytes allocated at the end of the forward pass.
    recomputed_bytes: int  # Maximum bytes that one layer recomputes.
    total_bytes: int  # ``saved_bytes + recomputed_bytes``.
    outside: tuple[SavedPart, ...]  # Parts outside the layers.
    layers: tuple[LayerActivations, ...]  # Each kind of layer once, with its count.


class MemoryPart(Record):
    """One part of a memory total."""

    name: str  # Name of the part.
    part_bytes: int  # Bytes of the part.
    share: float  # Share of the total, 0 to 1.

    @classmethod
    def breakdown(cls, sizes: Mapping[str, int]) -> tuple[Self, ...]:
        """Return the nonzero parts, each with its share of the sum."""
        total = sum(sizes.values())
        return tuple(cls(name, size, size / total) for name, size in sizes.items() if size)


class PhaseMemory(Record):
    """Memory of one phase of a training step, without weights and optimizer state."""

    # ``loss``: gradient of the logits, with all activations allocated. ``head gradient``: gradient of the head.
    # ``backward``: backward pass of one layer. ``embedding gradient``: the last gradient. ``optimizer step``.
    name: TrainingPhase
    gradients_bytes: int  # Parameter gradients allocated so far.
    activations_bytes: int  # Activations that are still saved, or recomputed.
    working_bytes: int  # Gradients of activations, or the optimizer's temporaries.

    @property
    def held_bytes(self) -> int:
        """Gradients, activations and working memory."""
        return self.gradients_bytes + self.activations_bytes + self.working_bytes


class LoraMemory(Record):
    """Training of low-rank adapters (LoRA) on frozen weights, which may be quantized (QLoRA)."""

    rank: int  # ``r``; some modules may have another rank.
    modules: tuple[str, ...]  # The last parts of the names of the adapted modules: ``q_proj``, ``v_proj``.
    trainable_params: int  # Parameters of adapters, copies and biases that are trained.
    base_bytes: int  # The frozen weights, as they are stored, and buffers.
    base_dtype: str  # Their type: ``nf4``; ``dtype`` if none is quantized.
    adapter_bytes: int  # Adapters and copies of modules, in ``dtype``.
    dequantized_bytes: int  # The largest quantized weight in ``dtype``; weights are dequantized one at a time.


class TrainingMemory(Record):
    """Training memory of one GPU that holds the entire model."""

    batch_size: int  # Micro-batch size: sequences per pass.
    seq_len: int  # Tokens per sequence.
    dtype: str  # Data type of weights and activations.
    grad_dtype: str  # Data type of the gradients.
    optimizer: Optimizer  # The optimizer.
    weights_bytes: int  # Weights in ``dtype``, and buffers; with adapters, frozen weights and adapters.
    master_bytes: int  # Float32 master weights, or 0.
    gradients_bytes: int  # Gradients of all parameters.
    optimizer_bytes: int  # Optimizer state.
    activations: Activations  # Tensors that autograd saves, by layer.
    # Logits, or scores of labels, log-probabilities and the gradients of both, in the phase of the loss; 0 without a
    # head.
    logits_bytes: int
    total_bytes: int  # The peak with gradient accumulation, which keeps gradients between passes.
    peak_bytes: int  # The peak of a step that starts without gradients.
    peak_phase: TrainingPhase  # The phase of the peak.
    # AdamW: the peak with torch's default on CUDA, ``foreach``, which holds the square roots of all second moments at
    # once. Other optimizers: ``peak_bytes``, which assumes a fused step.
    foreach_peak_bytes: int
    parts: tuple[MemoryPart, ...]  # The parts of ``peak_bytes``.
    timeline: tuple[PhaseMemory, ...]  # Each phase of a step that may be the peak, in the order of the step.
    lora: LoraMemory | None = None  # The adapters, if only they are trained; else None.

    @property
    def resident_bytes(self) -> int:
        """Weights, master weights and optimizer state, which stay allocated during the entire step."""
        return self.weights_bytes + self.master_bytes + self.optimizer_bytes


class InferenceMemory(Record):
    """Inference memory of one GPU that holds the entire model."""

    batch_size: int  # Sequences decoded together, or read in one pass if nothing is decoded.
    seq_len: int  # Tokens per sequence, which the KV cache holds.
    dtype: str  # Data type of activations and of weights that are not quantized.
    cache_dtype: str  # Data type of the KV cache.
    attention_kernel: AttentionKernel  # As for ``Activations``.
    prefill_tokens: int  # Maximum prompt tokens per pass.
    quantization: WeightDtype  # Type of quantized weights, or ``none``.
    # Weights that share a scale: of a module, an output channel, a group of its inputs, or a block; no effect with
    # nf4, fp4, mxfp4 and nvfp4.
    strategy: Strategy
    group_size: int  # ``group``: number of inputs that share a scale.
    weights_bytes: int  # Weights, scales and zero points.
    quantized_params: int  # Number of quantized parameters.
    cache_bytes: int  # The KV cache; 0 without an LM head: nothing is decoded.
    prefill_bytes: int  # Working memory of a pass over a prompt, or a chunk of it, at its peak.
    decode_bytes: int  # Working memory of a pass over one token per sequence, at its peak; 0 without an LM head.
    working_bytes: int  # The larger of ``prefill_bytes`` and ``decode_bytes``.
    total_bytes: int  # Weights, KV cache and working memory.
    parts: tuple[MemoryPart, ...]  # The parts of ``total_bytes``.
