"""End-to-end tests: outputs, causality, parameter counts, generation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.small_models import SMALL, assert_same_logits, build, ids
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM

PRESETS = {
    "tiny": ((256, 128, 4, 4, 512), 826_112, 858_880),
    "small": ((1000, 256, 8, 6, 1024), 4_995_072, 5_251_072),
    "medium": ((5000, 512, 8, 12, 2048), 40_389_632, 42_949_632),
    "base": ((10_000, 768, 12, 12, 3072), 92_736_000, 100_416_000),
}


# Outputs


def test_batch_rows_are_independent() -> None:
    model, tokens = build(), ids(batch=4)
    with torch.no_grad():
        assert_same_logits(model(tokens), torch.cat([model(row[None]) for row in tokens]))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8])
def test_any_integer_dtype(dtype: torch.dtype) -> None:
    model = build()
    assert torch.equal(model(ids().to(dtype)), model(ids()))


def test_bfloat16_is_close() -> None:
    model = build()
    with torch.no_grad():
        wide = model(ids())
        narrow = model.to(torch.bfloat16)(ids())
    assert narrow.dtype == torch.bfloat16
    assert_same_logits(narrow.float(), wide, 0.1)


def test_new_model_predicts_uniformly() -> None:
    torch.manual_seed(0)
    model = TinyTransformerLM(256, 128, 4, 4, 512).eval()
    tokens = torch.randint(256, (4, 64))
    logits = model(tokens)  # (B, T, V)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(256, (4 * 64,)))
    assert loss.item() == pytest.approx(math.log(256), abs=0.1)


def test_overfits_one_batch() -> None:
    torch.manual_seed(0)
    model = TinyTransformerLM(29, 24, 3, 2, 56, max_len=16, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = ids(batch=2, length=9)
    for _ in range(80):
        loss = nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss.item() < 0.1
    assert torch.equal(model.generate(tokens[:, :1], 8, temperature=0)[0, 1:], model(tokens)[0, :-1].argmax(-1))


def test_dropout_only_in_training() -> None:
    model = build(dropout=0.3)
    assert torch.equal(model(ids()), model(ids()))
    model.train()
    assert not torch.equal(model(ids()), model(ids()))


# Causality and masks


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "none"])
def test_no_gradient_to_later_tokens(position: str) -> None:
    model = build(position={"kind": position})
    seen: list[Tensor] = []
    model.embedding.register_forward_hook(lambda _module, _args, out: seen.append(out))
    logits = model(ids(batch=1, length=9))
    for t in range(9):
        [gradient] = torch.autograd.grad(logits[0, t].square().sum(), seen, retain_graph=True)
        strength = gradient[0].abs().sum(-1)  # (T)
        assert (strength[: t + 1] > 0).all()
        assert not strength[t + 1 :].any()


def test_later_token() -> None:
    model, tokens = build(), ids(batch=1, length=9)
    with torch.no_grad():
        before = model(tokens)
        for t in range(9):
            changed = tokens.clone()
            changed[0, t] = (changed[0, t] + 1) % 29
            after = model(changed)
            assert torch.equal(after[:, :t], before[:, :t])
            assert not torch.isclose(after[:, t:], before[:, t:]).all(-1).any()


def mask_forms(allowed: Tensor, batch: int) -> Iterator[Tensor]:
    """Yield a boolean (T, T) mask in each of the forms a model takes."""
    length = len(allowed)
    added = torch.zeros(length, length).masked_fill(~allowed, -torch.inf)
    for mask in (allowed, added, added.double()):
        yield mask
        yield mask.expand(batch, length, length)
        yield mask.expand(batch, 1, length, length)


def test_causal_mask_equals_default() -> None:
    model = build()
    for mask in mask_forms(torch.ones(9, 9, dtype=torch.bool).tril(), batch=2):
        assert_same_logits(model(ids(), mask=mask), model(ids()))


def test_custom_mask_replaces_causal_mask() -> None:
    model, everything = build(), torch.ones(9, 9, dtype=torch.bool)
    reversed_logits = model(ids().flip(1), mask=everything).flip(1)
    unordered = build(position={"kind": "none"})
    for mask in mask_forms(everything, batch=2):
        assert not torch.allclose(model(ids(), mask=mask), model(ids()))
        flipped = unordered(ids().flip(1), mask=mask).flip(1)
        assert_same_logits(flipped, unordered(ids(), mask=mask))
    assert not torch.allclose(reversed_logits, model(ids(), mask=everything))


def test_mask_per_sequence() -> None:
    model = build()
    causal = torch.ones(9, 9, dtype=torch.bool).tril()
    window = causal & ~causal.tril(-3)
    both = model(ids(), mask=torch.stack([causal, window]))
    assert_same_logits(both[:1], model(ids()[:1]))
    assert_same_logits(both[1:], model(ids()[1:], mask=window))


@pytest.mark.parametrize("training", [True, False])
def test_fully_masked_row_is_finite(*, training: bool) -> None:
    model = build(dropout=0.1).train(training)
    mask = torch.ones(9, 9, dtype=torch.bool).tril(-1)
    logits = model(ids(), mask=mask)
    assert logits.isfinite().all()
    torch.autograd.backward(logits.sum())
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("tokens", "mask", "message"),
    [
        (ids().float(), None, "integer ids"),
        (ids()[0], None, r"shape \(B, T\)"),
        (ids(length=17), None, "length 17, but max_len is 16"),
        (ids() + 29, None, "outside the vocabulary"),
        (ids(), torch.ones(2, 9, dtype=torch.bool), "mask must have shape"),
        (ids(), torch.ones(9, 9, dtype=torch.int64), "mask must be boolean"),
    ],
)
def test_invalid_inputs(tokens: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()(tokens, mask=mask)


def test_meta_has_shapes_without_values() -> None:
    model = TinyTransformerLM.from_config(ModelConfig.model_validate(SMALL), device="meta")
    assert model(ids().to("meta")).shape == (2, 9, 29)


# Parameter counts


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("tied", [True, False])
def test_course_models_have_exact_sizes(name: str, *, tied: bool) -> None:
    sizes, tied_params, untied_params = PRESETS[name]
    with torch.device("meta"):
        model = TinyTransformerLM(*sizes, tie_weights=tied)
    assert sum(parameter.numel() for parameter in model.parameters()) == (tied_params if tied else untied_params)


def test_gpt2_has_its_published_size() -> None:
    config = ModelConfig.model_validate(
        {
            "vocab_size": 50_257,
            "d_model": 768,
            "n_heads": 12,
            "n_layers": 12,
            "d_ff": 3072,
            "position": {"kind": "learned"},
            "feed_forward": {"activation": "gelu_tanh"},
        }
    )
    model = TinyTransformerLM.from_config(config, device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == 124_439_808


# Generation


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 20),
    new=st.integers(0, 24),
    batch=st.integers(1, 3),
    kind=st.sampled_from(["none", "learned"]),
)
def test_greedy_generation_equals_argmax(length: int, new: int, batch: int, kind: str) -> None:
    model = build(position={"kind": kind})
    expected = tokens = ids(batch, length)
    with torch.no_grad():
        for _ in range(new):
            expected = torch.cat([expected, model(expected[:, -16:])[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(model.generate(tokens, new, temperature=0), expected)
