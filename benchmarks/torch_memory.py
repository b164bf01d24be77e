"""Measure the memory of a training step with torch: tensors saved by autograd, and the peak."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.reports.choices import Optimizer

MakeOptimizer = Callable[[nn.Module], tuple[torch.optim.Optimizer, ...]]


def random_batch(config: ModelConfig, batch_size: int, seq_len: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return random tokens and targets in separate storages.

    With several codebooks, both are (B, T, C), otherwise (B, T); labels of sequences are (B), labels of tokens (B, T).
    """
    generator = torch.Generator().manual_seed(0)
    shape = config.tokens_shape(batch_size, seq_len)
    tokens = torch.randint(config.vocab_size, shape, generator=generator)
    if config.has_lm_head:
        targets = torch.randint(config.vocab_size, shape, generator=generator)
    else:
        shape = (batch_size,) if config.head.kind == "sequence_classification" else (batch_size, seq_len)
        targets = torch.randint(max(config.n_outputs, 1), shape, generator=generator)
    return tokens.to(device), targets.to(device)


def training_loss(model: TinyTransformerLM, tokens: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy, computed in float32 or wider; without a head, the sum of the hidden states.

    Multi-token prediction modules add one loss each, with shifted targets.
    """
    if model.config.head.n_mtp_layers:
        return _multi_token_loss(model, tokens, targets)
    outputs: Tensor = model(tokens)  # (B, T, V), (B, T, L), (B, L) or (B, T, D)
    if model.config.head.kind == "none":
        return outputs.sum()
    return _cross_entropy(outputs, targets)


def _multi_token_loss(model: TinyTransformerLM, tokens: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the losses of the next token and of each module, with shifted targets."""
    total, logits = torch.zeros((), device=tokens.device), model.multi_token_logits(tokens)
    for ahead in range(model.config.head.n_mtp_layers + 1):
        total = total + _cross_entropy(next(logits), targets.roll(-ahead, dims=1))
    return total


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    logits = outputs.flatten(0, -2)
    return functional.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), targets.flatten())


def attention_backend_of(math: bool) -> Any:  # noqa: FBT001
    """Return a context that forces the math backend of torch's attention, or leaves the choice to torch."""
    return sdpa_kernel(SDPBackend.MATH) if math else nullcontext()


def saved_bytes(model: TinyTransformerLM, batch_size: int, seq_len: int, *, math: bool = False) -> int:
    """Return the bytes of storages that autograd saves for the backward pass, without parameters and buffers."""
    excluded_storages = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    saved_storages: dict[int, torch.UntypedStorage] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # kept alive, so that its id is not reused
        if storage._cdata not in excluded_storages:
            saved_storages[storage._cdata] = storage
        return tensor

    tokens, targets = random_batch(model.config, batch_size, seq_len)
    hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
    with hooks, attention_backend_of(math):
        training_loss(model.train(), tokens, targets)
    return sum(storage.nbytes() for storage in saved_storages.values())


def peak_bytes(
    model: TinyTransformerLM,
    make_optimizer: MakeOptimizer,
    batch_size: int,
    seq_len: int,
    *,
    math: bool = False,
    recompute: bool = False,
) -> int:
    """Return the peak bytes of live tensors in the second of two training steps, when optimizer states exist.

    Torch's MemTracker counts parameters, buffers, gradients, optimizer states, activations and temporaries.
    """
    tokens, targets = random_batch(model.config, batch_size, seq_len)
    steps = TrainingSteps(model, make_optimizer, recompute=recompute)
    from torch.distributed._tools.mem_tracker import MemTracker  # imports half of torch's compiler

    tracker = MemTracker()
    tracker.track_external(model, *steps.optimizers, tokens, targets)
    with warnings.catch_warnings(), tracker, attention_backend_of(math):
        warnings.simplefilter("ignore")  # a warning about hooks on a model whose output needs no gradient
        for _ in range(2):
            steps.run_step(tokens, targets)
            tracker.reset_mod_stats()
    return sum(int(device["Total"]) for device in tracker.get_tracker_snapshot("peak").values())


def cuda_peak_bytes(
    model: TinyTransformerLM, make_optimizer: MakeOptimizer, batch_size: int, seq_len: int, *, recompute: bool = False
) -> int:
    """Return the peak bytes allocated by CUDA's caching allocator in the second of two training steps."""
    tokens, targets = random_batch(model.config, batch_size, seq_len, "cuda")
    steps = TrainingSteps(model, make_optimizer, recompute=recompute)
    steps.run_step(tokens, targets)
    torch.cuda.reset_peak_memory_stats()
    steps.run_step(tokens, targets)
    return torch.cuda.max_memory_allocated()


class TrainingSteps:
    """Training steps of a model, with or without full activation recompute.

    Args:
        model: The model.
        make_optimizer: Returns its optimizers, several if no single one takes every parameter.
        recompute: Whether each layer saves only its input.
    """

    def __init__(self, model: TinyTransformerLM, make_optimizer: MakeOptimizer, *, recompute: bool) -> None:
        self.model = model.train()
        self.optimizers = make_optimizer(model)
        if recompute:
            for block in (*model.blocks, *(module.block for module in model.mtp_modules)):
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)

    def run_step(self, tokens: Tensor, targets: Tensor) -> None:
        """Run one training step."""
        torch.autograd.backward(training_loss(self.model, tokens, targets))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()


def _adamw(model: nn.Module) -> tuple[torch.optim.Optimizer, ...]:
    fused = next(model.parameters()).is_cuda
    return (torch.optim.AdamW(model.parameters(), fused=fused),)


def foreach_adamw(model: nn.Module) -> tuple[torch.optim.Optimizer, ...]:
    """Return AdamW with ``foreach``, torch's default on CUDA: each operation runs on all tensors at once."""
    return (torch.optim.AdamW(model.parameters(), foreach=True),)


def _muon(model: nn.Module) -> tuple[torch.optim.Optimizer, ...]:
    of_layers = ("blocks.", "mtp.")
    hidden = [p for name, p in model.named_parameters() if p.dim() > 1 and name.startswith(of_layers)]
    others = [p for name, p in model.named_parameters() if p.dim() < 2 or not name.startswith(of_layers)]
    return torch.optim.Muon(hidden), torch.optim.AdamW(others)


OPTIMIZERS: dict[Optimizer, MakeOptimizer] = {
    "adamw": _adamw,
    "adafactor": lambda model: (torch.optim.Adafactor(model.parameters()),),
    "sgd": lambda model: (torch.optim.SGD(model.parameters()),),
    "sgd_momentum": lambda model: (torch.optim.SGD(model.parameters(), momentum=0.9),),
    **({"muon": _muon} if hasattr(torch.optim, "Muon") else {}),
}
"""Torch's optimizers by tinylm's names; torch has no 8-bit ones, and Muon from 2.9 on."""
