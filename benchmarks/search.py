"""The whole search of ``tinylm design``: candidates a second."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.measure import Figures, Plan, Row, Target, call, race

A_SECOND = 1_000_000
SIZES = {"course": 125_000_000, "llama": 8_000_000_000, "gemma2": 2_600_000_000}
"""Parameters to come near, in a small grid, a usual one and the widest."""


def design(plan: Plan) -> Iterator[Row]:
    """Time a search from first to last, closed forms, ranking and front included."""
    from tinylm_cli.analysis.design.analyse import analyse_design
    from tinylm_cli.analysis.design.families import FAMILIES
    from tinylm_cli.analysis.design.goals import Goal
    from tinylm_cli.analysis.design.space import Space

    rounds = plan.rounds_or(7)
    for family, params in SIZES.items():
        template = FAMILIES[family]
        space = Space(template, template.config.vocab_size, template.config.max_len, template.config.tie_weights)
        goals = (Goal("total_params", params, 0.02),)

        def whole(space: Space = space, goals: tuple[Goal, ...] = goals) -> object:
            return analyse_design(space, goals, top=10, tolerance=0.02)

        found = race({"search": call(whole)}, rounds)["search"]
        needed = Figures.of([space.count() / A_SECOND])
        note = f"{space.count():,} candidates, {space.count() / found.median:,.0f} a second"
        target = Target(1.0, at_least=True)
        yield Row(f"design, family {family}", "1,000,000 a second", "s", rounds, found, needed, target, note)
