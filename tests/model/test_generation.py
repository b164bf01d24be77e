from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.generation import DecodingStep, decode
from tinylm_cli.model.sampling import SamplingParams

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
GREEDY = SamplingParams(temperature=0)


@pytest.fixture
def build(make_config: Make, randomized: Randomize) -> Callable[..., TinyTransformerLM]:
    def make(**fields: object) -> TinyTransformerLM:
        model = TinyTransformerLM.from_config(make_config(**fields))
        randomized(model)
        return model.eval()

    return make


@pytest.fixture
def model(build: Callable[..., TinyTransformerLM]) -> TinyTransformerLM:
    return build()


def start(batch: int = 2, length: int = 3) -> Tensor:
    return torch.randint(23, (batch, length), generator=torch.Generator().manual_seed(batch * length))


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("length", [1, 3, 11, 12, 13, 30])
def test_logits_equal_forward(
    build: Callable[..., TinyTransformerLM], kind: str, length: int, *, use_cache: bool
) -> None:
    model = build(position={"kind": kind})
    tokens = start(length=length)
    with torch.no_grad():
        first_length = tokens.shape[1]
        for step in decode(model, tokens, 16, sampling=GREEDY, use_cache=use_cache):
            torch.testing.assert_close(step.logits, model(tokens[:, -12:])[:, -1], atol=1e-5, rtol=1e-5)
            assert torch.equal(step.tokens, step.logits.argmax(-1))
            tokens = torch.cat([tokens, step.tokens[:, None]], dim=1)
    assert tokens.shape[1] == first_length + 16


def test_cache_changes_no_sample(model: TinyTransformerLM) -> None:
    sampling = SamplingParams(temperature=0.8, top_k=9, top_p=0.9, seed=4)
    cached = decode(model, start(), 20, sampling=sampling)
    uncached = decode(model, start(), 20, sampling=sampling, use_cache=False)
    steps = list(zip(cached, uncached, strict=True))
    assert len(steps) == 20
    assert all(torch.equal(first.tokens, second.tokens) for first, second in steps)


def test_cached_step_reads_one_token(model: TinyTransformerLM) -> None:
    read: list[int] = []
    model.blocks[0].register_forward_hook(lambda _module, args, _out: read.append(args[0].shape[1]))
    model.generate(start(length=9), 6, temperature=0)
    assert read == [9, 1, 1, 1, 12, 12]


def test_head_reads_last_position(model: TinyTransformerLM) -> None:
    read: list[int] = []
    model.lm_head.register_forward_hook(lambda _module, args, _out: read.append(args[0].numel()))
    model.generate(start(batch=2, length=9), 2, temperature=0)
    assert read == [2 * 16, 2 * 16]


def test_generate_equals_stream(model: TinyTransformerLM) -> None:
    steps = list(model.stream(start(), 7, SamplingParams(seed=3)))
    assert [step.shape for step in steps] == [(2,)] * 7
    out = model.generate(start(), 7, seed=3)
    assert torch.equal(out, torch.cat([start(), torch.stack(steps, dim=1)], dim=1))
    assert out.dtype == torch.int64


def test_zero_new_tokens(model: TinyTransformerLM) -> None:
    assert torch.equal(model.generate(start(), 0), start())


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_integer_dtypes(model: TinyTransformerLM, dtype: torch.dtype) -> None:
    assert torch.equal(model.generate(start().to(dtype), 4, seed=1), model.generate(start(), 4, seed=1))


