"""Seeded initialization: allocate a model built on meta, then fill it with values that depend on seed and name.

Embeddings and linear weights are drawn from Normal(0, 0.02), biases are zeros, norm weights ones. A module with other
initial values has them in its attribute ``initial_values``, by the name of the parameter. Each tensor has its
own generator, keyed by (seed, tensor name), so that tensors can be drawn in parallel, individually or per shard, with
the same values on any device and any number of threads. Values are drawn on the CPU in float32, then rounded to the
dtype of the model.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from tinylm_cli.errors import CapacityError
from tinylm_cli.machine import require_memory
from tinylm_cli.model.block import LayerScalar
from tinylm_cli.model.experts import Router
from tinylm_cli.model.loop import Loop
from tinylm_cli.model.position import SinusoidalPosition
from tinylm_cli.model.rope import RotaryPosition
from tinylm_cli.model.sequence_mixer import Computed, InitialValue

STD = 0.02
"""Radford et al. 2018 (GPT), section 4.1, https://openai.com/research/language-unsupervised"""

CHUNK = 1 << 15
"""Values drawn at once: 128 KiB, so that casting or copying them needs no second full-size tensor."""

STATE_WORDS = 624
"""Number of 32-bit words in the state of a Mersenne Twister."""

STATE_OFFSET = 3
"""Offset of these words in the state that torch returns, in units of 64 bits."""

_OUT_OF_MEMORY = re.compile(
    r"DefaultCPUAllocator|MPS backend out of memory|could not create a (primitive|memory object|memory)$", re.M
)
"""Out-of-memory messages of allocators, and of oneDNN's kernels, that raise a plain RuntimeError."""


def materialize(model: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
    """Allocate every parameter and buffer of ``model`` on ``device``, uninitialized.

    Args:
        model: A model on meta, in float32.
        device: Device of the storage; meta only changes the dtype.
        dtype: Floating type of the storage.

    Raises:
        CapacityError: If it exceeds this machine's memory, or the device cannot allocate it.
    """
    if device.type == "meta" and dtype == torch.float32:
        return
    _require_capacity(model, device=device, dtype=dtype)
    try:  # not empty_like, which is slow on meta: it runs in Python and imports sympy
        model._apply(lambda tensor: torch.empty(tensor.shape, device=device, dtype=dtype))  # type: ignore[no-untyped-call]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise CapacityError(f"{device} cannot allocate the weights: {error}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` is an allocator's out-of-memory error."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def _require_capacity(model: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    buffers = sum(buffer.numel() for buffer in model.buffers())
    name = str(dtype).removeprefix("torch.")
    needed_bytes = (parameters + buffers) * dtype.itemsize
    require_memory(needed_bytes, f"holding {parameters:,} parameters in {name}", device=device.type)


def initialize(model: nn.Module, *, seed: int) -> None:
    """Fill every parameter and buffer of ``model`` in place.

    A tied parameter is drawn once, under its name in ``named_parameters``.

    Args:
        model: A model with storage; gradients are not recorded.
        seed: Any integer.
    """
    named = sorted(model.named_parameters(), key=lambda item: item[1].numel(), reverse=True)
    initial_values = initial_values_of(model)
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        tasks = [
            pool.submit(fill_parameter, parameter.detach(), name=name, seed=seed, initial=initial_values.get(name))
            for name, parameter in named
        ]
        tasks.append(pool.submit(fill_buffers, model))
    for task in tasks:
        task.result()


def fill_buffers(model: nn.Module) -> None:
    """Fill the buffers of ``model`` in place: position tables, RoPE frequencies, router biases, scalars, states."""
    for module in model.modules():
        if isinstance(module, SinusoidalPosition | RotaryPosition | Router | LayerScalar | Loop):
            module.fill()


def fill_parameter(tensor: Tensor, *, name: str, seed: int, initial: InitialValue | None = None) -> None:
    """Fill one parameter, detached, with its initial values.

    Args:
        tensor: The parameter's values, contiguous, of any floating dtype on any device.
        name: The full name of the parameter in the model.
        seed: Any integer.
        initial: The value of all elements, a tensor of values that broadcasts to the shape, values to compute, or a
            function that draws them; None draws them from Normal(0, 0.02).
    """
    if initial is None:
        _fill_normal(tensor.view(-1), keyed_generator(name, seed))
    elif isinstance(initial, Computed) or callable(initial):
        values = torch.empty(tensor.shape, dtype=torch.float32, device="cpu")
        if isinstance(initial, Computed):
            initial.fill(values)
        else:
            initial(values, keyed_generator(name, seed))
        tensor.copy_(values)
    else:
        tensor.copy_(torch.as_tensor(initial))


def keyed_generator(name: str, seed: int) -> torch.Generator:
    """Return a CPU generator seeded by the pair of ``name`` and ``seed``.

    ``manual_seed`` uses only 32 bits on the CPU, too few for a deep model: among 60,000 tensors, two share a seed with
    a probability of one third, and seeds 2³² apart are equal. Therefore the key is hashed to the full generator state.

    Args:
        name: Any text, such as a tensor's full name.
        seed: Any integer.

    References:
        Matsumoto and Nishimura 1998 (Mersenne Twister), https://doi.org/10.1145/272991.272995
    """
    generator = torch.Generator(device="cpu").manual_seed(0)
    digest = hashlib.shake_256(f"{seed}:{name}".encode()).digest(4 * STATE_WORDS)
    words = torch.frombuffer(bytearray(digest), dtype=torch.int32).long() & 0xFFFFFFFF  # (624)
    state = generator.get_state()
    state.view(torch.int64)[STATE_OFFSET : STATE_OFFSET + STATE_WORDS] = words
    generator.set_state(state)
    return generator


def initial_values_of(model: nn.Module) -> dict[str, InitialValue]:
    """Return the initial value of every parameter that is not drawn from Normal(0, 0.02), by full name."""
    found: dict[str, InitialValue] = {}
    for path, module in model.named_modules():
        own: dict[str, InitialValue] = getattr(module, "initial_values", {"bias": 0.0})
        found.update({f"{path}.{name}": value for name, value in own.items()})
    return found


def _fill_normal(values: Tensor, generator: torch.Generator) -> None:
    """Draw ``values`` (n) in chunks, in place if they are float32 on the CPU."""
    direct = values.dtype == torch.float32 and values.device.type == "cpu"
    scratch = torch.empty(0 if direct else min(CHUNK, len(values)), dtype=torch.float32, device="cpu")
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]  # (<= CHUNK)
        if direct:
            chunk.normal_(0.0, STD, generator=generator)
        else:
            chunk.copy_(scratch[: len(chunk)].normal_(0.0, STD, generator=generator))
