"""A candidate fits on several GPUs exactly if its plan fits, although few are planned."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.design import planned_memory
from tinylm_cli.analysis.design.constraints import within
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.planned_memory import candidates_within, smallest_candidate
from tinylm_cli.analysis.design.ranking import Candidate
from tinylm_cli.analysis.design.search import no_progress, search
from tinylm_cli.analysis.design.search_space import SearchSpace
from tinylm_cli.analysis.parallel.layouts import with_micro_batches
from tinylm_cli.analysis.parallel.plan import plan_bytes
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout

LAYOUTS = [
    Layout(data=8, tensor=2, zero=1),
    Layout(data=2, tensor=2, pipeline=4),
    Layout(data=8, pipeline=2),
    Layout(data=16, zero=3),
]

PARAMS = {"mixtral": 2_000_000_000, "nemotron-h": 30_000_000_000}
"""A size that many models have, by family, if few have 600M parameters."""


def space_of(family: str, layout: Layout) -> SearchSpace:
    template = FAMILIES[family]
    vocab_size = -(-template.config.vocab_size // layout.tensor) * layout.tensor
    setups = Setups.of(seq_len=256, n_gpus=16, layout=layout)
    return SearchSpace(template, vocab_size, 512, template.config.tie_weights, setups)


def candidates_of(space: SearchSpace, params: int = 600_000_000) -> list[Candidate]:
    found = search(space, [within("total_params", params, 0.005)])
    return [Candidate(each.shape, n_layers, {}, 0.0) for each in found for n_layers in each.depths]


def needed_bytes(space: SearchSpace, candidate: Candidate) -> int:
    config, training = space.config(candidate.shape, candidate.n_layers), space.training
    return plan_bytes(config, training, with_micro_batches(config, training, space.layout))


@pytest.mark.parametrize("layout", LAYOUTS, ids=["dp", "pp", "pp-2", "zero"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "mixtral", "qwen3.5", "nemotron-h"])
def test_equals_the_plan_of_each(family: str, layout: Layout) -> None:
    space = space_of(family, layout)
    candidates = candidates_of(space, PARAMS.get(family, 600_000_000))[:40]
    needed = [needed_bytes(space, each) for each in candidates]
    assert len(set(needed)) > 10
    for limit in (min(needed) - 1, min(needed), sorted(needed)[len(needed) // 2], max(needed) - 1, max(needed)):
        expected = [each for each, size in zip(candidates, needed, strict=True) if size <= limit]
        assert candidates_within(space, candidates, limit, no_progress) == expected
    smallest, size = smallest_candidate(space, candidates)
    assert size == min(needed) == needed[candidates.index(smallest)]


def test_few_are_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_of("gemma2", LAYOUTS[0])
    candidates = candidates_of(space)
    planned = 0

    def counted(*arguments: object) -> int:
        nonlocal planned
        planned += 1
        return plan_bytes(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(planned_memory, "plan_bytes", counted)
    decided: list[int] = []
    fitting = candidates_within(space, candidates, 2**50, lambda _stage, done, _total: decided.append(done))
    assert fitting == candidates
    assert planned == len({each.shape._replace(d_model=0, d_ff=0) for each in candidates}) < len(candidates) / 10
    assert decided == sorted(decided)
    assert decided[-1] == len(candidates)
    monkeypatch.setattr(planned_memory, "MAX_PLANNED_FOR_SMALLEST", 100)
    planned = 0
    smallest, size = smallest_candidate(space, candidates)
    assert planned <= 103
    assert size == needed_bytes(space, smallest)


def test_too_many_to_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_of("llama", LAYOUTS[0])
    candidates = candidates_of(space)
    middle = sorted(needed_bytes(space, each) for each in candidates)[len(candidates) // 2]
    monkeypatch.setattr(planned_memory, "MAX_PLANNED", 10)
    with pytest.raises(
        AnalysisError, match=f"{len(candidates):,} models satisfy .* 16 GPUs, more than 10 would"
    ) as caught:
        candidates_within(space, candidates, middle, no_progress)
    assert "a smaller tolerance" in str(caught.value.help)
