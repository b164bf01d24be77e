"""The config of each layer, compared with the fields that select layers, letter by letter."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.layer_kinds import index_sources, kv_sources, layer_pattern, shortest_period, valid_layer_counts
from tinylm_cli.config.schema import ModelConfig


def config_of(n_layers: int, window: int | None, pattern: str, dense: int | None) -> ModelConfig:
    """Return a config with ``n_layers`` layers, the first ``dense`` of them without experts; None: all of them."""
    attention = {} if window is None else {"window": window, "window_pattern": pattern}
    feed_forward = {} if dense is None else {"n_experts": 4, "n_dense_layers": dense}
    sizes = {"vocab_size": 32, "d_model": 16, "n_heads": 2, "n_layers": n_layers, "d_ff": 32}
    return ModelConfig.model_validate({**sizes, "attention": attention, "feed_forward": feed_forward})


@st.composite
def layered(draw: st.DrawFn) -> ModelConfig:
    n_layers = draw(st.integers(1, 30))
    return config_of(
        n_layers,
        draw(st.one_of(st.none(), st.integers(1, 9))),
        draw(st.text("LG", min_size=1, max_size=7).filter(lambda pattern: "L" in pattern[:n_layers])),
        draw(st.one_of(st.none(), st.integers(0, n_layers - 1))),
    )


@given(layered())
def test_every_layer(config: ModelConfig) -> None:
    pattern, attention, feed_forward = layer_pattern(config), config.attention, config.feed_forward
    letters = attention.window_pattern * config.n_layers
    windows = [attention.window if letters[layer] == "L" else None for layer in range(config.n_layers)]
    experts = [
        feed_forward.n_experts if layer >= feed_forward.n_dense_layers else None for layer in range(config.n_layers)
    ]
    assert [kind.attention.window for kind in pattern] == windows
    assert [kind.feed_forward.n_experts for kind in pattern] == experts
    assert list(pattern) == [pattern.kinds[pattern.kind(layer)] for layer in range(config.n_layers)]
    assert len(pattern.kinds) == len(set(pattern)) == len(set(zip(windows, experts, strict=True)))


@given(layered())
def test_the_config_of_a_kind_is_valid(config: ModelConfig) -> None:
    """It describes a model whose layers are all of this kind, so its own pattern has one kind: itself."""
    for kind in layer_pattern(config).kinds:
        assert ModelConfig.model_validate(kind.model_dump()) == kind
        assert layer_pattern(kind).kinds == (kind,)


def test_local_theta() -> None:
    position = {"kind": "rope", "theta": 1e6, "local_theta": 1e4, "scaling": "linear", "scaling_factor": 8.0}
    values = {**config_of(4, 4, "LG", None).model_dump(exclude={"budget"}), "position": position}
    local, everywhere = layer_pattern(ModelConfig.model_validate(values)).kinds
    assert (local.position.theta, local.position.scaling, local.position.scaling_factor) == (1e4, "none", None)
    assert (everywhere.position.theta, everywhere.position.scaling) == (1e6, "linear")
    assert local.position.local_theta is everywhere.position.local_theta is None


NAMED: dict[str, Any] = {
    "first": "dense",
    "pattern": "2 local, full",
    "last": "local",
    "kinds": {
        "dense": {"feed_forward": {"n_experts": None}},
        "local": {"attention": {"window": 4}},
        "full": {"n_heads": 4, "position": {"kind": "none"}},
    },
}


def named(n_layers: int = 8, attention: dict[str, Any] | None = None, **layers: Any) -> ModelConfig:
    sizes = {"vocab_size": 32, "d_model": 16, "n_heads": 2, "n_layers": n_layers, "d_ff": 32}
    return ModelConfig.model_validate(
        {
            **sizes,
            "position": {"kind": "rope"},
            "attention": attention or {},
            "feed_forward": {"n_experts": 4, "top_k": 3},
            "layers": {**NAMED, **layers},
        }
    )


def test_named_kinds() -> None:
    pattern = layer_pattern(named())
    assert pattern.names == ("dense", "local", "full")
    assert "".join(pattern.names[pattern.kind(layer)][0] for layer in range(8)) == "dllfllfl"
    dense, local, full = pattern.kinds
    assert (dense.feed_forward.n_experts, dense.feed_forward.top_k) == (None, 2)  # without experts, no top_k
    assert (local.feed_forward.n_experts, local.feed_forward.top_k, local.attention.window) == (4, 3, 4)
    assert (full.n_heads, full.position.kind, full.attention.window) == (4, "none", None)
    for kind in pattern.kinds:
        assert ModelConfig.model_validate(kind.model_dump()) == kind
        assert layer_pattern(kind).kinds == (kind,)


def test_kinds_with_equal_fields_are_one() -> None:
    """A field that is set to the value of the config changes nothing."""
    kinds = {**NAMED["kinds"], "full": {"attention": {"window": 4}, "n_heads": 2}}
    pattern = layer_pattern(named(kinds=kinds))
    assert pattern.names == ("dense", "local")
    assert [cycle for _, cycle in pattern.stretches] == [(0,), (1,), (1,)]


SHARING = {"local": {}, "full": {"d_ff": 64}, "reuse": {"attention": {"kv_from": "local"}}}


def test_kv_sources() -> None:
    """The last earlier layer of the kind, also across the parts of the order."""
    pattern: dict[str, Any] = {
        "first": "local",
        "pattern": "reuse, 2 local, reuse, full",
        "last": "reuse, reuse",
        "kinds": SHARING,
    }
    assert kv_sources(named(n_layers=8, **pattern)) == {1: 0, 4: 3, 6: 3, 7: 3}
    assert kv_sources(named()) == {}


def test_index_sources() -> None:
    """The source is the last earlier layer with an indexer, of any kind; layers without an indexer are skipped."""
    indexed = {"kind": "latent", "q_rank": 8, "index_top_k": 4, "index_d_head": 64}
    kinds: dict[str, Any] = {
        "own": {},
        "wide": {"d_ff": 64},
        "shared": {"attention": {"index_shared": True}},
        "full": {"attention": {"index_top_k": None}},
    }
    config = named(
        attention=indexed,
        first="own",
        pattern="full, 2 shared, wide",
        last="shared, own, shared",
        kinds=kinds,
    )
    assert index_sources(config) == {2: 0, 3: 0, 5: 4, 7: 6}
    assert index_sources(named()) == {}


def test_layer_counts_of_named_kinds() -> None:
    assert valid_layer_counts(named(), 12) == range(5, 13, 3)
    assert valid_layer_counts(named(first="dense, 6 local", pattern=None, last="full"), 12) == range(8, 9)


def test_shortest_period() -> None:
    found = ["".join(shortest_period(tuple(cycle))) for cycle in ("A", "AAA", "ABAB", "ABA")]
    assert found == ["A", "A", "AB", "ABA"]


def test_valid_layer_counts() -> None:
    counts = [valid_layer_counts(config_of(4, None, "L", dense), 10) for dense in (None, 0, 3)]
    assert counts == [range(1, 11), range(1, 11), range(4, 11)]


def test_a_billion_layers() -> None:
    pattern = layer_pattern(config_of(4, 8, "LLG", 2).model_copy(update={"n_layers": 10**9}))
    assert len(pattern.kinds) == 3
    assert pattern.kinds[pattern.kind(999_999_998)].attention.window is None
