"""What shapes each target accepts: one record per target, which the checks of this package read.

The records are here because the checks count parameters and bytes; the classes that a target implements are in
``interop/engines.py``. ``config/lint_codes.py`` states the source of each fact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.reports.lint import Target

ANY_SIZE = "any size"


class Kernel(NamedTuple):
    """An attention kernel and the heads that it takes.

    Attributes:
        name: Its name.
        sizes: The sizes that it takes, in words.
        takes: Returns whether it takes query and key dimensions per head, value dimensions per head, and query heads
            per KV head.
        otherwise: What runs or is lost if it does not take them.
    """

    name: str
    sizes: str
    takes: Callable[[int, int, int], bool]
    otherwise: str


class Shapes(NamedTuple):
    """The shapes that a target accepts.

    Attributes:
        title: Its name in messages.
        splits: Whether it has tensor parallelism over heads and hidden sizes.
        caches: Whether it has a KV cache, which tensor parallelism may store several times.
        vocab_multiple: The multiple to which it pads the vocabulary; 1 if it does not.
        pads_each_part: Whether it pads the vocabulary to this multiple on each GPU of tensor parallelism.
        on_tensor_cores: Whether it multiplies unquantized matrices, so that the multiples of tensor cores matter.
        quant_block: Values in a row that its quantized types need a multiple of; 1 for no such types.
        kernels: Kernels of multi-head attention.
        latent_kernels: Kernels of latent attention, which reads one compressed vector.
    """

    title: str
    splits: bool = False
    caches: bool = False
    vocab_multiple: int = 1
    pads_each_part: bool = False
    on_tensor_cores: bool = False
    quant_block: int = 1
    kernels: tuple[Kernel, ...] = ()
    latent_kernels: tuple[Kernel, ...] = ()


def _by_flash_attention(d_head: int, d_value: int, group: int) -> bool:  # noqa: ARG001 - a Kernel has one signature
    return max(d_head, d_value) <= 256 and d_head % 8 == d_value % 8 == 0


def _by_llama_cpp(d_head: int, d_value: int, group: int) -> bool:
    if d_head == d_value:
        return d_head in (40, 64, 72, 80, 96, 112, 128, 256) or (d_head == 512 and group > 1)
    least = {(192, 128): 8, (320, 256): 32}.get((d_head, d_value))
    return least is not None and group % least == 0


_FLASH_ATTENTION = "multiples of 8 up to 256"

SHAPES: dict[Target, Shapes] = {
    "hf": Shapes(
        "transformers",
        on_tensor_cores=True,
        kernels=(
            Kernel(
                "FlashAttention 2",
                _FLASH_ATTENTION,
                _by_flash_attention,
                "it pads other multiples, and refuses more than 256",
            ),
        ),
    ),
    "vllm": Shapes(
        "vLLM",
        splits=True,
        caches=True,
        vocab_multiple=64,
        on_tensor_cores=True,
        kernels=(
            Kernel("FlashAttention", _FLASH_ATTENTION, _by_flash_attention, "vLLM selects another backend"),
            Kernel(
                "FlashInfer",
                "64, 128, 256 or 512",
                lambda d_head, _, __: d_head in (64, 128, 256, 512),
                "vLLM selects another backend",
            ),
        ),
        latent_kernels=(
            Kernel(
                "FlashMLA, FlashInfer and CUTLASS",
                "320, 512 or 576",
                lambda d_latent, _, __: d_latent in (320, 512, 576),
                "vLLM selects its Triton backend",
            ),
        ),
    ),
    "gguf": Shapes(
        "llama.cpp",
        quant_block=256,
        kernels=(
            Kernel(
                "CUDA FlashAttention",
                "40, 64, 72, 80, 96, 112, 128, 256 or 512",
                _by_llama_cpp,
                "llama.cpp then has neither a quantized V cache nor a split by tensors",
            ),
        ),
        latent_kernels=(
            Kernel(
                "CUDA FlashAttention",
                "576, with 512 of values",
                lambda d_latent, d_value, _: (d_latent, d_value) == (576, 512),
                "llama.cpp then has neither a quantized V cache nor a split by tensors",
            ),
        ),
    ),
    "litgpt": Shapes("LitGPT", on_tensor_cores=True),
    "megatron": Shapes("Megatron-LM", splits=True, vocab_multiple=128, pads_each_part=True, on_tensor_cores=True),
    "torchtitan": Shapes("torchtitan", on_tensor_cores=True),
}
"""The shapes that each target accepts."""
