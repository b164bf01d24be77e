from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Callable, Iterator

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM

Make = Callable[..., ModelConfig]
SIZES = (23, 16, 4, 2, 40)


@pytest.fixture
def tied(make_config: Make) -> TinyTransformerLM:
    return TinyTransformerLM.from_config(make_config())


def is_tied(model: TinyTransformerLM) -> bool:
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert "lm_head.weight" in names
    return model.lm_head.weight is model.embedding.token_embedding.embedding.weight


def test_constructor_builds_the_course_model() -> None:
    parameters = inspect.signature(TinyTransformerLM).parameters.values()
    assert [parameter.name for parameter in parameters] == [
        "vocab_size",
        "d_model",
        "n_heads",
        "n_layers",
        "d_ff",
        "max_len",
        "dropout",
        "tie_weights",
    ]
    assert [parameter.default for parameter in parameters][5:] == [1024, 0.1, True]
    model = TinyTransformerLM(*SIZES)
    assert model.config == ModelConfig(vocab_size=23, d_model=16, n_heads=4, n_layers=2, d_ff=40)
    assert (len(model.blocks), model.training) == (2, True)


def test_every_wrong_argument_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        TinyTransformerLM(0, 16, 4, "2", 40, dropout=1.0)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    assert {error["loc"] for error in caught.value.errors()} == {("vocab_size",), ("n_layers",), ("dropout",)}


def test_conflicting_options() -> None:
    with pytest.raises(ValueError, match="not divisible by n_heads"):
        TinyTransformerLM(23, 16, 3, 2, 40)


def test_torch_manual_seed() -> None:
    torch.manual_seed(0)
    first, second = TinyTransformerLM(*SIZES), TinyTransformerLM(*SIZES)
    torch.manual_seed(0)
    again = TinyTransformerLM(*SIZES)
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_torch_contexts() -> None:
    state = torch.random.get_rng_state()
    with torch.device("meta"):
        model = TinyTransformerLM(*SIZES)
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.set_default_dtype(torch.float64)
    try:
        assert TinyTransformerLM(*SIZES).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), "meta"])
def test_device_names(make_config: Make, device: str | torch.device) -> None:
    model = TinyTransformerLM.from_config(make_config(), device=device)
    assert model.device == torch.device(device)


def expected_shapes(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, hidden = config.d_model, config.d_ff
    norm = ["weight", "bias"] if config.norm.kind == "layernorm" else ["weight"]
    yield "embedding.token_embedding.embedding.weight", (config.vocab_size, width)
    if config.position.kind == "learned":
        yield "embedding.positional_encoding.weight", (config.max_len, width)
    for i in range(config.n_layers):
        yield from ((f"blocks.{i}.ln_1.{part}", (width,)) for part in norm)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"blocks.{i}.attention.{name}.weight", (width, width)
            if config.attention.bias:
                yield f"blocks.{i}.attention.{name}.bias", (width,)
        yield from ((f"blocks.{i}.ln_2.{part}", (width,)) for part in norm)
        for name, shape in (("up_proj", (hidden, width)), ("down_proj", (width, hidden))):
            yield f"blocks.{i}.feed_forward.{name}.weight", shape
            if config.feed_forward.bias:
                yield f"blocks.{i}.feed_forward.{name}.bias", shape[:1]
    yield from ((f"ln_f.{part}", (width,)) for part in norm)
    yield "lm_head.weight", (config.vocab_size, width)


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tie_weights", [True, False])
def test_tensor_names_and_shapes(make_config: Make, position: str, norm: str, *, bias: bool, tie_weights: bool) -> None:
    config = make_config(
        position={"kind": position},
        norm={"kind": norm},
        attention={"bias": bias},
        feed_forward={"bias": bias},
        tie_weights=tie_weights,
    )
    model = TinyTransformerLM.from_config(config, device="meta")
    found = [(name, tuple(tensor.shape)) for name, tensor in model.named_parameters(remove_duplicate=False)]
    assert found == list(expected_shapes(config))
    assert model.state_dict().keys() == dict(found).keys()
    assert is_tied(model) is tie_weights


def through_bytes(model: TinyTransformerLM) -> TinyTransformerLM:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded: TinyTransformerLM = torch.load(buffer, weights_only=False)
    return loaded


def through_state(model: TinyTransformerLM, *, assign: bool) -> TinyTransformerLM:
    other = TinyTransformerLM.from_config(model.config, seed=9)
    other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=assign)
    assert torch.equal(other.lm_head.weight, model.lm_head.weight)
    return other


