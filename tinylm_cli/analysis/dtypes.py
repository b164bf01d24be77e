"""Storage types by name, and their widths."""

from __future__ import annotations

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
"""Bytes of one element, by the name that torch and safetensors documents use."""

HALF = ("bfloat16", "float16")
"""Types in which training usually keeps a float32 copy of the weights."""
