"""The grid: its proportions, divisibility constraints and description."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import pytest

from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.search_space import GRID, Grid, SearchSpace, node_layout
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout

ANY = range(1, 1000)
"""Values of n_layers of a family whose layers are all valid in any number."""


def test_proportions() -> None:
    for d_model in (width for widths in GRID.d_models for width in widths):
        assert GRID.d_ffs(d_model, (2.0, 4.0))
        for n_layers in GRID.depths(d_model, ANY):
            assert 16 <= d_model / n_layers <= 256
        for d_ff in GRID.d_ffs(d_model, (2.0, 4.0)):
            assert 2 <= d_ff / d_model <= 4
            assert d_ff % 64 == 0


def test_no_depths() -> None:
    assert not Grid(aspects=(16, 20)).depths(16384, ANY)
    assert not Grid(n_layers=range(2, 3)).depths(16384, ANY)


@pytest.mark.parametrize("depths", [range(2, 40), range(3, 40, 2), range(4, 40, 6)])
@pytest.mark.parametrize("valid", [ANY, *(range(step, 200, step) for step in (2, 3, 4, 8)), range(9, 32, 11)], ids=str)
def test_valid_depths(depths: range, valid: range) -> None:
    found = Grid(n_layers=depths, aspects=None).depths(512, valid)
    assert list(found) == [n_layers for n_layers in depths if n_layers in valid]


@pytest.mark.parametrize("family", FAMILIES)
def test_shards(family: str) -> None:
    template = FAMILIES[family]
    space = SearchSpace(template, 1000, 1000, tie_weights=True)
    tensor = gcd(4, *template.shared_groups.values())  # Granite 4.0 has one group of Mamba-2 heads
    training = Setups().training._replace(n_gpus=16, layout=Layout(data=4 // tensor, tensor=tensor, pipeline=4))
    sharded = replace(space, setups=Setups(training))
    for d_head in space.d_heads:
        for d_model in (512, 2048, 4096):
            heads = [n_heads for n_heads in space.heads(d_model, d_head) if n_heads % tensor == 0]
            assert list(sharded.heads(d_model, d_head)) == heads
            for n_heads in heads:
                assert sharded.kv_heads(n_heads) == tuple(n for n in space.kv_heads(n_heads) if n % tensor == 0)
            assert list(sharded.d_ffs(d_model)) == [d_ff for d_ff in space.d_ffs(d_model) if d_ff % tensor == 0]
            assert list(sharded.depths(d_model)) == [n for n in space.depths(d_model) if n % 4 == 0]
    assert 0 < sharded.n_models < space.n_models
    described = {axis.name: axis.values for axis in sharded.axes()}
    assert described.get("n_heads, n_kv_heads, d_ff") == ("multiples of tp 4" if tensor == 4 else None)


def test_indivisible_vocabulary() -> None:
    setups = Setups.of(n_gpus=4, layout=Layout(tensor=4))
    with pytest.raises(AnalysisError, match="tensor parallelism 4 does not divide vocab_size 1001") as raised:
        SearchSpace(FAMILIES["llama"], 1001, 1000, tie_weights=True, setups=setups)
    assert raised.value.help == "pad the vocabulary to 1004"


def test_shared_groups() -> None:
    """The 16 key heads of Qwen3.5 limit tensor parallelism, also within a node of 72 GPUs."""
    family, node = FAMILIES["qwen3.5"], load_hardware("gb200")
    with pytest.raises(AnalysisError, match=r"parallelism 32 does not divide gated_deltanet\.n_key_heads 16") as raised:
        SearchSpace(family, 1024, 1000, True, Setups.of(n_gpus=32, layout=Layout(tensor=32)))
    assert raised.value.help == "use tensor parallelism 16"
    assert node_layout(72, family, node) == Layout(data=9, tensor=8, zero=1)
    assert node_layout(72, FAMILIES["llama"], node) == Layout(tensor=72)
    assert node_layout(8, FAMILIES["granite-4-h"]) == Layout(data=8, zero=1)


def test_pipeline_chunks() -> None:
    """With two chunks per stage, n_layers must be divisible by 2·pp."""
    layout = Layout(tensor=2, pipeline=2, virtual=2)
    setups = Setups.of(n_gpus=4, layout=layout)
    space = SearchSpace(FAMILIES["llama"], 1000, 1000, tie_weights=True, setups=setups)
    assert {n_layers % 4 for n_layers in space.depths(4096)} == {0}
    described = {axis.name: axis.values for axis in space.axes()}
    assert described["n_layers"] == "multiples of 4 pipeline chunks"
    assert described["n_heads, n_kv_heads, d_ff"] == "multiples of tp 2"


def hybrid(grid: Grid = GRID, stages: int = 1) -> SearchSpace:
    setups = Setups.of(n_gpus=stages, layout=Layout(pipeline=stages))
    return SearchSpace(FAMILIES["nemotron-h"], 1000, 1000, tie_weights=False, setups=setups, grid=grid)


def test_hybrid_with_last_layers() -> None:
    """Nemotron-H ends with 8 layers after its pattern of 11, and Mamba-2 needs multiples of 256."""
    space = hybrid()
    assert list(space.depths(1024)) == [30, 41, 52, 63]
    assert list(hybrid(stages=3).depths(1024)) == [30, 63]
    assert [d_model for d_model in space.d_models if d_model < 1100] == [256, 512, 768, 1024]
    axes = [(axis.name, axis.values) for axis in space.axes()]
    assert ("n_layers", "8 plus multiples of 11, the pattern of its layers") in axes
    assert ("d_model", "multiples of 256, from which its mixers derive sizes") in axes


@pytest.mark.parametrize(
    ("grid", "stages", "reason"),
    [
        (GRID, 11, "n_layers is 8 plus a multiple of 11, which is never a multiple of 11"),
        (
            Grid(n_layers=range(31, 41), aspects=None),
            1,
            "n_layers 31 to 40 contains no depth that is 8 plus a multiple of 11",
        ),
        (Grid(d_models=(range(100, 201, 50),)), 1, "d_model 100 to 200 by 50 contains no multiple of 256"),
    ],
)
def test_why_hybrid_is_empty(grid: Grid, stages: int, reason: str) -> None:
    assert hybrid(grid, stages).why_empty() == reason


def test_axes_of_a_requested_grid() -> None:
    grid = Grid(d_models=(range(32, 129, 32),), n_layers=range(2, 9), aspects=None, d_heads=(16, 32))
    space = SearchSpace(FAMILIES["course"], 1000, 1000, tie_weights=True, grid=grid)
    described = {axis.name: axis for axis in space.axes()}
    assert described["d_model"].values == "32 to 128 by 32"
    assert described["n_layers"].values == "2 to 8"
    assert described["d_head"].values == "16 or 32"
    assert "d_model / n_layers" not in described
    assert {described[name].source for name in ("d_model", "n_layers", "d_head")} == {"as requested"}


@pytest.mark.parametrize(
    ("grid", "layout", "reason"),
    [
        (Grid(d_models=(range(100, 101),)), Layout(), "d_model 100 has no n_heads with d_head 64 or 128"),
        (
            Grid(d_models=(range(512, 513),), d_heads=(128,)),
            Layout(tensor=8),
            "d_model 512 has no n_heads that tp 8 divides with d_head 128",
        ),
        (
            Grid(d_models=(range(32, 33),)),
            Layout(pipeline=4),
            "with d_model 32, no n_layers that is a multiple of 4 makes d_model / n_layers 16 to 256",
        ),
        (
            Grid(n_layers=range(7, 8), aspects=None),
            Layout(pipeline=2),
            "n_layers 7 contains no depth that is a multiple of 2",
        ),
        (Grid(), Layout(tensor=8), ""),
    ],
)
def test_why_empty(grid: Grid, layout: Layout, reason: str) -> None:
    family = FAMILIES["llama"]
    setups = Setups.of(n_gpus=layout.n_gpus, layout=layout)
    space = SearchSpace(family, family.config.vocab_size, 8192, False, setups, grid)
    assert space.why_empty() == reason
    assert bool(space.n_models) == (not reason)
