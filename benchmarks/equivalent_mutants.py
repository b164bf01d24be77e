"""Mutants that change nothing a test could see, for ``mutants.py``."""

from __future__ import annotations

_LAST_OF_TWO = "the tensor has two dimensions, so dimension 1 is the last"

EQUIVALENT: dict[tuple[str, str, str, int], str] = {
    (
        "tinylm_cli/analysis/design/ranking.py",
        "Proportions.distance",
        "True → False",
        0,
    ): "Proportions always has the same five fields, so zip never finds one too few",
    (
        "tinylm_cli/analysis/parallel/sharding.py",
        "_repeated_stages",
        "max(1 + (n_dense - second.start) // len(second), 1) → max(1 + (n_dense - second.start) // len(second), 2)",
        0,
    ): "puts stages 1 and 2 in groups of their own, and _stage_groups merges groups with the same layers",
    ("tinylm_cli/model/experts.py", "Router.route", "-1 → 1", 4): _LAST_OF_TWO,
    ("tinylm_cli/model/sampling.py", "SamplingParams.sample", "-1 → 1", 6): _LAST_OF_TWO,
}
"""Why each changes nothing: by module, function, change, and its number among the same changes of that function."""
