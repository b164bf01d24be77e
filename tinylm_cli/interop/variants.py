"""Models with changes: a config, optionally with changes, ``small@n_layers=8@norm.kind=rmsnorm``.

One ``@`` may change several fields of a block: ``llama-3-8b@attention.kind=latent,kv_rank=512``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tinylm_cli.config.attention_kinds import qualified
from tinylm_cli.config.fields import fields
from tinylm_cli.config.git_revision import names_revision, split_revision
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.presets import shipped
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UsageError
from tinylm_cli.wording import Command, Text

_KEY = r"[A-Za-z_]+(?:\.[A-Za-z_]+)*="
_CHANGE = re.compile(rf"@(?={_KEY})")
_NEXT_FIELD = re.compile(rf",(?={_KEY})")

_FILE = (".yaml", ".yml", ".json")
"""Suffixes of file names, in which an ``@`` does not start a change."""

MAX_COMPARED = 100
"""Maximum number of models to compare; ``tinylm sweep`` takes more."""

MAX_COMPARED_KINDS = 500
"""Maximum number of kinds of layers, summed over the models to compare: about 2 seconds."""


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
        many = (Command("sweep"), " lists the figures for many values of one field")
        raise UsageError(message, help=Text("compare fewer; ", *many))


def require_few_kinds(configs: Iterable[ModelConfig]) -> None:
    """Check the kinds of layers of the models to compare, since the time of a comparison grows with them.

    Raises:
        UsageError: If they exceed ``MAX_COMPARED_KINDS``.
    """
    if sum(len(layer_pattern(config).kinds) for config in configs) > MAX_COMPARED_KINDS:
        message = f"the models to compare have more than {MAX_COMPARED_KINDS} kinds of layers in all"
        raise UsageError(message, help="compare fewer")


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
        key = key if block else qualified(key, value)
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
