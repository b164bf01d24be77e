"""Differences between models: complete, minimal, and with consistent figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.compare import MAX_COMPARED_STAGES, changed_config, compare, shared_setups
from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.inference_memory import inference_memory
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.params import analyze_params, weights_bytes
from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
from tinylm_cli.analysis.tensor import COMPONENTS
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.git_revision import ChangedFile, Status
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.compare import CompareReport, FigureDifference
from tinylm_cli.reports.plan import Layout

Compared = tuple[LoadedConfig, tuple[str, ...]]

SHAPE = {"vocab_size": 256, "d_model": 64, "n_heads": 4, "n_layers": 4, "d_ff": 128}


def compared(*models: Compared, **given: Any) -> CompareReport:
    return compare(models, Setups.of(**given))


def loaded(name: str, **values: Any) -> Compared:
    return LoadedConfig(name, f"{name}.yaml", ModelConfig.model_validate({**SHAPE, **values}), {}), ()


def fields(report: CompareReport) -> dict[str, tuple[Any, ...]]:
    return {difference.field: difference.values for difference in report.fields}


def figures(report: CompareReport) -> dict[str, FigureDifference]:
    return {difference.name: difference for difference in report.figures}


def test_two_more_layers_by_hand() -> None:
    report = compared((load_config("small"), ()), (load_config("small", ["n_layers=8"]), ("n_layers=8",)))
    layer = 4 * 256 + 4 * (256 * 256 + 256) + 2 * 256 * 1024 + 1024 + 256
    assert fields(report) == {"n_layers": (6, 8)}
    total = figures(report)["total_params"]
    assert total.values == (4_995_072, 4_995_072 + 2 * layer)
    assert total.differences == (0, 2 * layer)
    assert total.ratios == (1.0, (4_995_072 + 2 * layer) / 4_995_072)
    assert figures(report)["kv_cache_bytes"].values == (2 * 6 * 256 * 1024 * 2, 2 * 8 * 256 * 1024 * 2)
    assert figures(report)["weights_bytes"].differences == (0, 4 * layer)
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
def test_explicit_default_is_equal(written: Mapping[str, Any]) -> None:
    report = compared(loaded("a"), loaded("b", **written))
    assert report.equal
    assert (report.fields, report.figures) == ((), ())


def test_derived_fields_are_omitted() -> None:
    assert fields(compared(loaded("a"), loaded("b", n_heads=8))) == {"n_heads": (4, 8)}
    assert fields(compared(loaded("a"), loaded("b", n_heads=8, attention={"d_head": 16}))) == {"n_heads": (4, 8)}


def test_defaults_filled_in() -> None:
    grouped = loaded("b", attention={"n_kv_heads": 2, "window": 8, "window_pattern": "LG"})
    assert fields(compared(loaded("a"), grouped)) == {
        "attention.n_kv_heads": (4, 2),
        "attention.window": (None, 8),
        "attention.window_pattern": (None, "LG"),
    }
    twice = loaded("c", attention={"n_kv_heads": 2, "window": 8, "window_pattern": "LGLG"})
    assert compared(grouped, twice).equal


def test_sizes_of_a_missing_part() -> None:
    experts = loaded("b", feed_forward={"n_experts": 4})
    assert fields(compared(loaded("a"), experts)) == {
        "feed_forward.n_experts": (None, 4),
        "feed_forward.top_k": (None, 2),
        "feed_forward.router": (None, "topk_softmax"),
    }
    more = loaded("c", feed_forward={"n_experts": 8})
    assert fields(compared(experts, more)) == {"feed_forward.n_experts": (4, 8)}


def test_missing_components_are_zero() -> None:
    experts = loaded("b", tie_weights=False, feed_forward={"n_experts": 4})
    report = compared(loaded("a"), experts)
    found = figures(report)
    for name in ("lm_head_params", "experts_params", "router_params"):
        assert found[name].values[0] == 0
        assert found[name].ratios == (None, None)
        assert found[name].values[1] == found[name].differences[1] > 0
    assert found["feed_forward_params"].values[1] == 0
    assert found["active_params"].values[1] < found["total_params"].values[1]
    assert "active_params" not in figures(compared(loaded("a"), loaded("c", n_layers=5)))


def test_dtype_and_seq_len() -> None:
    one, two = loaded("a"), loaded("b", attention={"n_kv_heads": 1})
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        report = compared(one, two, dtype=dtype, seq_len=100)
        assert figures(report)["kv_cache_bytes"].values == (2 * 4 * 64 * 100 * width, 2 * 4 * 16 * 100 * width)
        assert (report.batch_size, report.seq_len, report.dtype) == (1, 100, dtype)
    assert figures(compared(one, two, batch_size=3))["kv_cache_bytes"].values == (3 * 2 * 4 * 64 * 1024 * 2, 786432)


def test_shortest_max_len() -> None:
    one, longer = loaded("a"), loaded("c", max_len=2048)
    report = compared(one, longer)
    assert (report.seq_len, [model.max_len for model in report.models]) == (1024, [1024, 2048])
    assert fields(report) == {"max_len": (1024, 2048)}
    table = (0, 1024 * 64 * 2)  # of positions: the model holds it whole
    assert {name: each.differences for name, each in figures(report).items()} == dict.fromkeys(
        ("weights_bytes", "train_bytes_per_gpu", "serve_bytes"), table
    )
    assert compared(longer, one).seq_len == 1024


def test_shared_setups() -> None:
    def shared(*budgets: dict[str, Any], **values: Any) -> Setups:
        models = [loaded("a", budget=budgets[0]), *(loaded("b", budget=each, **values) for each in budgets[1:])]
        return shared_setups([model.config for model, _ in models])

    stated: dict[str, Any] = {"batch_size": 64, "seq_len": 10, "dtype": "float32"}
    assert shared(stated, stated) == Setups.of(**stated)
    assert shared({}, {}) == Setups.of(seq_len=1024)
    assert shared({}, {}, max_len=64) == Setups.of(seq_len=64)
    assert shared(stated, {}) == Setups.of(seq_len=1024)
    assert shared(stated, {**stated, "batch_size": 8, "seq_len": 9}, max_len=64) == Setups.of(
        seq_len=64, dtype="float32"
    )


def test_budget_fields() -> None:
    held = loaded("b", budget={"max_params": "130M", "batch_size": 64, "dtype": "bfloat16", "seq_len": 1024})
    assert fields(compared(loaded("a"), held)) == {
        "budget.max_params": (None, 130_000_000),
        "budget.batch_size": (1, 64),
    }
    assert not compared(held, loaded("c", budget={"max_params": 130_000_001, "batch_size": 64})).equal


def test_memory_agrees_with_estimate() -> None:
    models = [loaded("a"), loaded("b", n_layers=7)]
    found = figures(compared(*models, seq_len=100))
    given: dict[str, Any] = {"batch_size": 1, "seq_len": 100, "dtype": "bfloat16"}
    configs = [model.config for model, _ in models]
    train = tuple(training_memory(config, TrainingSetup(**given)).peak_bytes for config in configs)
    assert found["train_bytes_per_gpu"].values == train
    assert found["serve_bytes"].values == tuple(
        inference_memory(config, ServingSetup(seq_len=100)).total_bytes for config in configs
    )


@given(st.data())
def test_any_two_models(configs: st.SearchStrategy[ModelConfig], data: st.DataObject) -> None:
    drawn = [data.draw(configs) for _ in range(3)]
    models = [LoadedConfig(name, name, config, {}) for name, config in zip("abc", drawn, strict=True)]
    report = compared(*((model, ()) for model in models))
    params = [analyze_params(model, dtype="bfloat16") for model in models]
    shortest = min(config.max_len for config in drawn)
    caches = [kv_cache_bytes(c, batch_size=1, seq_len=shortest, dtype="bfloat16") for c in drawn]
    found = figures(report)
    for name, values in (
        ("total_params", [each.total_params for each in params]),
        ("non_embedding_params", [each.non_embedding_params for each in params]),
        ("weights_bytes", [weights_bytes(config, "bfloat16") for config in drawn]),
        ("kv_cache_bytes", caches),
    ):
        assert (name in found) == (len(set(values)) > 1)
        assert name not in found or list(found[name].values) == values
    for name in FIGURES:
        told = tuple(figure(name, config, Setups.of(seq_len=shortest)) for config in drawn)
        assert name not in found or found[name].values == told
    parts = [difference for difference in report.figures if difference.name.split("_params")[0] in COMPONENTS]
    if "total_params" in found:
        totals = found["total_params"]
        assert [sum(part.differences[i] for part in parts) for i in range(3)] == list(totals.differences)
    assert all(len(set(difference.values)) > 1 for difference in report.figures)
    assert report.equal == (not report.fields and not report.figures)
    assert report.fields or not report.figures, "figures follow from fields"
    assert compared((models[0], ()), (models[0]._replace(name="x"), ())).equal


@pytest.mark.parametrize(
    ("status", "before", "old_path"),
    [
        ("modified", "1a2b:there/a.yaml", None),
        ("renamed", "1a2b:there/old.yaml", "there/old.yaml"),
        ("added", None, None),
    ],
)
def test_changed_config(status: Status, before: str | None, old_path: str | None) -> None:
    file = ChangedFile(status, "there/a.yaml", before)
    (old, _), (new, _) = loaded("a"), loaded("a", n_layers=6)
    report = changed_config(file, old if before else None, new, Setups.of() if before else None)
    assert (report.path, report.status, report.old_path) == ("there/a.yaml", status, old_path)
    before_params, after_params = (analyze_params(each).total_params for each in (old, new))
    assert report.after_params == after_params
    if before is None:
        assert (report.before_params, report.difference_params, report.ratio, report.comparison) == (None,) * 4
    else:
        assert (report.before_params, report.difference_params) == (before_params, after_params - before_params)
        assert report.ratio == after_params / before_params
        assert report.comparison == compare([(old, ()), (new, ())], Setups.of())


def test_changed_config_that_is_invalid() -> None:
    (old, _) = loaded("a")
    file = ChangedFile("modified", "a.yaml", "1a2b:a.yaml")
    report = changed_config(file, old, None, None, error="d_model must be positive")
    assert (report.status, report.error, report.comparison) == ("invalid", "d_model must be positive", None)
    assert (report.after_params, report.difference_params, report.ratio) == (None, None, None)


def test_too_many_layouts() -> None:
    """One model is within the limit, and many are not."""
    model, accelerator = load_config("qwen3-30b-a3b"), load_hardware("h100")
    setups = Setups.of(seq_len=2048, n_gpus=512)
    models = [(model._replace(name=str(number)), ()) for number in range(50)]
    with pytest.raises(AnalysisError, match=f"different stages of these models; at most {MAX_COMPARED_STAGES:,} are"):
        compare(models, setups, accelerator)
    layout = Layout(data=64, tensor=2, pipeline=4, micro_batches=4)
    planned = compare(models, setups.changed(layout=layout), accelerator)
    assert planned.cluster is not None
    assert len(planned.cluster.plans) == 50


KINDS = {"local": {"attention": {"window": 8}}, "full": {"n_heads": 8, "position": {"kind": "none"}}}
LAYERED = {"position": {"kind": "rope"}, "layers": {"pattern": "local, full", "kinds": KINDS}}


def test_fields_of_named_kinds() -> None:
    wider = {**KINDS, "local": {"attention": {"window": 16}}}
    other = {**LAYERED, "layers": {"pattern": "full, local", "kinds": wider}}
    report = compared(loaded("a", **LAYERED), loaded("b", **other))
    assert fields(report) == {
        "layers.pattern": ("local, full", "full, local"),
        "layers.kinds.local.attention.window": (8, 16),
    }
    assert not compared(loaded("a", **LAYERED), loaded("b", **LAYERED)).fields


def test_fields_that_only_some_kinds_override() -> None:
    report = compared(loaded("a", **LAYERED), loaded("b", position={"kind": "rope"}))
    assert fields(report) == {
        "layers.pattern": ("local, full", None),
        "layers.kinds.local.attention.window": (8, None),
        "layers.kinds.full.n_heads": (8, None),
        "layers.kinds.full.position.kind": ("none", None),
    }


def test_one_order_spelled_in_two_ways() -> None:
    window = {"window": 8, "window_pattern": "LG"}
    kinds = {"local": {"attention": {"window": 8}}, "full": {}}
    named = loaded("a", layers={"pattern": "local, full", "kinds": kinds})
    assert fields(compared(named, loaded("b", attention=window))) == {}
