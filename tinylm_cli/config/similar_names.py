"""The known names most similar to a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import partial

_MISSPELLED = 0.75
_NUMBER = re.compile(r"[0-9]+")


def suggest(wrong: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word most similar to ``wrong``; None if none is similar enough."""
    by_folded = {folded(word): word for word in known}
    matches = difflib.get_close_matches(folded(wrong[:64]), by_folded, n=1, cutoff=cutoff)
    return by_folded[matches[0]] if matches else None


def misspelled(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known value that a wrong one misspells; None if it may be the name of something else.

    Letters may differ a little, and numbers may be left out but not differ: ``relu6`` is not ``relu``.
    """
    meant = suggest(wrong, known, _MISSPELLED)
    if meant is None or (_NUMBER.search(wrong) and not same_numbers(wrong, meant)):
        return None
    return meant


def nearest(wrong: str, known: Iterable[str], count: int) -> list[str]:
    """Return the ``count`` words most similar to ``wrong``, in the order of ``known``."""
    words = list(known)
    best = sorted(words, key=partial(similarity, wrong), reverse=True)[:count]
    return [word for word in words if word in best]


def similarity(wrong: str, known: str) -> float:
    """Return the similarity of two words, from 0 to 1, ignoring case."""
    return difflib.SequenceMatcher(None, folded(wrong[:64]), folded(known)).ratio()


def same_numbers(one: str, other: str) -> bool:
    """Return whether two words contain the same numbers, in the same order."""
    return _NUMBER.findall(one) == _NUMBER.findall(other)


def folded(word: str) -> str:
    """Return a name in lower case, with underscores for dashes."""
    return word.casefold().replace("-", "_")
