from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tinylm_cli.errors import CapacityError, OutputError, WeightsError
from tinylm_cli.model.checks.check import (
    FLOAT16_SCALE,
    MAX_LOGITS,
    SEQ_LEN,
    TOLERANCE,
    CheckContext,
    Outcome,
    check,
    gradient_of,
    max_abs,
    passed_if,
    passed_if_at_most,
    sample_tokens,
    skip,
)
from tinylm_cli.reports.check import CheckResult

MakeContext = Callable[..., CheckContext]


def tried(context: CheckContext, error: Exception) -> CheckResult:
    @check("a-check", "holds")
    def measure(_context: CheckContext) -> Outcome:
        raise error

    return measure(context)


def test_a_check_becomes_its_report(make_context: MakeContext) -> None:
    @check("a-check", "holds")
    def measure(context: CheckContext) -> Outcome:
        return passed_if_at_most(context.seed, 2.0, "seed")

    assert measure(make_context(seed=2)) == CheckResult("a-check", "holds", "pass", "seed 2", 2, 2.0)
    assert measure(make_context(seed=3)) == CheckResult("a-check", "holds", "fail", "seed 3", 3, 2.0)


def test_nan_fails() -> None:
    assert passed_if_at_most(math.nan, math.inf, "difference") == Outcome("fail", "difference nan", math.nan, math.inf)
    assert passed_if_at_most(1.0, math.nan, "difference").status == "fail"


def test_outcomes() -> None:
    assert passed_if(True, "so") == Outcome("pass", "so")
    assert passed_if(False, "so", 1.0, 0.0) == Outcome("fail", "so", 1.0, 0.0)
    assert skip("why") == Outcome("skip", "why")


@pytest.mark.parametrize(
    ("error", "measured"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (RuntimeError("first\nsecond"), "RuntimeError: first"),
        (KeyError(), "KeyError: "),
        (NotImplementedError("forward"), "NotImplementedError: forward"),
        (WeightsError("torn"), "WeightsError: torn"),
    ],
)
def test_exception_fails(make_context: MakeContext, error: Exception, measured: str) -> None:
    assert tried(make_context(), error) == CheckResult("a-check", "holds", "fail", measured)


