"""Weight quantization: bytes by hand, and which weights are quantized."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from tests.random_configs import small_configs
from tinylm_cli.analysis.quantization import quantized_weights
from tinylm_cli.analysis.setups import QuantizationConfig
from tinylm_cli.analysis.stored_tensors import stored_types
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.storage import Storage
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM

PER_LAYER = 4 * 128 * 128 + 2 * 512 * 128
"""Linear weights of a layer of tiny; rows are 4 · 128 + 512 of 128 inputs, and 128 of 512."""


def test_int8() -> None:
    found, quantized = quantized_weights(load_config("tiny").config, "float16", QuantizationConfig("int8"))
    scales = 4 * (4 * 128 + 512 + 128) * 2
    others = 826_112 + 1024 * 128 - 4 * PER_LAYER
    assert (found, quantized) == (4 * PER_LAYER + scales + 2 * others, 4 * PER_LAYER)


@pytest.mark.parametrize("group_size", [128, 100, 64, 1])
def test_int4(group_size: int) -> None:
    narrow, wide = (-(-inputs // group_size) for inputs in (128, 512))
    extra = 4 * ((4 * 128 + 512) * narrow + 128 * wide) * 5 // 2  # a scale of 2 bytes, and half a byte
    others = 826_112 + 1024 * 128 - 4 * PER_LAYER
    found, _ = quantized_weights(load_config("tiny").config, "float16", QuantizationConfig("int4", group_size))
    assert found == 4 * PER_LAYER // 2 + extra + 2 * others


def test_tied_head() -> None:
    for tied in ("true", "false"):
        config = load_config("tiny", [f"tie_weights={tied}"]).config
        plain, _ = quantized_weights(config, "float16", QuantizationConfig("int8"))
        headed, quantized = quantized_weights(config, "float16", QuantizationConfig("int8", head=True))
        assert headed - plain == 256 * (128 + 2) - (0 if tied == "true" else 256 * 128 * 2)
        assert quantized == 4 * PER_LAYER + 256 * 128


def test_experts() -> None:
    config = load_config("mixtral-8x7b").config
    _, quantized = quantized_weights(config, "bfloat16", QuantizationConfig("int4"))
    assert quantized == 46_702_792_704 - 2 * 32000 * 4096 - 65 * 4096 - 32 * 8 * 4096


NOT_QUANTIZED = ("router", "altup", "laurel", "norm", "hyper_connections")
PARTS = (".router.", "expert_gate", "dynamic_mask", "adapters.", "shared_projection")


@given(small_configs())
def test_every_linear_weight_of_a_layer(config: ModelConfig) -> None:
    """Every linear map is quantized but routers and small ones, such as gates."""
    model = TinyTransformerLM.from_config(config, device="meta")
    linear = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith(("blocks.", "mtp."))
    }
    int8 = Storage(quantization="int8")
    for section in tensor_table(config):
        for tensor in section.tensors:
            if section.full_name(tensor, 0) in linear:
                is_quantized = stored_types(section, tensor, int8) == {"int8": section.repeats}
                kept = tensor.component in NOT_QUANTIZED or any(part in tensor.name for part in PARTS)
                assert is_quantized != kept, tensor.name


def test_group_size_is_positive() -> None:
    with pytest.raises(AnalysisError, match="group_size must be at least 1, not 0"):
        quantized_weights(load_config("tiny").config, "float16", QuantizationConfig("int4", 0))


STORED = {"storage": Storage(dtype="float16", quantization="int8", scale_dtype="float32")}


@pytest.mark.parametrize(
    ("dtype", "quantization", "scale", "element"),
    [(None, None, 4, 2), ("float32", None, 4, 4), (None, QuantizationConfig("int8"), 2, 2)],
)
def test_requests_replace_what_is_stored(
    dtype: str | None, quantization: QuantizationConfig | None, scale: int, element: int
) -> None:
    config = load_config("tiny").config.model_copy(update=STORED)
    rows = 4 * (4 * 128 + 512 + 128)
    others = 826_112 + 1024 * 128 - 4 * PER_LAYER
    found = quantized_weights(config, dtype, quantization)
    assert found == (4 * PER_LAYER + rows * scale + others * element, 4 * PER_LAYER)
    unquantized = quantized_weights(config, dtype, QuantizationConfig("none"))
    assert unquantized == ((826_112 + 1024 * 128) * element, 0)
