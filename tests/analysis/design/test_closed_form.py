"""Polynomials fitted to sums, and sums that are rejected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.design.closed_form import ClosedForm, fit_closed_form, head_sharing


def test_fit() -> None:
    form = fit_closed_form(lambda d, h, kv, ff, n: (7 + 3 * d + h + n * (d * h + kv * d + 2 * ff * d + 9 * kv),))
    assert form.fix(64).fix(8).fix(2).fix(256).at(5) == 7 + 3 * 64 + 8 + 5 * (64 * 8 + 2 * 64 + 2 * 256 * 64 + 9 * 2)


def test_square_of_d_model() -> None:
    """A mixer whose heads follow from d_model: the polynomial is in steps of d_model, here of 32."""

    def count(d: int, h: int, kv: int, ff: int, n: int) -> tuple[int]:
        assert d % 32 == 0
        return (7 + 3 * d + d // 32 + n * (d * h + 2 * d * d + 2 * kv * d + 3 * ff * d),)

    form = fit_closed_form(count, d_model_step=32, first_depth=19, depth_step=11, size_step=2)
    for d_model in (32, 96, 4096):
        fixed = form.fix(d_model).fix(8).fix(2).fix(256)
        assert [fixed.at(n_layers) for n_layers in (8, 19, 41)] == [
            count(d_model, 8, 2, 256, n_layers)[0] for n_layers in (8, 19, 41)
        ]


@pytest.mark.parametrize("step", [None, 1])
def test_cube_is_refused(step: int | None) -> None:
    with pytest.raises(ArithmeticError, match="not linear"):
        fit_closed_form(lambda d, h, kv, ff, n: (d**3 * n + h + kv + ff,), d_model_step=step)


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2)])
def test_product_of_heads_and_hidden_units_is_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(ArithmeticError, match="multiplies two of n_heads, n_kv_heads and d_ff"):
        fit_closed_form(lambda d, *sizes: (d * sizes[-1] + sizes[pair[0]] * sizes[pair[1]] + sum(sizes),))


def test_quadratic_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="not linear"):
        fit_closed_form(lambda d, h, kv, ff, n: (d * d * n + h + kv + ff,))


def test_decreasing_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="decreases"):
        fit_closed_form(lambda d, h, kv, ff, n: (10**9 - d * n + h + kv + ff,))


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=8, max_size=8), min_size=1, max_size=6),
    st.integers(0, 9),
    st.integers(2, 9),
)
def test_pruned_counts_are_never_the_largest(counts: list[list[int]], d_ff: int, n_layers: int) -> None:
    """Eight coefficients for each count: two sizes, in a window pattern of two."""

    def of(counts: list[list[int]]) -> ClosedForm:
        return ClosedForm(
            [each[i + phase] for i in (0, 2, 4, 6) for each in counts for phase in (0, 1)], len(counts), 2
        )

    form = of(counts)
    pruned = form.pruned()
    assert 1 <= pruned.n_counts <= form.n_counts
    assert len(pruned.coefficients) == 8 * pruned.n_counts
    assert set(pruned.fix(d_ff).counts(n_layers)) <= set(form.fix(d_ff).counts(n_layers))
    assert pruned.fix(d_ff).at(n_layers) == form.fix(d_ff).at(n_layers)
    assert of(counts * 2).pruned().n_counts == pruned.n_counts
    alone = [of([each]).fix(d_ff).at(n_layers) for each in counts]
    assert form.fix(d_ff).counts(n_layers) == alone


@pytest.mark.parametrize(
    ("heads", "kind"), [((1, 1), "one_head"), ((8, 8), "multi_head"), ((8, 2), "grouped"), ((8, 1), "grouped")]
)
def test_head_sharing(heads: tuple[int, int], kind: str) -> None:
    assert head_sharing(*heads) == kind


def test_window_pattern() -> None:
    """Where every second layer is cheaper, each position in the pattern has coefficients of its own."""
    form = fit_closed_form(lambda d, h, kv, ff, n: (d * (3 * (n // 2) + 5 * (n - n // 2)) + h + kv + ff,), period=2)
    for n_layers in range(2, 9):
        assert form.fix(6).fix(4).fix(2).fix(1).at(n_layers) == 6 * (8 * (n_layers // 2) + 5 * (n_layers % 2)) + 7
