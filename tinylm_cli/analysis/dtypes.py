"""Bytes of one element, by data type."""

from __future__ import annotations

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
"""Bytes of one element of a tensor, by torch's dtype name."""

FLOAT32_BYTES = DTYPE_BYTES["float32"]

INT64_BYTES = 8
"""Token ids, targets and indices are 64-bit integers."""

INT32_BYTES = 4
"""Kernels of sparse attention index positions with 32-bit integers."""

BOOL_BYTES = 1

HALF_PRECISION = ("bfloat16", "float16")
"""Dtypes in which training usually keeps a float32 master copy of the weights."""
