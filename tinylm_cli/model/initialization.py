"""The values a new model starts with: the same for a seed whatever the device, the order or the number of threads.

Normal(0, 0.02) for embeddings and linear weights, zeros for biases, ones for the factors of norms. Each tensor has a
random stream of its own, keyed by the seed and the tensor's name, so tensors can be drawn in parallel, alone, or shard
by shard. Values are always drawn on the CPU in float32; a bfloat16 model holds the rounded values of the float32 one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from tinylm_cli.model.experts import Router
from tinylm_cli.model.norm import Norm
from tinylm_cli.model.position import SinusoidalPosition
from tinylm_cli.model.rng import stream
from tinylm_cli.model.rotary import RotaryPosition

STD = 0.02
"""Radford et al. 2018 (GPT), section 4.1, https://openai.com/research/language-unsupervised"""

CHUNK = 1 << 15
"""Values drawn at once: 128 KiB, so that nothing is doubled when they are cast or copied to another device."""


def initialize(model: nn.Module, *, seed: int) -> None:
    """Fill every parameter of ``model``, and every buffer, in place.

    A tensor shared under several names is drawn once, by the name that ``named_parameters`` gives it.

    Args:
        model: A model with storage; gradients are not recorded.
        seed: Any integer.
    """
    named = sorted(model.named_parameters(), key=lambda item: item[1].numel(), reverse=True)
    constants = _constants(model)
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        tasks = [
            pool.submit(fill, parameter.detach(), name=name, seed=seed, constant=constants.get(name))
            for name, parameter in named
        ]
        tasks.append(pool.submit(fill_buffers, model))
    for task in tasks:
        task.result()


def fill_buffers(model: nn.Module) -> None:
    """Fill what ``model`` holds beside parameters, in place: tables of positions, corrections of routers."""
    for module in model.modules():
        if isinstance(module, SinusoidalPosition | RotaryPosition | Router):
            module.fill()


def fill(tensor: Tensor, *, name: str, seed: int, constant: float | None = None) -> None:
    """Fill one parameter, detached, with its initial values.

    Args:
        tensor: The parameter's values, contiguous, of any floating dtype on any device.
        name: Its full name in the model.
        seed: Any integer.
        constant: What all values are; None draws them.
    """
    if constant is not None:
        tensor.fill_(constant)
    else:
        _fill_normal(tensor.view(-1), stream(name, seed))


def _constants(model: nn.Module) -> dict[str, float]:
    """Return what the parameters that are not drawn start with, by full name: biases at zero, norms as they say."""
    found: dict[str, float] = {}
    for path, module in model.named_modules():
        starts_at = module.starts_at if isinstance(module, Norm) else {"bias": 0.0}
        found.update({f"{path}.{name}": value for name, value in starts_at.items()})
    return found


def _fill_normal(values: Tensor, generator: torch.Generator) -> None:
    """Draw ``values`` chunk by chunk, in place where they are float32 on the CPU."""
    direct = values.dtype == torch.float32 and values.device.type == "cpu"
    scratch = torch.empty(0 if direct else min(CHUNK, len(values)), dtype=torch.float32, device="cpu")
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]  # (<= CHUNK)
        if direct:
            chunk.normal_(0.0, STD, generator=generator)
        else:
            chunk.copy_(scratch[: len(chunk)].normal_(0.0, STD, generator=generator))
