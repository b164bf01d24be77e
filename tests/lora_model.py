"""Adapters of peft in the module of tinylm, and the same adapters for the closed forms."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import peft
import torch

from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.config.lora import Lora, LoraConfig, LoraModule
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.lora_modules import own_modules
from tinylm_cli.model import TinyTransformerLM


def adapters(
    config: ModelConfig, rank: Callable[[LoraModule], int], *, dropout: float = 0.0, lora_bias: bool = False
) -> Lora:
    """Return adapters of linear modules, by the names of tinylm.

    Args:
        config: The model.
        rank: Returns the rank of the adapter of a module; 0 for none.
        dropout: Dropout of the inputs of adapters.
        lora_bias: Whether B has a bias.
    """
    linear = (each for each in own_modules(stored_shapes(config), tied=config.tie_weights) if each.kind == "linear")
    modules = tuple(each for module in linear if (each := module._replace(rank=rank(module))).rank)
    settings = LoraConfig("test", 1, (), dropout=dropout, lora_bias=lora_bias)
    return Lora(settings, modules, (), 0)


def adapted_model(config: ModelConfig, lora: Lora, dtype: torch.dtype = torch.float32) -> TinyTransformerLM:
    """Return the model with peft's adapters; the output of its embedding requires a gradient."""
    model = TinyTransformerLM.from_config(config, dtype=dtype)
    settings = peft.LoraConfig(
        r=1,
        target_modules=[module.name for module in lora.modules],
        rank_pattern={module.name: module.rank for module in lora.modules},
        lora_dropout=lora.config.dropout,
        lora_bias=lora.config.lora_bias,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a head that is tied
        peft.inject_adapter_in_model(settings, model)  # type: ignore[no-untyped-call,unused-ignore]
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)
    model.embedding.register_forward_hook(lambda _, __, output: output.requires_grad_(True))
    return model
