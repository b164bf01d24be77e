from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tinylm_cli.errors import CapacityError, OutputError, WeightsError
from tinylm_cli.model.checks.context import LENGTH, MOST_LOGITS, TOLERANCE, Context, largest, sample_tokens
from tinylm_cli.model.checks.law import Outcome, law, skip, verdict, within
from tinylm_cli.reports.check import Law

PutToTest = Callable[..., Context]


def tried(context: Context, error: Exception) -> Law:
    @law("a-law", "holds")
    def measure(_context: Context) -> Outcome:
        raise error

    return measure(context)


def test_a_law_becomes_its_report(put_to_test: PutToTest) -> None:
    @law("a-law", "holds")
    def measure(context: Context) -> Outcome:
        return within(context.seed, 2.0, "seed")

    assert measure(put_to_test(seed=2)) == Law("a-law", "holds", "pass", "seed 2", 2, 2.0)
    assert measure(put_to_test(seed=3)) == Law("a-law", "holds", "fail", "seed 3", 3, 2.0)


def test_what_is_not_a_number_is_not_within() -> None:
    assert within(math.nan, math.inf, "difference") == Outcome("fail", "difference nan", math.nan, math.inf)
    assert within(1.0, math.nan, "difference").status == "fail"


def test_outcomes() -> None:
    assert verdict(True, "so") == Outcome("pass", "so")
    assert verdict(False, "so", 1.0, 0.0) == Outcome("fail", "so", 1.0, 0.0)
    assert skip("why") == Outcome("skip", "why")


@pytest.mark.parametrize(
    ("error", "figure"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
        (KeyError(), "KeyError: "),
        (NotImplementedError("forward"), "NotImplementedError: forward"),
        (WeightsError("torn"), "WeightsError: torn"),
    ],
)
def test_an_exception_is_a_fail(put_to_test: PutToTest, error: Exception, figure: str) -> None:
    assert tried(put_to_test(), error) == Law("a-law", "holds", "fail", figure)


@pytest.mark.parametrize(
    ("error", "figure"),
    [
        (CapacityError("too much"), "too much"),
        (OutputError("disk full"), "disk full"),
        (MemoryError("no"), "out of memory: no"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory: CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't"), "out of memory: DefaultCPUAllocator: can't"),
        (
            RuntimeError("\"mm\" not implemented for 'Half'"),
            "an operation is missing here: \"mm\" not implemented for 'Half'",
        ),
    ],
)
def test_a_machine_that_cannot_is_a_skip(put_to_test: PutToTest, error: Exception, figure: str) -> None:
    assert tried(put_to_test(), error) == Law("a-law", "holds", "skip", figure)


def test_an_interrupt_is_not_swallowed(put_to_test: PutToTest) -> None:
    @law("a-law", "holds")
    def measure(_context: Context) -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(put_to_test())


def test_largest() -> None:
    assert largest() == 0
    assert largest(torch.empty(0, 3)) == 0
    assert largest(torch.tensor([1.0, -3.0]), torch.empty(0), torch.tensor([[2.0]], dtype=torch.bfloat16)) == 3
    assert math.isnan(largest(torch.tensor([1.0, math.nan]), torch.tensor([5.0])))
    assert largest(torch.tensor([-math.inf])) == math.inf


@pytest.mark.parametrize("max_len", [1, 2, 3, 16, 100])
@pytest.mark.parametrize("vocab_size", [1, 2, 3, 1000])
def test_sample_tokens(put_to_test: PutToTest, vocab_size: int, max_len: int) -> None:
    context = put_to_test(vocab_size=vocab_size, max_len=max_len)
    tokens = context.tokens
    assert tokens.shape == (2, min(max_len, LENGTH))
    assert int(tokens.min()) >= 0
    assert int(tokens.max()) < vocab_size
    assert torch.equal(tokens, sample_tokens(context.config, torch.device("cpu")))
    if vocab_size > 1 and max_len > 1:
        assert all(len(row.unique()) > 1 for row in tokens)


def test_a_large_vocabulary_gets_a_short_batch(put_to_test: PutToTest) -> None:
    config = put_to_test().config.model_copy(update={"vocab_size": MOST_LOGITS // 8, "max_len": 99})
    assert sample_tokens(config, torch.device("cpu")).shape == (2, 4)


def test_tolerance_follows_the_logits(put_to_test: PutToTest) -> None:
    for dtype, share in TOLERANCE.items():
        context = put_to_test(dtype=dtype)
        assert context.tolerance(largest(torch.tensor([2.0, -40.0], dtype=dtype))) == pytest.approx(40 * share)
