"""Constraints and their failures, with enough digits to tell two amounts apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinylm_cli.config.amounts import UNITS, AmountKind
from tinylm_cli.render.views.constraints import constraints_text, failure_sentences
from tinylm_cli.reports.constraint import Constraint, ConstraintFailure, Sizes
from tinylm_cli.reports.design import DesignReport

SIZES = Sizes(64, 2, 1, 1, 64, 256)


def report_of(*constraints: Constraint, nearest: float | None = None, n_experts: int | None = None) -> DesignReport:
    """Return a report on constraints; with ``nearest``, the first one fails with that nearest value."""
    failures = () if nearest is None else (ConstraintFailure(constraints[0], False, nearest, SIZES),)
    return DesignReport(
        family="course", title="", source="", vocab_size=1000, max_len=128, tie_weights=True, batch_size=1, seq_len=128,
        dtype="bfloat16", optimizer="adamw", recompute="none", accelerator=None, capacity_bytes=None, n_gpus=1,
        layout=None, purpose=None, utilization=None, compute=None, n_experts=n_experts, constraints=constraints,
        grid=(), candidates=1, matches=0, pareto_front=0, designs=(), failures=failures, relaxations=(),
    )  # fmt: skip


def limit(figure: str, unit: str, value: float) -> Constraint:
    return Constraint(figure, unit, "at_most", value)  # type: ignore[arg-type]


def params(figure: str, value: int) -> Constraint:
    return Constraint(figure, "params", "within", value, 0.02)


def shown(constraint: Constraint, nearest: float) -> tuple[str, str]:
    """Return the two amounts in the sentence of a failure."""
    report = report_of(constraint)
    failure = ConstraintFailure(constraint, True, nearest, SIZES)
    (sentence,) = failure_sentences(DesignReport(**{**vars(report), "failures": (failure,)}))
    found = re.fullmatch(
        r"No model in the course grid has at (?:most|least) (.*) (?:per token|of weights|of decoding);"
        r" the (?:minimum|maximum) is (.*), with d_model 64 and 2 layers\.",
        sentence,
    )
    assert found is not None, sentence
    return found[1], found[2]


@pytest.mark.parametrize(
    ("constraint", "nearest", "said"),
    [
        (limit("forward_flops_per_token", "flops", 16 * 10**9), 16_000_480_000, ("16 GFLOP", "16.0005 GFLOP")),
        (limit("forward_flops_per_token", "flops", 16 * 10**9), 17_234_000_000, ("16 GFLOP", "17.2 GFLOP")),
        (limit("weights_bytes", "bytes", 15 * 10**9), 15_001_000_000, ("15 GB", "15.001 GB")),
        (limit("weights_bytes", "bytes", 2**30), 2**30 + 2, ("1 GiB", "1.000000002 GiB")),
        (limit("weights_bytes", "bytes", 1001), 1002, ("1,001 B", "1,002 B")),
        (limit("weights_bytes", "bytes", 2), 2**20, ("2 B", "1.00 MiB")),
        (limit("weights_bytes", "bytes", int(78.6 * 2**30)), 2**37, ("78.6 GiB", "128 GiB")),
    ],
)
def test_enough_digits(constraint: Constraint, nearest: float, said: tuple[str, str]) -> None:
    assert shown(constraint, nearest) == said


def test_enough_digits_of_a_rate() -> None:
    constraint = Constraint("decode_tokens_per_second", "tokens_per_second", "at_least", 900.0)
    assert shown(constraint, 899.98) == ("900 tokens/s", "899.98 tokens/s")
    assert shown(constraint, 512.25) == ("900 tokens/s", "512 tokens/s")


@given(st.integers(1, 10**15), st.integers(1, 10**15))
@example(16 * 10**9, 16 * 10**9 + 1)
def test_different_amounts_differ_in_text(most: int, beyond: int) -> None:
    kinds: tuple[tuple[str, str, AmountKind], ...] = (
        ("weights_bytes", "bytes", "size"),
        ("forward_flops_per_token", "flops", "flops"),
    )
    for figure, unit, kind in kinds:
        asked, nearest = (_number(words, kind) for words in shown(limit(figure, unit, most), most + beyond))
        assert int(asked) == most
        assert asked < nearest


def _number(words: str, kind: AmountKind) -> float:
    number, unit = words.split()
    return float(number.replace(",", "")) * UNITS[kind].get(unit.removesuffix("FLOP"), 1)


def test_targets_and_bounds() -> None:
    total, active = params("total_params", 125_000_000), params("active_params", 100_000_000)
    cache = limit("kv_cache_bytes", "bytes", 2**20)
    assert list(failure_sentences(report_of(total, active, nearest=101_973_632))) == [
        "No model in the course grid satisfies every constraint.",
        "With 100M active parameters ± 2%, the nearest to 125M parameters is 101,973,632,"
        " with d_model 64 and 2 layers.",
        "course models have no experts: every parameter is active.",
    ]
    assert len(list(failure_sentences(report_of(total, active, nearest=1, n_experts=8)))) == 2
    _, beside = failure_sentences(report_of(total, cache, nearest=7))
    assert beside == "Within the limits, the nearest to 125M parameters is 7, with d_model 64 and 2 layers."
    _, bound = failure_sentences(report_of(cache, total, nearest=2**21))
    assert bound == (
        "Too strict: at most 1 MiB of KV cache. Among the models that meet the target, the minimum is 2.00 MiB, with"
        " d_model 64 and 2 layers."
    )
    _, other = failure_sentences(report_of(cache, limit("weights_bytes", "bytes", 9), nearest=2**21))
    assert "Among the models within the other limits, the minimum is 2.00 MiB" in other


def test_all_constraints() -> None:
    asked = limit("weights_bytes", "bytes", 15 * 10**9), limit("forward_flops_per_token", "flops", 20 * 10**9)
    assert constraints_text(report_of(*asked)) == "at most 15 GB of weights, at most 20 GFLOP per token"


def test_one_parameter() -> None:
    assert constraints_text(report_of(params("total_params", 1))) == "1 parameter ± 2%"
    assert constraints_text(report_of(params("active_params", 2))) == "2 active parameters ± 2%"
