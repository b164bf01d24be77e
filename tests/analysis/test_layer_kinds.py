"""Layer groups in closed form, compared with the config layer by layer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.config.test_layer_kinds import config_of, layered
from tinylm_cli.analysis.layer_kinds import (
    LayerSet,
    RepeatedLayers,
    cost_stretches,
    group_layers,
    groups_within,
)
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig


@given(layered(), st.one_of(st.none(), st.integers(1, 12)), st.data())
def test_groups_agree_with_layer_by_layer(config: ModelConfig, seq_len: int | None, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, config.n_layers))
    consecutive = range(start, data.draw(st.integers(start, config.n_layers)))
    one_by_one: dict[tuple[int | None, bool], list[int]] = {}
    for layer, kind in list(enumerate(layer_pattern(config)))[consecutive.start : consecutive.stop]:
        window = kind.attention.window
        seen = window if window is not None and (seq_len is None or window < seq_len) else None
        one_by_one.setdefault((seen, kind.feed_forward.n_experts is not None), []).append(layer)
    groups = group_layers(config, seq_len, consecutive)
    found = {(each.config.attention.window, each.config.feed_forward.n_experts is not None): each for each in groups}
    assert {key: list(group.layers) for key, group in found.items()} == one_by_one
    assert list(found) == list(one_by_one)
    for group in groups:
        members = list(group.layers)
        assert (group.layers.first, group.layers.last, len(group.layers)) == (members[0], members[-1], len(members))
        assert [layer for layer in range(config.n_layers) if layer in group.layers] == members
        some = range(data.draw(st.integers(-1, config.n_layers)), data.draw(st.integers(-1, config.n_layers + 1)))
        assert group.layers.count(some) == len(group.layers.within(some)) == len([n for n in members if n in some])


@given(layered(), st.data())
def test_groups_within(config: ModelConfig, data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(group_layers(config, None))).layers
    assert [list(group.layers) for group in groups_within(config, chosen)] == [list(chosen)]
    every = LayerSet.union(group.layers for group in group_layers(config, None))
    assert list(every) == list(range(config.n_layers))
    assert groups_within(config, every) == list(group_layers(config, None))


def test_names() -> None:
    def names(config: ModelConfig, seq_len: int | None = None) -> list[str]:
        return [group.name for group in group_layers(config, seq_len)]

    assert names(config_of(6, None, "L", None)) == [""]
    assert names(config_of(6, 8, "LG", None)) == ["window 8", "full attention"]
    assert names(config_of(6, 8, "LG", None), seq_len=8) == [""]
    assert names(config_of(6, None, "L", 2)) == ["dense", "experts"]
    assert names(config_of(6, 8, "LG", 1)) == ["window 8, dense", "full attention, experts", "window 8, experts"]


@given(st.integers(1, 6), st.data())
def test_ends_of_runs(period: int, data: st.DataObject) -> None:
    """They are the first and the last layer of each run, in the first and the last period."""
    offsets = tuple(sorted(data.draw(st.sets(st.integers(0, period - 1), min_size=1))))
    stop = data.draw(st.integers(period, 4 * period))
    layers = RepeatedLayers(0, stop, period, offsets, 0)
    members = list(layers)
    expected = {members[0], members[-1]}
    for offset in offsets if len(offsets) < period else ():
        if offset - 1 not in offsets or offset + 1 not in offsets:
            same = [layer for layer in members if layer % period == offset]
            expected |= {same[0], same[-1]}
    assert layers.run_ends() == expected


def test_text() -> None:
    def text(*members: int, period: int, stop: int) -> str:
        return LayerSet((RepeatedLayers(0, stop, period, members, 0),)).text()

    assert text(0, period=1, stop=100_000) == "0..99999"
    assert text(0, period=6, stop=7) == "0, 6"
    assert text(0, 1, 2, 3, 4, period=6, stop=26) == "0..4, 6..10, …, 24..25"
    assert text(5, period=6, stop=100_000) == "5, 11, …, 99995"


@given(layered(), st.integers(1, 12))
def test_stretches(config: ModelConfig, seq_len: int) -> None:
    costs = {layer: index for index, each in enumerate(group_layers(config, seq_len)) for layer in each.layers}
    covered: list[int] = []
    for layers, period in cost_stretches(config, seq_len):
        covered += layers
        assert all(costs[layer] == costs[layer + period] for layer in layers if layer + period in layers)
    assert covered == list(range(config.n_layers))


def test_a_billion_layers() -> None:
    config = config_of(4, 8, "LLG", 2).model_copy(update={"n_layers": 10**9})
    groups = group_layers(config, None)
    assert sum(len(group.layers) for group in groups) == 10**9
    assert [group.name for group in groups] == ["window 8, dense", "full attention, experts", "window 8, experts"]
