from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model import forward_trace as trace_module
from tinylm_cli.model.forward_trace import mean_and_std, trace_forward
from tinylm_cli.reports.forward import Stage

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
TOKENS = torch.randint(23, (2, 7), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(make_config: Make, randomized: Randomize) -> TinyTransformerLM:
    model = TinyTransformerLM.from_config(make_config(dropout=0.5, n_layers=2))
    randomized(model)
    return model


def trace(model: TinyTransformerLM, tokens: Tensor) -> tuple[Stage, ...]:
    stages, _ = trace_forward(model, tokens)
    return stages


def kinds(stages: tuple[Stage, ...]) -> dict[str, str]:
    return {stage.name: stage.kind for stage in stages}


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_stage_order(model: TinyTransformerLM) -> None:
    stages = trace(model, TOKENS)
    inside = ["ln_1", "attention", "ln_2", "feed_forward"]
    assert [("  " * stage.depth) + stage.name for stage in stages] == [
        "tokens",
        "  embedding.token_embedding", "  embedding.positional_encoding", "embedding",
        *(f"  blocks.0.{name}" for name in inside), "blocks.0",
        *(f"  blocks.1.{name}" for name in inside), "blocks.1",
        "ln_f", "lm_head",
    ]  # fmt: skip
    assert [stage.shape for stage in stages] == [(2, 7), *[(2, 7, 16)] * 14, (2, 7, 23)]


def test_statistics(model: TinyTransformerLM) -> None:
    seen: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.update({name: output}))
    for stage in trace(model, TOKENS)[1:]:
        values = seen[stage.name].double()
        assert stage.mean == pytest.approx(float(values.mean()), abs=1e-12)
        assert stage.std == pytest.approx(float(values.std(correction=0)), abs=1e-12)
        assert stage.finite is True


def test_logits_are_those_of_evaluation(model: TinyTransformerLM) -> None:
    stages, logits = trace_forward(model, TOKENS)
    with torch.no_grad():
        assert torch.equal(logits, model.eval()(TOKENS))
    assert stages == trace(model, TOKENS)
    assert not logits.requires_grad


def test_embedding_scaled(model: TinyTransformerLM) -> None:
    stage = {stage.name: stage for stage in trace(model, TOKENS)}["embedding.token_embedding"]
    rows = model.embedding.token_embedding.embedding.weight.detach()[TOKENS].double() * 4  # √d_model
    assert stage.kind == "token embedding × √d_model"
    assert stage.std == pytest.approx(float(rows.std(correction=0)))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("sinusoidal", "+ sinusoidal positions"),
        ("learned", "+ learned positions"),
        ("none", "no positions added"),
    ],
)
def test_positions_are_named(make_config: Make, kind: str, words: str) -> None:
    model = TinyTransformerLM.from_config(make_config(position={"kind": kind}))
    assert kinds(trace(model, TOKENS))["embedding.positional_encoding"] == words


@pytest.mark.parametrize(("kind", "words"), [("layernorm", "layer norm"), ("rmsnorm", "RMS norm")])
def test_norms_are_named(make_config: Make, kind: str, words: str) -> None:
    found = kinds(trace(TinyTransformerLM.from_config(make_config(norm={"kind": kind})), TOKENS))
    assert (found["blocks.0.ln_1"], found["blocks.0.ln_2"], found["ln_f"]) == (words, words, f"final {words}")


def test_gated_norms_are_named(make_config: Make) -> None:
    config = make_config(norm={"kind": "rmsnorm"}, block={"feed_forward_norm_gate_rank": 4})
    found = kinds(trace(TinyTransformerLM.from_config(config), TOKENS))
    assert (found["blocks.0.ln_1"], found["blocks.0.ln_2"]) == ("RMS norm", "RMS norm × its gate")


@pytest.mark.parametrize(("tied", "words"), [(True, "logits, from the tied embedding"), (False, "logits")])
def test_head_description(make_config: Make, tied: bool, words: str) -> None:
    assert kinds(trace(TinyTransformerLM.from_config(make_config(tie_weights=tied)), TOKENS))["lm_head"] == words


def test_meta_has_shapes_and_no_values(make_config: Make, model: TinyTransformerLM) -> None:
    phantom = TinyTransformerLM.from_config(make_config(n_layers=2), device="meta")
    stages = trace(phantom, TOKENS.to("meta"))
    assert [(stage.name, stage.shape) for stage in stages] == [
        (stage.name, stage.shape) for stage in trace(model, TOKENS)
    ]
    assert {(stage.mean, stage.std, stage.finite) for stage in stages} == {(None, None, None)}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_first_infinite_stage(model: TinyTransformerLM, bad: float) -> None:
    with torch.no_grad():
        model.blocks[1].feed_forward.down_proj.bias[3] = bad  # type: ignore[union-attr, operator]
    broken = [stage.name for stage in trace(model, TOKENS) if stage.finite is False]
    assert broken == ["blocks.1.feed_forward", "blocks.1", "ln_f", "lm_head"]


def test_hooks_are_removed(model: TinyTransformerLM) -> None:
    model.blocks[0].train(mode=False)
    before = [module.training for module in model.modules()]
    trace(model, TOKENS)
    assert [module.training for module in model.modules()] == before
    assert hooks(model) == 0


def test_hooks_removed_after_error(model: TinyTransformerLM, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [module.training for module in model.modules()]
    with pytest.raises(ValueError, match="outside the vocabulary"):
        trace(model, TOKENS + 23)
    monkeypatch.setattr(trace_module, "mean_and_std", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trace(model, TOKENS)
    assert [module.training for module in model.modules()] == before
    assert hooks(model) == 0


def test_other_hooks_stay(model: TinyTransformerLM) -> None:
    calls: list[int] = []
    model.ln_f.register_forward_hook(lambda *_: calls.append(1))
    trace(model, TOKENS)
    assert (calls, hooks(model)) == ([1], 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_mean_and_std_exact(dtype: torch.dtype) -> None:
    values = (torch.randn(3, 50, 70, generator=torch.Generator().manual_seed(1)) + 9).to(dtype)
    mean, std, finite = mean_and_std(values)
    assert mean == pytest.approx(float(values.double().mean()), rel=1e-14)
    assert std == pytest.approx(float(values.double().std(correction=0)), rel=1e-13)
    assert finite is True


@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    shift=st.sampled_from([0.0, 1e8]),
    chunk=st.integers(1, 9),
)
@settings(max_examples=100, deadline=None)
def test_chunk_size(values: list[float], shift: float, chunk: int) -> None:
    whole = torch.tensor(values, dtype=torch.float64) + shift
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_module, "CHUNK", chunk)
        mean, std, finite = mean_and_std(whole)
    assert mean == pytest.approx(float(whole.mean()), rel=1e-12, abs=1e-9)
    assert std == pytest.approx(float(whole.std(correction=0)), rel=1e-9, abs=1e-6)
    assert finite is True


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_mean_and_std_of_nonfinite_values(bad: float) -> None:
    mean, std, finite = mean_and_std(torch.tensor([1.0, bad, 2.0]))
    assert finite is False
    assert mean is not None
    assert std is not None
    assert not math.isfinite(mean)
    assert not math.isfinite(std)


def test_no_overflow() -> None:
    mean, std, finite = mean_and_std(torch.tensor([3e38, -3e38]))
    assert (mean, finite) == (0.0, True)
    assert std == pytest.approx(3e38, rel=1e-6)
