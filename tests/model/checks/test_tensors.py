from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.model import TinyTransformerLM, initialization, lm
from tinylm_cli.model.checks import context as context_module
from tinylm_cli.model.checks import tensors
from tinylm_cli.model.checks.context import ClosedForm, Context
from tinylm_cli.model.checks.law import Check
from tinylm_cli.model.checks.tensors import closed_form, same_seed, tied_identity, untied
from tinylm_cli.model.initialization import initialize
from tinylm_cli.model.weights import load_model

PutToTest = Callable[..., Context]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
EMBEDDING = "embedding.token_embedding.embedding.weight"


def split_head(model: TinyTransformerLM) -> TinyTransformerLM:
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def test_a_closed_form_that_agrees(put_to_test: PutToTest) -> None:
    law = closed_form(put_to_test())
    assert (law.status, law.figure) == ("pass", "52 tensors, 7,864 parameters")


@pytest.mark.parametrize(
    ("shapes", "total", "figure", "value"),
    [
        ({"extra.weight": (1,)}, 0, "extra.weight: closed form (1,), module absent", 1),
        ({"ln_f.bias": (17,)}, 0, "ln_f.bias: closed form (17,), module (16,)", 1),
        ({"lm_head.weight": (16, 23), "ln_f.bias": (1,)}, 1, "ln_f.bias: closed form (1,), module (16,)", 2),
        ({}, 1, "7,865 parameters in closed form, 7,864 in the model", 0),
    ],
)
def test_a_closed_form_that_does_not(
    put_to_test: PutToTest, shapes: dict[str, tuple[int, ...]], total: int, figure: str, value: int
) -> None:
    context = put_to_test()
    right = context.closed_form
    wrong = ClosedForm({**right.shapes, **shapes}, right.total_params + total)
    law = closed_form(replace(context, closed_form=wrong))
    assert (law.status, law.figure, law.value) == ("fail", figure, value)


def test_a_tensor_without_a_closed_form(put_to_test: PutToTest) -> None:
    context = put_to_test()
    shapes = {name: shape for name, shape in context.closed_form.shapes.items() if name != EMBEDDING}
    law = closed_form(replace(context, closed_form=replace(context.closed_form, shapes=shapes)))
    assert law.figure == f"{EMBEDDING}: closed form absent, module (23, 16)"


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_tensor_stays_one(put_to_test: PutToTest, dtype: torch.dtype) -> None:
    law = tied_identity(put_to_test(dtype=dtype))
    assert law.status == "pass"
    assert law.figure == "one tensor, also copied, cast, moved, reloaded"


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_tensors_stay_two(put_to_test: PutToTest, dtype: torch.dtype) -> None:
    law = untied(put_to_test(dtype=dtype, tie_weights=False, drawn=False))
    assert law.status == "pass"
    assert law.figure.startswith("two tensors, also copied")


def test_a_head_of_its_own_is_found(put_to_test: PutToTest) -> None:
    context = put_to_test()
    split_head(context.model)
    law = tied_identity(context)
    assert (law.status, law.figure) == ("fail", "two tensors as built")


def test_a_tie_lost_in_a_copy_is_found(put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "deepcopy", lambda model: split_head(copy.copy(model)))
    assert tied_identity(put_to_test()).figure == "two tensors copied"


def test_a_tie_lost_in_a_move_is_found(put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch) -> None:
    context = put_to_test()
    monkeypatch.setattr(TinyTransformerLM, "_apply", nn.Module._apply)
    law = tied_identity(context)
    assert (law.status, law.figure) == ("fail", "two tensors on meta")


def test_a_tie_lost_in_a_file_is_found(put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "load_model", lambda *args, **options: split_head(load_model(*args, **options)))
    law = tied_identity(put_to_test())
    assert (law.status, law.figure) == ("fail", "two tensors saved and loaded")


def test_a_shared_storage_is_found(put_to_test: PutToTest) -> None:
    context = put_to_test(tie_weights=False)
    model = context.model
    model.lm_head.weight = model.embedding.token_embedding.embedding.weight
    assert untied(context).figure == "two names for the same storage"
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach())
    assert untied(context).figure == "two names for the same storage"


def test_shared_values_are_found_unless_loaded(put_to_test: PutToTest) -> None:
    context = put_to_test(tie_weights=False)
    with torch.no_grad():
        context.model.lm_head.weight.copy_(context.model.embedding.token_embedding.embedding.weight)
    assert untied(context).figure == "two tensors with the same values"
    assert untied(replace(context, drawn=False)).status == "pass"


def test_a_tie_made_in_a_file_is_found(put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch) -> None:

    def tie(config: ModelConfig, directory: Path, *, device: torch.device) -> TinyTransformerLM:
        model = load_model(config, directory, device=device)
        model.lm_head.weight = model.embedding.token_embedding.embedding.weight
        return model

    monkeypatch.setattr(tensors, "load_model", tie)
    assert untied(put_to_test(tie_weights=False)).figure == "one tensor saved and loaded"


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_seeds_repeat(put_to_test: PutToTest, dtype: torch.dtype, drawn: bool) -> None:
    law = same_seed(put_to_test(dtype=dtype, drawn=drawn, seed=5))
    assert (law.status, law.figure) == ("pass", "52 tensors repeated, 19 others by another seed")


def test_a_seed_that_is_ignored_is_found(put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm, "initialize", lambda model, *, seed: initialize(model, seed=0 * seed))
    law = same_seed(put_to_test(seed=3))
    assert (law.status, law.figure) == ("fail", f"{EMBEDDING} is the same for seeds 3 and 4")


def test_one_tensor_that_ignores_the_seed_is_found(put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(model: TinyTransformerLM, *, seed: int) -> None:
        initialize(model, seed=seed)
        with torch.no_grad():
            model.blocks[1].attention.q_proj.weight.fill_(0.02)  # type: ignore[union-attr, operator]

    monkeypatch.setattr(lm, "initialize", draw)
    assert same_seed(put_to_test()).figure == "blocks.1.attention.q_proj.weight is the same for seeds 0 and 1"


def test_a_global_stream_is_found(put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(model: TinyTransformerLM, *, seed: int) -> None:
        initialize(model, seed=seed)
        nn.init.normal_(model.ln_f.weight)

    monkeypatch.setattr(lm, "initialize", draw)
    law = same_seed(put_to_test())
    assert (law.status, law.figure) == ("fail", "ln_f.weight differs from one build to the next")


def test_a_model_changed_since_is_found(put_to_test: PutToTest) -> None:
    context = put_to_test()
    with torch.no_grad():
        context.model.ln_f.weight[0] = 2
    assert same_seed(context).status == "fail"


def test_tensors_too_small_to_compare(put_to_test: PutToTest) -> None:
    tiny = {"vocab_size": 1, "d_model": 1, "n_heads": 1, "d_ff": 1, "position": {"kind": "none"}}
    assert same_seed(put_to_test(**tiny)).status == "skip"


@pytest.mark.parametrize("law", [tied_identity, same_seed], ids=lambda law: law.name)
def test_a_machine_too_small_for_copies_skips(
    put_to_test: PutToTest, monkeypatch: pytest.MonkeyPatch, law: Check
) -> None:
    context = put_to_test()

    def refuse(_needed_bytes: int, what: str, **_: object) -> None:
        raise CapacityError(f"{what} does not fit")

    monkeypatch.setattr(context_module, "require_memory", refuse)
    monkeypatch.setattr(initialization, "require_memory", refuse)
    assert law(context).status == "skip"
