"""What a training step holds: weights, gradients, optimizer, activations, and the moment when it is most."""

from __future__ import annotations

from itertools import pairwise

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.module_memory import build_bytes
from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import DTYPE_BYTES, TensorTable, tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import (
    Device,
    MemoryPart,
    Optimizer,
    TrainingMemory,
)


def training_memory(config: ModelConfig, setup: TrainingSetup) -> TrainingMemory:
    """Return what one GPU that holds the whole model holds while it trains.

    In half precision with a float32 master copy, weights, gradients, the copy and AdamW's moments take 2 + 2 + 4 + 8
    bytes a parameter (Rajbhandari et al. 2020); without the copy moments have the weights' type, as in torch. Gradients
    are dropped after each step. On CUDA one kernel is taken to update everything (``fused``), and what torch's default
    there takes is said beside it. The allocator's own overhead is not counted.

    Args:
        config: A validated config.
        setup: How it is trained; its n_gpus and layout do not matter here.

    Raises:
        AnalysisError: If batch_size or seq_len is out of range.

    References:
        Rajbhandari et al. 2020 (ZeRO), section 3, https://arxiv.org/abs/1910.02054;
        Micikevicius et al. 2018 (mixed precision), https://arxiv.org/abs/1710.03740
    """
    table, width = tensor_table(config), setup.element_bytes
    has_master, optimizer = setup.has_master_weights, setup.optimizer
    weights = build_bytes(config, setup.dtype)
    master = total_params(table) * DTYPE_BYTES["float32"] if has_master else 0
    gradients = total_params(table) * setup.grad_element_bytes
    state = optimizer_bytes(table, optimizer, DTYPE_BYTES["float32"] if has_master else width)
    kept, run = activation_bytes(config, setup), ForwardPass(config, setup)
    found = tuple(training_timeline(run, table, step_bytes=_step_bytes(table, optimizer, setup.device, width)))
    peak = max(found, key=lambda moment: moment.held_bytes)
    logits = run.tokens * config.vocab_size  # B × T × V
    # logits and their gradient in the model's dtype, log-probabilities and their gradient in float32 or wider
    logits_bytes = logits * (2 * run.width + 2 * run.wide)
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
        batch_size=setup.batch_size,
        seq_len=run.seq_len,
        dtype=setup.dtype,
        grad_dtype=setup.grad_dtype or setup.dtype,
        optimizer=optimizer,
        weights_bytes=weights,
        master_bytes=master,
        gradients_bytes=gradients,
        optimizer_bytes=state,
        activations=kept,
        logits_bytes=logits_bytes,
        total_bytes=resident + gradients + max(moment.activations_bytes + moment.working_bytes for moment in found),
        peak_bytes=peak_bytes,
        peak_phase=peak.name,
        foreach_peak_bytes=max(peak_bytes, resident + gradients + roots),
        parts=MemoryPart.breakdown(named),
        timeline=found,
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
