"""The choices that options, setups and reports share; a module without imports that take time."""

from __future__ import annotations

from typing import Literal

Purpose = Literal["training", "serving"]
"""The workload that is estimated."""

AttentionKernel = Literal["flash", "sdpa", "math"]
Recompute = Literal["none", "selective", "full"]
Device = Literal["cuda", "cpu"]
Optimizer = Literal["adamw", "adamw_8bit", "adafactor", "muon", "sgd", "sgd_momentum"]
Quantization = Literal["none", "int8", "float8", "int4"]
"""Types of weights that can be requested; a checkpoint may have others."""

AttentionCount = Literal["causal", "full"]
"""The query-key pairs whose products are counted."""
