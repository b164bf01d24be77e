from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.model.checks import inference
from tinylm_cli.model.checks.check import CheckContext
from tinylm_cli.model.checks.inference import (
    batch_invariance,
    cached_equals_uncached,
    cached_outputs_equal_uncached,
    logits_shape,
)
from tinylm_cli.model.generation import DecodingStep, decode

MakeContext = Callable[..., CheckContext]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def alter_logits(context: CheckContext, change: Callable[[Tensor], Tensor]) -> CheckContext:
    context.model.lm_head.register_forward_hook(lambda _module, _inputs, output: change(output))
    return context


@pytest.mark.parametrize("dtype", DTYPES)
def test_correct_model_passes(make_context: MakeContext, dtype: torch.dtype) -> None:
    check = logits_shape(make_context(dtype=dtype))
    assert (check.status, check.measured) == ("pass", "(2, 12) gives (2, 12, 23)")


@pytest.mark.parametrize(
    ("change", "measured"),
    [
        (lambda logits: logits[..., :-1], "(1, 1) gives (1, 1, 22), not (1, 1, 23)"),
        (lambda logits: logits[:, -1], "(1, 1) gives (1, 23), not (1, 1, 23)"),
        (lambda logits: logits.double(), "(1, 1) gives (1, 1, 23) in float64, but the weights are in float32"),
        (lambda logits: logits.log(), None),
    ],
)
def test_wrong_logits_are_found(
    make_context: MakeContext, change: Callable[[Tensor], Tensor], measured: str | None
) -> None:
    check = logits_shape(alter_logits(make_context(), change))
    assert check.status == "fail"
    assert check.measured == measured or (measured is None and check.measured.endswith("non-finite"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("max_len", [1, 2, 12, 32, 33])
def test_correct_cache_passes(make_context: MakeContext, kind: str, max_len: int, dtype: torch.dtype) -> None:
    check = cached_equals_uncached(make_context(position={"kind": kind}, max_len=max_len, dtype=dtype))
    assert check.status == "pass"
    if dtype == torch.float32:  # half precision may end the comparison at a near tie
        assert ("past max_len" in check.measured) == (max_len <= 32)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda keys, values: (keys, values * 1.01), id="values scaled"),
        pytest.param(lambda keys, values: (keys.flip(2), values), id="keys in another order"),
        pytest.param(lambda keys, values: (keys[:, :, :1], values[:, :, :1]), id="forgets all but the first"),
        pytest.param(lambda keys, values: (keys.roll(1, 0), values.roll(1, 0)), id="sequences mixed up"),
        pytest.param(lambda keys, values: (keys, values * (1 if len(keys) > 1 else 1.01)), id="alone only"),
    ],
)
def test_wrong_cache_is_found(
    make_context: MakeContext,
    monkeypatch: pytest.MonkeyPatch,
    lie: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> None:
    attend = functional.scaled_dot_product_attention

    def attend_to_lies(query: Tensor, keys: Tensor, values: Tensor, **options: object) -> Tensor:
        if query.shape[2] < keys.shape[2]:  # some of the keys come from the cache
            keys, values = lie(keys, values)
        mixed: Tensor = attend(query, keys, values, **options)  # type: ignore[arg-type]
        return mixed

    monkeypatch.setattr(functional, "scaled_dot_product_attention", attend_to_lies)
    check = cached_equals_uncached(make_context(max_len=64))
    assert check.status == "fail"
    assert check.value is not None
    assert check.limit is not None
    assert check.value > check.limit


def test_an_error_past_max_len_is_found(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_wrongly(*arguments: object, use_cache: bool, **options: object) -> Iterator[DecodingStep]:
        for number, step in enumerate(decode(*arguments, use_cache=use_cache, **options)):  # type: ignore[arg-type]
            slid = 8 + number > 16
            yield DecodingStep(step.tokens, step.logits + 0.01 * (use_cache and slid))

    monkeypatch.setattr(inference, "decode", decode_wrongly)
    assert cached_equals_uncached(make_context(max_len=64)).status == "pass"
    assert cached_equals_uncached(make_context(max_len=16)).status == "fail"


@pytest.mark.parametrize(("max_len", "steps"), [(2, "1 step"), (3, "2 steps"), (9, "5 steps"), (12, "6 steps")])
def test_cache_of_a_model_that_decodes_nothing(make_context: MakeContext, max_len: int, steps: str) -> None:
    """All positions after the first half are read one by one."""
    check = cached_outputs_equal_uncached(make_context(head={"kind": "none"}, max_len=max_len))
    assert check.status == "pass"
    assert check.measured.startswith(f"{steps}, ")


def test_near_ties_end_the_comparison(make_context: MakeContext) -> None:
    context = make_context()
    with torch.no_grad():
        for parameter in context.model.ln_f.parameters():
            parameter.zero_()  # so that all logits are equal
    passes: list[int] = []
    context.model.lm_head.register_forward_hook(
        lambda _module, _inputs, output: output + 1e-9 * functional.one_hot(torch.tensor([len(passes)]), 23)
    )
    context.model.ln_f.register_forward_hook(lambda *_: passes.append(1))
    check = cached_equals_uncached(context)
    assert check.measured.startswith("2 steps")


@pytest.mark.parametrize("dtype", DTYPES)
def test_correct_rows_pass(make_context: MakeContext, dtype: torch.dtype) -> None:
    assert batch_invariance(make_context(dtype=dtype)).status == "pass"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda logits: logits - logits.mean(0), id="centered over the batch"),
        pytest.param(lambda logits: logits * (1 + len(logits)), id="scaled by its size"),
        pytest.param(lambda logits: logits.cumsum(0), id="added up along it"),
        pytest.param(lambda logits: logits * torch.nan, id="no numbers"),
    ],
)
def test_batch_leak(make_context: MakeContext, change: Callable[[Tensor], Tensor]) -> None:
    assert batch_invariance(alter_logits(make_context(), change)).status == "fail"
