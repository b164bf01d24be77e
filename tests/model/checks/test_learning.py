from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from tinylm_cli.errors import CapacityError
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checks import check as check_module
from tinylm_cli.model.checks import learning
from tinylm_cli.model.checks.check import CheckContext
from tinylm_cli.model.checks.learning import LEARNING_RATE, gradients_finite, initial_loss, overfits_one_batch
from tinylm_cli.model.initialization import STD

MakeContext = Callable[..., CheckContext]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def scale(model: TinyTransformerLM, factor: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("seed", range(5))
def test_new_weights_predict_uniformly(make_context: MakeContext, tied: bool, kind: str, seed: int) -> None:
    check = initial_loss(make_context(tie_weights=tied, position={"kind": kind}, seed=seed))
    assert check.status == "pass"
    assert check.measured.startswith("ln 23 + 0.0")
    assert ("input logit" in check.measured) == tied


@pytest.mark.parametrize("streams", [2, 4])
def test_input_logit_with_altup(make_context: MakeContext, streams: int) -> None:
    """The embedding is in one of the streams whose mean the final norm reads."""
    context = make_context(position={"kind": "learned"}, block={"altup_streams": streams})
    found, expected = map(float, re.findall(r"-?\d\.\d\d", initial_loss(context).measured.partition(";")[2]))
    assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("width", [64, 256, 1024])
def test_limit_is_tight(make_context: MakeContext, tied: bool, width: int) -> None:
    fields = {"vocab_size": 4000, "n_layers": 1, "d_ff": 8, "position": {"kind": "learned"}}
    check = initial_loss(make_context(d_model=width, tie_weights=tied, **fields))
    assert check.value is not None
    assert check.limit is not None
    assert check.value == pytest.approx(0.0002 * width, rel=0.1)
    assert check.value < check.limit < 2 * check.value + 0.02


def own_logits(figure: str) -> tuple[float, float]:
    """Return the logit measured and the one expected."""
    found = re.search(r"; input logit (-?[\d.]+), expected ([\d.]+)$", figure)
    assert found is not None
    return float(found[1]), float(found[2])


@pytest.mark.parametrize(
    ("width", "kind", "least"),
    [(64, "none", 0.5), (512, "learned", 7.0), (512, "sinusoidal", 6.0), (4096, "sinusoidal", 55.0)],
)
def test_input_token_logit(make_context: MakeContext, width: int, kind: str, least: float) -> None:
    fields = {"n_layers": 1, "d_ff": 8, "vocab_size": 200, "position": {"kind": kind}}
    check = initial_loss(make_context(d_model=width, **fields))
    found, expected = own_logits(check.measured)
    assert check.status == "pass"
    assert found == pytest.approx(expected, rel=0.1)
    assert least < expected < 1.02 * STD * width
    if width == 4096:
        assert float(check.measured.split()[3].rstrip(";")) > 50, "far from ln V, and the figure says why"


@pytest.mark.parametrize("more", [40.0, -40.0])
@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
def test_large_input_token_logit(make_context: MakeContext, kind: str, more: float) -> None:
    context = make_context(vocab_size=1000, d_model=64, norm={"kind": kind})
    rows = context.model.embedding.token_embedding.embedding.weight.detach()[context.tokens]
    context.model.ln_f.register_forward_hook(lambda _module, _inputs, output: output + more * rows)
    check = initial_loss(context)
    assert check.status == "fail"
    assert check.value is not None
    assert check.limit is not None
    found, expected = own_logits(check.measured)
    assert check.value == pytest.approx(abs(found - expected), abs=0.02)
    assert check.value > check.limit


def test_statement_mentions_tying(make_context: MakeContext) -> None:
    statement = initial_loss(make_context()).statement
    assert "near" not in statement
    assert "tied" in statement


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("factor", [5.0, 50.0, math.nan])
def test_other_initial_weights_are_found(make_context: MakeContext, tied: bool, factor: float) -> None:
    context = make_context(vocab_size=1000, d_model=64, tie_weights=tied)
    scale(context.model, factor)
    assert initial_loss(context).status == "fail"


def test_loaded_weights_skip(make_context: MakeContext) -> None:
    assert initial_loss(make_context(newly_initialized=False)).status == "skip"


def test_vocabulary_of_one_has_no_loss(make_context: MakeContext) -> None:
    assert initial_loss(make_context(vocab_size=1)).status == "skip"


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_gradients(make_context: MakeContext, dtype: torch.dtype) -> None:
    check = gradients_finite(make_context(dtype=dtype, d_model=64))
    assert check.status == "pass"
    assert re.fullmatch(r"\d+ of 48 nonzero; 3 key biases are exempt \(softmax\)", check.measured)


@pytest.mark.parametrize("bounds", [{"min_dt": 0.2}, {"max_dt": 1e-4}, {}])
@pytest.mark.parametrize("mixer", ["mamba2", "shared_block_mamba2"])
def test_clamped_step_sizes(make_context: MakeContext, mixer: str, bounds: dict[str, float]) -> None:
    """Step sizes outside their bounds have no gradient, which is no error; others must have one."""
    fields = {"block": {"mixer": mixer}, "mamba2": {"d_head": 8, "d_state": 4, **bounds}, "position": {"kind": "none"}}
    context = make_context(d_model=64, **fields)
    assert gradients_finite(context).status == "pass"
    with torch.no_grad():
        context.model.lm_head.weight.zero_()
    assert gradients_finite(context).status == ("pass" if bounds else "fail")


def test_gradients_without_biases(make_context: MakeContext) -> None:
    check = gradients_finite(make_context(d_model=64, attention={"bias": False}))
    assert (check.status, check.measured) == ("pass", "39 of 39 nonzero")


@pytest.mark.parametrize("pattern", ["GL", "LG", "LGL", "GGL"])
def test_layer_that_sees_only_itself(make_context: MakeContext, pattern: str) -> None:
    """Its attention weights are 1 for any queries, so queries need no gradient, even in the last layer."""
    attention = {"window": 1, "window_pattern": pattern, "bias": False}
    context = make_context(n_layers=len(pattern), d_model=64, attention=attention)
    for layer, letter in enumerate(pattern):
        if letter == "L":
            query = dict(context.model.named_parameters())[f"blocks.{layer}.attention.q_proj.weight"]
            query.register_hook(lambda gradient: 0 * gradient)  # type: ignore[no-untyped-call]
    check = gradients_finite(context)
    unable, total = pattern.count("L"), 12 * len(pattern) + 3
    assert check.status == "pass"
    assert re.fullmatch(rf"\d+ of {total} nonzero", check.measured)
    assert int(check.measured.split()[0]) <= total - unable


@pytest.mark.parametrize(
    ("norm", "qk_norm", "n_heads", "n_kv_heads", "status"),
    [
        ("rmsnorm", "per_head", 64, 64, "pass"),
        ("rmsnorm", "per_head", 32, 32, "fail"),
        ("rmsnorm", "full", 64, 1, "pass"),
        ("rmsnorm", "full", 64, 2, "fail"),
        ("layernorm", "per_head", 32, 32, "pass"),
        ("layernorm", "per_head", 16, 16, "fail"),
    ],
)
def test_normalized_queries(
    make_context: MakeContext, norm: str, qk_norm: str, n_heads: int, n_kv_heads: int, status: str
) -> None:
    """A norm over one dimension, or over two of LayerNorm, makes all keys equal, so queries need no gradient."""
    attention = {"qk_norm": qk_norm, "bias": False, "n_kv_heads": n_kv_heads}
    context = make_context(d_model=64, n_heads=n_heads, norm={"kind": norm}, attention=attention)
    query = dict(context.model.named_parameters())["blocks.0.attention.q_proj.weight"]
    query.register_hook(lambda gradient: 0 * gradient)  # type: ignore[no-untyped-call]
    assert gradients_finite(context).status == status


def test_unused_parameter(make_context: MakeContext) -> None:
    context = make_context()
    context.model.register_parameter("idle", nn.Parameter(torch.zeros(3)))
    check = gradients_finite(context)
    assert (check.status, check.measured) == ("fail", "idle has no gradient")


def test_a_detached_part_is_found(make_context: MakeContext) -> None:
    context = make_context()
    context.model.blocks[1].attention.register_forward_hook(  # type: ignore[union-attr]
        lambda _module, _inputs, output: output.detach()
    )
    check = gradients_finite(context)
    assert (check.status, check.measured) == ("fail", "blocks.1.ln_1.weight has no gradient")


def test_zeroed_branch(make_context: MakeContext) -> None:
    context = make_context()
    context.model.blocks[0].feed_forward.register_forward_hook(  # type: ignore[union-attr]
        lambda _module, _inputs, output: 0 * output
    )
    check = gradients_finite(context)
    assert (check.status, check.measured) == ("fail", "blocks.0.ln_2.weight has a gradient of zero everywhere")
    assert gradients_finite(replace(context, newly_initialized=False)).status == "pass"  # training may do that


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_infinite_gradient(make_context: MakeContext, bad: float) -> None:
    context = make_context()
    context.model.ln_f.weight.register_hook(lambda gradient: gradient * bad)  # type: ignore[no-untyped-call]
    check = gradients_finite(context)
    assert (check.status, check.measured) == ("fail", "ln_f.weight has a gradient that is not finite")


def test_gradients_leave_nothing_behind(make_context: MakeContext) -> None:
    context = make_context()
    gradients_finite(context)
    assert all(parameter.grad is None for parameter in context.model.parameters())


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_is_learned(make_context: MakeContext, dtype: torch.dtype) -> None:
    check = overfits_one_batch(make_context(dtype=dtype))
    assert check.status == "pass"
    assert check.value is not None
    assert check.limit is not None
    assert check.value < 0.95 * check.limit


def test_model_unchanged(make_context: MakeContext) -> None:
    context = make_context(dropout=0.5)
    before = {name: value.clone() for name, value in context.model.state_dict().items()}
    overfits_one_batch(context)
    assert all(torch.equal(value, before[name]) for name, value in context.model.state_dict().items())
    assert all(parameter.grad is None for parameter in context.model.parameters())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda gradient: -gradient, id="uphill"),
        pytest.param(lambda gradient: 0 * gradient, id="nowhere"),
        pytest.param(lambda gradient: gradient * torch.nan, id="not a number"),
    ],
)
def test_a_wrong_direction_is_found(make_context: MakeContext, change: Callable[[Tensor], Tensor]) -> None:
    class Steered(torch.autograd.Function):
        @staticmethod
        def forward(_context: object, logits: Tensor) -> Tensor:
            return logits.clone()

        @staticmethod
        def backward(_context: object, *gradients: Tensor) -> Tensor:
            return change(gradients[0])

    context = make_context(norm={"kind": "rmsnorm"})
    context.model.lm_head.register_forward_hook(
        lambda _module, _inputs, output: Steered.apply(output)  # type: ignore[no-untyped-call]
    )
    assert overfits_one_batch(context).status == "fail"


