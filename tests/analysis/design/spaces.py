"""Search spaces of the shipped families, which several test files search."""

from __future__ import annotations

from functools import cache

from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.search_space import SearchSpace


@cache  # the space keeps the closed forms of its figures
def space_of(family: str) -> SearchSpace:
    template = FAMILIES[family]
    return SearchSpace(template, template.config.vocab_size, template.config.max_len, template.config.tie_weights)
