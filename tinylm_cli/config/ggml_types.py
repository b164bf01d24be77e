"""Types of quantized tensors in GGUF files: blocks of values that are stored together.

References:
    https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Block(NamedTuple):
    """The unit in which a tensor type stores the values of a row."""

    n_values: int  # Values of a block; the columns of a tensor are a multiple of it.
    n_bytes: int  # Bytes of a block, with its scales and, in some types, minima.


GGML_TYPES: Mapping[str, Block] = {
    "q4_0": Block(32, 18),  # 32 × 4 bits, a float16 scale
    "q4_1": Block(32, 20),  # and a float16 minimum
    "q5_0": Block(32, 22),
    "q5_1": Block(32, 24),
    "q8_0": Block(32, 34),
    "q8_1": Block(32, 40),
    "q2_k": Block(256, 84),  # 256 × 2 bits, 16 × (scale and minimum of 4 bits), float16 scales of both
    "q3_k": Block(256, 110),
    "q4_k": Block(256, 144),
    "q5_k": Block(256, 176),
    "q6_k": Block(256, 210),
    "q8_k": Block(256, 292),
    "iq2_xxs": Block(256, 66),
    "iq2_xs": Block(256, 74),
    "iq3_xxs": Block(256, 98),
    "iq1_s": Block(256, 50),
    "iq4_nl": Block(32, 18),
    "iq3_s": Block(256, 110),
    "iq2_s": Block(256, 82),
    "iq4_xs": Block(256, 136),
    "iq1_m": Block(256, 56),
    "tq1_0": Block(256, 54),
    "tq2_0": Block(256, 66),
    "mxfp4": Block(32, 17),  # 32 × 4 bits, an exponent of 8 bits
    "nvfp4": Block(64, 36),  # 64 × 4 bits, four float8 scales
    "q1_0": Block(128, 18),
}
"""The types by their names in ``ggml``, in lower case."""
