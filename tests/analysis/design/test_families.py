"""The sizes of families: in the grid, and as published, with their parameter counts and rank in a search."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from tinylm_cli.analysis.design.constraints import within
from tinylm_cli.analysis.design.families import FAMILIES, PublishedModel
from tinylm_cli.analysis.design.find_designs import DesignRequest, find_designs
from tinylm_cli.analysis.design.ranking import proportions, typical_proportions
from tinylm_cli.analysis.design.search_space import SearchSpace, Shape
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config

PUBLISHED = {model.name: (family, model) for family, each in FAMILIES.items() for model in each.published_sizes}
OWN = {
    "tiny": (256, True),
    "small": (1000, True),
    "medium": (5000, True),
    "Llama 3.2 1B": (128256, True),
    "Llama 3.2 3B": (128256, True),
    **{f"Qwen3 {size}B": (151936, False) for size in (8, 14, 32)},
    **{f"Qwen3.5 {size}B": (248320, True) for size in (0.8, 2, 4)},
}
"""vocab_size and tie_weights of published models, if they differ from the family's base config."""

NARROW = {"tiny", "small"}
"""Published models with 32 dimensions per head, fewer than the grid has."""

OTHER_FIELDS = {
    "Nemotron-H 56B": {"mamba2.d_state": 256},
    "Granite 4.0 H Tiny": {"feed_forward.n_experts": 64, "feed_forward.top_k": 6},
}
"""Fields that are no sizes in which a published model differs from the family's base config; the grid lacks them."""

SHIPPED = {
    "tiny": "tiny",
    "small": "small",
    "medium": "medium",
    "base": "base",
    "GPT-2": "gpt2",
    "GPT-2 medium": "gpt2-medium",
    "GPT-2 large": "gpt2-large",
    "GPT-2 XL": "gpt2-xl",
    "Llama 3 8B": "llama-3-8b",
    "Qwen3 0.6B": "qwen3-0.6b",
    "Gemma 2 2B": "gemma-2-2b",
    "Mixtral 8x7B": "mixtral-8x7b",
    "Qwen3 30B-A3B": "qwen3-30b-a3b",
    "Qwen3.5 9B": "qwen3.5-9b",
    "Qwen3.5 35B-A3B": "qwen3.5-35b-a3b",
    "Nemotron-H 8B": "nemotron-h-8b",
    "Granite 4.0 H Micro": "granite-4.0-h-micro",
    "Granite 4.0 H Small": "granite-4.0-h-small",
    "Jamba 1.5 Mini": "jamba-v0.1",
}
"""Published models with a built-in config."""


def space_of(name: str) -> SearchSpace:
    template = FAMILIES[PUBLISHED[name][0]]
    vocab_size, tied = OWN.get(name, (template.config.vocab_size, template.config.tie_weights))
    return SearchSpace(template, vocab_size, template.config.max_len, tied)


def sizes(model: PublishedModel) -> tuple[int, ...]:
    return astuple(model.sizes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_member_params(name: str) -> None:
    model = PUBLISHED[name][1]
    size = model.sizes
    shape = Shape(size.d_head, size.d_model, size.n_heads, size.n_kv_heads, size.d_ff)
    values = space_of(name).config(shape, size.n_layers).model_dump()
    for field, value in OTHER_FIELDS.get(name, {}).items():
        block, inner = field.split(".")
        values[block][inner] = value
    assert total_params(tensor_table(ModelConfig.model_validate(values))) == model.params


@pytest.mark.parametrize("name", SHIPPED)
def test_member_is_shipped_model(name: str) -> None:
    found, model = load_config(SHIPPED[name]).config, PUBLISHED[name][1]
    shape = (found.d_model, found.n_layers, found.n_heads, found.n_kv_heads, found.d_head, found.d_expert)
    assert shape == sizes(model)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name not in NARROW | OTHER_FIELDS.keys()])
def test_published_size_ranks_first(name: str) -> None:
    model = PUBLISHED[name][1]
    report = find_designs(DesignRequest(space_of(name), (within("total_params", model.params, 0.01),), top=1))
    assert report.matches > 5
    assert astuple(report.designs[0].sizes) == sizes(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_published_sizes_ascend(family: str) -> None:
    counts = [model.params for model in FAMILIES[family].published_sizes]
    assert counts == sorted(set(counts))
    for model in FAMILIES[family].published_sizes:
        assert typical_proportions(FAMILIES[family].published_sizes, model.params) == pytest.approx(
            proportions(model.sizes)
        )


@pytest.mark.parametrize(
    ("family", "d_model", "d_head", "heads"),
    [
        ("llama", 2048, 64, (32,)),
        ("llama", 320, 128, ()),
        ("qwen3", 1024, 128, (8, 16)),
        ("qwen3", 2048, 128, (16, 24, 32)),
        ("gemma2", 2304, 256, (8,)),
        ("qwen3", 128, 64, (8,)),
    ],
)
def test_heads(family: str, d_model: int, d_head: int, heads: tuple[int, ...]) -> None:
    assert FAMILIES[family].heads(d_model, d_head) == heads


@pytest.mark.parametrize(
    ("family", "n_heads", "kv_heads"), [("llama", 24, (24, 8, 6, 3)), ("gemma2", 8, (4, 2)), ("course", 7, (7,))]
)
def test_kv_heads(family: str, n_heads: int, kv_heads: tuple[int, ...]) -> None:
    assert FAMILIES[family].kv_heads(n_heads) == kv_heads


@pytest.mark.parametrize("family", FAMILIES)
def test_base(family: str) -> None:
    """The config that ships is one of the published sizes, and its proportions are in the grid."""
    template = FAMILIES[family]
    config = template.config
    low, high = template.d_ff_ratios
    assert config.d_model in {model.sizes.d_model for model in template.published_sizes}
    assert low <= (config.d_expert or config.d_ff) / config.d_model <= high
    assert config.d_head in template.d_heads
    assert config.n_heads in template.heads(config.d_model, config.d_head)
    assert config.n_kv_heads in template.kv_heads(config.n_heads)
