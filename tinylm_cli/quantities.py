"""Quantities that several rooms share and that belong to none: two limits, and bytes in words. Imports nothing."""

from __future__ import annotations

MAX_SEED = 2**64 - 1
"""The largest seed that a torch generator takes."""

BYTE_VOCAB_SIZE = 256
"""The vocabulary whose tokens are bytes, so that text can be read and shown."""

_BINARY = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def binary_bytes(value: int) -> str:
    """Return bytes in powers of 1024 under their own names: ``19.1 MiB``."""
    if value < 1024:
        return f"{value} B"
    exponent = min((value.bit_length() - 1) // 10, len(_BINARY))
    scaled = value / 1024**exponent
    return f"{scaled:,.{0 if scaled >= 1000 else 1 if scaled >= 10 else 2}f} {_BINARY[exponent - 1]}"
