"""Types of fields that accept amounts with units or text."""

# no deferred annotations: pydantic would evaluate every one, a tenth of the start-up time

from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from tinylm_cli.config.amounts import (
    EXPECTED,
    MAX_AMOUNT,
    MAX_COUNT,
    PATTERNS,
    SHARE,
    AmountKind,
    RateKind,
    read_amount,
    read_share,
)

Kind = (
    Literal["integer", "number", "boolean", "choice", "share", "pattern", "numbers", "text", "names"]
    | Literal["sequence", "kinds"]
    | AmountKind
    | RateKind
)
"""The kinds of a field's values.

A count, size, flops or rate is an integer that accepts ``125M``, ``24GiB``, ``2.5G`` or ``3.35 TB/s``; a share is a
number that accepts ``5%``; numbers and names are lists; a sequence lists kinds of layers, and kinds maps their names to
fields.
"""


class FieldType(NamedTuple):
    """The kind of a field's values, as an annotation on the Python type.

    Attributes:
        kind: The kind.
        expected: Description of the expected value, with an example or a range.
    """

    kind: Kind
    expected: str


def amount_type(kind: AmountKind | RateKind, most: int) -> tuple[object, ...]:
    """Return the annotations of an integer field that accepts an amount from 1 to ``most``."""

    def read(value: object) -> object:
        if isinstance(value, float) and kind == "flops" and value.is_integer():
            return int(value)  # 2.5e9, as papers write it
        if not isinstance(value, str):
            return value
        amount = read_amount(value, kind)
        if amount is None:
            raise PydanticCustomError("amount_format", "not an amount: expected an integer, or a number and its unit")
        return int(amount)

    number = {"type": "integer", "minimum": 1, "maximum": most}
    in_editors = WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": f"^{PATTERNS[kind]}$"}]})
    return Field(ge=1, le=most), BeforeValidator(read), FieldType(kind, EXPECTED[kind]), in_editors


ParameterCount = Annotated[int, *amount_type("count", MAX_COUNT)]
Size = Annotated[int, *amount_type("size", MAX_AMOUNT)]
FlopCount = Annotated[int, *amount_type("flops", MAX_AMOUNT)]

Title = Annotated[str, Field(max_length=200, pattern=r"^[^\r\n]+$"), FieldType("text", "text on one line")]
Prose = Annotated[str, Field(min_length=1, max_length=10_000), FieldType("text", "text")]


def _read_share(value: object) -> object:
    if not isinstance(value, str):
        return value
    share = read_share(value) if value.endswith("%") else None
    if share is None:
        raise PydanticCustomError(
            "amount_format", "not a share: expected a number such as 0.05 or a percentage such as 5%"
        )
    return share


Share = Annotated[
    float,
    Field(ge=0, le=1),
    BeforeValidator(_read_share),
    FieldType("share", "a share such as 0.05 or 5%"),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": f"^{SHARE}$"}]}
    ),
]
