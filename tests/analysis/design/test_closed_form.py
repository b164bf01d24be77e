"""Figures in closed form are the figures themselves, over the whole of what is searched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm_cli.analysis.design.closed_form import ClosedForm, closed_form
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.space import MEASURES, Shape, Space
from tinylm_cli.analysis.figures import FIGURES, Conditions


@pytest.mark.parametrize("family", FAMILIES)
def test_every_measure_of_every_family_is_its_figure(family: str) -> None:
    """Any family, any sizes of the grid, also where a window ends before the sequence does."""
    template = FAMILIES[family]

    @given(data=st.data(), seq_len=st.sampled_from([None, 1, 777]), tie=st.booleans())
    @settings(max_examples=25)
    def holds(data: st.DataObject, seq_len: int | None, tie: bool) -> None:
        space = Space(template, 1000, 8192, tie, Conditions(seq_len=seq_len))
        d_head = data.draw(st.sampled_from(template.d_heads))
        d_model, n_heads = data.draw(st.sampled_from(list(space.bodies(d_head))))
        n_kv_heads = data.draw(st.sampled_from(template.kv_heads(n_heads) or (n_heads,)))
        d_ff = data.draw(st.sampled_from(list(space.d_ffs(d_model))))
        n_layers = data.draw(st.sampled_from(list(space.grid.depths(d_model))))
        config = space.config(Shape(d_head, d_model, n_heads, n_kv_heads, d_ff), n_layers)
        for name, form in zip(MEASURES, space.forms(list(MEASURES), d_head), strict=True):
            fixed = form.fix(d_model).fix(n_heads).fix(n_kv_heads).fix(d_ff)
            assert fixed.at(n_layers) == FIGURES[name].compute(config, space.given), name

    holds()


def test_two_values_of_each_size_settle_the_form() -> None:
    form = closed_form(lambda d, h, kv, ff, n: 7 + 3 * d + n * (d * h + 2 * kv * ff * d))
    assert form == ClosedForm(form.phases)
    assert form.fix(64).fix(8).fix(2).fix(256).at(5) == 7 + 3 * 64 + 5 * (64 * 8 + 2 * 2 * 256 * 64)


def test_a_size_that_enters_twice_is_no_such_form() -> None:
    with pytest.raises(AssertionError, match="more than once"):
        closed_form(lambda d, h, kv, ff, n: d * d * n + h + kv + ff)


def test_a_figure_that_falls_is_no_such_form() -> None:
    with pytest.raises(AssertionError, match="falls"):
        closed_form(lambda d, h, kv, ff, n: 10**9 - d * n + h + kv + ff)
