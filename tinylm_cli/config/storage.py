"""How a checkpoint stores the weights of a model: their types, and the scales of quantized weights."""

# no deferred annotations, as in config.blocks

from typing import Annotated, get_args

from pydantic import Field

from tinylm_cli.config.base import MAX_D_FF, MAX_DIM, Block, Requirement, is_true, one_of, optional
from tinylm_cli.config.choices import (
    DEFAULT_DTYPE,
    INTEGERS,
    DType,
    KvCacheDtype,
    ModuleTensor,
    ScaleDtype,
    Strategy,
    WeightDtype,
)
from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.ggml_types import GGML_TYPES

HEAD_MODULES = ("lm_head", "score", "head_transform")
"""The modules of the head, which quantization leaves out by default."""

MODULES_QUANTIZED = Requirement(
    "storage.quantization", lambda value: value not in ("none", "gguf"), "storage.quantization is one type", "int4"
)
WITH_STRATEGY = one_of("storage.quantization", *INTEGERS, "float8")
GGUF = one_of("storage.quantization", "gguf")
BITSANDBYTES_4BIT = one_of("storage.quantization", "nf4", "fp4")

MAX_MODULES = 1_048_576
"""Largest number of names in ``modules_to_not_convert``."""

MAX_TENSOR_TYPES = 100_000
"""Largest number of entries in ``tensor_types``."""

_TENSOR_TYPE = rf"^[A-Za-z0-9_.*-]+=(?:{'|'.join((*get_args(DType), *GGML_TYPES))})$"

_ModuleName = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[\w.*-]+$")]
_Modules = Annotated[
    tuple[_ModuleName, ...],
    Field(strict=False, max_length=MAX_MODULES),
    FieldType("names", "a list of names of modules, such as lm_head or blocks.*.attention"),
]
_TensorTypes = Annotated[
    tuple[Annotated[str, Field(max_length=500, pattern=_TENSOR_TYPE)], ...],
    Field(strict=False, max_length=MAX_TENSOR_TYPES),
    FieldType("names", "a list of tensors and their types, such as blocks.*.attention.v_proj.weight=q6_k"),
]
_ModuleTensors = Annotated[
    tuple[ModuleTensor, ...],
    Field(strict=False, max_length=4),
    FieldType("names", "a list of names: g_idx, weight_shape, weight_format or input_scale"),
]


class Storage(Block):
    """How a checkpoint stores the weights; no effect on the model. A quantized module is a linear weight."""

    dtype: DType = Field(
        DEFAULT_DTYPE, description="Type of the weights that are not quantized (torch_dtype of a config.json)."
    )
    quantization: WeightDtype = Field(
        "none",
        description="Type of the linear weights of the layers: int8, int4, float8 (E4M3), nf4 and fp4 (bitsandbytes, a"
        " scale per 64 weights), mxfp4 (a scale per 32 weights), nvfp4 (a scale per 16 weights), gguf (tensor_types);"
        " none: dtype.",
    )
    strategy: Annotated[Strategy, WITH_STRATEGY] = Field(
        "channel",
        description="Weights that share a scale: those of a module (tensor), of an output channel (channel), group_size"
        " inputs of an output channel (group), or a square block of them (block).",
    )
    group_size: Annotated[int, one_of("storage.strategy", "group")] = Field(
        128, ge=1, le=MAX_D_FF, description="Inputs of an output channel that share a scale."
    )
    weight_block_size: Annotated[int, one_of("storage.strategy", "block")] = Field(
        128, ge=1, le=MAX_DIM, description="Rows and columns of a square block that shares a scale."
    )
    scale_dtype: Annotated[ScaleDtype, WITH_STRATEGY] = Field("float16", description="Type of the scales.")
    zero_point: Annotated[bool, one_of("storage.quantization", *INTEGERS)] = Field(
        False, description="Whether each scale has a zero point (asymmetric quantization)."
    )
    zero_point_dtype: Annotated[ScaleDtype | None, is_true("storage.zero_point")] = optional(
        "bfloat16", "Type of the zero points; default: that of the weights."
    )
    double_quant: Annotated[bool, BITSANDBYTES_4BIT] = Field(
        False, description="Whether the scales are quantized too (double quantization of QLoRA)."
    )
    module_tensors: Annotated[_ModuleTensors, MODULES_QUANTIZED] = Field(
        (),
        description="Further tensors of each quantized module: g_idx (the group of each input, GPTQ), weight_shape"
        " (compressed-tensors), weight_format (bitsandbytes), input_scale (a static scale of the inputs).",
    )
    modules_to_not_convert: Annotated[_Modules, MODULES_QUANTIZED] = Field(
        HEAD_MODULES,
        description="Modules whose weights are not quantized, with all modules inside them; * is any layer or name."
        " Routers, convolutions and embeddings never are.",
    )
    tensor_types: Annotated[_TensorTypes, GGUF] = Field(
        (),
        description="Types of tensors in a GGUF file, each as tensor=type, with * for the layers that no other entry"
        " names; all others have dtype. A type is one of ggml, such as q4_k, or of dtype.",
    )
    kv_cache_dtype: KvCacheDtype | None = optional("float8", "Type of the KV cache; default: dtype.")

    @property
    def is_stated(self) -> bool:
        """Whether weights have other types than the default."""
        return self.quantization != "none" or self.dtype != DEFAULT_DTYPE