@pytest.mark.parametrize(
    ("error", "measured"),
    [
        (CapacityError("too much"), "too much"),
        (OutputError("disk full"), "disk full"),
        (MemoryError("no"), "out of memory: no"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory: CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't"), "out of memory: DefaultCPUAllocator: can't"),
        (
            RuntimeError("\"mm\" not implemented for 'Half'"),
            "missing operation: \"mm\" not implemented for 'Half'",
        ),
    ],
)
def test_machine_limits_skip(make_context: MakeContext, error: Exception, measured: str) -> None:
    assert tried(make_context(), error) == CheckResult("a-check", "holds", "skip", measured)


def test_an_interrupt_is_not_swallowed(make_context: MakeContext) -> None:
    @check("a-check", "holds")
    def measure(_context: CheckContext) -> Outcome:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(make_context())


def test_largest() -> None:
    assert max_abs() == 0
    assert max_abs(torch.empty(0, 3)) == 0
    assert max_abs(torch.tensor([1.0, -3.0]), torch.empty(0), torch.tensor([[2.0]], dtype=torch.bfloat16)) == 3
    assert math.isnan(max_abs(torch.tensor([1.0, math.nan]), torch.tensor([5.0])))
    assert max_abs(torch.tensor([-math.inf])) == math.inf


@pytest.mark.parametrize("max_len", [1, 2, 3, 16, 100])
@pytest.mark.parametrize("vocab_size", [1, 2, 3, 1000])
def test_sample_tokens(make_context: MakeContext, vocab_size: int, max_len: int) -> None:
    context = make_context(vocab_size=vocab_size, max_len=max_len)
    tokens = context.tokens
    assert tokens.shape == (2, min(max_len, SEQ_LEN))
    assert int(tokens.min()) >= 0
    assert int(tokens.max()) < vocab_size
    assert torch.equal(tokens, sample_tokens(context.config, torch.device("cpu")))
    if vocab_size > 1 and max_len > 1:
        assert all(len(row.unique()) > 1 for row in tokens)


def test_sample_tokens_of_codebooks(make_context: MakeContext) -> None:
    tokens = make_context(embedding={"n_codebooks": 5}).tokens
    assert tokens.shape[2] == 5
    assert (tokens[:, 0] != tokens[:, 1]).all()


def test_large_vocabulary(make_context: MakeContext) -> None:
    config = make_context().config.model_copy(update={"vocab_size": MAX_LOGITS // 8, "max_len": 99})
    assert sample_tokens(config, torch.device("cpu")).shape == (2, 4)


def test_tolerance_follows_the_logits(make_context: MakeContext) -> None:
    for dtype, share in TOLERANCE.items():
        context = make_context(dtype=dtype)
        assert context.tolerance(max_abs(torch.tensor([2.0, -40.0], dtype=dtype))) == pytest.approx(40 * share)


@pytest.mark.parametrize(
    ("n_layers", "attention", "must_respond"),
    [
        (1, {}, True),
        (1, {"window": 2}, True),
        (1, {"window": 1}, False),
        (3, {"window": 1}, False),
        (1, {"window": 1, "window_pattern": "LG"}, False),
        (1, {"window": 1, "window_pattern": "GL"}, True),
        (2, {"window": 1, "window_pattern": "LG"}, True),
        (2, {"window": 1, "window_pattern": "GL"}, True),
        (3, {"window": 1, "window_pattern": "LLG"}, True),
    ],
)
def test_sensitive_windows(
    make_context: MakeContext, n_layers: int, attention: dict[str, object], *, must_respond: bool
) -> None:
    """Later logits depend on earlier tokens as soon as one layer sees another position, be it the only layer."""
    assert make_context(n_layers=n_layers, attention=attention).must_respond_to_tokens == must_respond


@pytest.mark.parametrize(
    ("mixer", "dtype", "must_respond"),
    [
        ("short_conv", torch.float32, True),
        ("short_conv", torch.bfloat16, False),
        ("attention_mamba2", torch.bfloat16, True),
        ("none", torch.float32, False),
    ],
)
def test_mixers_that_must_respond(
    make_context: MakeContext, mixer: str, dtype: torch.dtype, *, must_respond: bool
) -> None:
    """In half precision, the influence of earlier tokens through other mixers than attention may round to nothing."""
    context = make_context(d_model=64, block={"mixer": mixer}, position={"kind": "none"}, dtype=dtype)
    assert context.must_respond_to_tokens == must_respond


@pytest.mark.parametrize(
    ("norm", "kv_rank", "must_respond"),
    [("rmsnorm", 1, False), ("rmsnorm", 2, True), ("layernorm", 2, False), ("layernorm", 3, True)],
)
def test_latents_that_must_respond(make_context: MakeContext, norm: str, kv_rank: int, *, must_respond: bool) -> None:
    """Normalized latents of one number, or of two by LayerNorm, are the same for every token."""
    latent = {"kind": "latent", "kv_rank": kv_rank, "d_nope": 4, "d_rope": 2, "d_value": 4}
    fields = {"attention": latent, "norm": {"kind": norm}, "position": {"kind": "rope"}}
    assert make_context(**fields).must_respond_to_tokens == must_respond


@pytest.mark.parametrize(("cap", "saturated"), [(None, False), (0.15, True), (0.17, False), (1.0, False)])
def test_logits_saturated(make_context: MakeContext, cap: float | None, *, saturated: bool) -> None:
    """The std of initial logits is 0.02 · √64 = 0.16."""
    assert make_context(d_model=64, head={"logit_softcap": cap}).logits_saturated == saturated


@pytest.mark.parametrize(("factor", "expected"), [(1000.0, 1000.0 * 1000 * FLOAT16_SCALE), (2.0, 2.0 * 1000)])
def test_gradients_that_overflow_in_float16(factor: float, expected: float) -> None:
    leaf = torch.zeros(3, dtype=torch.float16, requires_grad=True)
    gradient = gradient_of((leaf * 1000 * factor).sum(), leaf)
    assert gradient.tolist() == pytest.approx([expected] * 3, rel=1e-3)
