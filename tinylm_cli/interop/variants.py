"""The arguments of ``tinylm compare``: a config, optionally with changes, ``small@n_layers=8@norm.kind=rmsnorm``.

One ``@`` may change several fields of a block: ``llama-3-8b@attention.kind=latent,kv_rank=512``.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tinylm_cli.config.fields import fields
from tinylm_cli.config.git_revision import names_revision, split_revision
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.presets import shipped
from tinylm_cli.errors import SET, ConfigError, Diagnostic, Span, UsageError
from tinylm_cli.interop.load import ConfigText, parse_config_text, read_config_text
from tinylm_cli.shell_quoting import shell_join

_KEY = r"[A-Za-z_]+(?:\.[A-Za-z_]+)*="
_CHANGE = re.compile(rf"@(?={_KEY})")
_NEXT_FIELD = re.compile(rf",(?={_KEY})")
_PROPOSAL = re.compile(r"([a-z_]+(?:\.[a-z_]+)*)(?:: |=)([^\s,]+)")
"""Matches fields and values in the help of a diagnostic: ``position.kind: rope, or attention.kind: multi_head``."""

_MEANT = re.compile(r"did you mean (\S+)\?")

_FILE = (".yaml", ".yml", ".json")
"""Suffixes of file names, in which an ``@`` does not start a change."""

MAX_COMPLETING_CHANGES = 3
"""Maximum number of further changes tried to make an invalid change valid."""


MAX_COMPARED = 100
"""Maximum number of models to compare; ``tinylm sweep`` takes more."""


class Variant(NamedTuple):
    """A config with changes."""

    reference: str  # A preset, a path, ``-``, or a path in a git revision.
    changes: tuple[str, ...] = ()  # The changes, each ``key=value``.
    shared: tuple[str, ...] = ()  # Changes applied to every compared model, before ``changes``.
    n_set: int = 0  # Number of trailing ``changes`` given by ``--set`` instead of ``@``.

    @property
    def all_changes(self) -> tuple[str, ...]:
        """Every ``key=value``, in the order of application."""
        return (*self.shared, *self.changes)

    @property
    def argument(self) -> str:
        """The command-line argument, without changes given by ``--set``."""
        return "".join((self.reference, *_typed(self.changes[: len(self.changes) - self.n_set])))


def require_few_models(number: int) -> None:
    """Check the number of models to compare, before they are read.

    Raises:
        UsageError: If it exceeds ``MAX_COMPARED``.
    """
    if number > MAX_COMPARED:
        message = f"{number:,} models to compare; the limit is {MAX_COMPARED}"
        raise UsageError(message, help="compare fewer; tinylm sweep lists the figures for many values of one field")


def parse_variants(arguments: Sequence[str], overrides: Sequence[str]) -> list[Variant]:
    """Parse the arguments of ``tinylm compare``.

    ``A@key=value`` is A with that change, ``@key=value`` the first model with it. With several models, overrides apply
    to each. A single model is compared with its overridden variant or, without overrides, with its unchanged config.

    Raises:
        UsageError: If there is nothing to compare, or more than ``MAX_COMPARED`` models.
    """
    require_few_models(len(arguments))
    first, *others = arguments
    base = parse_variant(first, Variant(""))
    if not base.reference:
        raise UsageError(f"{first} has no model", help=f"write the model before the change: small{first}")
    if others:
        variants = (base, *(parse_variant(argument, base) for argument in others))
        return [variant._replace(shared=tuple(overrides)) for variant in variants]
    if not overrides and base.changes:
        return [Variant(base.reference), base]
    if not overrides:
        suggested = shell_join(("tinylm", "compare", base.reference, "@n_layers=8"))
        raise UsageError(f"nothing to compare {first} with", help=f"add another model or a change: {suggested}")
    return [base, Variant(base.reference, (*base.changes, *overrides), n_set=len(overrides))]


def load_variants(variants: Sequence[Variant]) -> list[LoadedConfig]:
    """Load each model under a distinct name; each file is read once.

    Raises:
        ConfigError: If configs or changes are invalid; holds the errors of all of them. If a change requires
            further ones, its help shows the complete command.
        InputError: If a config cannot be read.
        UsageError: If a change is not ``key=value``.
    """
    texts = {reference: read_config_text(reference) for reference in dict.fromkeys(each.reference for each in variants)}
    errors: dict[Diagnostic, None] = {}
    loaded = []
    for index, variant in enumerate(variants):
        try:
            loaded.append(parse_config_text(texts[variant.reference], variant.all_changes))
        except ConfigError as error:
            completed = _completed(texts[variant.reference], variant, error)
            command = _command([*variants[:index], completed, *variants[index + 1 :]]) if completed else ""
            errors |= dict.fromkeys(_as_typed(each, variant, command) for each in error.diagnostics)
    if errors:
        raise ConfigError(tuple(errors))
    names = distinct_names(variants, [each.name for each in loaded])
    return [each._replace(name=name) for each, name in zip(loaded, names, strict=True)]


def _completed(text: ConfigText, variant: Variant, error: ConfigError) -> Variant | None:
    """Return the variant made valid with the fewest further changes that its diagnostics propose, or None."""
    queue = deque([(variant, error)])
    while queue:
        partial, error = queue.popleft()
        for more in _repairs(error, partial):
            try:
                parse_config_text(text, more.all_changes)
            except ConfigError as unfinished:
                if len(more.changes) - len(variant.changes) < MAX_COMPLETING_CHANGES:
                    queue.append((more, unfinished))
            else:
                return more
    return None


def _repairs(error: ConfigError, variant: Variant) -> Iterator[Variant]:
    """Yield the variant with each change that a diagnostic proposes: another field's value, or a corrected value."""
    changed = {change.partition("=")[0].strip(): change for change in variant.changes}
    for each in error.diagnostics if changed else ():
        proposed = dict(_PROPOSAL.findall(each.help))
        if each.code == "unknown-choice" and each.field in changed:
            meant = _MEANT.search(each.help)
            proposed |= {each.field: meant[1]} if meant else {}
            if each.field in proposed:
                yield _with(variant, proposed, instead_of=changed[each.field])
            continue
        for field, value in proposed.items():
            if field in fields() and field not in changed:
                yield _with(variant, {field: value})


