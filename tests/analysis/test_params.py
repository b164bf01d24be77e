"""Parameters in closed form: the course's table, published models, and sizes beyond any machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.params import MAX_EXPANDED_ROWS, Breakdown, analyze_params, total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config


def _loaded(**values: Any) -> LoadedConfig:
    shape = {"vocab_size": 256, "d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 512}
    return LoadedConfig("drawn", "drawn.yaml", ModelConfig.model_validate({**shape, **values}), {})


COURSE = [
    # config, tied, untied, saved by tying, nominal, relative difference of the true count
    ("tiny", 826_112, 858_880, 32_768, 500_000, 0.652),
    ("small", 4_995_072, 5_251_072, 256_000, 5_000_000, -0.001),
    ("medium", 40_389_632, 42_949_632, 2_560_000, 40_000_000, 0.010),
    ("base", 92_736_000, 100_416_000, 7_680_000, 125_000_000, -0.258),
]


@pytest.mark.parametrize(("name", "tied", "untied", "saved", "nominal", "error"), COURSE)
def test_course_table(name: str, tied: int, untied: int, saved: int, nominal: int, error: float) -> None:
    model = analyze_params(load_config(name))
    assert (model.total_params, model.tying.untied.params, model.tying.saved.params) == (tied, untied, saved)
    assert model.nominal_params == nominal
    assert model.nominal_error == pytest.approx(error, abs=5e-4)
    loose = analyze_params(load_config(name, ["tie_weights=false"]))
    assert (loose.total_params, loose.tying.untied.params, loose.tying.saved.params) == (untied, untied, 0)


GPT2 = [
    # Radford et al. 2019; counts of the published checkpoints, without their mask buffers
    ("gpt2", 768, 12, 12, 124_439_808),
    ("gpt2-medium", 1024, 24, 16, 354_823_168),
    ("gpt2-large", 1280, 36, 20, 774_030_080),
    ("gpt2-xl", 1600, 48, 25, 1_557_611_200),
]


@pytest.mark.parametrize(("name", "d_model", "n_layers", "n_heads", "count"), GPT2)
def test_published_counts(name: str, d_model: int, n_layers: int, n_heads: int, count: int) -> None:
    loaded = _loaded(
        vocab_size=50_257,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        d_ff=4 * d_model,
        max_len=1024,
        position={"kind": "learned"},
        feed_forward={"activation": "gelu_tanh"},
    )
    assert total_params(tensor_table(loaded.config)) == count, name


def test_small_by_hand() -> None:
    v, d, layers, f = 1000, 256, 6, 1024
    layer = 2 * 2 * d + 4 * (d * d + d) + (d * f + f) + (f * d + d)
    assert analyze_params(load_config("small")).total_params == v * d + layers * layer + 2 * d


def test_quadrillion_parameters() -> None:
    shape = {"vocab_size": 10**6, "d_model": 2**18, "n_heads": 2**10, "n_layers": 1300, "d_ff": 2**20}
    model = analyze_params(_loaded(**shape), by="tensor")
    v, d, layers, f = shape["vocab_size"], shape["d_model"], shape["n_layers"], shape["d_ff"]
    exact = v * d + layers * (4 * d + 4 * (d * d + d) + 2 * d * f + f + d) + 2 * d
    assert model.total_params == exact > 10**15
    assert model.params_bytes == 4 * exact
    assert len(model.parts) == 20


def test_many_layers() -> None:
    model = analyze_params(_loaded(n_layers=100_000), by="layer")
    assert [(part.name, part.count) for part in model.parts] == [
        ("embedding.token_embedding.embedding.weight", 1),
        ("blocks.{0..99999}", 100_000),
        ("ln_f.weight", 1),
        ("ln_f.bias", 1),
        ("lm_head.weight", 1),
    ]
    one = analyze_params(_loaded(n_layers=1), by="layer").parts[1].params
    assert model.parts[1].params == 100_000 * one


@given(st.data(), st.sampled_from(["component", "layer", "tensor"]), st.booleans())
def test_parts_sum_to_total(
    configs: st.SearchStrategy[ModelConfig], data: st.DataObject, by: Breakdown, expand: bool
) -> None:
    model = analyze_params(LoadedConfig("x", "x.yaml", data.draw(configs), {}), by=by, expand=expand)
    for parts in (model.components, model.parts or model.components):
        assert sum(part.params for part in parts) == model.total_params
        assert sum(part.share for part in parts) == pytest.approx(1.0)
        assert all(part.share == part.params / model.total_params for part in parts)
    assert {part.name: part.count for part in model.components} == {part.name: 1 for part in model.components}


@given(st.data())
def test_expanded_rows(configs: st.SearchStrategy[ModelConfig], data: st.DataObject) -> None:
    config = data.draw(configs)
    loaded = LoadedConfig("x", "x.yaml", config, {})
    for by in ("layer", "tensor"):
        together, apart = (analyze_params(loaded, by=by, expand=expand).parts for expand in (False, True))
        assert sum(part.count for part in together) == len(apart)
        assert {part.count for part in apart} == {1}
        names = [part.name for part in apart]
        assert len(set(names)) == len(names)
        layers = [int(name.split(".")[1]) for name in names if name.startswith("blocks.")]
        assert layers == sorted(layers)
        assert set(layers) == set(range(config.n_layers))


@pytest.mark.parametrize(("by", "n_rows"), [("layer", 1), ("tensor", 16)])
def test_kinds_of_expanded_layers(by: Breakdown, n_rows: int) -> None:
    """Layers with equal tensors share a row with the names of their kinds, and have one each in an expanded list."""
    layers = {"kinds": {"local": {"attention": {"window": 8}}, "full": {}}, "pattern": "local, local, full, local"}
    loaded = _loaded(layers=layers)
    together, apart = (analyze_params(loaded, by=by, expand=expand).parts for expand in (False, True))
    named = [part.layer_kind for part in together if part.name.startswith("blocks.")]
    assert named == ["local and full"] * n_rows
    named = [part.layer_kind for part in apart if part.name.startswith("blocks.")]
    assert named == [name for name in ("local", "local", "full", "local") for _ in range(n_rows)]
    assert {part.layer_kind for part in apart if not part.name.startswith("blocks.")} == {""}


@pytest.mark.parametrize(("by", "outside", "inside"), [("layer", 4, 1), ("tensor", 4, 16)])
def test_most_expanded_rows(by: Breakdown, outside: int, inside: int) -> None:
    """As many rows as allowed are listed; with one more layer, none is made."""
    n_layers = (MAX_EXPANDED_ROWS - outside) // inside
    assert len(analyze_params(_loaded(n_layers=n_layers), by=by, expand=True).parts) == outside + inside * n_layers
    rows = outside + inside * (n_layers + 1)
    with pytest.raises(AnalysisError, match=f"one row for each {by} of each layer would be {rows:,} rows"):
        analyze_params(_loaded(n_layers=n_layers + 1), by=by, expand=True)
    assert len(analyze_params(_loaded(n_layers=n_layers + 1), by=by).parts) == outside + inside


@given(st.data(), st.sampled_from([("float32", 4), ("bfloat16", 2), ("float64", 8)]))
def test_tying_savings(configs: st.SearchStrategy[ModelConfig], data: st.DataObject, dtype: tuple[str, int]) -> None:
    config = data.draw(configs)
    model = analyze_params(LoadedConfig("x", "x.yaml", config, {}), dtype=dtype[0])
    tying, head = model.tying, config.vocab_size * config.d_model
    assert tying.saved.params == (head if config.tie_weights else 0)
    assert tying.untied.params - tying.tied.params == tying.saved.params
    assert tying.tied.params == model.total_params
    for size in (tying.untied, tying.tied, tying.saved):
        assert (size.params_bytes, size.adam_bytes) == (size.params * dtype[1], size.params * 8)
    assert model.params_bytes == model.total_params * dtype[1]


def test_tied_head_names_its_owner() -> None:
    head = analyze_params(load_config("tiny")).components[-1]
    assert (head.name, head.params, head.share, head.tied_to) == ("lm_head", 0, 0.0, "token_embedding")
    loose = analyze_params(load_config("tiny", ["tie_weights=false"])).components[-1]
    assert (loose.params, loose.tied_to) == (32_768, None)


def test_no_nominal_size() -> None:
    model = analyze_params(_loaded())
    assert (model.nominal_params, model.nominal_error) == (None, None)


@pytest.mark.parametrize(
    ("values", "n_buffers", "stored"),
    [
        ({}, 0, ""),
        ({"feed_forward": {"activation": "xielu"}}, 2 * 4, "2 constants of each xIELU"),
        ({"block": {"layer_scalar": True}}, 4, "a scalar of each layer"),
        (
            {"feed_forward": {"n_experts": 8, "router": "sigmoid", "score_correction": True, "n_dense_layers": 1}},
            8 * 3,
            "8 corrections of each router",
        ),
        (
            {"feed_forward": {"activation": "xielu"}, "block": {"layer_scalar": True}},
            2 * 4 + 4,
            "2 constants of each xIELU and a scalar of each layer",
        ),
    ],
)
def test_stored_buffers(values: dict[str, Any], n_buffers: int, stored: str) -> None:
    counts = {each.convention: each for each in analyze_params(_loaded(**values)).counts}
    hub, tied = counts["hub"], counts["hub-tied-head"]
    assert (hub.difference_params, tied.difference_params) == (n_buffers, n_buffers + 256 * 128)
    why = f"parameters and {stored}, stored but not trained" if stored else "parameters only"
    assert hub.explanation == f"checkpoints: {why}"
