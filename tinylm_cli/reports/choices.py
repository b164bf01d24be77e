"""The choices that options, setups and reports share; a module without imports that take time."""

from __future__ import annotations

from typing import Literal

Purpose = Literal["training", "serving"]
"""The workload that is estimated."""

AttentionKernel = Literal["flash", "sdpa", "math"]
Recompute = Literal["none", "selective", "full"]
Device = Literal["cuda", "cpu"]
Optimizer = Literal["adamw", "adamw_8bit", "adafactor", "muon", "sgd", "sgd_momentum"]
Quantization = Literal["none", "int8", "float8", "int4", "nf4"]
"""Types of weights that can be requested; a checkpoint may have others."""

AttentionCount = Literal["causal", "full"]
"""The query-key pairs whose products are counted."""

GgufType = Literal[
    "F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q4_1", "Q4_K_M", "Q4_K_S", "Q4_0",
    "IQ4_NL", "IQ4_XS", "MXFP4_MOE", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS",
    "Q2_K", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ2_0", "TQ1_0",
]  # fmt: skip
"""Types of GGUF files, as ``llama-quantize`` of llama.cpp names them."""

GgufChoice = Literal["all", GgufType]
"""All types of GGUF files, or one."""

WrittenGgufType = Literal["F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]
"""Types of GGUF files that a model is exported to."""
