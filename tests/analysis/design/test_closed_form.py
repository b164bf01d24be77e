"""Figures in closed form are the figures themselves, over the whole of what is searched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm_cli.analysis.design.closed_form import ClosedForm, Form, closed_forms, heads_of
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.measures import MEASURES, forms, measured
from tinylm_cli.analysis.design.search_space import Shape, Space
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.reports.memory import Optimizer, Recompute

OPTIMIZERS: tuple[Optimizer, ...] = ("adamw", "adafactor", "muon", "sgd", "sgd_momentum")
RECOMPUTED: tuple[Recompute, ...] = ("none", "selective", "full")
SEVERAL = ("train_bytes_per_gpu", "serve_bytes", "decode_step_seconds")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_measure_of_every_family_is_its_figure(family: str) -> None:
    """Any family, any sizes of the grid, under any conditions, also where a window ends before the sequence does."""
    template = FAMILIES[family]

    @given(
        data=st.data(),
        setups=st.builds(
            Setups.of,
            batch_size=st.sampled_from([1, 3, 64]),
            seq_len=st.sampled_from([None, 1, 777]),
            dtype=st.sampled_from(["bfloat16", "float32"]),
            optimizer=st.sampled_from(OPTIMIZERS),
            recompute=st.sampled_from(RECOMPUTED),
        ),
        tie=st.booleans(),
    )
    @settings(max_examples=25)
    def holds(data: st.DataObject, setups: Setups, tie: bool) -> None:
        space = Space(template, 1000, 8192, tie, setups, accelerator=load_hardware("h100-sxm"))
        d_head = data.draw(st.sampled_from(template.d_heads))
        d_model, n_heads = data.draw(st.sampled_from(list(space.bodies(d_head))))
        _compare(data, space, d_head, d_model, n_heads)

    holds()


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if 1 in family.heads(128, 128)])
@given(data=st.data())
@settings(max_examples=5)
def test_a_single_head_is_a_case_of_its_own(family: str, data: st.DataObject) -> None:
    """A mixture of one head need not be copied to stand token by token."""
    template = FAMILIES[family]
    space = Space(template, 1000, 8192, False, accelerator=load_hardware("h100-sxm"))
    _compare(data, space, d_head=128, d_model=128, n_heads=1)


def _compare(data: st.DataObject, space: Space, d_head: int, d_model: int, n_heads: int) -> None:
    n_kv_heads = data.draw(st.sampled_from(space.family.kv_heads(n_heads) or (n_heads,)))
    d_ff = data.draw(st.sampled_from(list(space.d_ffs(d_model))))
    n_layers = data.draw(st.sampled_from(list(space.grid.depths(d_model))))
    config = space.config(Shape(d_head, d_model, n_heads, n_kv_heads, d_ff), n_layers)
    made = forms(space, list(MEASURES), d_head, heads=heads_of(n_heads, n_kv_heads))
    for name, form in zip(MEASURES, made, strict=True):
        fixed = form.fix(d_model).fix(n_heads).fix(n_kv_heads).lean().fix(d_ff)
        assert fixed.at(n_layers) == measured(name, space, config), name
        assert (len(form.parts) > 1) == (name in SEVERAL)


def test_every_measure_is_a_figure_or_a_time() -> None:
    assert set(MEASURES) - set(FIGURES) == {"decode_step_seconds"}


def test_two_values_of_each_size_settle_the_form() -> None:
    (form,) = closed_forms(lambda d, h, kv, ff, n: (7 + 3 * d + n * (d * h + 2 * kv * ff * d),))
    assert form.fix(64).fix(8).fix(2).fix(256).at(5) == 7 + 3 * 64 + 5 * (64 * 8 + 2 * 2 * 256 * 64)


def test_a_size_that_enters_twice_is_no_such_form() -> None:
    with pytest.raises(ArithmeticError, match="more than once"):
        closed_forms(lambda d, h, kv, ff, n: (d * d * n + h + kv + ff,))


def test_a_figure_that_falls_is_no_such_form() -> None:
    with pytest.raises(ArithmeticError, match="falls"):
        closed_forms(lambda d, h, kv, ff, n: (10**9 - d * n + h + kv + ff,))


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=6),
    st.integers(0, 9),
    st.integers(2, 9),
)
def test_parts_that_are_left_out_are_nowhere_the_largest(
    coefficients: list[list[int]], d_ff: int, n_layers: int
) -> None:
    form = Form(tuple(ClosedForm((each,)) for each in coefficients))
    lean = form.lean()
    assert set(map(str, lean.parts)) <= set(map(str, form.parts))
    assert lean.fix(d_ff).at(n_layers) == form.fix(d_ff).at(n_layers)
    assert len(Form(form.parts * 2).lean().parts) == len(lean.parts)