def test_seed_is_independent_of_global_generator(model: TinyTransformerLM) -> None:
    state = torch.random.get_rng_state()
    first = model.generate(start(), 8, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(model.generate(start(), 8, seed=3), first)
    assert not torch.equal(model.generate(start(), 8, seed=4), first)


def test_without_seed(model: TinyTransformerLM) -> None:
    torch.manual_seed(0)
    first = model.generate(start(), 8)
    assert not torch.equal(model.generate(start(), 8), first)
    torch.manual_seed(0)
    assert torch.equal(model.generate(start(), 8), first)


def script(steps: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sampling choose the given tokens, step by step."""
    queue = iter(steps)
    monkeypatch.setattr(SamplingParams, "sample", lambda *_: torch.tensor(next(queue)))


def test_padding_after_stop(model: TinyTransformerLM, monkeypatch: pytest.MonkeyPatch) -> None:
    script([[7, 1], [2, 3], [4, 5]], monkeypatch)
    out = model.generate(start(), 3, stop_token=7)
    assert out[:, 3:].tolist() == [[7, 7, 7], [1, 3, 5]]


def test_all_sequences_stopped(model: TinyTransformerLM, monkeypatch: pytest.MonkeyPatch) -> None:
    script([[1, 7], [7, 3], [4, 5]], monkeypatch)
    assert model.generate(start(), 3, stop_token=7)[:, 3:].tolist() == [[1, 7], [7, 7]]


def test_stop_token_in_prompt(model: TinyTransformerLM, monkeypatch: pytest.MonkeyPatch) -> None:
    script([[1, 1], [2, 2]], monkeypatch)
    assert model.generate(torch.tensor([[7], [7]]), 2, stop_token=7).shape == (2, 3)


@pytest.mark.parametrize("use_generate", [True, False])
def test_each_submodule_keeps_its_mode(build: Callable[..., TinyTransformerLM], *, use_generate: bool) -> None:
    model = build(dropout=0.5).train()
    model.blocks[1].eval()
    before = [module.training for module in model.modules()]
    if use_generate:
        first, second = (model.generate(start(), 6, temperature=0) for _ in range(2))
        assert torch.equal(first, second)
    else:
        stream = model.stream(start(), 6)
        next(stream)
    assert [module.training for module in model.modules()] == before


def test_modes_after_exception(model: TinyTransformerLM) -> None:
    model.train()

    def fail(*_: object) -> None:
        assert not model.training
        raise RuntimeError("deep inside")

    model.blocks[2].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="deep inside"):
        model.generate(start(), 2)
    assert all(module.training for module in model.modules())


def test_output_is_trainable(model: TinyTransformerLM) -> None:
    tokens = model.generate(start(), 4)
    logits = next(decode(model, start(), 1, sampling=GREEDY)).logits
    assert not logits.requires_grad
    assert not tokens.is_inference()
    assert not logits.is_inference()
    loss = (model(tokens)[:, -1] * logits).sum()
    loss.backward()
    assert model.lm_head.weight.grad is not None


def test_stream_without_limit(model: TinyTransformerLM) -> None:
    assert len(list(islice(model.stream(start(), 10**12), 30))) == 30


Call = Callable[[TinyTransformerLM], Iterator[DecodingStep] | Iterator[Tensor] | Tensor]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.generate(start().float(), 1), "integer ids"),
        (lambda m: m.generate(start()[0], 1), r"shape \(B, T\)"),
        (lambda m: m.generate(start() + 23, 1), "outside the vocabulary"),
        (lambda m: m.generate(start(), -1), "max_new_tokens must be an integer >= 0, not -1"),
        (lambda m: m.generate(start(), 1.0), "not 1.0"),
        (lambda m: m.generate(start(), True), "not True"),
        (lambda m: m.generate(start(), 1, stop_token=23), r"stop_token must be an id in 0\.\.22 or None, not 23"),
        (lambda m: m.generate(start(), 1, stop_token=-1), "not -1"),
        (lambda m: m.generate(start(), 1, temperature=-1), "temperature"),
        (lambda m: m.generate(start(), 1, top_k=0), "top_k"),
        (lambda m: m.generate(start(), 1, top_p=0), "top_p"),
        (lambda m: m.generate(start(), 1, seed=-1), "seed"),
        (lambda m: m.stream(start(), -1), "max_new_tokens"),
        (lambda m: decode(m, start(), -1, sampling=GREEDY), "max_new_tokens"),
        (lambda m: m.to("meta").generate(start(), 1), "on meta"),
        (lambda m: m.generate(start().to("meta"), 1), "on meta"),
    ],
)
def test_wrong_arguments(model: TinyTransformerLM, call: Call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(model)


@pytest.mark.parametrize(("steps", "cached"), [(5, 7), (100, 12), (10, 12)])
def test_cache_too_large(model: TinyTransformerLM, monkeypatch: pytest.MonkeyPatch, steps: int, cached: int) -> None:
    asked: list[tuple[int, str, str]] = []

    def refuse(needed_bytes: int, what: str, *, device: str) -> None:
        asked.append((needed_bytes, what, device))
        raise CapacityError(what)

    monkeypatch.setattr("tinylm_cli.model.generation.require_memory", refuse)
    with pytest.raises(CapacityError, match=f"decoding 2 × {cached} tokens"):
        model.stream(start(), steps)
    cache = kv_cache_bytes(model.config, batch_size=2, seq_len=cached, dtype="float32")
    assert asked == [(cache, f"decoding 2 × {cached} tokens", "cpu")]
