"""What a training step of the real model holds, measured by torch itself: the tensors autograd keeps, and the peak."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


def ids(config: ModelConfig, batch_size: int, seq_len: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return tokens and targets (B, T), each in a storage of its own."""
    generator = torch.Generator().manual_seed(0)
    tokens, targets = torch.randint(config.vocab_size, (2, batch_size, seq_len), generator=generator)
    return tokens.clone().to(device), targets.clone().to(device)


def loss_of(model: nn.Module, tokens: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy, computed in float32 at least."""
    logits = model(tokens).flatten(0, 1)
    return functional.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), targets.flatten())


def written_out(math: bool) -> Any:  # noqa: FBT001
    """Return a context in which torch's attention writes its scores out, or one that leaves the choice to torch."""
    return sdpa_kernel(SDPBackend.MATH) if math else nullcontext()


def saved_bytes(model: TinyTransformerLM, batch_size: int, seq_len: int, *, math: bool = False) -> int:
    """Return the bytes of the storages that autograd keeps for a backward pass, parameters and buffers aside."""
    own = {tensor.untyped_storage().data_ptr() for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # held, so that no later one gets its address
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    tokens, targets = ids(model.config, batch_size, seq_len)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, written_out(math):
        loss_of(model.train(), tokens, targets)
    return sum(storage.nbytes() for storage in kept.values())
