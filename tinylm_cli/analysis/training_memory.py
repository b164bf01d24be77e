"""What a training step holds: weights, gradients, optimizer, activations, and the moment when it is most."""

from __future__ import annotations

from itertools import pairwise

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.module_memory import build_bytes
from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import Pass
from tinylm_cli.analysis.tensor_table import DTYPE_BYTES, HALF_PRECISION, TensorTable, tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import (
    AttentionKernel,
    Device,
    MemoryPart,
    Optimizer,
    Recompute,
    TrainingMemory,
)


def training_memory(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    dtype: str,
    optimizer: Optimizer = "adamw",
    grad_dtype: str | None = None,
    master_weights: bool | None = None,
    attention_kernel: AttentionKernel = "flash",
    recompute: Recompute = "none",
    device: Device = "cuda",
) -> TrainingMemory:
    """Return what one GPU that holds the whole model holds while it trains.

    In half precision with a float32 master copy, weights, gradients, the copy and AdamW's moments take 2 + 2 + 4 + 8
    bytes a parameter (Rajbhandari et al. 2020); without the copy moments have the weights' type, as in torch. Gradients
    are dropped after each step. On CUDA one kernel is taken to update everything (``fused``), and what torch's default
    there takes is said beside it. The allocator's own overhead is not counted.

    Args:
        config: A validated config.
        batch_size: B, sequences in one pass, >= 1.
        seq_len: T, tokens in each, 1..max_len.
        dtype: A key of ``DTYPE_BYTES``: the type of weights and activations.
        optimizer: What updates the weights.
        grad_dtype: The type gradients are kept in; ``dtype`` when None.
        master_weights: Whether there is a float32 copy; when None, in half precision.
        attention_kernel: As for :func:`activation_bytes`.
        recompute: Likewise.
        device: Likewise.

    Raises:
        AnalysisError: If batch_size or seq_len is out of range.

    References:
        Rajbhandari et al. 2020 (ZeRO), section 3, https://arxiv.org/abs/1910.02054;
        Micikevicius et al. 2018 (mixed precision), https://arxiv.org/abs/1710.03740
    """
    kept = activation_bytes(
        config,
        batch_size=batch_size,
        seq_len=seq_len,
        dtype=dtype,
        attention_kernel=attention_kernel,
        recompute=recompute,
        device=device,
    )
    table = tensor_table(config)
    grad_dtype = grad_dtype or dtype
    has_copy = dtype in HALF_PRECISION if master_weights is None else master_weights
    weights = build_bytes(config, dtype)
    master = total_params(table) * DTYPE_BYTES["float32"] if has_copy else 0
    gradients = total_params(table) * DTYPE_BYTES[grad_dtype]
    state = optimizer_bytes(table, optimizer, DTYPE_BYTES["float32" if has_copy else dtype])
    run = Pass(config, batch_size, seq_len, DTYPE_BYTES[dtype], attention_kernel, device)
    step = _step_bytes(table, optimizer, device, DTYPE_BYTES[dtype])
    found = tuple(
        training_timeline(run, table, recompute=recompute, grad_width=DTYPE_BYTES[grad_dtype], step_bytes=step)
    )
    peak = max(found, key=lambda moment: moment.held_bytes)
    spike = batch_size * seq_len * config.vocab_size * (2 * run.width + 2 * run.wide)
    resident = weights + master + state
    peak_bytes = resident + peak.held_bytes
    roots = state // 2 if optimizer == "adamw" else 0
    named = {
        "weights": weights,
        "master weights": master,
        "optimizer state": state,
        "gradients": peak.gradients_bytes,
        "activations": peak.activations_bytes,
        "working memory": peak.working_bytes,
    }
    return TrainingMemory(
        batch_size=batch_size,
        seq_len=seq_len,
        dtype=dtype,
        grad_dtype=grad_dtype,
        optimizer=optimizer,
        weights_bytes=weights,
        master_bytes=master,
        gradients_bytes=gradients,
        optimizer_bytes=state,
        activations=kept,
        logits_spike_bytes=spike,
        total_bytes=resident + gradients + max(moment.activations_bytes + moment.working_bytes for moment in found),
        peak_bytes=peak_bytes,
        peak_moment=peak.name,
        foreach_peak_bytes=max(peak_bytes, resident + gradients + roots),
        parts=MemoryPart.breakdown(named),
        moments=found,
    )


def _step_bytes(table: TensorTable, optimizer: Optimizer, device: Device, width: int) -> int:
    """Return what the optimizer computes with, beside what it keeps.

    One kernel that updates everything needs nothing. On the CPU torch goes from tensor to tensor: AdamW holds a root
    and a quotient of one, Adafactor an estimate, and each the last of the tensor before until its own is there.
    """
    if device == "cuda" or optimizer in ("sgd", "sgd_momentum"):
        return 0
    sizes = [0]
    for section in table:
        once = [tensor.params for tensor in section.tensors if tensor.params]
        sizes += once * min(section.repeats, 2)
    copies = 1 if optimizer == "adafactor" else 2
    return max(previous + copies * size for previous, size in pairwise(sizes)) * width
