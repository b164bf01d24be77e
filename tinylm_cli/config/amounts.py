"""Amounts with units, such as ``130M`` parameters, ``24GiB``, ``2.5G`` FLOPs or ``3.35 TB/s``: parsing and printing."""

from __future__ import annotations

import math
import re
from typing import Literal

AmountKind = Literal["count", "size", "flops"]
ArgumentKind = AmountKind | Literal["length"]
"""The kinds of amounts in arguments; of a length in tokens, k is 1,024."""
RateKind = Literal["rate", "flop_rate"]

MAX_AMOUNT = 10**21
MAX_COUNT = 10**18
MAX_RATE = 10**18
MAX_COMPUTE = 10**30
"""Maximum FLOPs of a training run, above ``MAX_AMOUNT``: Llama 3 405B took 3.8e25."""

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_BITS = 8

UNITS: dict[AmountKind | RateKind, dict[str, int]] = {
    "count": {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12},
    "size": {f"{prefix}B": factor for prefix, factor in {**_DECIMAL, **_BINARY}.items()},
    "flops": {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15},
    "rate": {
        **{f"{prefix}B/s": factor * _BITS for prefix, factor in {**_DECIMAL, **_BINARY}.items()},
        **{f"{prefix}b/s": factor for prefix, factor in _DECIMAL.items()},
    },
    "flop_rate": {f"{prefix}{word}/s": factor for word in ("FLOP", "OP") for prefix, factor in _DECIMAL.items()},
}
"""Value of each unit; GB is 1000³ bytes, GiB 1024³; a rate is in bits per second."""

_NUMBER = r"[0-9]{1,6}(\.[0-9]{1,6})?"
_RATE_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,6})?"
SHARE = rf"{_NUMBER} ?%"
PATTERNS = {
    kind: f"{_RATE_NUMBER if kind in ('rate', 'flop_rate') else _NUMBER} ?({'|'.join(units)})"
    for kind, units in UNITS.items()
}
"""The regular expression of amounts of each kind."""

LENGTHS = ("max_len", "original_max_len", "window", "chunk_len", "seq_len")
"""Fields of numbers of tokens in a sequence, of which k is 1,024."""

_LENGTH = r"([0-9]{1,12}) ?([kKmM]?)"
_POWER = r"([0-9]{1,6})(?:\.([0-9]{1,6}))?e\+?([0-9]{1,2})"

EXPECTED: dict[ArgumentKind | RateKind, str] = {
    "count": "a count such as 125M or 124439808",
    "length": "a length such as 8k or 8192",
    "size": "a size such as 24GiB or 80GB",
    "flops": "a number of operations such as 2.5G or 2.5e9",
    "rate": "a speed such as 3.35 TB/s or 400 Gb/s",
    "flop_rate": "a speed such as 989.4 TFLOP/s",
}
"""The form of each kind, for errors about invalid amounts."""


def read_amount(text: str, kind: AmountKind | RateKind) -> int | float | None:
    """Return ``24GiB`` as a number, a float only if it is not an integer; None if the text is not an amount."""
    if not re.fullmatch(PATTERNS[kind], text):
        return None
    unit = text.lstrip("0123456789. ")
    whole, _, fraction = text.removesuffix(unit).rstrip().partition(".")
    scaled = int(whole + fraction) * UNITS[kind][unit]
    scale: int = 10 ** len(fraction) * (_BITS if kind == "rate" else 1)
    return scaled / scale if scaled % scale else scaled // scale


def read_share(text: str) -> float | None:
    """Return ``5%`` or ``0.05`` as 0.05; None if the text is neither."""
    if re.fullmatch(SHARE, text):
        return float(f"{float(text.removesuffix('%')) / 100:.15g}")
    return float(text) if re.fullmatch(_NUMBER, text) else None


def parse_amount(text: str, kind: ArgumentKind, *, most: int = MAX_AMOUNT) -> int:
    """Return an amount in an argument, with or without a unit, as an integer.

    Units may be in lower case, ``500k`` or ``24gib``; counts and operations may have an exponent, ``2.5e9``.

    Raises:
        ValueError: If the text is not an amount from 1 to ``most``; the message states the expected form.
    """
    power = re.fullmatch(_POWER, text) if kind in ("count", "flops") else None
    amount: int | float | None
    if kind == "length":
        amount = parse_length(text)
    elif power is not None:
        whole, fraction, exponent = power[1], power[2] or "", int(power[3])
        amount = int(whole + fraction) * 10**exponent // 10 ** len(fraction)
    elif text.isascii() and text.isdigit():
        amount = int(text) if len(text) <= len(str(most)) else most + 1
    else:
        unit = text.lstrip("0123456789. ")
        usual = {each.casefold(): each for each in UNITS[kind]}.get(unit.casefold(), unit)
        amount = read_amount(text.removesuffix(unit) + usual, kind)
    if amount is None:
        raise ValueError(f"expected {EXPECTED[kind]}")
    if not 1 <= amount <= most:
        raise ValueError("expected more than 0" if amount < 1 else f"expected at most {scientific(most)}")
    return int(amount)