def test_last_loss_decides(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower losses in between do not make up for it."""
    losses = iter([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 9.0])
    monkeypatch.setattr(learning, "_loss", lambda model, _: 0 * model.lm_head.weight.sum() + next(losses))
    check = overfits_one_batch(make_context())
    assert (check.status, check.measured) == ("fail", "8.0000 to 9.0000 in 7 steps")


def test_detached_logits(make_context: MakeContext) -> None:
    context = make_context()
    context.model.lm_head.register_forward_hook(lambda _module, _inputs, output: output.detach())
    check = overfits_one_batch(context)
    assert check.status == "fail"
    assert check.measured.startswith("RuntimeError: ")


def test_vocabulary_of_one(make_context: MakeContext) -> None:
    assert overfits_one_batch(make_context(vocab_size=1)).status == "skip"


@pytest.mark.parametrize(("width", "kind"), [(1, "layernorm"), (2, "layernorm"), (1, "rmsnorm")])
def test_narrow_model_need_not_learn(make_context: MakeContext, width: int, kind: str) -> None:
    check = overfits_one_batch(make_context(d_model=width, n_heads=1, norm={"kind": kind}, position={"kind": "none"}))
    assert (check.status, check.measured) == (
        "skip", f"with d_model {width} the norms map all tokens to nearly the same vector",
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "bytes_per_param"), [(torch.float32, 16), (torch.float64, 32), (torch.bfloat16, 18)])
def test_training_skips_without_memory(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, bytes_per_param: int
) -> None:
    asked: list[int] = []

    def refuse(needed_bytes: int, what: str, **_: object) -> None:
        asked.append(needed_bytes)
        raise CapacityError(f"{what} does not fit")

    monkeypatch.setattr(check_module, "require_memory", refuse)
    check = overfits_one_batch(make_context(dtype=dtype))
    assert (check.status, asked) == ("skip", [7864 * bytes_per_param])
    assert check.measured == "training a copy: weights, gradients and two Adam moments does not fit"


@pytest.mark.parametrize(("d_model", "rate"), [(16, LEARNING_RATE), (128, LEARNING_RATE), (400, 1 / 400)])
def test_learning_rate(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, d_model: int, rate: float) -> None:
    """Of wide models, the inverse of the width."""
    adam = Mock(wraps=torch.optim.Adam)
    monkeypatch.setattr("torch.optim.Adam", adam)
    check = overfits_one_batch(make_context(d_model=d_model, n_layers=1, d_ff=8))
    assert (check.status, adam.call_args.kwargs["lr"]) == ("pass", rate)
