"""Tensors of quantized checkpoints, written as each method packs them, are no differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interop.verification.conftest import Copied, Tensors, verified

GROUP = 8

Quantize = Callable[[str, Tensor], Tensors]
"""Returns the tensors that hold a weight (out, in) of a module."""


def gptq(module: str, weight: Tensor) -> Tensors:
    """Packs the rows of (in, out) in int32; https://github.com/AutoGPTQ/AutoGPTQ."""
    d_out, d_in = weight.shape
    return {
        f"{module}.qweight": torch.zeros(d_in * 4 // 32, d_out, dtype=torch.int32),
        f"{module}.qzeros": torch.zeros(d_in // GROUP, d_out * 4 // 32, dtype=torch.int32),
        f"{module}.scales": torch.zeros(d_in // GROUP, d_out, dtype=torch.float16),
        f"{module}.g_idx": torch.zeros(d_in, dtype=torch.int32),
    }


def awq(module: str, weight: Tensor) -> Tensors:
    """Packs the columns of (in, out) in int32; https://github.com/casper-hansen/AutoAWQ."""
    d_out, d_in = weight.shape
    return {
        f"{module}.qweight": torch.zeros(d_in, d_out * 4 // 32, dtype=torch.int32),
        f"{module}.qzeros": torch.zeros(d_in // GROUP, d_out * 4 // 32, dtype=torch.int32),
        f"{module}.scales": torch.zeros(d_in // GROUP, d_out, dtype=torch.float16),
    }


def bitsandbytes(module: str, weight: Tensor) -> Tensors:
    """Packs two values in a byte, in one column; https://github.com/bitsandbytes-foundation/bitsandbytes."""
    return {
        f"{module}.weight": torch.zeros(weight.numel() // 2, 1, dtype=torch.uint8),
        f"{module}.weight.absmax": torch.zeros(4, dtype=torch.uint8),
        f"{module}.weight.quant_map": torch.zeros(16),
        f"{module}.weight.nested_absmax": torch.zeros(1),
        f"{module}.weight.nested_quant_map": torch.zeros(256),
        f"{module}.weight.quant_state.bitsandbytes__nf4": torch.zeros(80, dtype=torch.uint8),
    }


def fp8(module: str, weight: Tensor) -> Tensors:
    """Keeps the shape, with a scale for each block, as in DeepSeek V3."""
    return {
        f"{module}.weight": weight.to(torch.float8_e4m3fn),
        f"{module}.weight_scale_inv": torch.zeros(1, 1),
    }


def compressed_tensors(module: str, weight: Tensor) -> Tensors:
    """Packs rows of (out, in) in int32; https://github.com/neuralmagic/compressed-tensors."""
    d_out, d_in = weight.shape
    return {
        f"{module}.weight_packed": torch.zeros(d_out, -(-d_in * 4 // 32), dtype=torch.int32),
        f"{module}.weight_scale": torch.zeros(d_out, d_in // GROUP),
        f"{module}.weight_zero_point": torch.zeros(d_out // 8, d_in // GROUP, dtype=torch.int32),
        f"{module}.weight_shape": torch.tensor([d_out, d_in]),
    }


METHODS: dict[str, tuple[Quantize, dict[str, Any]]] = {
    "gptq": (gptq, {"quant_method": "gptq", "bits": 4, "group_size": GROUP}),
    "awq": (awq, {"quant_method": "awq", "bits": 4, "group_size": GROUP}),
    "bitsandbytes": (bitsandbytes, {"quant_method": "bitsandbytes", "load_in_4bit": True}),
    "fp8": (fp8, {"quant_method": "fp8", "weight_block_size": [128, 128]}),
    "compressed-tensors": (
        compressed_tensors,
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
    ),
}


def quantizer(quantize: Quantize) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        for name in [name for name in tensors if name.endswith("_proj.weight")]:
            tensors |= quantize(name.removesuffix(".weight"), tensors.pop(name))

    return change


@pytest.mark.parametrize("method", METHODS)
def test_methods(method: str, copied: Copied) -> None:
    quantize, config = METHODS[method]
    report = verified(copied(quantizer(quantize), quantization_config=config))
    assert report.status == "equal", report.diagnostics
    assert report.expected_tensors == 39
    assert report.checked_tensors + report.quantized_tensors == 39
    assert report.quantized_tensors == (0 if method == "fp8" else 28)
    (apart,) = report.apart
    assert apart.kind == "quantization"
    per_weight = len(quantize("x", torch.zeros(16, 16)))
    holders_apart = 0 if method in ("bitsandbytes", "fp8") else 1
    assert apart.tensors == 28 * (per_weight - 1 + holders_apart)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "compressed-tensors"])
def test_packed_weight_of_another_size(method: str, copied: Copied) -> None:
    """With 8 bits in the config, packed values of 4 bits are too few."""
    quantize, config = METHODS[method]
    text = {"bits": 8, "load_in_4bit": False, "load_in_8bit": True}
    wrong = {**config, **{key: value for key, value in text.items() if key in config or key == "load_in_8bit"}}
    if "config_groups" in wrong:
        wrong = {**wrong, "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}
    if method != "bitsandbytes":
        del wrong["load_in_8bit"]
    report = verified(copied(quantizer(quantize), quantization_config=wrong))
    assert report.status == "different"
    assert report.quantized_tensors == 0


def test_scale_of_no_weight(copied: Copied) -> None:
    """A scale of a module that the model does not have is a difference."""

    def change(tensors: Tensors) -> None:
        quantizer(gptq)(tensors)
        tensors["model.layers.0.mlp.foo.scales"] = torch.zeros(2)

    report = verified(copied(change, quantization_config=METHODS["gptq"][1]))
    assert [each.names for each in report.differences] == [("model.layers.0.mlp.foo.scales",)]


def test_without_quantization_config(copied: Copied) -> None:
    report = verified(copied(quantizer(gptq)))
    assert {each.code for each in report.diagnostics} == {"missing-tensor", "unknown-tensor"}
    assert {each.help for each in report.diagnostics} == {
        "the tensors look quantized, but the config has no quantization_config"
    }
