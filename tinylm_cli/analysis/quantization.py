"""Weight quantization for inference: bytes of weights stored in 4 or 8 bits, summed over the tensor table."""

from __future__ import annotations

from functools import lru_cache
from math import prod

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.params import weights_bytes
from tinylm_cli.analysis.setups import QuantizationConfig
from tinylm_cli.analysis.tensor import Tensor
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.layer_kinds import without_mtp
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError

SCALE_BYTES = {"int8": 2, "float8": 4, "int4": 2}
"""Bytes of one scale: float16 for int8 and int4, as in the papers; float32 for float8, as in vLLM."""

INT4_PER_BYTE = 2
"""Two 4-bit weights, or two 4-bit zero points, share a byte."""


@lru_cache(maxsize=64)  # the search for the largest batch asks for each batch
def quantized_weights(config: ModelConfig, dtype: str, quantization: QuantizationConfig) -> tuple[int, int]:
    """Return the bytes of all weights, and the number of quantized parameters.

    The linear weights of layers are quantized, including those of experts. Routers, biases, norms, embeddings and, by
    default, the LM head stay in ``dtype``. ``int8`` (LLM.int8) and ``float8`` (llm-compressor's FP8_DYNAMIC)
    have one scale per output channel. ``int4`` (GPTQ, AWQ) has a scale and a 4-bit zero point per output channel and
    group of ``group_size`` inputs; the last group may be shorter. Multi-token prediction modules are not loaded.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``, the type of weights that are not quantized.
        quantization: The method, and whether the head is quantized.

    Raises:
        AnalysisError: If group_size is less than 1.

    References:
        Dettmers et al. 2022 (LLM.int8), https://arxiv.org/abs/2208.07339;
        Frantar et al. 2022 (GPTQ), https://arxiv.org/abs/2210.17323;
        Lin et al. 2023 (AWQ), https://arxiv.org/abs/2306.00978;
        https://docs.vllm.ai/projects/llm-compressor/en/latest/guides/compression_schemes/
    """
    if quantization.group_size < 1:
        message = f"group_size must be at least 1, not {quantization.group_size}"
        raise AnalysisError(message, help="give a group_size such as 128")
    config = without_mtp(config)
    total, quantized_params, element_bytes = weights_bytes(config, dtype), 0, DTYPE_BYTES[dtype]
    for section in tensor_table(config):
        for tensor in section.tensors:
            total += section.repeats * (
                stored_bytes(tensor, element_bytes, quantization) - tensor.params * element_bytes
            )
            if is_quantized(tensor, quantization):
                quantized_params += section.repeats * tensor.elements
    return total, quantized_params


_INDEXER = ("indexer.wq_b.weight", "indexer.wk.weight")
_PER_LAYER_INPUT = ("per_layer_input.gate.weight", "per_layer_input.projection.weight")
LINEAR_WEIGHTS = ("_proj.weight", *_INDEXER, *_PER_LAYER_INPUT)
"""Endings of the names of the linear weights of layers."""


def is_quantized(tensor: Tensor, quantization: QuantizationConfig) -> bool:
    """Return whether the elements of ``tensor`` are quantized."""
    if tensor.component in ("lm_head", "score"):
        return quantization.quantizes_head and tensor.name.endswith(".weight")
    return quantization.method != "none" and tensor.name.endswith(LINEAR_WEIGHTS)


def stored_bytes(tensor: Tensor, element_bytes: int, quantization: QuantizationConfig) -> int:
    """Return the bytes stored for one tensor: 0 if it shares the storage of another.

    Each row of a quantized matrix, or of each matrix in a stack of experts, is padded to whole bytes.

    Args:
        tensor: A tensor of the table.
        element_bytes: Bytes of an element that is not quantized.
        quantization: The method, and whether the head is quantized.
    """
    if not is_quantized(tensor, quantization):
        return tensor.params * element_bytes
    *stack, inputs = tensor.shape  # (out, in), or (E, out, in)
    rows = prod(stack)
    scale = SCALE_BYTES[quantization.method]
    if quantization.method != "int4":
        return rows * (inputs + scale)  # a byte per weight, a scale per row
    n_groups = -(-inputs // quantization.group_size)
    weights = -(-inputs // INT4_PER_BYTE)
    zero_points = -(-n_groups // INT4_PER_BYTE)
    return rows * (weights + n_groups * scale + zero_points)
