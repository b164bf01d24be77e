"""Bytes of weights that are rounded to a few bits: a fold over the tensor table."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from tinylm_cli.analysis.module_memory import build_bytes
from tinylm_cli.analysis.tensor_table import DTYPE_BYTES, Tensor, tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.memory import Quantization

SCALE_BYTES = {"int8": 2, "float8": 4, "int4": 2}
"""Of each scale: in half precision beside integers, as in the papers; in float32 beside float8, as in vLLM."""


class QuantizationConfig(NamedTuple):
    """How weights are rounded.

    Attributes:
        quantization: What linear weights are rounded to.
        group_size: int4: inputs that share a scale and a zero, >= 1.
        head: Whether the head is rounded too; a tied one then has a table of its own beside the embedding's.
    """

    quantization: Quantization = "none"
    group_size: int = 128
    head: bool = False

    @property
    def rounds_head(self) -> bool:
        """Whether the weights of the head are rounded."""
        return self.head and self.quantization != "none"


UNQUANTIZED = QuantizationConfig()
"""Nothing is rounded."""


def quantized_weights(config: ModelConfig, dtype: str, rounding: QuantizationConfig) -> tuple[int, int]:
    """Return the bytes of all weights, and how many parameters are rounded.

    Rounded are the weights of linear maps in the layers, experts' too; routers, biases, norms, embeddings and, unless
    asked for, the head stay in ``dtype``. ``int8`` keeps a scale for each output (LLM.int8), and so does ``float8``
    (llm-compressor's FP8_DYNAMIC); ``int4`` a scale and a 4-bit zero for each group of ``group_size`` inputs of an
    output (GPTQ, AWQ), a last group being shorter.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``, of what is not rounded.
        rounding: What is rounded, and how.

    Raises:
        AnalysisError: If groups have less than one weight.

    References:
        Dettmers et al. 2022 (LLM.int8), https://arxiv.org/abs/2208.07339;
        Frantar et al. 2022 (GPTQ), https://arxiv.org/abs/2210.17323;
        Lin et al. 2023 (AWQ), https://arxiv.org/abs/2306.00978;
        https://docs.vllm.ai/projects/llm-compressor/en/latest/guides/compression_schemes/
    """
    if rounding.group_size < 1:
        message = f"group_size {rounding.group_size} is less than one weight"
        raise AnalysisError(message, help="give a group_size such as 128")
    total, rounded, width = build_bytes(config, dtype), 0, DTYPE_BYTES[dtype]
    for section in tensor_table(config):
        for tensor in section.tensors:
            total += section.repeats * (stored_bytes(tensor, width, rounding) - tensor.params * width)
            rounded += section.repeats * tensor.elements if is_rounded(tensor, rounding) else 0
    return total, rounded


def is_rounded(tensor: Tensor, rounding: QuantizationConfig) -> bool:
    """Return whether the weights of ``tensor`` are rounded."""
    if tensor.component == "lm_head":
        return rounding.rounds_head and tensor.name == "lm_head.weight"
    return rounding.quantization != "none" and tensor.name.endswith("_proj.weight")


def stored_bytes(tensor: Tensor, width: int, rounding: QuantizationConfig) -> int:
    """Return the bytes that are stored for one tensor: none where it shares those of another.

    Each row of a rounded map, and of each map of a stack, is padded to whole bytes.

    Args:
        tensor: A tensor of the table.
        width: Bytes of an element that is not rounded.
        rounding: What is rounded, and how.
    """
    if not is_rounded(tensor, rounding):
        return tensor.params * width
    *rows, inputs = tensor.shape
    scale = SCALE_BYTES[rounding.quantization]
    if rounding.quantization != "int4":
        return prod(rows) * (inputs + scale)
    groups = -(-inputs // rounding.group_size)
    return prod(rows) * (-(-inputs // 2) + groups * scale + -(-groups // 2))
