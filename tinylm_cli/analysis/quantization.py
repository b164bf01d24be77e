"""Weight quantization for inference: as a checkpoint stores the weights, or as requested."""

from __future__ import annotations

from functools import lru_cache

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.params import total_params, weights_bytes
from tinylm_cli.analysis.setups import QuantizationConfig
from tinylm_cli.analysis.stored_tensors import quantized_params, stored_bytes
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.layer_kinds import without_mtp
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.storage import HEAD_MODULES, Storage
from tinylm_cli.errors import AnalysisError


def effective_storage(config: ModelConfig, dtype: str | None, quantization: QuantizationConfig | None) -> Storage:
    """Return how weights are stored: as the config states, unless a dtype or a quantization is requested.

    ``int8`` (LLM.int8) and ``float8`` (llm-compressor's FP8_DYNAMIC) have one scale per output channel, in float16 and
    in float32. ``int4`` (GPTQ, AWQ) has a float16 scale and a 4-bit zero point per output channel and group. ``nf4``
    (bitsandbytes) has a scale per 64 weights, which is quantized to 8 bits (double quantization of QLoRA).

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``, the type of weights that are not quantized; None for the config's.
        quantization: The requested quantization; None for the config's.

    Raises:
        AnalysisError: If group_size is less than 1.

    References:
        Dettmers et al. 2022 (LLM.int8), https://arxiv.org/abs/2208.07339;
        Frantar et al. 2022 (GPTQ), https://arxiv.org/abs/2210.17323;
        Lin et al. 2023 (AWQ), https://arxiv.org/abs/2306.00978;
        https://docs.vllm.ai/projects/llm-compressor/en/latest/guides/compression_schemes/
    """
    if quantization is None:
        return config.storage if dtype is None else config.storage.model_copy(update={"dtype": dtype})
    if quantization.group_size < 1:
        message = f"group_size must be at least 1, not {quantization.group_size}"
        raise AnalysisError(message, help="give a group_size such as 128")
    is_int4 = quantization.method == "int4"
    requested = {
        "dtype": dtype or config.storage.dtype,
        "quantization": quantization.method,
        "strategy": "group" if is_int4 else "channel",
        "group_size": quantization.group_size,
        "zero_point": is_int4,
        "double_quant": quantization.method == "nf4",
        "scale_dtype": "float32" if quantization.method == "float8" else "float16",
        "modules_to_not_convert": () if quantization.head else HEAD_MODULES,
    }
    return Storage.model_construct().model_copy(update=requested)


@lru_cache(maxsize=64)  # the search for the largest batch asks for each batch
def quantized_weights(
    config: ModelConfig, dtype: str | None, quantization: QuantizationConfig | None
) -> tuple[int, int]:
    """Return the bytes of all weights for inference, and the number of quantized parameters.

    Multi-token prediction modules are not loaded.

    Args:
        config: A validated config.
        dtype: As for :func:`effective_storage`.
        quantization: As for :func:`effective_storage`.

    Raises:
        AnalysisError: If group_size is less than 1.
    """
    config, storage = without_mtp(config), effective_storage(config, dtype, quantization)
    table = tensor_table(config)
    buffers = weights_bytes(config, storage.dtype) - total_params(table) * DTYPE_BYTES[storage.dtype]
    return buffers + stored_bytes(table, storage), quantized_params(table, storage)