@pytest.mark.parametrize(
    "live",
    [
        lambda model: model,
        lambda model: model.to(torch.bfloat16),
        lambda model: model.double().half(),
        lambda model: model.to("meta"),
        lambda model: model.to("meta").to_empty(device="cpu"),
        lambda model: nn.Sequential(model).to("meta")[0],
        copy.deepcopy,
        through_bytes,
        lambda model: through_state(model, assign=False),
        lambda model: through_state(model, assign=True),
    ],
)
def test_tie_survives(tied: TinyTransformerLM, live: Callable[[TinyTransformerLM], TinyTransformerLM]) -> None:
    model = live(tied)
    assert is_tied(model)
    assert len(list(model.parameters())) == len(list(model.named_parameters(remove_duplicate=False))) - 1


def test_a_copy_is_tied_to_itself(tied: TinyTransformerLM) -> None:
    assert copy.deepcopy(tied).lm_head.weight is not tied.lm_head.weight


def test_tied_after_failed_conversion(tied: TinyTransformerLM) -> None:
    with pytest.raises((RuntimeError, AssertionError)):
        tied.to("cuda:99")
    assert is_tied(tied)


def test_an_untied_model_stays_untied(make_config: Make) -> None:
    model = TinyTransformerLM.from_config(make_config(tie_weights=False))
    for live in (model, copy.deepcopy(model), model.to(torch.bfloat16), through_state(model, assign=True)):
        assert not is_tied(live)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "rope", "alibi", "none"])
@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_assign_rebuilds_tables(kind: str, tie_weights: bool, dtype: torch.dtype, make_config: Make) -> None:
    config = make_config(tie_weights=tie_weights, position={"kind": kind})
    model = TinyTransformerLM.from_config(config, dtype=dtype).eval()
    other = TinyTransformerLM.from_config(config, device="meta").eval()
    other.load_state_dict(model.state_dict(), assign=True)
    assert not any(buffer.is_meta for buffer in other.buffers())
    assert {buffer.dtype for buffer in other.buffers()} == {buffer.dtype for buffer in model.buffers()}
    assert is_tied(other) == tie_weights
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    with torch.no_grad():
        assert torch.equal(other(tokens), model(tokens))
    assert torch.equal(other.generate(tokens, 3, temperature=0.0), model.generate(tokens, 3, temperature=0.0))


def test_embedding_loaded_alone(make_config: Make) -> None:
    model, other = (TinyTransformerLM.from_config(make_config(), device=device) for device in ("cpu", "meta"))
    other.embedding.load_state_dict(model.embedding.state_dict(), assign=True)
    tokens = torch.tensor([[1, 2, 3]])
    assert torch.equal(other.embedding(tokens), model.embedding(tokens))


def test_tied_gradients(tied: TinyTransformerLM) -> None:
    tied(torch.tensor([[1, 2]])).sum().backward()
    grad = tied.embedding.token_embedding.embedding.weight.grad
    assert grad is tied.lm_head.weight.grad
    assert grad is not None
    assert grad.abs().sum(-1).count_nonzero() == 23


def test_depth_costs_little_on_meta(make_config: Make) -> None:
    model = TinyTransformerLM.from_config(make_config(n_layers=1000), device="meta")
    assert sum(1 for _ in model.parameters()) == 16 * 1000 + 3


def test_printed_model(tied: TinyTransformerLM) -> None:
    assert repr(tied).startswith("TinyTransformerLM(\n  tie_weights=True\n")


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("cap", [None, 3.0])
def test_logits(scale: float, cap: float | None, make_config: Make) -> None:
    """Scaled, then soft-capped."""
    model = TinyTransformerLM.from_config(make_config(head={"logit_scale": scale, "logit_softcap": cap}))
    hidden = torch.randn(2, 5, 16)
    expected = scale * hidden @ model.lm_head.weight.T
    torch.testing.assert_close(model.logits(hidden), expected if cap is None else cap * (expected / cap).tanh())
