"""What differs between models: all of it, nothing else, and by figures that add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.cache import kv_cache_bytes
from tinylm_cli.analysis.compare import compare
from tinylm_cli.analysis.inference import Serving, inference_memory
from tinylm_cli.analysis.params import analyse_params
from tinylm_cli.analysis.training import training_memory
from tinylm_cli.config.loader import LoadedConfig, load_config
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.compare import CompareReport, FigureDifference

SHAPE = {"vocab_size": 256, "d_model": 64, "n_heads": 4, "n_layers": 4, "d_ff": 128}


def loaded(name: str, **values: Any) -> tuple[LoadedConfig, tuple[str, ...]]:
    return LoadedConfig(name, f"{name}.yaml", ModelConfig.model_validate({**SHAPE, **values}), {}), ()


def fields(report: CompareReport) -> dict[str, tuple[Any, ...]]:
    return {difference.field: difference.values for difference in report.fields}


def figures(report: CompareReport) -> dict[str, FigureDifference]:
    return {difference.name: difference for difference in report.figures}


def test_two_more_layers_of_small_by_hand() -> None:
    report = compare([(load_config("small"), ()), (load_config("small", ["n_layers=8"]), ("n_layers=8",))])
    layer = 4 * 256 + 4 * (256 * 256 + 256) + 2 * 256 * 1024 + 1024 + 256
    assert fields(report) == {"n_layers": (6, 8)}
    total = figures(report)["total_params"]
    assert total.values == (4_995_072, 4_995_072 + 2 * layer)
    assert total.differences == (0, 2 * layer)
    assert total.ratios == (1.0, (4_995_072 + 2 * layer) / 4_995_072)
    assert figures(report)["kv_cache_bytes"].values == (2 * 6 * 256 * 1024 * 4, 2 * 8 * 256 * 1024 * 4)
    assert figures(report)["weights_bytes"].differences == (0, 8 * layer)
    assert "embedding_params" not in figures(report)
    assert report.models[1].changes == ("n_layers=8",)


@pytest.mark.parametrize(
    "written",
    [
        {"max_len": 1024, "dropout": 0.1, "tie_weights": True},
        {"attention": {"n_kv_heads": 4}},
        {"attention": {"d_head": 16, "out_bias": True, "scale": 0.25}},
        {"embedding": {"multiplier": 8.0}},
        {"norm": {"bias": True}},
        {"nominal_params": 5_000_000},
    ],
    ids=str,
)
def test_a_default_written_out_is_no_difference(written: Mapping[str, Any]) -> None:
    report = compare([loaded("a"), loaded("b", **written)])
    assert report.same
    assert (report.fields, report.figures) == ((), ())


def test_what_follows_from_another_field_is_not_told_again() -> None:
    assert fields(compare([loaded("a"), loaded("b", n_heads=8)])) == {"n_heads": (4, 8)}
    assert fields(compare([loaded("a"), loaded("b", n_heads=8, attention={"d_head": 16})])) == {"n_heads": (4, 8)}


def test_a_value_that_is_open_is_filled_in_and_one_without_meaning_is_not() -> None:
    grouped = loaded("b", attention={"n_kv_heads": 2, "window": 8, "window_pattern": "LG"})
    assert fields(compare([loaded("a"), grouped])) == {
        "attention.n_kv_heads": (4, 2),
        "attention.window": (None, 8),
        "attention.window_pattern": (None, "LG"),
    }
    twice = loaded("c", attention={"n_kv_heads": 2, "window": 8, "window_pattern": "LGLG"})
    assert compare([grouped, twice]).same


def test_components_that_one_side_lacks_count_nothing_there() -> None:
    experts = loaded("b", tie_weights=False, feed_forward={"n_experts": 4})
    report = compare([loaded("a"), experts])
    found = figures(report)
    for name in ("lm_head_params", "experts_params", "router_params"):
        assert found[name].values[0] == 0
        assert found[name].ratios == (None, None)
        assert found[name].values[1] == found[name].differences[1] > 0
    assert found["feed_forward_params"].values[1] == 0
    assert found["active_params"].values[1] < found["total_params"].values[1]
    assert "active_params" not in figures(compare([loaded("a"), loaded("c", n_layers=5)]))


def test_bytes_are_of_the_dtype_and_the_length_that_are_asked_for() -> None:
    one, two = loaded("a"), loaded("b", attention={"n_kv_heads": 1})
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        report = compare([one, two], dtype=dtype, seq_len=100)
        assert figures(report)["kv_cache_bytes"].values == (2 * 4 * 64 * 100 * width, 2 * 4 * 16 * 100 * width)
        assert (report.dtype, report.seq_len) == (dtype, 100)
    longer = loaded("c", max_len=2048)
    assert figures(compare([one, longer]))["kv_cache_bytes"].ratios == (1.0, 2.0)
    assert fields(compare([one, longer], seq_len=7)) == {"max_len": (1024, 2048)}
    table = (0, 1024 * 64 * 4)  # of positions: the model holds it whole
    at_seven = figures(compare([one, longer], seq_len=7))
    assert {name: each.differences for name, each in at_seven.items()} == dict.fromkeys(
        ("train_bytes_per_gpu", "serve_bytes"), table
    )


def test_memory_to_train_and_to_serve_is_that_of_the_estimate() -> None:
    models = [loaded("a"), loaded("b", n_layers=7)]
    found = figures(compare(models, dtype="bfloat16", seq_len=100))
    given: dict[str, Any] = {"batch_size": 1, "seq_len": 100, "dtype": "bfloat16"}
    configs = [model.config for model, _ in models]
    train = tuple(training_memory(config, **given).peak_bytes for config in configs)
    assert found["train_bytes_per_gpu"].values == train
    assert found["serve_bytes"].values == tuple(
        inference_memory(config, Serving("bfloat16"), batch_size=1, seq_len=100).total_bytes for config in configs
    )


@given(st.data())
def test_any_models_are_told_apart_by_all_that_differs(
    configs: st.SearchStrategy[ModelConfig], data: st.DataObject
) -> None:
    drawn = [data.draw(configs) for _ in range(3)]
    models = [LoadedConfig(name, name, config, {}) for name, config in zip("abc", drawn, strict=True)]
    report = compare([(model, ()) for model in models])
    params = [analyse_params(model) for model in models]
    caches = [kv_cache_bytes(c, batch_size=1, seq_len=c.max_len, dtype="float32") for c in drawn]
    found = figures(report)
    for name, values in (
        ("total_params", [each.total_params for each in params]),
        ("non_embedding_params", [each.non_embedding_params for each in params]),
        ("weights_bytes", [each.weights_bytes for each in params]),
        ("kv_cache_bytes", caches),
    ):
        assert (name in found) == (len(set(values)) > 1)
        assert name not in found or list(found[name].values) == values
    parts = [difference for difference in report.figures if difference.name.split("_params")[0] in _COMPONENTS]
    if "total_params" in found:
        totals = found["total_params"]
        assert [sum(part.differences[i] for part in parts) for i in range(3)] == list(totals.differences)
    assert all(len(set(difference.values)) > 1 for difference in report.figures)
    assert report.same == (not report.fields and not report.figures)
    assert report.fields or not report.figures, "figures follow from fields"
    assert compare([(models[0], ()), (models[0]._replace(name="x"), ())]).same


_COMPONENTS = ("token_embedding", "position", "attention", "feed_forward", "router", "experts", "norm", "lm_head")
