"""Shorten lists of tensor names: the names of several layers or experts become one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile

from tinylm_cli.quantities import consecutive_ranges, index_ranges

_INDEX = re.compile(r"(?<![^.])[0-9]{1,9}(?![^.])")
"""A part of a name that counts layers or experts."""

_Indices = frozenset[int]


def collapse(names: Iterable[str]) -> tuple[str, ...]:
    """Return names with their indices joined where the rest is equal: ``h.{0..11}.mlp.c_fc.weight``, in order."""
    by_rest: dict[tuple[str, ...], dict[tuple[_Indices, ...], None]] = {}
    for name in names:
        indices = tuple([frozenset([int(each)]) for each in _INDEX.findall(name)])
        by_rest.setdefault(tuple(_INDEX.split(name)), {})[indices] = None
    return tuple(_text(rest, indices) for rest, found in by_rest.items() for indices in _joined(found))


def _joined(found: Iterable[tuple[_Indices, ...]]) -> Iterable[tuple[_Indices, ...]]:
    """Join combinations of indices that differ in one place only: experts before layers."""
    for place in reversed(range(len(next(iter(found))))):
        by_others: dict[tuple[_Indices, ...], set[int]] = {}
        for indices in found:
            by_others.setdefault((*indices[:place], *indices[place + 1 :]), set()).update(indices[place])
        found = [(*others[:place], frozenset(here), *others[place:]) for others, here in by_others.items()]
    return found


def _text(rest: tuple[str, ...], indices: tuple[_Indices, ...]) -> str:
    words = [rest[0]]
    for each, following in zip(indices, rest[1:], strict=True):
        ranges = index_ranges(consecutive_ranges(sorted(each)))
        words += [f"{{{ranges}}}" if len(each) > 1 else ranges, following]
    return "".join(words)


def common_layers(collapsed: Iterable[str]) -> str:
    """Return the longest beginning that collapsed names share, up to the last index in it; empty if it has none."""
    each_place = zip(*map(_words, collapsed), strict=False)
    shared = [words[0] for words in takewhile(lambda words: len({*words}) == 1, each_place)]
    while shared and not shared[-1].strip("{}")[:1].isdigit():
        shared.pop()
    return ".".join(shared)


def _words(name: str) -> list[str]:
    """Return the parts of a collapsed name; the dots of ``{0..3}`` separate none."""
    return re.findall(r"\{[^}]*\}|[^.]+", name)


def role(name: str) -> str:
    """Return a name without its indices, which it shares with the same tensor of other layers and experts."""
    return _INDEX.sub("", name)


def first_index(name: str) -> tuple[str, int] | None:
    """Return what is before the first index of a name, which counts layers, and the index; None without one."""
    found = _INDEX.search(name)
    return None if found is None else (name[: found.start()], int(found[0]))


def indices(name: str) -> Iterator[tuple[str, int]]:
    """Yield each index of a name, and what is before it, without indices."""
    for found in _INDEX.finditer(name):
        yield role(name[: found.start()]), int(found[0])
