"""Export of configs: the config.json reads back as the same model, or the nearest family is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.families import FAMILIES as DRAWN
from tests.interop.families import configs
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Span, UnableError
from tinylm_cli.interop.config_json import data_to_node
from tinylm_cli.interop.export_config import constants_differ, export_config, express, to_config_json
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.to_tinylm import map_config

CONFIGS = Path(__file__).resolve().parent / "configs"


def read(document: dict[str, Any]) -> ModelConfig:
    mapped = map_config(data_to_node(document, Span("config.json", 1, 1, 2, "")), "config.json")
    assert not mapped.errors
    return ModelConfig.model_validate(mapped.root.plain())


def stretched(family: str, **scaling: Any) -> ModelConfig:
    keys = json.loads((CONFIGS / f"{family}.json").read_text(encoding="utf-8"))
    keys.pop("quantization_config", None)  # which is not exported
    yarn = {"type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096}
    return read({**keys, "rope_scaling": {**yarn, **scaling}})


weights = st.floats(0.05, 4.0)


@given(st.sampled_from(["deepseek_v2", "deepseek_v3"]), st.floats(1.01, 1e3), weights, st.none() | weights)
def test_mscale_round_trip(family: str, factor: float, whole: float, own: float | None) -> None:
    config = stretched(family, factor=factor, mscale_all_dim=whole, mscale=own)
    assert config.attention.scale is not None
    again = read(to_config_json(config, FAMILIES[family]))
    assert again.position == config.position
    assert again.attention.scale is not None
    assert math.isclose(again.attention.scale, config.attention.scale, rel_tol=1e-15)
    assert again.model_copy(update={"attention": config.attention}) == config


def test_published_mscale() -> None:
    for family, weight in (("deepseek_v2", 0.707), ("deepseek_v3", 1.0)):
        config = stretched(family, mscale=weight, mscale_all_dim=weight)
        found = express(config).document["rope_scaling"]
        assert (found["mscale"], found["mscale_all_dim"]) == (weight, weight)
        assert "attention_factor" not in found
        assert read(express(config).document) == config


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3"])
def test_unequal_mscale(family: str) -> None:
    config = stretched(family, mscale=0.5, mscale_all_dim=1.25)
    found = express(config).document["rope_scaling"]
    assert (found["mscale"], found["mscale_all_dim"]) == (0.5, 1.25)
    assert "attention_factor" not in found
    assert read(express(config).document) == config


@given(st.floats(0.01, 3.0), st.none() | st.floats(0.1, 3.0))
def test_any_attention_scale(scale: float, on_rotation: float | None) -> None:
    config = stretched("deepseek_v3")
    attention = config.attention.model_copy(update={"scale": scale})
    position = config.position.model_copy(update={"attention_factor": on_rotation})
    config = config.model_copy(update={"attention": attention, "position": position})
    again = read(to_config_json(config, FAMILIES["deepseek_v3"]))
    assert again.attention.scale is not None
    assert math.isclose(again.attention.scale, scale, rel_tol=1e-15)
    assert again.position == config.position


def changed(family: str, **fields: Any) -> ModelConfig:
    """Return the config of a family with dotted fields changed."""
    values = read(json.loads((CONFIGS / f"{family}.json").read_text(encoding="utf-8"))).model_dump(exclude_unset=True)
    for name, value in fields.items():
        block, _, last = name.rpartition("__")
        (values.setdefault(block, {}) if block else values)[last] = value
    return ModelConfig.model_validate(values)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "llama"])
@pytest.mark.parametrize(
    ("ulps", "expressed"), [(0, True), (1, True), (-1, True), (2, True), (-64, False), (64, False)]
)
def test_rounded_attention_scale(family: str, ulps: int, *, expressed: bool) -> None:
    """A scale that differs from 1/√d_head only by rounding is the family's own; any other needs Granite's key."""
    scale = changed(family).d_head ** -0.5
    for _ in range(abs(ulps)):
        scale = math.nextafter(scale, math.inf if ulps > 0 else 0.0)
    config = changed(family, attention__scale=scale)
    assert config.attention.scale == scale
    if expressed or family == "llama":
        assert express(config).family == (family if expressed else "granite")
        return
    with pytest.raises(UnableError, match=r"does not support attention\.scale"):
        express(config)


@given(st.floats(1e-3, 1e3))
def test_any_logit_scale(scale: float) -> None:
    again = read(to_config_json(changed("granite", head__logit_scale=scale), FAMILIES["granite"]))
    assert math.isclose(again.head.logit_scale, scale, rel_tol=1e-15)


@pytest.mark.parametrize("divisor", [13.0, 16.0, 49.0])
def test_published_logits_scaling(divisor: float) -> None:
    """The reciprocal of 1/49 is 49.00000000000001."""
    assert express(changed("granite", head__logit_scale=1 / divisor)).document["logits_scaling"] == divisor


@pytest.mark.parametrize(("scale", "scaled"), [(None, True), (1.0, False)])
def test_unscaled_scores(scale: float | None, *, scaled: bool) -> None:
    """Only GPT-2 has unscaled scores, and a scale of 0.9999 is not unscaled."""
    found = express(changed("gpt2", attention__scale=scale))
    assert (found.family, found.document["scale_attn_weights"]) == ("gpt2", scaled)
    with pytest.raises(UnableError):
        express(changed("gpt2", attention__scale=0.9999))


@pytest.mark.parametrize(
    ("family", "fields", "nearest", "lacks"),
    [
        ("deepseek_v2", {"norm__kind": "layernorm"}, "deepseek_v2", "does not support norm.kind layernorm"),
        ("deepseek_v2", {"feed_forward__router": "sigmoid"}, "deepseek_v3", "feed_forward.score_correction false"),
        ("deepseek_v2", {"feed_forward__router": "topk_softmax"}, "deepseek_v2", "feed_forward.router topk_softmax"),
        ("deepseek_v3", {"norm__eps": 1e-5}, "deepseek_v3", "attention.latent_norm_eps 1e-05"),
        ("mixtral", {"feed_forward__router": "sigmoid"}, "lfm2_moe", "attention.qk_norm none"),
        ("qwen3_moe", {"attention__qk_norm": "none", "norm__bias": None}, "qwen3_moe", "attention.qk_norm none"),
        ("olmoe", {"feed_forward__n_shared_experts": 1}, "qwen2_moe", "feed_forward.shared_expert_gate false"),
        ("bloom", {"norm__kind": "rmsnorm"}, "bloom", "norm.kind rmsnorm"),
        ("gpt2", {"attention__window": 8}, "gpt2", "does not support attention.window 8"),
        ("mamba2", {"mamba2__norm": "full"}, "mamba2", "mamba2.norm full"),
        ("rwkv", {"embedding__norm": False}, "rwkv", "does not support embedding.norm false"),
        ("deepseek_v3", {"head__n_mtp_layers": 1}, "deepseek_v3", "does not support head.n_mtp_layers 1"),
        (
            "gpt2",
            {"attention__window": 8, "attention__window_pattern": "LG"},
            "gpt2",
            "does not support attention.window 8, attention.window_pattern LG",
        ),
    ],
)
def test_nearest_family(family: str, fields: dict[str, Any], nearest: str, lacks: str) -> None:
    with pytest.raises(UnableError) as raised:
        export_config(changed(family, **fields))
    assert f": the nearest, {nearest}, " in raised.value.message
    assert lacks in raised.value.message
    assert ("attention.window_pattern" in raised.value.message) == ("attention__window_pattern" in fields)


@pytest.mark.parametrize("family", DRAWN)
def test_constants_admit_own_models(family: str) -> None:
    """A family is skipped without reading its config.json back only if it cannot express the model."""
    for keys in configs(family, 6):
        assert not constants_differ(canonical_fields(read({"model_type": family, **keys})), FAMILIES[family])


BUDGET = ("budget.max_params=1K", "budget.seq_len=8", "budget.nominal_tolerance=0.01")


def test_budget_is_ignored() -> None:
    assert express(load_config("gpt2", BUDGET).config).document == express(load_config("gpt2").config).document
    plain, held = (export_config(load_config("tiny", changes).config) for changes in ((), BUDGET))
    assert (held.document, held.changes) == (plain.document, plain.changes)
