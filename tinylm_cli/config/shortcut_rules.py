"""Rules about experts whose output the next layer adds: shortcut."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.config.dependencies import KindFields, Problem, Values

FIELD, KINDS = "feed_forward.shortcut", "layers.kinds"


def shortcut_needs_kinds(values: Values) -> Iterator[Problem]:
    """Yield a problem if a config without kinds of layers has shortcuts, since its last layer has no next one."""
    if values.get(FIELD):
        message = f"{FIELD} true requires {KINDS}, so that the last layer is of a kind without it"
        yield Problem("needs-field", (FIELD, KINDS), message, f"omit {FIELD}, or write it in one of two {KINDS}")


def shortcut_ends(kinds: KindFields) -> Iterator[Problem]:
    """Yield a problem if no layer follows the last one with a shortcut."""
    for last in kinds.order[-1:]:
        if kinds.resolved[last].get(FIELD):
            place = kinds.place(last, FIELD)
            message = f"the last layer is of kind {last}, whose experts are added after the next layer"
            yield Problem("contradiction", (place,), message, f"list a kind without {FIELD} last")
