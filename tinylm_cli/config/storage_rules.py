"""Rules between the storage of weights and the sizes of the model."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

from tinylm_cli.config.base import MAX_DIM
from tinylm_cli.config.dependencies import Problem, Values

FP4_BLOCKS = {"mxfp4": 32, "nvfp4": 16}
"""Inputs of an output channel that share a scale, by type of the weights.

References:
    Rouhani et al. 2023 (microscaling), https://arxiv.org/abs/2310.10537;
    https://docs.nvidia.com/deeplearning/transformer-engine/user-guide/features/low_precision_training/nvfp4/nvfp4.html
"""


def _groups_divide_inputs(value: Values) -> Iterator[Problem]:
    """Yield a problem if a row of d_model inputs is not whole groups; only GPTQ, with g_idx, has a shorter last one."""
    d_model, group_size, kind = value["d_model"], value["storage.group_size"], value["storage.quantization"]
    if kind in FP4_BLOCKS and d_model % FP4_BLOCKS[kind]:
        size = FP4_BLOCKS[kind]
        message = f"storage.quantization {kind} has a scale per {size} inputs, but d_model {d_model} is no multiple"
        proposal = min(-(-d_model // size) * size, MAX_DIM)
        remedy = f"write storage.quantization: float8, or d_model: {proposal}"
        yield Problem("contradiction", ("storage.quantization", "d_model"), message, remedy)
    grouped = kind in ("int8", "int4", "float8") and value["storage.strategy"] == "group"
    if grouped and d_model % group_size and "g_idx" not in value["storage.module_tensors"]:
        message = f"storage.group_size {group_size} does not divide d_model {d_model}, the inputs of a linear weight"
        remedy = f"write storage.group_size: {gcd(d_model, group_size)}"
        yield Problem("contradiction", ("storage.group_size", "d_model"), message, remedy)


STORAGE_RULES = (_groups_divide_inputs,)
