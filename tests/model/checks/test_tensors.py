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
from tinylm_cli.model.checkpoint import load_model
from tinylm_cli.model.checks import check as check_module
from tinylm_cli.model.checks import tensors
from tinylm_cli.model.checks.check import Check, CheckContext, ExpectedParams
from tinylm_cli.model.checks.tensors import closed_form, same_seed, tied_identity, untied
from tinylm_cli.model.initialization import initialize

MakeContext = Callable[..., CheckContext]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
EMBEDDING = "embedding.token_embedding.embedding.weight"


def split_head(model: TinyTransformerLM) -> TinyTransformerLM:
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def test_a_closed_form_that_agrees(make_context: MakeContext) -> None:
    check = closed_form(make_context())
    assert (check.status, check.measured) == ("pass", "52 tensor names, 7,864 parameters")


@pytest.mark.parametrize(
    ("shapes", "total", "measured", "value"),
    [
        ({"extra.weight": (1,)}, 0, "extra.weight: closed form (1,), module absent", 1),
        ({"ln_f.bias": (17,)}, 0, "ln_f.bias: closed form (17,), module (16,)", 1),
        ({"lm_head.weight": (16, 23), "ln_f.bias": (1,)}, 1, "ln_f.bias: closed form (1,), module (16,)", 2),
        ({}, 1, "7,865 parameters in closed form, 7,864 in the model", 0),
    ],
)
def test_a_closed_form_that_does_not(
    make_context: MakeContext, shapes: dict[str, tuple[int, ...]], total: int, measured: str, value: int
) -> None:
    context = make_context()
    right = context.closed_form
    wrong = ExpectedParams({**right.shapes, **shapes}, right.total_params + total)
    check = closed_form(replace(context, closed_form=wrong))
    assert (check.status, check.measured, check.value) == ("fail", measured, value)


def test_a_tensor_without_a_closed_form(make_context: MakeContext) -> None:
    context = make_context()
    shapes = {name: shape for name, shape in context.closed_form.shapes.items() if name != EMBEDDING}
    check = closed_form(replace(context, closed_form=replace(context.closed_form, shapes=shapes)))
    assert check.measured == f"{EMBEDDING}: closed form absent, module (23, 16)"


@pytest.mark.parametrize("dtype", DTYPES)
def test_tied_tensors_stay_tied(make_context: MakeContext, dtype: torch.dtype) -> None:
    check = tied_identity(make_context(dtype=dtype))
    assert check.status == "pass"
    assert check.measured == "one tensor, also after copy, cast, move and reload"


@pytest.mark.parametrize("dtype", DTYPES)
def test_untied_tensors_stay_untied(make_context: MakeContext, dtype: torch.dtype) -> None:
    check = untied(make_context(dtype=dtype, tie_weights=False, newly_initialized=False))
    assert check.status == "pass"
    assert check.measured.startswith("two tensors, also after copy")


def test_separate_head_is_found(make_context: MakeContext) -> None:
    context = make_context()
    split_head(context.model)
    check = tied_identity(context)
    assert (check.status, check.measured) == ("fail", "two tensors as built")


def test_a_tie_lost_in_a_copy_is_found(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "deepcopy", lambda model: split_head(copy.copy(model)))
    assert tied_identity(make_context()).measured == "two tensors copied"


def test_a_tie_lost_in_a_move_is_found(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context()
    monkeypatch.setattr(TinyTransformerLM, "_apply", nn.Module._apply)
    check = tied_identity(context)
    assert (check.status, check.measured) == ("fail", "two tensors on meta")


def test_a_tie_lost_in_a_file_is_found(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "load_model", lambda *args, **options: split_head(load_model(*args, **options)))
    check = tied_identity(make_context())
    assert (check.status, check.measured) == ("fail", "two tensors saved and loaded")


def test_a_shared_storage_is_found(make_context: MakeContext) -> None:
    context = make_context(tie_weights=False)
    model = context.model
    model.lm_head.weight = model.embedding.token_embedding.embedding.weight
    assert untied(context).measured == "two names for the same storage"
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach())
    assert untied(context).measured == "two names for the same storage"


def test_equal_values(make_context: MakeContext) -> None:
    context = make_context(tie_weights=False)
    with torch.no_grad():
        context.model.lm_head.weight.copy_(context.model.embedding.token_embedding.embedding.weight)
    assert untied(context).measured == "two tensors with the same values"
    assert untied(replace(context, newly_initialized=False)).status == "pass"


def test_a_tie_made_in_a_file_is_found(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:

    def tie(config: ModelConfig, directory: Path, *, device: torch.device) -> TinyTransformerLM:
        model = load_model(config, directory, device=device)
        model.lm_head.weight = model.embedding.token_embedding.embedding.weight
        return model

    monkeypatch.setattr(tensors, "load_model", tie)
    assert untied(make_context(tie_weights=False)).measured == "one tensor saved and loaded"


@pytest.mark.parametrize("newly_initialized", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_seeds_repeat(make_context: MakeContext, dtype: torch.dtype, newly_initialized: bool) -> None:
    check = same_seed(make_context(dtype=dtype, newly_initialized=newly_initialized, seed=5))
    assert (check.status, check.measured) == ("pass", "52 tensors identical, 19 differ with another seed")


def test_a_seed_that_is_ignored_is_found(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm, "initialize", lambda model, *, seed: initialize(model, seed=0 * seed))
    check = same_seed(make_context(seed=3))
    assert (check.status, check.measured) == ("fail", f"{EMBEDDING} is the same for seeds 3 and 4")


def test_seed_ignored(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(model: TinyTransformerLM, *, seed: int) -> None:
        initialize(model, seed=seed)
        with torch.no_grad():
            model.blocks[1].attention.q_proj.weight.fill_(0.02)  # type: ignore[union-attr, operator]

    monkeypatch.setattr(lm, "initialize", draw)
    assert same_seed(make_context()).measured == "blocks.1.attention.q_proj.weight is the same for seeds 0 and 1"


def test_global_generator_is_found(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(model: TinyTransformerLM, *, seed: int) -> None:
        initialize(model, seed=seed)
        nn.init.normal_(model.ln_f.weight)

    monkeypatch.setattr(lm, "initialize", draw)
    check = same_seed(make_context())
    assert (check.status, check.measured) == ("fail", "ln_f.weight differs between two builds with the same seed")


def test_modified_model_is_found(make_context: MakeContext) -> None:
    context = make_context()
    with torch.no_grad():
        context.model.ln_f.weight[0] = 2
    assert same_seed(context).status == "fail"


def test_tensors_too_small_to_compare(make_context: MakeContext) -> None:
    tiny = {"vocab_size": 1, "d_model": 1, "n_heads": 1, "d_ff": 1, "position": {"kind": "none"}}
    assert same_seed(make_context(**tiny)).status == "skip"


@pytest.mark.parametrize("check", [tied_identity, same_seed], ids=lambda check: check.name)
def test_skips_without_memory(make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    context = make_context()

    def refuse(_needed_bytes: int, what: str, **_: object) -> None:
        raise CapacityError(f"{what} does not fit")

    monkeypatch.setattr(check_module, "require_memory", refuse)
    monkeypatch.setattr(initialization, "require_memory", refuse)
    assert check(context).status == "skip"
