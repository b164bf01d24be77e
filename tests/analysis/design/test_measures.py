"""The closed form of every measure equals the figure, over the whole search space."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm_cli.analysis.design.closed_form import head_sharing
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.measures import MEASURES, closed_forms, measured
from tinylm_cli.analysis.design.search_space import SearchSpace, Shape
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.reports.choices import Optimizer, Recompute

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
    @settings(max_examples=7)
    def holds(
        data: st.DataObject, shared: dict[str, Any], optimizer: Optimizer, recompute: Recompute, tie: bool
    ) -> None:
        setups = Setups(TrainingSetup(**shared, optimizer=optimizer, recompute=recompute), ServingSetup(**shared))
        space = SearchSpace(template, 1000, 8192, tie, setups, accelerator=load_hardware("h100-sxm"))
        d_head = data.draw(st.sampled_from(template.d_heads))
        for _ in range(4):  # models share the closed forms, which take longest
            d_model, n_heads = data.draw(st.sampled_from(list(space.widths_and_heads(d_head))))
            _compare(data, space, d_head, d_model, n_heads)

    holds()


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if 1 in family.heads(128, 128)])
@given(data=st.data())
@settings(max_examples=5)
def test_one_head(family: str, data: st.DataObject) -> None:
    """With one head, attention outputs need no copy before the projection."""
    template = FAMILIES[family]
    space = SearchSpace(template, 1000, 8192, False, accelerator=load_hardware("h100-sxm"))
    _compare(data, space, d_head=128, d_model=128, n_heads=1)


def _compare(data: st.DataObject, space: SearchSpace, d_head: int, d_model: int, n_heads: int) -> None:
    n_kv_heads = data.draw(st.sampled_from(space.kv_heads(n_heads) or (n_heads,)))
    d_ff = data.draw(st.sampled_from(list(space.d_ffs(d_model))))
    n_layers = data.draw(st.sampled_from(list(space.depths(d_model))))
    config = space.config(Shape(d_head, d_model, n_heads, n_kv_heads, d_ff), n_layers)
    made = closed_forms(space, list(MEASURES), d_head, heads=head_sharing(n_heads, n_kv_heads))
    for name, form in zip(MEASURES, made, strict=True):
        fixed = form.fix(d_model).fix(n_heads).fix(n_kv_heads).pruned().fix(d_ff)
        assert fixed.at(n_layers) == measured(name, space, config), name
        assert (form.n_counts > 1) == (name in SEVERAL)


def test_measures() -> None:
    assert set(MEASURES) - set(FIGURES) == {"decode_step_seconds"}
