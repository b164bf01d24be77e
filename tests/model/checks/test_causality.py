from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tinylm_cli.model import SelfAttention
from tinylm_cli.model.attention import LayerKVCache
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.checks.causality import causality_gradient, causality_perturbation
from tinylm_cli.model.checks.check import Check, CheckContext
from tinylm_cli.model.rope import Rotation

MakeContext = Callable[..., CheckContext]
Rule = Callable[[Tensor], Tensor]
LetSee = Callable[[Rule], None]
CHECKS = [causality_gradient, causality_perturbation]


@pytest.fixture
def let_see(monkeypatch: pytest.MonkeyPatch) -> LetSee:
    """Return a function that replaces the causal rule: it receives a square of ones and returns who may attend."""
    original = SelfAttention.forward

    def replace(rule: Rule) -> None:
        def forward(
            self: SelfAttention,
            x: Tensor,
            mask: AttentionMask,
            rotation: Rotation | None = None,
            cache: LayerKVCache | None = None,
        ) -> Tensor:
            assert mask.values is None
            square = torch.ones(x.shape[1], x.shape[1])
            return original(self, x, AttentionMask(rule(square).bool()), rotation, cache)

        monkeypatch.setattr(SelfAttention, "forward", forward)

    return replace


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_causal_model_passes(make_context: MakeContext, check: Check, dtype: torch.dtype) -> None:
    result = check(make_context(dtype=dtype))
    assert (result.status, result.value) == ("pass", 0)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(lambda square: square, id="sees everything"),
        pytest.param(lambda square: square.tril(1), id="sees the next token"),
        pytest.param(lambda square: square.triu(), id="sees only what comes"),
        pytest.param(
            lambda square: square.tril().fill_diagonal_(1).index_fill(1, torch.tensor([11]), 1), id="the last"
        ),
    ],
)
def test_a_leak_is_found(make_context: MakeContext, let_see: LetSee, check: Check, rule: Rule) -> None:
    let_see(rule)
    result = check(make_context())
    assert result.status == "fail"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_leak_is_measured(make_context: MakeContext, let_see: LetSee, check: Check) -> None:
    let_see(lambda square: square)
    result = check(make_context())
    assert result.value is not None
    assert result.limit is not None
    assert result.value > 100 * result.limit
    assert f"{result.value:.2g}" in result.measured


@pytest.mark.parametrize(
    ("check", "measured"),
    [
        (causality_gradient, "no gradient reaches earlier positions"),
        (causality_perturbation, "changing the first token does not change later logits"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("n_layers", [1, 3])
def test_self_attention_only(
    make_context: MakeContext, let_see: LetSee, check: Check, measured: str, n_layers: int
) -> None:
    let_see(lambda square: torch.eye(len(square)))
    result = check(make_context(n_layers=n_layers))
    assert (result.status, result.measured) == ("fail", measured)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_nan_weights(make_context: MakeContext, check: Check) -> None:
    context = make_context()
    with torch.no_grad():
        context.model.ln_f.weight[0] = torch.nan
    assert check(context).status == "fail"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_one_position_has_no_later_one(make_context: MakeContext, check: Check) -> None:
    result = check(make_context(max_len=1))
    assert (result.status, result.measured) == ("skip", "with max_len 1 no position has a later one")


def test_one_token_cannot_be_changed(make_context: MakeContext) -> None:
    result = causality_perturbation(make_context(vocab_size=1))
    assert (result.status, result.measured) == ("skip", "with vocab_size 1 there is no other token to change to")
    assert causality_gradient(make_context(vocab_size=1)).status == "pass"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("max_len", [2, 3, 4])
def test_the_shortest_sequences(make_context: MakeContext, let_see: LetSee, check: Check, max_len: int) -> None:
    assert check(make_context(max_len=max_len)).status == "pass"
    let_see(lambda square: square)
    assert check(make_context(max_len=max_len)).status == "fail"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize(("width", "kind"), [(1, "layernorm"), (2, "layernorm"), (1, "rmsnorm")])
def test_narrow_model_may_ignore_tokens(make_context: MakeContext, check: Check, width: int, kind: str) -> None:
    context = make_context(d_model=width, n_heads=1, norm={"kind": kind}, position={"kind": "none"})
    assert check(context).status == "pass"


def test_no_hooks_or_gradients(make_context: MakeContext) -> None:
    context = make_context()
    causality_gradient(context)
    assert not context.model.embedding._forward_hooks
    assert all(parameter.grad is None for parameter in context.model.parameters())
