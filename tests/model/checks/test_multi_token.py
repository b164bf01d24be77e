from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tinylm_cli.model.checks.check import CheckContext
from tinylm_cli.model.checks.learning import gradients_finite, overfits_one_batch
from tinylm_cli.model.checks.multi_token import mtp_causality, mtp_initial_loss
from tinylm_cli.model.checks.run import checks_for
from tinylm_cli.model.mtp import MultiTokenModule

MakeContext = Callable[..., CheckContext]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
HEAD = {"n_mtp_layers": 2}


def test_run_for_modules_only(make_context: MakeContext) -> None:
    names = [check.name for check in checks_for(make_context(head=HEAD).config)]
    assert {"mtp-causality", "mtp-initial-loss"} <= set(names)
    assert not any(check.name.startswith("mtp") for check in checks_for(make_context().config))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tied", [True, False])
def test_new_weights(make_context: MakeContext, dtype: torch.dtype, tied: bool) -> None:
    context = make_context(head=HEAD, dtype=dtype, tie_weights=tied)
    causality, loss = mtp_causality(context), mtp_initial_loss(context)
    assert (causality.status, causality.value, loss.status) == ("pass", 0, "pass")
    assert loss.measured.startswith("ln 23 + 0.0")
    assert loss.measured.count("ln 23") == 2


@pytest.mark.parametrize("shift", [1, 2])
def test_a_later_token(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    """Modules that read a token too far on: the first then has a gradient after its own."""
    original = MultiTokenModule.forward

    def forward(self: MultiTokenModule, hidden: Tensor, embedded: Tensor, *rest: object) -> Tensor:
        moved = torch.cat((embedded[:, shift:], embedded[:, :shift]), dim=1)
        return original(self, hidden, moved, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MultiTokenModule, "forward", forward)
    result = mtp_causality(make_context(head=HEAD))
    assert (result.status, result.measured) == ("fail", "module 1 does not read the token 1 ahead")


def test_a_leak(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that also read the mean of all embeddings."""
    original = MultiTokenModule.forward

    def forward(self: MultiTokenModule, hidden: Tensor, embedded: Tensor, *rest: object) -> Tensor:
        return original(self, hidden, embedded + embedded.mean(1, keepdim=True), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MultiTokenModule, "forward", forward)
    result = mtp_causality(make_context(head=HEAD))
    assert result.status == "fail"
    assert result.measured.startswith("max leak")


def test_larger_weights(make_context: MakeContext) -> None:
    """A norm that scales one module's vectors: its logits are no longer near zero."""
    context = make_context(head=HEAD)
    with torch.no_grad():
        context.model.mtp_modules[1].ln_f.weight.mul_(40.0)
    result = mtp_initial_loss(context)
    assert result.status == "fail"
    assert result.value is not None
    assert result.limit is not None
    assert result.value > result.limit


def test_nan_weights(make_context: MakeContext) -> None:
    context = make_context(head=HEAD)
    with torch.no_grad():
        context.model.mtp_modules[0].hnorm.weight[0] = torch.nan
    result = mtp_initial_loss(context)
    assert result.status == "fail"
    assert result.value is not None
    assert math.isnan(result.value)
    assert mtp_causality(context).status == "fail"
    assert gradients_finite(context).status == "fail"


def test_unused_module(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that returns its input: its parameters have no gradient."""
    monkeypatch.setattr(MultiTokenModule, "forward", lambda _self, hidden, *_rest: hidden)
    result = gradients_finite(make_context(head=HEAD))
    assert (result.status, result.measured) == ("fail", "mtp.0.enorm.weight has no gradient")


@pytest.mark.parametrize("max_len", [1, 2, 3])
def test_the_shortest_sequences(make_context: MakeContext, max_len: int) -> None:
    context = make_context(head=HEAD, max_len=max_len)
    assert mtp_causality(context).status == ("skip" if max_len == 1 else "pass")
    for check in (mtp_initial_loss, gradients_finite, overfits_one_batch):
        assert check(context).status == "pass"


def test_skipped(make_context: MakeContext) -> None:
    assert mtp_initial_loss(make_context(head=HEAD, newly_initialized=False)).status == "skip"
    assert mtp_initial_loss(make_context(head=HEAD, vocab_size=1)).status == "skip"


def test_no_hooks_or_gradients(make_context: MakeContext) -> None:
    context = make_context(head=HEAD)
    mtp_causality(context)
    mtp_initial_loss(context)
    assert not context.model.embedding._forward_hooks
    assert all(parameter.grad is None for parameter in context.model.parameters())
