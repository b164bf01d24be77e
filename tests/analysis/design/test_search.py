"""The search finds the same models as an evaluation of every config of the grid."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_configs import drawn
from tinylm_cli.analysis.design.families import FAMILIES, DesignFamily
from tinylm_cli.analysis.design.measures import DECODE_SECONDS, MEASURES, measured
from tinylm_cli.analysis.design.search import search
from tinylm_cli.analysis.design.search_space import Grid, SearchSpace, Shape
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.reports.constraint import Constraint, Relation

SMALL = Grid(
    d_models=(range(128, 257, 64), range(384, 513, 128)),
    n_layers=range(2, 9),
    aspects=(32, 128),
)
PATTERNS = {
    "qwen3.5": range(8, 25, 4),
    "qwen3.5-moe": range(8, 25, 4),
    "nemotron-h": range(30, 53, 11),
    "granite-4-h": range(20, 53, 10),
    "granite-4-h-moe": range(20, 53, 10),
    "jamba": range(16, 53, 8),
}
"""Values of n_layers with two patterns or more, in the small grid of the families with several kinds of layers."""

D_MODEL_STEPS = {"nemotron-h": 256}
"""Steps of d_model by family, if larger than that of the small grid: 8 groups of heads with 64 of 2 · d_model."""

D_FF_STEPS = {"gemma2": (384, 1536), "qwen3": (256, 1024), "granite-4-h-moe": (32, 64), "qwen3.5-moe": (32, 64)}
"""Steps of d_ff below and from d_model 384 on, by family, if not 128 and 512: smaller for narrow experts, and larger
for families with many numbers of heads."""

Model = tuple[Shape, int]
RELATIONS: tuple[Relation, ...] = ("at_most", "at_least", "within")


def small(family: str) -> SearchSpace:
    setups, gpu = Setups.of(batch_size=2, seq_len=5000), load_hardware("l4")
    steps = zip((0, 384), D_FF_STEPS.get(family, (128, 512)), strict=True)
    grid = replace(SMALL, d_ff_steps=tuple(steps))
    if family in PATTERNS:
        grid = replace(grid, n_layers=range(2, PATTERNS[family].stop), aspects=(9, 48))
    return SearchSpace(FAMILIES[family], 500, 6000, tie_weights=False, setups=setups, grid=grid, accelerator=gpu)


@cache
def evaluated(family: str) -> dict[Model, dict[str, float]]:
    """Return the figures of every model of the small grid, each from its own config.

    The grid is written out independently of the ranges that the search uses.
    """
    space, template, found = small(family), FAMILIES[family], {}
    for d_head, d_model in product(template.d_heads, (128, 192, 256, 384, 512)):
        if d_model % D_MODEL_STEPS.get(family, 1):
            continue
        step = D_FF_STEPS.get(family, (128, 512))[d_model >= 384]
        d_ffs = [n for n in range(step, 8 * d_model + 1, step) if _between(n / d_model, template.d_ff_ratios)]
        if family in PATTERNS:
            depths = [n for n in PATTERNS[family] if 9 <= d_model / n <= 48]
        else:
            depths = [n for n in range(2, 9) if 32 <= d_model / n <= 128]
        for n_heads in _heads(template, d_model / d_head):
            groups = [group for group in template.groups if n_heads % group == 0]
            for group, d_ff, n_layers in product(groups, d_ffs, depths):
                shape = Shape(d_head, d_model, n_heads, n_heads // group, d_ff)
                config = space.config(shape, n_layers)
                figures = {name: measured(name, space, config) for name in MEASURES}
                assert figures["total_params"] == total_params(tensor_table(config))
                found[shape, n_layers] = figures
    return found


def _heads(template: DesignFamily, fitting: float) -> list[int]:
    """Return the numbers of heads a width may have, where ``fitting`` of them would span it."""
    if not template.head_ratios:
        return [int(fitting)] if fitting.is_integer() else []
    steps = range(1, 100)
    nearest = [
        min(steps, key=lambda k: (abs(ratio * fitting / template.heads_step - k), k % 2))
        for ratio in template.head_ratios
    ]
    return [template.heads_step * k for k in sorted(set(nearest))]


def _between(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_count(family: str) -> None:
    assert small(family).n_models == len(evaluated(family)) > 20


@pytest.mark.parametrize("family", FAMILIES)
def test_figures_of_all_models(family: str) -> None:
    found = {
        (each.shape, n_layers): {name: form.at(n_layers) for name, form in zip(MEASURES, each.forms, strict=True)}
        for each in search(small(family), [], list(MEASURES))
        for n_layers in each.depths
    }
    assert found == evaluated(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_search_is_exact(family: str) -> None:
    space, models = small(family), evaluated(family)
    values_of = {name: sorted({figures[name] for figures in models.values()}) for name in MEASURES}

    @given(data=st.data())
    @settings(max_examples=drawn(15))
    def holds(data: st.DataObject) -> None:
        constraints = []
        for name in data.draw(st.lists(st.sampled_from(list(MEASURES)), unique=True, max_size=3)):
            values = values_of[name]
            step = min(values) / 2**20 if name == DECODE_SECONDS else 1
            near = st.sampled_from((-step, 0, step))
            some = st.tuples(st.sampled_from(values), near).map(sum)
            relation = data.draw(st.sampled_from(RELATIONS))
            tolerance = data.draw(st.sampled_from([0.0, 0.05, 0.5])) if relation == "within" else None
            value = max(data.draw(some), 0)
            constraints.append(Constraint(name, "params", relation, value, tolerance))
        names = [each.figure for each in constraints]
        found = {
            (each.shape, n_layers): {name: form.at(n_layers) for name, form in zip(names, each.forms, strict=True)}
            for each in search(space, constraints, names)
            for n_layers in each.depths
        }
        kept = {
            model: {name: figures[name] for name in names}
            for model, figures in models.items()
            if all(each.distance(figures[each.figure]) == 0 for each in constraints)
        }
        assert found == kept

    holds()
