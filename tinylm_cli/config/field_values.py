"""Several values for one field, for a sweep: ``n_layers=4..24:4`` or ``norm.kind=layernorm,rmsnorm``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod

from tinylm_cli.config.amounts import read_field
from tinylm_cli.config.diagnostic_codes import config_error, diagnostic, either, quote
from tinylm_cli.config.fields import SCHEMA, schema_of
from tinylm_cli.config.suggestions import suggest_keys
from tinylm_cli.errors import ConfigError, Span, UsageError
from tinylm_cli.wording import Argument, Setting, Text

FIELDS = Argument("<fields>")
"""The source of an error in a swept field."""

MAX_POINTS = 500
"""Maximum number of configs in a sweep."""

_BOUND = r"([0-9]{1,12}[kKmM]?)"
_RANGE = re.compile(rf"{_BOUND}\.\.{_BOUND}(?::{_BOUND})?")
_ITEM = re.compile(r"""(?:"[^"]*"|'[^']*'|\([^()]*\)|\[[^\[\]]*\]|[^,])*""")
_EXAMPLE = "for example n_layers=4..24:4 or norm.kind=layernorm,rmsnorm"


def parse_field_values(arguments: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the values of each field, by its dotted name.

    ``4..24:4`` is 4, 8, … up to 24; ``a,b`` is a, then b. A comma within quotes or brackets belongs to a value.

    Args:
        arguments: One ``key=values`` for each of one or two fields.

    Raises:
        ConfigError: If values are neither a range nor a list, or a field is unknown; points at it.
        UsageError: If a field is given twice, or there are too many combinations.
    """
    if not arguments:
        raise UsageError("sweep takes one or two fields, but none is given", help=_EXAMPLE)
    if len(arguments) > 2:
        raise UsageError("sweep takes one or two fields", help=Text("set the others with ", Setting("set")))
    parsed: dict[str, tuple[str, ...]] = {}
    for argument in arguments:
        name, values = _parse(argument)
        if name in parsed:
            raise UsageError(f"{name} is given twice", help="write all its values in one list")
        parsed[name] = values
    points = prod(map(len, parsed.values()))
    if points > MAX_POINTS:
        raise UsageError(f"this makes {points:,} configs; the limit is {MAX_POINTS:,}", help="take larger steps")
    return parsed


def _parse(argument: str) -> tuple[str, tuple[str, ...]]:
    """Return the field and the values of one ``key=values``."""
    key, equals, values = argument.partition("=")
    if not equals or not key.strip() or not key.isprintable() or not values.strip():
        raise _error("wrong-type", argument, f"{argument or 'an empty string'}: expected key=values", _EXAMPLE)
    schema, field = schema_of(key)
    if field not in schema.fields:
        block, _, own_name = field.rpartition(".")
        meant = suggest_keys(own_name, block, schema) if block in schema.blocks else suggest_keys(field, "", schema)
        remedy = (
            f"did you mean {either([schema.here(each) for each in meant])}?"
            if meant
            else Text(SCHEMA, " lists the fields")
        )
        raise _error("unknown-key", argument, f"unknown field {quote(key)}", remedy, len(key))
    range_ = _RANGE.fullmatch(values.strip())
    bounds = [_bound(each, field) for each in range_.groups("1")] if range_ else []
    if range_ is None or None in bounds:
        listed = tuple(_items(values))
        if not all(listed) or ".." in values:
            raise _error("out-of-range", argument, f"{argument}: expected a range or a list", _EXAMPLE)
        return key, listed
    first, last, step = (each for each in bounds if each is not None)
    if step == 0:
        raise _error("out-of-range", argument, f"{argument}: the step must be positive", _EXAMPLE)
    if last < first:
        raise _error("out-of-range", argument, f"{argument}: the range is empty", _EXAMPLE)
    if (last - first) // step >= MAX_POINTS:
        raise _error("out-of-range", argument, f"{argument}: the limit is {MAX_POINTS:,} values", "take larger steps")
    return key, tuple(map(str, range(first, last + 1, step)))


def _error(code: str, argument: str, message: str, remedy: str, end: int | None = None) -> ConfigError:
    """Return the error for one ``key=values``, which points at the key that ends at ``end``, or at all of it."""
    place = Span(FIELDS, 1, 1, max(len(argument) if end is None else end, 1) + 1, argument)
    return config_error([diagnostic(code, message, FIELDS, place, help=remedy)])


def _bound(text: str, field: str) -> int | None:
    """Return a bound or the step of a range; None if the field does not accept its unit."""
    return int(text) if text.isdigit() else read_field(text, field)


def _items(values: str) -> Iterator[str]:
    """Yield the values of a list, without a split at a comma within quotes or brackets."""
    end = -1
    while end < len(values):
        item = _ITEM.match(values, end + 1)
        assert item is not None  # it may be empty
        yield item[0].strip()
        end = item.end()
