"""The known names most similar to a wrong one."""

from __future__ import annotations

from tinylm_cli.config.fields import fields
from tinylm_cli.config.similar_names import nearest, suggest


def test_nearest_keeps_order() -> None:
    assert nearest("experts", ["window", "n_experts", "d_expert", "bias", "top_k"], 2) == ["n_experts", "d_expert"]
    assert len(nearest("x" * 100_000, fields(), 3)) == 3


def test_suggest_ignores_case() -> None:
    assert suggest("TINY", ["tiny", "small"]) == "tiny"
    assert suggest("zzz", ["tiny", "small"]) is None
