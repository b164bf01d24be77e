"""Bytes of data types, compared with torch."""

from __future__ import annotations

import torch

from tinylm_cli.analysis.dtypes import (
    BOOL_BYTES,
    DTYPE_BYTES,
    FLOAT32_BYTES,
    HALF_PRECISION,
    INT32_BYTES,
    INT64_BYTES,
)


def test_bytes_of_torch() -> None:
    assert {name: getattr(torch, name).itemsize for name in DTYPE_BYTES} == DTYPE_BYTES
    others = (torch.float32, torch.int64, torch.int32, torch.bool)
    assert [dtype.itemsize for dtype in others] == [FLOAT32_BYTES, INT64_BYTES, INT32_BYTES, BOOL_BYTES]


def test_half_precision() -> None:
    """The 16-bit types, all of them."""
    assert {*HALF_PRECISION} == {name for name in DTYPE_BYTES if torch.finfo(getattr(torch, name)).bits == 16}
