"""Layer groups in closed form, compared with the config layer by layer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.layer_kinds import LayerKind, group_layers, layer_kind, n_expert_layers, uniform_ranges
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config


def config_of(n_layers: int, window: int | None, pattern: str, dense: int | None) -> ModelConfig:
    """Return a config of so many layers, the first ``dense`` of them without experts; None for all of them."""
    experts = [] if dense is None else ["feed_forward.n_experts=4", f"feed_forward.n_dense_layers={dense}"]
    windows = [] if window is None else [f"attention.window={window}", f"attention.window_pattern={pattern}"]
    return load_config("tiny", [f"n_layers={n_layers}", *windows, *experts]).config


@st.composite
def layered(draw: st.DrawFn) -> ModelConfig:
    n_layers = draw(st.integers(1, 30))
    return config_of(
        n_layers,
        draw(st.one_of(st.none(), st.integers(1, 9))),
        draw(st.text("LG", min_size=1, max_size=7).filter(lambda pattern: "L" in pattern)),
        draw(st.one_of(st.none(), st.integers(0, n_layers - 1))),
    )


@given(layered(), st.one_of(st.none(), st.integers(1, 12)), st.data())
def test_groups_agree_with_layer_by_layer(config: ModelConfig, seq_len: int | None, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, config.n_layers))
    consecutive = range(start, data.draw(st.integers(start, config.n_layers)))
    one_by_one: dict[LayerKind, list[int]] = {}
    for layer in consecutive:
        window = config.window(layer)
        seen = window if window is not None and (seq_len is None or window < seq_len) else None
        one_by_one.setdefault(LayerKind(seen, config.has_experts(layer)), []).append(layer)
        assert layer_kind(config, seq_len, layer) == LayerKind(seen, config.has_experts(layer))
    found = group_layers(config, seq_len, consecutive)
    assert found == {kind: (layers[0], layers[-1], len(layers)) for kind, layers in one_by_one.items()}
    assert list(found) == list(one_by_one)
    assert n_expert_layers(config, consecutive) == sum(map(config.has_experts, consecutive))


@given(layered())
def test_uniform_ranges(config: ModelConfig) -> None:
    found = list(uniform_ranges(config))
    assert [layer for layers in found for layer in layers] == list(range(config.n_layers))
    assert len(found) == len({config.has_experts(layer) for layer in range(config.n_layers)})


def test_a_billion_layers() -> None:
    config = config_of(4, 8, "LLG", 2).model_copy(update={"n_layers": 10**9})
    found = group_layers(config, None)
    assert sum(group.n_layers for group in found.values()) == 10**9
    assert set(found) == {LayerKind(8, False), LayerKind(8, True), LayerKind(None, True)}
