"""Machine-applicable fixes: which suggestions are certain, and how they change the text of a file.

A fix replaces part of one line, so comments, order and line endings are preserved.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Sequence

from tinylm_cli.config.aliases import BLOCK_ALIASES, CHOICE_ALIASES, FIELD_ALIASES, INEXACT_ALIASES, INEXACT_CHOICES
from tinylm_cli.config.fields import Field, Schema
from tinylm_cli.config.similar_names import same_numbers, similarity
from tinylm_cli.config.source import Source
from tinylm_cli.config.suggestions import accepts, plain_number
from tinylm_cli.config.yaml_nodes import Entry, Node
from tinylm_cli.errors import Diagnostic, Fix, Span
from tinylm_cli.wording import SET

MAX_ROUNDS = 50
"""A fixed key may uncover a wrong value, so a file is checked again after each round of fixes."""

# minimum similarity of a wrong and a corrected text, by kind
_SAME_NAME = 0.8
_SAME_BLOCK = 0.75  # for a key with a nested block: block names are few and dissimilar
_SAME_BOOLEAN = 0.75
_SAME_CHOICE = 0.85
_SHORTEST_CHOICE = 6  # a short word similar to a choice may be a different valid name: selu, relu6
_BOOLEAN_WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "0", "1", "true", "false"})
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def rename_fix(
    entry: Entry, candidates: Sequence[str], path: Sequence[str], sibling_keys: Collection[str], schema: Schema
) -> Fix | None:
    """Return the fix of a misspelled key; None unless it can only mean one field of its block.

    Args:
        entry: The key and its value.
        candidates: Dotted names of the fields that it may mean.
        path: The keys down to it.
        sibling_keys: The keys of its block.
        schema: The schema of the document.
    """
    *parents, key = path
    block, _, name = candidates[0].rpartition(".") if len(candidates) == 1 else ("", "", "")
    if not name or block != ".".join(parents) or name in sibling_keys:
        return None
    return _replace(entry.key_span, key, name) if _is_same_key(key, candidates[0], entry.value, schema) else None


def _is_same_key(key: str, candidate: str, value: Node, schema: Schema) -> bool:
    folded = key.casefold()
    if candidate in schema.blocks:
        is_alias = BLOCK_ALIASES.get(folded) == candidate and folded not in INEXACT_ALIASES
        return value.entries is not None and (is_alias or _is_misspelling(key, candidate, _SAME_BLOCK))
    if folded in FIELD_ALIASES:
        fits = value.entries is None and accepts(schema.fields[candidate], value.plain())
        return fits and folded not in INEXACT_ALIASES
    return _is_misspelling(key, candidate.rpartition(".")[2], _SAME_NAME)


def _is_misspelling(written: str, meant: str, least: float) -> bool:
    """Return whether two words are alike and contain the same numbers: ``mamba3`` is not a wrong ``mamba``."""
    return same_numbers(written, meant) and similarity(written, meant) >= least


def value_fix(node: Node, value: str, field: Field) -> Fix | None:
    """Return the fix that writes ``value`` in place of ``node``; None unless both certainly mean the same."""
    if field.choices or field.kind == "pattern":
        certain = _is_same_choice(node.written, value)
    elif field.kind == "boolean":
        certain = node.written.casefold() in _BOOLEAN_WORDS or similarity(node.written, value) >= _SAME_BOOLEAN
    else:
        certain = _is_same_amount(node.written, value)
    return _replace(node.span, node.written, value) if certain else None


def _is_same_choice(written: str, choice: str) -> bool:
    folded = written.strip().casefold().replace("-", "_")
    if folded == choice.casefold():
        return True
    if folded in CHOICE_ALIASES:
        return CHOICE_ALIASES[folded] == choice and folded not in INEXACT_CHOICES
    return len(folded) >= _SHORTEST_CHOICE and _is_misspelling(folded, choice, _SAME_CHOICE)


def _is_same_amount(written: str, value: str) -> bool:
    """Return whether two numbers are equal, or two amounts differ only in case, spaces and the word FLOPs."""
    number, meant = plain_number(written), plain_number(value)
    if number is not None and meant is not None:
        return number == meant
    folded, same = (re.sub(r"flops?$", "", "".join(text.split()).casefold()) for text in (written, value))
    return folded == same


def _replace(span: Span, written: str, text: str) -> Fix | None:
    """Return the fix of a plain or quoted word; None if the file spells it differently or it is not in a file."""
    start = span.column - span.text_column
    shown = span.text[start : start + span.end_column - span.column]
    quote = shown[:1] if shown[:1] in ("'", '"') else ""
    if span.source == SET or shown != f"{quote}{written}{quote}":
        return None  # an option, or a scalar that spans lines or contains escapes
    needs_quotes = quote and plain_number(text) is None and text not in ("true", "false", "null")
    return Fix(span, f"{quote}{text}{quote}" if needs_quotes else text)


def fix_source(
    source: Source, check: Callable[[Source], Sequence[Diagnostic]]
) -> tuple[Source, tuple[Diagnostic, ...]]:
    """Apply the fixes that ``check`` finds until it finds no more; at most ``MAX_ROUNDS`` times.

    Returns:
        The fixed text, and the diagnostics whose fixes were applied, in the order of their application.
    """
    fixed: list[Diagnostic] = []
    for _ in range(MAX_ROUNDS):
        fixes: list[Fix] = []
        for error in check(source):
            # a later round applies a fix that overlaps another
            if error.fix is not None and not any(_overlap(error.fix.span, each.span) for each in fixes):
                fixes.append(error.fix)
                fixed.append(error)
        if not fixes:
            break
        source = apply_fixes(source, fixes)
    return source, tuple(fixed)


def apply_fixes(source: Source, fixes: Sequence[Fix]) -> Source:
    """Return the text with each fix applied.

    Raises:
        ValueError: If two fixes change the same text.
    """
    parts: list[str] = []
    done = 0
    for span, replacement in sorted(fixes, key=lambda fix: (fix.span.line, fix.span.column)):
        start = source.index(span.line, span.column)
        if start < done:
            raise ValueError(f"two fixes overlap at {source.name}:{span.line}")
        parts += [source.text[done:start], replacement]
        done = source.index(span.line, span.end_column)
    return Source(source.name, "".join([*parts, source.text[done:]]), path=source.path)


def _overlap(one: Span, other: Span) -> bool:
    return one.line == other.line and one.column < other.end_column and other.column < one.end_column


def unified_diff(before: Source, after: Source) -> str:
    """Return the change of a file as ``diff -u`` and ``git diff`` write it; empty if nothing changed."""
    old, new = _LINE.findall(before.text), _LINE.findall(after.text)
    lines = difflib.unified_diff(old, new, fromfile=before.path, tofile=after.path)
    return "".join(line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n" for line in lines)
