"""Parsing of ``--assert``; errors point at the token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.cli.wording import worded
from tinylm_cli.config.assertion import ASSERT, RELATIONS, Condition, FigureKind, read_assertions
from tinylm_cli.config.diagnostic_codes import CODES
from tinylm_cli.errors import ConfigError, Diagnostic

KINDS: dict[str, FigureKind] = {
    "total_params": "count",
    "active_params": "count",
    "kv_cache_bytes": "size",
    "train_flops_per_token": "flops",
    "nominal_error": "share",
}


def _error(text: str) -> Diagnostic:
    with pytest.raises(ConfigError) as raised:
        read_assertions([text], KINDS)
    (found,) = raised.value.diagnostics
    return found


@pytest.mark.parametrize(
    ("text", "figure", "relation", "bound"),
    [
        ("total_params < 130M", "total_params", "<", 130_000_000),
        ("total_params<=130M", "total_params", "<=", 130_000_000),
        ("  total_params \t>=\n 7  ", "total_params", ">=", 7),
        ("total_params == 0", "total_params", "==", 0),
        ("total_params <= 130 M", "total_params", "<=", 130_000_000),
        ("train_flops_per_token < 1.5e8", "train_flops_per_token", "<", 150_000_000),
        ("active_params < total_params", "active_params", "<", "total_params"),
        ("kv_cache_bytes < 24GiB", "kv_cache_bytes", "<", 24 * 1024**3),
        ("kv_cache_bytes < 80 GB", "kv_cache_bytes", "<", 80 * 1000**3),
        ("kv_cache_bytes > 0.1KiB", "kv_cache_bytes", ">", 102.4),
        ("train_flops_per_token != 2.5G", "train_flops_per_token", "!=", 2_500_000_000),
        ("nominal_error <= 5%", "nominal_error", "<=", 0.05),
        ("nominal_error <= 0.05", "nominal_error", "<=", 0.05),
    ],
)
def test_parsed_assertions(text: str, figure: str, relation: str, bound: float | str) -> None:
    (condition,) = read_assertions([text], KINDS)
    assert condition == Condition(ASSERT, text, figure, relation, bound)


@pytest.mark.parametrize(
    ("text", "code", "at", "message", "help_"),
    [
        ("", "assertion-syntax", (1, 2), "the assertion is empty", "for example total_params < 130M"),
        (
            "total_params", "assertion-syntax", (1, 13), "no operator after total_params",
            "for example 'total_params < 130M', in quotes: a shell reads < and > as redirections",
        ),
        (
            "total_params 130M", "assertion-syntax", (14, 18), "no operator after total_params",
            "for example 'total_params < 130M', in quotes: a shell reads < and > as redirections",
        ),
        ("total_params = 1M", "assertion-syntax", (14, 15), "= is not a comparison operator", "write =="),
        ("total_params ≤ 1M", "assertion-syntax", (14, 15), "≤ is not a comparison operator", "write <="),
        ("total_params <<< 1M", "assertion-syntax", (14, 17), "<<< is not a comparison operator",
         "the operators are <, <=, >, >=, ==, !="),
        ("total_params <", "assertion-syntax", (14, 15), "no bound after <", "for example total_params < 130M"),
        ("130M > total_params", "assertion-syntax", (1, 5), "an assertion begins with a figure, not with 130M",
         "write total_params < 130M"),
        ("130M < total_params < 150M", "assertion-syntax", (1, 5),
         "an assertion is one figure, one operator and one bound",
         "write two: --assert 'total_params > 130M' --assert 'total_params < 150M'"),
        ("< 5M", "assertion-syntax", (1, 2), "no figure before <", "for example total_params < 130M"),
        ("kv_cache_bytes < 8GiB and total_params < 1M", "assertion-syntax", (18, 44),
         "an assertion is one figure, one operator and one bound", "write a separate --assert for each"),
        ("total_parms < 130M", "unknown-figure", (1, 12), "unknown figure \"total_parms\"",
         "did you mean total_params?"),
        ("params < 1", "unknown-figure", (1, 7), "unknown figure \"params\"",
         "did you mean total_params?"),
        ("kv_bytes < 1", "unknown-figure", (1, 9), "unknown figure \"kv_bytes\"",
         "did you mean kv_cache_bytes?"),
        ("height < 2", "unknown-figure", (1, 7), "unknown figure \"height\"", f"the figures are {', '.join(KINDS)}"),
        ("active_params < totl_params", "unknown-figure", (17, 28), "unknown figure \"totl_params\"",
         "did you mean total_params?"),
        ("total_params < kv_cache_bytes", "wrong-type", (16, 30),
         "total_params and kv_cache_bytes have different units", "for example total_params < 130M"),
        ("total_params < 130x", "wrong-type", (16, 20),
         "total_params must be compared with a count such as 125M or 124439808, not 130x",
         "for example total_params < 130M"),
        *((f"total_params < {none}", "wrong-type", (16, 16 + len(none)),
           f"total_params must be compared with a count such as 125M or 124439808, not {none}",
           "for example total_params < 130M") for none in ("-5", "5.5")),
        ("nominal_error < -5%", "wrong-type", (17, 20),
         "nominal_error must be compared with a share such as 0.05 or 5%, not -5%", "for example nominal_error < 0.05"),
        ("kv_cache_bytes < 24G", "wrong-type", (18, 21),
         "kv_cache_bytes must be compared with a size such as 24GiB or 80GB, not 24G",
         "for example kv_cache_bytes < 24GiB"),
        ("nominal_error < .nan", "wrong-type", (17, 21),
         "nominal_error must be compared with a share such as 0.05 or 5%, not .nan",
         "for example nominal_error < 0.05"),
        (f"total_params < {'9' * 200}", "wrong-type", (16, 216),
         f"total_params must be compared with a count such as 125M or 124439808, not {'9' * 39}…",
         "for example total_params < 130M"),
    ],
)  # fmt: skip
def test_positions_of_errors(text: str, code: str, at: tuple[int, int], message: str, help_: str) -> None:
    found = _error(text)
    assert (found.code, found.message, worded(found.help)) == (code, message, help_)
    assert found.span is not None
    assert (found.source, found.span.source, found.span.text) == (ASSERT, ASSERT, text)
    assert (found.span.column, found.span.end_column) == at


def test_all_errors_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        read_assertions(["total_parms < 1", "total_params < 1M", "total_params = 1"], KINDS)
    assert {found.code for found in raised.value.diagnostics} == {"unknown-figure", "assertion-syntax"}


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from([*KINDS, *RELATIONS, "130M", "24GiB", "5%", " ", "=", "and", "\0", "\n"])).map("".join)
)
def test_fuzz(text: str) -> None:
    try:
        (condition,) = read_assertions([text], KINDS)
    except ConfigError as error:
        (found,) = error.diagnostics
        assert found.code in CODES
        assert found.help
        assert found.span is not None
        assert 1 <= found.span.column < found.span.end_column
    else:
        assert condition.figure in KINDS
        assert condition.relation in RELATIONS
        assert condition.bound in KINDS if isinstance(condition.bound, str) else condition.bound == condition.bound