def parse_number(text: str, maximum: float | None) -> float:
    """Return a number in an argument; NaN if the text is none. A share, whose ``maximum`` is 1, may be in percent."""
    if maximum == 1 and text.endswith("%"):
        share = read_share(text)
        return math.nan if share is None else share
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_length(text: str) -> int | None:
    """Return a sequence length such as ``4096`` or ``8k``; None if the text is not a length.

    In lengths k is 1,024 and M is 1,024², as in the names of models: 128k is 131,072.
    """
    length = re.fullmatch(_LENGTH, text)
    if length is None:
        return None
    return int(length[1]) * {"": 1, "k": 1024, "m": 1024**2}[length[2].casefold()]


def read_field(text: str, name: str) -> int | None:
    """Return ``8k`` as the value of the field with a dotted name; None if it is no length or count of the vocabulary.

    Other sizes, such as ``d_model``, accept digits only: 1k may be meant as 1,000 or as 1,024.
    """
    field = name.rpartition(".")[2]
    if field in LENGTHS:
        return parse_length(text)
    if field != "vocab_size" or text.isdigit():
        return None
    try:
        return parse_amount(text, "count")
    except ValueError:
        return None


def stated(value: int, kind: AmountKind, decimals: int = 2) -> str:
    """Return the shortest amount that parses to ``value``, such as ``80M`` or ``78.6GiB``; else all digits."""
    short = []
    for unit, factor in UNITS[kind].items():
        if 1 < factor <= value < 1024 * factor:
            scaled = -(-value * 10**decimals // factor)
            exact = scaled * factor % 10**decimals == 0
            if scaled * factor // 10**decimals == value and (exact or factor >= UNITS["size"]["MiB"]):
                short.append(f"{scaled / 10**decimals:.15g}{unit}")
    return min(short, key=len, default=f"{value:,}")


def scientific(value: int) -> str:
    """Return ``1e21`` for 10**21 if that notation is short and exact; else all digits."""
    digits = str(value).rstrip("0")
    exponent = len(str(value)) - 1
    if len(digits) > 7 or exponent < 6:
        return str(value)
    return f"{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{exponent}"


def rounded(value: int, kind: AmountKind, like: str = "") -> str:
    """Return ``value`` rounded to three digits, such as ``92.7M``, with the unit base (1000 or 1024) of ``like``."""
    unit, factor, scale = _three_digits(value, kind, like)
    return f"{(2 * value * scale + factor) // (2 * factor) / scale:.15g}{unit}"


def rounded_up(value: int, kind: AmountKind, like: str = "") -> str:
    """Return ``value`` rounded up to three digits, such as ``92.8M``; ``like`` as in :func:`rounded`."""
    unit, factor, scale = _three_digits(value, kind, like)
    return f"{-(-value * scale // factor) / scale:.15g}{unit}"


def rounded_down(value: int, kind: AmountKind, digits: int = 3) -> str:
    """Return ``value`` rounded down to ``digits`` digits, such as ``78.6GiB``; digits before the point are kept."""
    unit, factor, _ = _three_digits(value, kind, "")
    scale = 10 ** max(digits - len(str(value // factor)), 0)
    return f"{value * scale // factor / scale:.15g}{unit}"


def _three_digits(value: int, kind: AmountKind, like: str) -> tuple[str, int, int]:
    """Return the largest unit up to ``value``, its size, and the power of ten for three integer digits."""
    units = UNITS[kind]
    if like.endswith("B") and kind == "size":
        units = {unit: factor for unit, factor in units.items() if unit == "B" or ("i" in unit) == ("i" in like)}
    fitting = [(unit, factor) for unit, factor in units.items() if factor <= value]
    unit, factor = max(fitting, key=lambda each: each[1], default=("", 1))
    return unit, factor, 10 ** max(3 - len(str(value // factor)), 0)
