"""Amounts as people write them on a command line, ``125M``, ``1.5GiB``, ``250 GFLOP``, into whole numbers."""

from __future__ import annotations

import re
from typing import Literal

AmountKind = Literal["count", "bytes", "flops"]

MAX_AMOUNT = 10**24

_NUMBER = re.compile(r"([0-9]{1,24})(?:\.([0-9]{1,6}))?")
_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_COUNTS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_UNITS: dict[AmountKind, dict[str, int]] = {
    "count": _COUNTS,
    "bytes": {
        "": 1,
        **{f"{prefix}B": scale for prefix, scale in _DECIMAL.items()},
        **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGTP", 1)},
    },
    "flops": {**_COUNTS, **_DECIMAL, **{f"{prefix}FLOP": scale for prefix, scale in _DECIMAL.items()}},
}
EXPECTED: dict[AmountKind, str] = {
    "count": "a count such as 125M or 124439808",
    "bytes": "a size such as 1GiB, 16GB or 1073741824",
    "flops": "operations such as 250M, 1.5G or 1500000000",
}


def parse_amount(text: str, kind: AmountKind) -> int:
    """Return an amount as a whole number; GiB is 1024³ and GB 1000³.

    Raises:
        ValueError: If it is none, is not above 0, or is larger than anything here; says what was expected.
    """
    number = _NUMBER.match(text.strip())
    scale = _UNITS[kind].get(text.strip()[number.end() :].strip()) if number else None
    if number is None or scale is None:
        raise ValueError(f"expected {EXPECTED[kind]}")
    whole, fraction = number[1], number[2] or ""
    amount: int = int(whole + fraction) * scale // 10 ** len(fraction)
    if not 0 < amount <= MAX_AMOUNT:
        raise ValueError("expected more than 0" if amount == 0 else "larger than anything here")
    return amount