def _with(variant: Variant, proposed: Mapping[str, str], instead_of: str = "") -> Variant:
    """Return the variant with more changes, in the form (``@`` or ``--set``) of its other changes."""
    kept = tuple(change for change in variant.changes if change != instead_of)
    added = tuple(f"{field}={value}" for field, value in proposed.items())
    n_set = len(kept) + len(added) if variant.n_set == len(variant.changes) else variant.n_set
    at = len(kept) if n_set > variant.n_set else len(kept) - n_set
    return variant._replace(changes=(*kept[:at], *added, *kept[at:]), n_set=n_set)


def _command(variants: Iterable[Variant]) -> str:
    """Return the command that compares the variants."""
    variants = list(variants)
    overrides = variants[0].shared or variants[-1].changes[len(variants[-1].changes) - variants[-1].n_set :]
    first, *others = variants
    arguments = [first.argument]
    for variant in others:
        is_first_changed = variant.argument.startswith(f"{first.argument}@")
        if not variant.n_set:
            arguments.append(variant.argument.removeprefix(first.argument) if is_first_changed else variant.argument)
    options = [word for override in overrides for word in ("--set", override)]
    return shell_join(("tinylm", "compare", *arguments, *options))


def _as_typed(error: Diagnostic, variant: Variant, command: str) -> Diagnostic:
    """Return a diagnostic that shows ``@`` changes as typed, with ``command``, if any, as the help."""
    span = error.span and _after_at(error.span, variant)
    labels = tuple(label._replace(span=_after_at(label.span, variant)) for label in error.labels)
    help_ = error.help.replace("--set ", "@") if span != error.span else error.help
    source = span.source if span and error.span and error.source == error.span.source else error.source
    return error._replace(source=source, span=span, labels=labels, help=command or help_)


def _after_at(span: Span, variant: Variant) -> Span:
    typed = variant.changes[: len(variant.changes) - variant.n_set]
    if span.source != SET or span.text not in typed:
        return span
    return span._replace(source="MODEL", column=span.column + 1, end_column=span.end_column + 1, text=f"@{span.text}")


def parse_variant(argument: str, base: Variant) -> Variant:
    """Parse one argument; ``@key=value`` is ``base`` with that change.

    Raises:
        UsageError: If it begins with ``@`` but is not a change, or is a change without ``@``.
    """
    if argument in shipped() or os.path.lexists(argument) or argument.endswith(_FILE):
        return Variant(argument)
    reference, *parts = _CHANGE.split(argument)
    changes = tuple(change for part in parts for change in _fields(part))
    if reference.startswith("@") and ":" not in reference:  # @:FILE is a file in a git revision
        raise UsageError(f"{argument}: expected @key=value", help="for example @n_layers=8")
    if reference.partition("=")[0] in fields():
        raise UsageError(f"{argument} is not a config", help=f"write a change with @: @{argument}")
    return Variant(reference, changes) if reference else Variant(base.reference, (*base.changes, *changes))


def _fields(part: str) -> Iterator[str]:
    """Yield each ``key=value`` after one ``@``; a name without a block belongs to the block of the previous one."""
    block = ""
    for change in _NEXT_FIELD.split(part):
        key, equals, value = change.partition("=")
        is_qualified = "." in key or (key in fields() and f"{block}{key}" not in fields())
        key = key if is_qualified else f"{block}{key}"
        block = f"{key.rpartition('.')[0]}." if "." in key else ""
        yield f"{key}{equals}{value}"


def _typed(changes: Iterable[str]) -> Iterator[str]:
    """Yield changes as typed: ``@`` and a dotted field, or ``,`` and another field of the same block."""
    previous = ""
    for change in changes:
        block, dot, _ = change.partition("=")[0].rpartition(".")
        yield f",{change.removeprefix(f'{block}.')}" if dot and block == previous else f"@{change}"
        previous = block if dot else ""


def distinct_names(variants: Sequence[Variant], short: Sequence[str]) -> list[str]:
    """Return the shortest distinct names.

    A name consists of the git revision (if any), the model's name and its changes. A variant of the first model is
    named by its further changes only. If two models would share a name, each is named as typed; identical arguments are
    numbered.
    """
    first = variants[0]
    called = {each.reference: _called(each.reference, name) for each, name in zip(variants, short, strict=True)}
    shared = {name for name, count in Counter(called.values()).items() if count > 1}
    names = []
    for variant in variants:
        more = variant.changes[len(first.changes) :]
        if more and variant[:2] == (first.reference, (*first.changes, *more)):
            names.append("".join(_typed(more)).removeprefix("@"))
        else:
            name = called[variant.reference]
            names.append("".join((variant.reference if name in shared else name, *_typed(variant.changes))))
    typed = [variant.reference + "".join(_typed(variant.changes)) for variant in variants]
    names = [full if names.count(name) > 1 else name for name, full in zip(names, typed, strict=True)]
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[index] = f"{name} ({seen[name]})"
    return names


def _called(reference: str, name: str) -> str:
    return f"{split_revision(reference)[0]}:{name}" if names_revision(reference) else name
