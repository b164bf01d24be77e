"""Polynomials fitted to sums, and what cannot be fitted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.design.closed_form import ClosedForm, Polynomial, fit_polynomials, head_sharing


def test_fit() -> None:
    (form,) = fit_polynomials(lambda d, h, kv, ff, n: (7 + 3 * d + n * (d * h + 2 * kv * ff * d),))
    assert form.fix(64).fix(8).fix(2).fix(256).at(5) == 7 + 3 * 64 + 5 * (64 * 8 + 2 * 2 * 256 * 64)


def test_quadratic_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="more than once"):
        fit_polynomials(lambda d, h, kv, ff, n: (d * d * n + h + kv + ff,))


def test_decreasing_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="falls"):
        fit_polynomials(lambda d, h, kv, ff, n: (10**9 - d * n + h + kv + ff,))


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=1, max_size=6),
    st.integers(0, 9),
    st.integers(2, 9),
)
def test_pruned_sums_are_never_the_largest(coefficients: list[list[int]], d_ff: int, n_layers: int) -> None:
    form = ClosedForm(tuple(Polynomial((each,)) for each in coefficients))
    pruned = form.pruned()
    assert set(map(str, pruned.sums)) <= set(map(str, form.sums))
    assert pruned.fix(d_ff).at(n_layers) == form.fix(d_ff).at(n_layers)
    assert len(ClosedForm(form.sums * 2).pruned().sums) == len(pruned.sums)


@pytest.mark.parametrize(
    ("heads", "kind"), [((1, 1), "one_head"), ((8, 8), "multi_head"), ((8, 2), "grouped"), ((8, 1), "grouped")]
)
def test_head_sharing(heads: tuple[int, int], kind: str) -> None:
    assert head_sharing(*heads) == kind


def test_window_pattern() -> None:
    """Where every second layer is cheaper, each position in the pattern has coefficients of its own."""
    (form,) = fit_polynomials(lambda d, h, kv, ff, n: (d * (3 * (n // 2) + 5 * (n - n // 2)) + h + kv + ff,), period=2)
    for n_layers in range(2, 9):
        assert form.fix(6).fix(4).fix(2).fix(1).at(n_layers) == 6 * (8 * (n_layers // 2) + 5 * (n_layers % 2)) + 7
