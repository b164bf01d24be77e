"""Models as a comparison names them: a config, or a config with changes, ``small@n_layers=8@norm.kind=rmsnorm``."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import naming
from tinylm_cli.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.errors import Diagnostic, Span

_CHANGE = re.compile(r"@(?=[A-Za-z_]+(?:\.[A-Za-z_]+)*=)")
_FILE = (".yaml", ".yml", ".json")
"""Endings that no value of a change has: an ``@`` before one belongs to the file's name."""


class Variant(NamedTuple):
    """A config, and what is changed on top of it.

    Attributes:
        reference: What ``--config`` takes.
        changes: Each ``key=value``.
        shared: Those that every other model has as well; they come first.
        optional: How many of ``changes``, the last, were given by ``--set`` and not after an ``@``.
    """

    reference: str
    changes: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    optional: int = 0

    @property
    def all_changes(self) -> tuple[str, ...]:
        """Every ``key=value``, in the order in which they are made."""
        return (*self.shared, *self.changes)


def parse_variants(words: Sequence[str], overrides: Sequence[str]) -> list[Variant]:
    """Return the models that are named.

    ``A@key=value`` is A with that change, and ``@key=value`` the first model with it. Overrides are made to every model
    where there are several; a single one is held against itself with them.

    Raises:
        UsageError: If a word is empty, or that leaves nothing to compare.
    """
    first, *others = map(naming, words)
    base = parse_variant(first, Variant(""))
    if not base.reference:
        raise UsageError(f"{first} changes no model", help=f"name the model it changes: small{first}")
    if others:
        return [
            each._replace(shared=tuple(overrides)) for each in (base, *(parse_variant(word, base) for word in others))
        ]
    if not overrides:
        changed = "".join(f"@{change}" for change in base.changes)
        another = "what it is a change of" if changed else "another model, or a change"
        suggested = (base.reference, changed) if changed else (base.reference, "--set", "n_layers=8")
        raise UsageError(
            f"there is nothing to compare {first} with",
            help=f"name {another}: {shlex.join(('tinylm', 'compare', *suggested))}",
        )
    return [base, Variant(base.reference, (*base.changes, *overrides), optional=len(overrides))]


def load_variants(variants: Sequence[Variant]) -> list[LoadedConfig]:
    """Load each model, under a name that no other has; what several share is read once.

    Raises:
        ConfigError: If configs or changes are wrong; holds every mistake of all of them.
        InputError: If one cannot be read.
        UsageError: If a change is not ``key=value``.
    """
    from tinylm_cli.interop.load import parse_written, read_written

    written = {reference: read_written(reference) for reference in dict.fromkeys(each.reference for each in variants)}
    mistakes = ErrorCollector()
    read: list[LoadedConfig | None] = []
    for each in variants:
        try:
            read.append(parse_written(written[each.reference], each.all_changes))
        except ConfigError as error:
            mistakes.add(_as_typed(mistake, each) for mistake in error.diagnostics)
    mistakes.settle()
    loaded = [each for each in read if each is not None]
    names = distinct_names(variants, [each.name for each in loaded])
    return [each._replace(name=name) for each, name in zip(loaded, names, strict=True)]


def _as_typed(mistake: Diagnostic, variant: Variant) -> Diagnostic:
    """Return a mistake whose places after an ``@`` are told as such, and not as those of ``--set``."""
    span = mistake.span and _after_at(mistake.span, variant)
    labels = tuple(label._replace(span=_after_at(label.span, variant)) for label in mistake.labels)
    if mistake.span is None or span is None or span == mistake.span:
        return mistake._replace(labels=labels)
    source = span.source if mistake.source == mistake.span.source else mistake.source
    return mistake._replace(source=source, span=span, labels=labels, help=mistake.help.replace("--set ", "@"))


def _after_at(span: Span, variant: Variant) -> Span:
    from tinylm_cli.config.source import SET

    typed = variant.changes[: len(variant.changes) - variant.optional]
    if span.source != SET or span.text not in typed:
        return span
    return span._replace(source="MODEL", column=span.column + 1, end_column=span.end_column + 1, text=f"@{span.text}")


def parse_variant(word: str, base: Variant) -> Variant:
    """Return the model that one word names; ``@key=value`` is ``base`` with that change.

    Raises:
        UsageError: If it begins with ``@`` and is no change.
    """
    from tinylm_cli.config.presets import shipped

    if word in shipped() or os.path.lexists(word) or word.endswith(_FILE):
        return Variant(word)
    reference, *changes = _CHANGE.split(word)
    if reference.startswith("@") and ":" not in reference:  # @:FILE is a revision's, as git has it
        raise UsageError(f"{word}: expected @key=value", help="for example @n_layers=8")
    return Variant(reference, tuple(changes)) if reference else Variant(base.reference, (*base.changes, *changes))


def distinct_names(variants: Sequence[Variant], short: Sequence[str]) -> list[str]:
    """Return names as short as they can be and still differ.

    A model by its own name, after its revision if it has one, and its changes; by the changes alone where it is the
    first model with more of them. Where that leaves two files or two models alike, as typed; where that is alike, with
    a number.
    """
    first = variants[0]
    called = {each.reference: _called(each.reference, name) for each, name in zip(variants, short, strict=True)}
    shared = {name for name, count in Counter(called.values()).items() if count > 1}
    names = []
    for variant in variants:
        name = called[variant.reference]
        more = variant.changes[len(first.changes) :]
        is_first_with_more = more and variant[:2] == (first.reference, (*first.changes, *more))
        model = variant.reference if name in shared else name
        names.append("@".join(more if is_first_with_more else (model, *variant.changes)))
    typed = ["@".join((variant.reference, *variant.changes)) for variant in variants]
    names = [full if names.count(name) > 1 else name for name, full in zip(names, typed, strict=True)]
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[index] = f"{name} ({seen[name]})"
    return names


def _called(reference: str, name: str) -> str:
    from tinylm_cli.config.git_revision import names_revision, split_revision

    return f"{split_revision(reference)[0]}:{name}" if names_revision(reference) else name
