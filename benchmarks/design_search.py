"""Time the whole search of ``tinylm design``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.measure import Figures, Options, Row, Target, alternate, call

if TYPE_CHECKING:
    from tinylm_cli.reports.constraint import Constraint

CANDIDATES_PER_SECOND, SECONDS = 1_000_000, 2.0
"""A search must reach this rate, or finish within this time."""

SIZES = {"course": 125_000_000, "llama": 8_000_000_000, "gemma2": 2_600_000_000, "nemotron-h": 8_000_000_000}
"""Target parameters in a small, a typical and the largest search space, and in one whose figures are quadratic."""

LARGEST_FAMILIES = ("qwen3", "gemma2")
"""Families with the largest search spaces and the most candidate peaks."""


def design(options: Options) -> Iterator[Row]:
    """Time a search: closed forms, ranking, Pareto front, and every figure of the shown designs."""
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.find_designs import DesignRequest, find_designs
    from tinylm_cli.analysis.design.search_space import SearchSpace
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.config.hardware import load_hardware

    rounds = options.rounds_or(7)
    for name, family, constraints in _searches():
        base = FAMILIES[family].config
        space = SearchSpace(
            FAMILIES[family], base.vocab_size, base.max_len, base.tie_weights, Setups.of(seq_len=1024),
            accelerator=load_hardware("h100-sxm"),
        )  # fmt: skip

        def run_search(space: SearchSpace = space, constraints: tuple[Constraint, ...] = constraints) -> object:
            return find_designs(DesignRequest(space, constraints))

        found = alternate({"search": call(run_search)}, rounds)["search"]
        needed = Figures.of([max(space.n_models / CANDIDATES_PER_SECOND, SECONDS)])
        note = f"{space.n_models:,} candidates, {space.n_models / found.median:,.0f} a second"
        against = "1,000,000 a second, or 2 s"
        yield Row(f"design, {name}, {family}", against, "s", rounds, found, needed, Target(1.0, at_least=True), note)


def _searches() -> Iterator[tuple[str, str, tuple[Constraint, ...]]]:
    """Yield the name, family and constraints of each search; without a target size, it finds the largest model."""
    from tinylm_cli.analysis.design.constraints import at_most, decodes_at_least, within

    for family, params in SIZES.items():
        yield "a size", family, (within("total_params", params, 0.02),)
    for family in LARGEST_FAMILIES:
        yield "memory to train", family, (at_most("train_bytes_per_gpu", 80 * 10**9),)
        yield "memory to train, large", family, (at_most("train_bytes_per_gpu", 8 * 10**12),)
        yield "memory to serve", family, (at_most("serve_bytes", 80 * 10**9),)
        yield "speed", family, (decodes_at_least(100.0),)
        yield "all at once", family, (
            within("total_params", 3 * 10**9, 0.02), at_most("train_bytes_per_gpu", 80 * 10**9),
            at_most("serve_bytes", 16 * 10**9), decodes_at_least(100.0),
        )  # fmt: skip
