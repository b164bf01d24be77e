from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.forward_trace import TIMED_RUNS, run_forward, trace_forward
from tinylm_cli.reports.forward import ForwardReport

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
TOKENS = torch.randint(23, (2, 7), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(make_config: Make, randomized: Randomize) -> TinyTransformerLM:
    model = TinyTransformerLM.from_config(make_config(dropout=0.5))
    randomized(model)
    return model


def run(model: TinyTransformerLM, tokens: torch.Tensor = TOKENS, **options: int | bool) -> ForwardReport:
    return run_forward(model, tokens, name="mine", source="mine.yaml", untrained=True, **options)  # type: ignore[arg-type]


def test_report(model: TinyTransformerLM) -> None:
    report = run(model)
    assert (report.name, report.source, report.untrained) == ("mine", "mine.yaml", True)
    assert (report.device, report.dtype) == ("cpu", "float32")
    assert (report.batch_size, report.seq_len, report.vocab_size) == (2, 7, 23)
    assert report.tokens == tuple(map(tuple, TOKENS.tolist()))
    assert report.stages == trace_forward(model, TOKENS)[0]
    assert report.uniform_loss == math.log(23)


def test_loss_of_next_tokens(model: TinyTransformerLM) -> None:
    report = run(model)
    with torch.no_grad():
        logits = model.eval()(TOKENS)
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten())
    assert report.loss == pytest.approx(float(expected), rel=1e-6)


def test_one_token_has_no_loss(model: TinyTransformerLM) -> None:
    report = run(model, TOKENS[:, :1])
    assert report.loss is None
    assert len(report.next_tokens) == 5


@pytest.mark.parametrize(("top_k", "count"), [(0, 0), (1, 1), (23, 23), (99, 23)])
def test_next_tokens(model: TinyTransformerLM, top_k: int, count: int) -> None:
    next_tokens = run(model, top_k=top_k).next_tokens
    with torch.no_grad():
        probabilities = model.eval()(TOKENS)[0, -1].double().softmax(-1)
    best = probabilities.sort(descending=True)
    assert [next_token.token for next_token in next_tokens] == best.indices[:count].tolist()
    assert [next_token.probability for next_token in next_tokens] == pytest.approx(best.values[:count].tolist())
    if top_k >= 23:
        assert sum(next_token.probability for next_token in next_tokens) == pytest.approx(1)


def test_ties_by_id(model: TinyTransformerLM) -> None:
    with torch.no_grad():
        for parameter in model.ln_f.parameters():
            parameter.zero_()
    assert [next_token.token for next_token in run(model, top_k=23).next_tokens] == list(range(23))


def test_negative_top_k_is_refused(model: TinyTransformerLM) -> None:
    with pytest.raises(ValueError, match="top_k must be >= 0, not -1"):
        run(model, top_k=-1)


def test_nan_logits(model: TinyTransformerLM) -> None:
    with torch.no_grad():
        model.ln_f.weight[0] = math.nan
    report = run(model)
    assert report.next_tokens == ()
    assert report.loss is not None
    assert math.isnan(report.loss)
    assert report.stages[-1].finite is False


def test_ids_may_be_omitted(model: TinyTransformerLM) -> None:
    assert run(model, echo_tokens=False).tokens == ()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_ids_of_other_integer_types(model: TinyTransformerLM, dtype: torch.dtype) -> None:
    assert run(model, TOKENS.to(dtype)).loss == run(model).loss


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(make_config: Make, dtype: torch.dtype) -> None:
    report = run(TinyTransformerLM.from_config(make_config(), dtype=dtype))
    assert report.dtype == str(dtype).removeprefix("torch.")
    assert report.loss == pytest.approx(math.log(23), abs=0.2)


def test_time(model: TinyTransformerLM, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.004, 1.0, 1.002, 2.0, 2.5])  # 4 ms, 2 ms, then one that uses the time up
    monkeypatch.setattr("tinylm_cli.model.forward_trace.perf_counter", lambda: next(clock))
    report = run(model)
    assert report.milliseconds == pytest.approx(4)
    assert report.tokens_per_second == pytest.approx(14 / 0.004)


def test_repeated_timing(model: TinyTransformerLM) -> None:
    passes: list[int] = []
    model.ln_f.register_forward_hook(lambda *_: passes.append(1))
    report = run(model)
    assert len(passes) <= 2 + TIMED_RUNS
    assert report.milliseconds is not None
    assert report.milliseconds > 0


def test_model_is_unchanged(model: TinyTransformerLM) -> None:
    model.blocks[1].train(mode=False)
    before = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    run(model)
    assert [module.training for module in model.modules()] == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_meta_has_shapes_only(make_config: Make) -> None:
    report = run(TinyTransformerLM.from_config(make_config(), device="meta"))
    assert report.stages[-1].shape == (2, 7, 23)
    assert (report.device, report.tokens, report.next_tokens) == ("meta", (), ())
    assert (report.loss, report.milliseconds, report.tokens_per_second) == (None, None, None)
    assert report.uniform_loss == math.log(23)


@pytest.mark.parametrize("tokens", [torch.zeros(3, dtype=torch.int64), torch.zeros(1, 13, dtype=torch.int64)])
def test_wrong_tokens(model: TinyTransformerLM, tokens: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="tokens"):
        run(model, tokens)
