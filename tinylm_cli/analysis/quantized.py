"""Bytes of weights that are rounded to a few bits: a fold over the tensor table."""

from __future__ import annotations

from math import prod

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.memory import build_bytes
from tinylm_cli.analysis.table import Tensor, tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import Quantization

SCALE_BYTES = 2
"""A scale is a number in half precision; a zero of int4 is one of its 16 values."""


def quantized_weights(
    config: ModelConfig, *, dtype: str, quantization: Quantization, group_size: int = 128, with_head: bool = False
) -> tuple[int, int]:
    """Return the bytes of all weights, and how many parameters are rounded.

    Rounded are the weights of linear maps in the layers, experts' too; routers, biases, norms, embeddings and, unless
    asked for, the head stay in ``dtype``. ``int8`` keeps a scale for each output (LLM.int8); ``int4`` a scale and a
    4-bit zero for each group of ``group_size`` inputs of an output (GPTQ, AWQ), a last group being shorter.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``, of what is not rounded.
        quantization: What linear weights are rounded to.
        group_size: Inputs that share a scale and a zero, >= 1.
        with_head: Round the head too; a tied one then has a table of its own beside the embedding's.

    References:
        Dettmers et al. 2022 (LLM.int8), https://arxiv.org/abs/2208.07339;
        Frantar et al. 2022 (GPTQ), https://arxiv.org/abs/2210.17323;
        Lin et al. 2023 (AWQ), https://arxiv.org/abs/2306.00978
    """
    total, rounded = build_bytes(config, dtype), 0
    if quantization == "none":
        return total, 0
    for section in tensor_table(config):
        for tensor in section.tensors:
            if not _is_rounded(tensor, with_head=with_head):
                continue
            total += section.repeats * _rounded_bytes(tensor.shape, quantization, group_size)
            if tensor.tied_to is None:
                total -= section.repeats * tensor.elements * DTYPE_BYTES[dtype]
            rounded += section.repeats * tensor.elements
    return total, rounded


def _is_rounded(tensor: Tensor, *, with_head: bool) -> bool:
    if tensor.component == "lm_head":
        return with_head and tensor.name == "lm_head.weight"
    return tensor.name.endswith("_proj.weight")


def _rounded_bytes(shape: tuple[int, ...], quantization: Quantization, group_size: int) -> int:
    """Return the bytes of one tensor, each row of a map, and of each map of a stack, padded to whole bytes."""
    *rows, inputs = shape
    if quantization == "int8":
        return prod(rows) * (inputs + SCALE_BYTES)
    groups = -(-inputs // group_size)
    return prod(rows) * (-(-inputs // 2) + groups * SCALE_BYTES + -(-groups // 2))
