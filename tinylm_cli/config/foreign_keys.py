"""Diagnostics with the keys of another library's config in place of tinylm's field names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tinylm_cli.config.fields import fields
from tinylm_cli.errors import Diagnostic

_LITERAL = re.compile(r"-?[0-9][0-9.eE+-]*|true|false")
"""A value that both libraries spell alike; a name may be specific to tinylm."""


def name_foreign_keys(mistake: Diagnostic, keys: Mapping[str, str]) -> Diagnostic:
    """Return ``mistake`` with each field name replaced by the key of the file.

    Where the help leaves a field out, it sets the key to null: an absent key has a different default there.

    Args:
        mistake: A diagnostic with tinylm's field names.
        keys: The key of each dotted field.
    """
    if not keys:
        return mistake
    names = "|".join(re.escape(name) for name in sorted(keys, key=len, reverse=True))
    name = re.compile(rf"(?<![\w.])({names})(?![\w])(?!\.\w)")
    optional = re.compile(rf"(or )?leave ({names}) out(?![\w])")

    def renamed(text: str) -> str:
        return name.sub(lambda found: keys[found[1]], text)

    def null(found: re.Match[str]) -> str:
        field = fields()[found[2]]
        nullable = not field.required and field.default is None
        return f"{found[1] or 'write '}{field.name}: null" if nullable else found[0]

    last = mistake.field.rpartition(".")[2]
    help_ = optional.sub(null, mistake.help)
    if mistake.field in keys:  # its own example omits the block
        help_ = re.sub(rf"(?<![\w.]){re.escape(last)}(?=: )", mistake.field, help_)
    labels = tuple(label._replace(text=renamed(label.text)) for label in mistake.labels)
    return mistake._replace(
        message=renamed(mistake.message),
        help=renamed(help_),
        labels=labels,
        field=keys.get(mistake.field, mistake.field),
        fix=mistake.fix if mistake.fix and _LITERAL.fullmatch(mistake.fix.replacement) else None,
    )
