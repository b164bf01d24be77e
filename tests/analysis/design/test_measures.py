"""The closed form of every measure equals the figure, over the whole search space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_configs import drawn
from tinylm_cli.analysis.design.closed_form import head_sharing
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.measures import MEASURES, closed_forms, has_closed_form_memory, measured
from tinylm_cli.analysis.design.search_space import SearchSpace, Shape
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.reports.choices import Optimizer, Recompute
from tinylm_cli.reports.plan import Layout

OPTIMIZERS: tuple[Optimizer, ...] = ("adamw", "adafactor", "muon", "sgd", "sgd_momentum")
RECOMPUTED: tuple[Recompute, ...] = ("none", "selective", "full")
SEVERAL = ("train_bytes_per_gpu", "serve_bytes", "decode_step_seconds")


@pytest.mark.parametrize("family", FAMILIES)
def test_closed_form_equals_figure(family: str) -> None:
    """For any sizes and setups, also where a window is shorter than the sequence."""
    template = FAMILIES[family]

    @given(
        data=st.data(),
        shared=st.fixed_dictionaries(
            {
                "batch_size": st.sampled_from([1, 3, 64]),
                "seq_len": st.sampled_from([None, 1, 777]),
                "dtype": st.sampled_from(["bfloat16", "float32"]),
            }
        ),
        optimizer=st.sampled_from(OPTIMIZERS),
        recompute=st.sampled_from(RECOMPUTED),
        tie=st.booleans(),
    )
    @settings(max_examples=drawn(3))
    def holds(
        data: st.DataObject, shared: dict[str, Any], optimizer: Optimizer, recompute: Recompute, tie: bool
    ) -> None:
        setups = Setups(TrainingSetup(**shared, optimizer=optimizer, recompute=recompute), ServingSetup(**shared))
        space = SearchSpace(template, 1000, 8192, tie, setups, accelerator=load_hardware("h100-sxm"))
        d_head = data.draw(st.sampled_from(template.d_heads))
        for _ in range(8):  # models share the closed forms, which take longest
            d_model, n_heads = data.draw(st.sampled_from(list(space.widths_and_heads(d_head))))
            _compare(data, space, d_head, d_model, n_heads)

    holds()


LAYOUTS = (
    Layout(data=8, tensor=2, zero=1),
    Layout(data=2, tensor=4, context=2, zero=2),
    Layout(data=16, zero=3),
    Layout(data=4, tensor=4, schedule="gpipe", micro_batches=3),
    Layout(data=2, tensor=2, pipeline=4, zero=1),
    Layout(tensor=2, pipeline=8, micro_batches=5),
    Layout(data=4, pipeline=2, virtual=3, micro_batches=4),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["tp", "cp", "zero-3", "gpipe", "pp", "many-pp", "virtual"])
@pytest.mark.parametrize("family", ["course", "gemma2", "qwen3-moe", "qwen3.5", "nemotron-h", "jamba"])
def test_training_memory_of_several_gpus(family: str, layout: Layout) -> None:
    template = FAMILIES[family]
    if template.config.feed_forward.n_experts:
        layout = replace(layout, expert=2)
    vocab_size = -(-template.config.vocab_size // layout.tensor) * layout.tensor
    setups = Setups.of(seq_len=2048, n_gpus=16, layout=layout, optimizer="muon")
    space = SearchSpace(template, vocab_size, 4096, template.config.tie_weights, setups)
    if template.config.layers.kinds and layout.pipeline > 1:
        assert not has_closed_form_memory(space), "stages have other kinds of layers"
        return

    @given(data=st.data())
    @settings(max_examples=drawn(2))
    def holds(data: st.DataObject) -> None:
        d_head = data.draw(st.sampled_from(space.d_heads))
        for _ in range(4):  # models share the closed form
            d_model, n_heads = data.draw(st.sampled_from(list(space.widths_and_heads(d_head))))
            _compare(data, space, d_head, d_model, n_heads, ["train_bytes_per_gpu"])

    holds()


WITH_ONE_HEAD = [name for name, family in FAMILIES.items() if 1 in family.heads(128, 128) and family.kv_heads(1)]


@pytest.mark.parametrize("family", WITH_ONE_HEAD)
@given(data=st.data())
@settings(max_examples=5)
def test_one_head(family: str, data: st.DataObject) -> None:
    """With one head, attention outputs need no copy before the projection."""
    template = FAMILIES[family]
    space = SearchSpace(template, 1000, 8192, False, accelerator=load_hardware("h100-sxm"))
    _compare(data, space, d_head=128, d_model=128, n_heads=1)


def _compare(
    data: st.DataObject,
    space: SearchSpace,
    d_head: int,
    d_model: int,
    n_heads: int,
    names: Sequence[str] = tuple(MEASURES),
) -> None:
    n_kv_heads = data.draw(st.sampled_from(space.kv_heads(n_heads) or (n_heads,)))
    d_ff = data.draw(st.sampled_from(list(space.d_ffs(d_model))))
    n_layers = data.draw(st.sampled_from(list(space.depths(d_model))))
    config = space.config(Shape(d_head, d_model, n_heads, n_kv_heads, d_ff), n_layers)
    made = closed_forms(space, names, d_head, heads=head_sharing(n_heads, n_kv_heads))
    for name, form in zip(names, made, strict=True):
        fixed = form.fix(d_model).fix(n_heads).fix(n_kv_heads).pruned().fix(d_ff)
        assert fixed.at(n_layers) == measured(name, space, config), name
        assert (form.n_counts > 1) == (name in SEVERAL)


def test_measures() -> None:
    assert set(MEASURES) - set(FIGURES) == {"decode_step_seconds"}
