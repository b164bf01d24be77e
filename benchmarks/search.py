"""The whole search of ``tinylm design``: candidates a second, or seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.measure import Figures, Plan, Row, Target, call, race

if TYPE_CHECKING:
    from tinylm_cli.analysis.design.goals import Goal

A_SECOND, SECONDS = 1_000_000, 2.0
"""A search keeps to one of them: so many candidates a second, or so many seconds for all."""

SIZES = {"course": 125_000_000, "llama": 8_000_000_000, "gemma2": 2_600_000_000}
"""Parameters to come near, in a small grid, a usual one and the widest."""

CROWDED = ("qwen3", "gemma2")
"""Families with the most shapes for limits to keep to, and the most moments that may be the widest."""


def design(plan: Plan) -> Iterator[Row]:
    """Time a search from first to last: closed forms, ranking, front, and every figure of what is shown."""
    from tinylm_cli.analysis.design.design import analyze_design
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.search_space import Space
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.config.hardware import load_hardware

    rounds = plan.rounds_or(7)
    for name, family, goals in _searches():
        member = FAMILIES[family].config
        space = Space(
            FAMILIES[family], member.vocab_size, member.max_len, member.tie_weights, Setups.of(seq_len=1024),
            accelerator=load_hardware("h100-sxm"),
        )  # fmt: skip

        def whole(space: Space = space, goals: tuple[Goal, ...] = goals) -> object:
            return analyze_design(space, goals, top=10, tolerance=0.02)

        found = race({"search": call(whole)}, rounds)["search"]
        needed = Figures.of([max(space.count() / A_SECOND, SECONDS)])
        note = f"{space.count():,} candidates, {space.count() / found.median:,.0f} a second"
        against = "1,000,000 a second, or 2 s"
        yield Row(f"design, {name}, {family}", against, "s", rounds, found, needed, Target(1.0, at_least=True), note)


def _searches() -> Iterator[tuple[str, str, tuple[Goal, ...]]]:
    """Yield what is asked, of which family: a size, or by limits alone the largest model."""
    from tinylm_cli.analysis.design.goals import DECODE_RATE, Goal

    for family, params in SIZES.items():
        yield "a size", family, (Goal("total_params", params, 0.02),)
    for family in CROWDED:
        yield "memory to train", family, (Goal("train_bytes_per_gpu", 80 * 10**9),)
        yield "memory to train, large", family, (Goal("train_bytes_per_gpu", 8 * 10**12),)
        yield "memory to serve", family, (Goal("serve_bytes", 80 * 10**9),)
        yield "speed", family, (Goal(DECODE_RATE, 100.0),)
        yield "all at once", family, (
            Goal("total_params", 3 * 10**9, 0.02), Goal("train_bytes_per_gpu", 80 * 10**9),
            Goal("serve_bytes", 16 * 10**9), Goal(DECODE_RATE, 100.0),
        )  # fmt: skip
