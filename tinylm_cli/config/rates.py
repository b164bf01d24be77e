"""Speeds as datasheets write them, ``3.35 TB/s`` and ``989.4 TFLOP/s``, into whole bytes and operations."""

# no deferred annotations, as in config.blocks

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tinylm_cli.config.amounts import Said

MeasureKind = Literal["rate", "flop_rate"]

MAX_MEASURE = 10**18

_NUMBER = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?")
_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_BITS = 8

# what one of each unit is in eighths of a byte a second, or in operations a second
_UNITS: dict[MeasureKind, dict[str, int]] = {
    "rate": {
        **{f"{prefix}B/s": scale * _BITS for prefix, scale in {**_DECIMAL, **_BINARY}.items()},
        **{f"{prefix}b/s": scale for prefix, scale in _DECIMAL.items()},
    },
    "flop_rate": {f"{prefix}{word}/s": scale for word in ("FLOP", "OP") for prefix, scale in _DECIMAL.items()},
}
_PARTS = {"rate": _BITS, "flop_rate": 1}
_SPELLINGS = {"ops": "op/s", "op": "op/s", "ops/s": "op/s", "bps": "b/s", "b/sec": "b/s"}


def suggest_measure(written: str, kind: MeasureKind) -> str | None:
    """Return a measure whose unit is spelled otherwise as ours, ``400 Gb/s`` for ``400Gbps``; None for none of ours."""
    number = _NUMBER.match(written)
    if number is None:
        return None
    unit = written[number.end() :].strip().casefold()
    ending = next((ending for ending in sorted(_SPELLINGS, key=len, reverse=True) if unit.endswith(ending)), "")
    if ending:
        unit = unit.removesuffix(ending) + _SPELLINGS[ending]
    ours = next((each for each in _UNITS[kind] if each.casefold() == unit), None)
    return f"{number[0]} {ours}" if ours else None


def _reader(kind: MeasureKind) -> BeforeValidator:
    """Return what turns text into an integer, and leaves everything else for the integer check that follows."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        number = _NUMBER.match(value)
        unit = _UNITS[kind].get(value[number.end() :].removeprefix(" ")) if number is not None else None
        if number is None or unit is None:
            raise PydanticCustomError("measure_format", "not a number and its unit")
        whole, fraction = number[1], number[2] or ""
        return int(whole + fraction) * unit // (10 ** len(fraction) * _PARTS[kind])

    return BeforeValidator(read)


Rate = Annotated[
    int, Field(ge=1, le=MAX_MEASURE), _reader("rate"), Said("rate", "a speed such as 3.35 TB/s or 400 Gb/s")
]  # fmt: skip
FlopRate = Annotated[
    int, Field(ge=1, le=MAX_MEASURE), _reader("flop_rate"), Said("flop_rate", "a speed such as 989.4 TFLOP/s")
]  # fmt: skip
