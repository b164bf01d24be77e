"""Training memory of one GPU that holds the full model: weights, gradients, optimizer, activations, and the peak.

Shapes: B batch_size, T seq_len, V vocab_size, L n_labels.
"""

from __future__ import annotations

from itertools import pairwise

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.optimizer_state import MOMENTS, optimizer_bytes
from tinylm_cli.analysis.params import total_params, weights_bytes
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import TensorTable, tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.choices import Device, Optimizer
from tinylm_cli.reports.memory import MemoryPart, TrainingMemory


def training_memory(config: ModelConfig, setup: TrainingSetup) -> TrainingMemory:
    """Return the training memory of one GPU that holds the full model.

    With a 16-bit dtype, the weights, gradients, float32 master weights and AdamW's moments take 2 + 2 + 4 + 8 bytes per
    parameter (Rajbhandari et al. 2020). Without master weights the moments have the dtype of the weights, as in torch.
    Gradients are freed after each step. On CUDA the optimizer is fused into one kernel; the peak with torch's default,
    ``foreach``, is reported separately. Allocator overhead is not counted.

    Args:
        config: A validated config.
        setup: How it is trained; its n_gpus and layout have no effect.

    Raises:
        AnalysisError: If batch_size or seq_len is out of range.

    References:
        Rajbhandari et al. 2020 (ZeRO), section 3, https://arxiv.org/abs/1910.02054;
        Micikevicius et al. 2018 (mixed precision), https://arxiv.org/abs/1710.03740
    """
    if setup.lora is not None:
        from tinylm_cli.analysis.lora_memory import lora_training_memory

        return lora_training_memory(config, setup)
    table, element_bytes = tensor_table(config), setup.element_bytes
    has_master, optimizer = setup.has_master_weights, setup.optimizer
    params = total_params(table)
    weights = weights_bytes(config, setup.dtype)  # parameters and buffers
    master_weights = params * FLOAT32_BYTES if has_master else 0
    gradients = params * setup.grad_element_bytes
    state = optimizer_bytes(table, optimizer, FLOAT32_BYTES if has_master else element_bytes)
    run = ForwardPass(config, setup)
    timeline = tuple(
        training_timeline(run, table, step_bytes=_step_bytes(table, optimizer, setup.device, element_bytes))
    )
    peak = max(timeline, key=lambda phase: phase.held_bytes)
    # logits (B × T × V, or B × T × L scores) and their gradient in the model's dtype; log-probabilities of those that
    # the loss reads, and their gradient, in float32 or wider
    logits_bytes = 2 * run.outputs * run.element_bytes + 2 * run.loss_inputs * run.upcast_bytes
    resident = weights + master_weights + state
    peak_bytes = resident + peak.held_bytes
    roots = state // MOMENTS if optimizer == "adamw" else 0  # foreach: square roots of all second moments at once
    parts = {
        "weights": weights,
        "master weights": master_weights,
        "optimizer state": state,
        "gradients": peak.gradients_bytes,
        "activations": peak.activations_bytes,
        "working memory": peak.working_bytes,
    }
    return TrainingMemory(
        batch_size=setup.batch_size,
        seq_len=run.seq_len,
        dtype=setup.dtype,
        grad_dtype=setup.grad_dtype or setup.dtype,
        optimizer=optimizer,
        weights_bytes=weights,
        master_bytes=master_weights,
        gradients_bytes=gradients,
        optimizer_bytes=state,
        activations=activation_bytes(config, setup),
        logits_bytes=logits_bytes,
        total_bytes=resident + gradients + max(phase.activations_bytes + phase.working_bytes for phase in timeline),
        peak_bytes=peak_bytes,
        peak_phase=peak.name,
        foreach_peak_bytes=max(peak_bytes, resident + gradients + roots),
        parts=MemoryPart.breakdown(parts),
        timeline=timeline,
    )


def _step_bytes(table: TensorTable, optimizer: Optimizer, device: Device, element_bytes: int) -> int:
    """Return the working memory of the optimizer step.

    A fused kernel on CUDA needs none. On the CPU torch updates one tensor after the other (``_single_tensor_adamw`` in
    ``torch/optim/adamw.py``). AdamW holds the square root of the second moment and its quotient, Adafactor one
    estimate. The last temporary of a tensor is freed after the next tensor has allocated its own.
    """
    if device == "cuda" or optimizer in ("sgd", "sgd_momentum"):
        return 0
    sizes = [0]  # parameters of each tensor in order; two layers contain every pair of consecutive tensors
    for section in table:
        section_sizes = [tensor.params for tensor in section.tensors if tensor.params]
        sizes += section_sizes * min(section.repeats, 2)
    temporaries = 1 if optimizer == "adafactor" else 2
    return max(previous + temporaries * size for previous, size in pairwise(sizes)) * element_bytes
