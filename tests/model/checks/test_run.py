from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.random_configs import drawn, small_configs
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checks import ExpectedParams, run, run_checks
from tinylm_cli.model.checks.check import Check
from tinylm_cli.model.checks.run import checks_for
from tinylm_cli.reports.check import CheckReport, CheckResult

Make = Callable[..., ModelConfig]
Form = Callable[[ModelConfig], ExpectedParams]
NAMES = [
    "closed-form", "same-seed", "tied-identity", "logits-shape", "causality-gradient", "causality-perturbation",
    "batch-invariance", "cached-equals-uncached", "initial-loss", "gradients-finite", "overfits-one-batch",
]  # fmt: skip
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def failures(report: CheckReport) -> dict[str, str]:
    return {check.name: check.measured for check in report.checks if check.status == "fail"}


@pytest.fixture(scope="module")
def check(form: Form) -> Callable[..., CheckReport]:
    def tried(config: ModelConfig, **options: object) -> CheckReport:
        return run_checks(config, name="mine", source="mine.yaml", closed_form=form(config), **options)  # type: ignore[arg-type]

    return tried


def test_the_report(make_config: Make, check: Callable[..., CheckReport]) -> None:
    started: list[Check] = []
    finished: list[CheckResult] = []
    report = check(make_config(), seed=7, on_start=started.append, on_result=finished.append)
    assert tuple(finished) == report.checks
    assert [one.name for one in started] == [check.name for check in report.checks] == NAMES
    assert (report.name, report.source, report.seed, report.weights) == ("mine", "mine.yaml", 7, None)
    assert (report.device, report.dtype) == ("cpu", "float32")
    assert (report.passed, report.failed, report.skipped) == (11, 0, 0)
    assert all(check.statement and check.measured for check in report.checks)


def test_first_position_of_a_chunk(make_config: Make, check: Callable[..., CheckReport]) -> None:
    """It attends only to itself, in a model whose layers are all chunked."""
    attention = {"window": 4, "chunked": True}
    assert failures(check(make_config(n_layers=1, max_len=14, attention=attention))) == {}


def test_hyper_connections(make_config: Make, check: Callable[..., CheckReport]) -> None:
    """Their biases have initial values that no seed changes."""
    assert failures(check(make_config(block={"hyper_streams": 4}))) == {}


def test_altup(make_config: Make, check: Callable[..., CheckReport]) -> None:
    """Also with learned residuals, sparse activations, and embeddings for the layers."""
    feed_forward = {"gated": True, "activation_sparsity": 0.5}
    config = make_config(
        block={"altup_streams": 3, "laurel_rank": 4}, embedding={"d_per_layer": 4}, feed_forward=feed_forward
    )
    assert failures(check(config)) == {}


@pytest.mark.parametrize("fields", [{}, {"tie_weights": False}, {"head": {"n_mtp_layers": 1}}])
def test_codebooks(fields: dict[str, Any], make_config: Make, check: Callable[..., CheckReport]) -> None:
    """Statements name the shapes, with an LM head and with another one."""
    embedding = {"embedding": {"n_codebooks": 3}}
    report = check(make_config(**embedding, **fields))
    assert (report.failed, report.skipped) == (0, 0)
    shape = next(result for result in report.checks if result.name == "logits-shape")
    assert shape.statement == "ids (B, T, C) give finite logits (B, T, C, V)"
    classifier = make_config(**embedding, tie_weights=False, head={"kind": "token_classification", "n_labels": 3})
    report = check(classifier)
    assert report.failed == 0
    shape = next(result for result in report.checks if result.name == "outputs-shape")
    assert shape.statement == "ids (B, T, C) give finite scores (B, T, L)"


def test_names_and_statements(make_config: Make) -> None:
    found = [*checks_for(make_config()), *checks_for(make_config(tie_weights=False))]
    assert len({check.name for check in found}) == len({check.statement for check in found}) == 12
    assert max(len(check.statement) for check in found) <= 100
    assert max(len(check.name) for check in found) <= 24


LABELS = {"n_labels": 3}
OUTPUTS = {
    "sequence_classification": ("score", "scores", "(B, L)", "(2, 16) gives (2, 3)"),
    "token_classification": ("score", "scores", "(B, T, L)", "(2, 16) gives (2, 16, 3)"),
    "none": ("hidden state", "hidden states", "(B, T, D)", "(2, 16) gives (2, 16, 32)"),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_other_heads(kind: str, make_config: Make, check: Callable[..., CheckReport]) -> None:
    """Statements name the outputs of the head; without a head there is no loss, and only an LM head is tied."""
    one, several, shape, measured = OUTPUTS[kind]
    head = {"kind": kind} | ({} if kind == "none" else LABELS)
    report = check(make_config(tie_weights=False, head=head, d_model=32, max_len=32))
    assert (report.failed, report.skipped) == (0, 0)
    found = {result.name: result for result in report.checks}
    statements = {name: result.statement for name, result in found.items()}
    without = {"tied-identity", "logits-shape"} | ({"initial-loss", "overfits-one-batch"} if kind == "none" else set())
    assert set(statements) == {*NAMES, "outputs-shape"} - without
    assert statements["outputs-shape"] == f"ids (B, T) give finite {several} {shape}"
    assert found["outputs-shape"].measured == measured
    assert statements["causality-gradient"] == f"no {one} has a gradient with respect to a later token"
    assert statements["causality-perturbation"] == f"changing a token does not change earlier {several}"
    assert statements["batch-invariance"] == f"a sequence has the same {several} alone and in a batch"
    assert statements["cached-equals-uncached"] == f"a KV cache gives the same {several}"
    assert statements.get("initial-loss") == (None if kind == "none" else "the initial loss is ln L")
    assert not any("logit" in statement or "{" in statement for statement in statements.values())


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_every_kind_passes(make_config: Make, check: Callable[..., CheckReport], position: str, norm: str) -> None:
    """Each position is tried with every activation and dtype, half of them with each norm."""
    activations = ["gelu", "gelu_tanh", "relu", "silu"]
    first = ["sinusoidal", "learned", "none"].index(position) + (2 if norm == "rmsnorm" else 0)
    for number in (first % 4, (first + 1) % 4):
        tied = (number % 2 == 0) is (norm == "layernorm")
        report = check(
            make_config(
                n_layers=2, tie_weights=tied, position={"kind": position}, norm={"kind": norm},
                attention={"bias": number < 2},
                feed_forward={"bias": number % 2 == 0, "activation": activations[number]},
            ),
            dtype=DTYPES[number],
        )  # fmt: skip
        assert failures(report) == {}
        assert report.skipped == 0
        assert ("untied" in {check.name for check in report.checks}) is not tied


@given(
    vocab_size=st.sampled_from([1, 2, 3, 17, 300]), heads=st.integers(1, 3), d_head=st.sampled_from([1, 2, 8]),
    n_layers=st.integers(1, 3), d_ff=st.sampled_from([1, 2, 33]), max_len=st.sampled_from([1, 2, 3, 5, 40]),
    tied=st.booleans(), bias=st.booleans(), seed=st.integers(0, 2**40), dtype=st.sampled_from(DTYPES),
    position=st.sampled_from(["sinusoidal", "learned", "none"]), norm=st.sampled_from(["layernorm", "rmsnorm"]),
    eps=st.sampled_from([1e-8, 1e-5, 0.1]), activation=st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"]),
)  # fmt: skip
@settings(max_examples=12, deadline=None)
def test_smallest_models_pass(
    vocab_size: int, heads: int, d_head: int, n_layers: int, d_ff: int, max_len: int, tied: bool, bias: bool,
    seed: int, dtype: torch.dtype, position: str, norm: str, eps: float, activation: str,
) -> None:  # fmt: skip
    width = heads * d_head
    config = ModelConfig.model_validate({
        "vocab_size": vocab_size, "d_model": width, "n_heads": heads, "n_layers": n_layers, "d_ff": d_ff,
        "max_len": max_len, "tie_weights": tied, "attention": {"bias": bias},
        "position": {"kind": "none" if width % 2 and position == "sinusoidal" else position},
        "norm": {"kind": norm, "eps": eps}, "feed_forward": {"bias": bias, "activation": activation},
    })  # fmt: skip
    model = TinyTransformerLM.from_config(config, device="meta")
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)}
    form = ExpectedParams(shapes, sum(tensor.numel() for tensor in model.parameters()))
    report = run_checks(config, name="", source="", closed_form=form, seed=seed, dtype=dtype)
    assert failures(report) == {}


def test_a_loaded_model(make_config: Make, check: Callable[..., CheckReport]) -> None:
    model = TinyTransformerLM.from_config(make_config(), seed=3, dtype=torch.bfloat16)
    with torch.no_grad():
        model.ln_f.weight.add_(1)
    report = check(model.config, model=model, weights="folder")
    assert (report.weights, report.dtype) == ("folder", "bfloat16")
    assert failures(report) == {}
    assert [check.name for check in report.checks if check.status == "skip"] == ["initial-loss"]


def test_model_is_unchanged(make_config: Make, check: Callable[..., CheckReport]) -> None:
    model = TinyTransformerLM.from_config(make_config(dropout=0.5)).train()
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    values = {name: value.clone() for name, value in model.state_dict().items()}
    stream = torch.get_rng_state()
    check(model.config, model=model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize(("small", "during"), [(10_000, 1), (100, 2)])
def test_one_thread_for_small_models(
    make_config: Make, check: Callable[..., CheckReport], monkeypatch: pytest.MonkeyPatch, small: int, during: int
) -> None:
    monkeypatch.setattr(run, "SMALL_PARAMS", small)
    threads: set[int] = set()
    torch.set_num_threads(2)
    try:
        check(make_config(), on_start=lambda _: threads.add(torch.get_num_threads()))
        assert threads == {during}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_under_no_grad(make_config: Make, check: Callable[..., CheckReport]) -> None:
    with torch.no_grad():
        assert failures(check(make_config())) == {}


def test_one_failure(make_config: Make, check: Callable[..., CheckReport]) -> None:
    model = TinyTransformerLM.from_config(make_config())
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    report = check(model.config, model=model)
    assert set(failures(report)) == {"closed-form", "tied-identity"}
    assert (report.passed, report.failed, report.skipped) == (8, 2, 1)


def test_broken_weights(make_config: Make, check: Callable[..., CheckReport]) -> None:
    model = TinyTransformerLM.from_config(make_config())
    with torch.no_grad():
        model.ln_f.weight.fill_(torch.nan)
    found = failures(check(model.config, model=model))
    assert {"logits-shape", "causality-gradient", "batch-invariance", "cached-equals-uncached"} <= set(found)
    assert {"closed-form", "tied-identity", "same-seed"}.isdisjoint(found)


def test_meta_is_rejected(make_config: Make, check: Callable[..., CheckReport]) -> None:
    with pytest.raises(ValueError, match="no values to check"):
        check(make_config(), device="meta")


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_presets_keep_every_check(check: Callable[..., CheckReport], name: str) -> None:
    report = check(load_config(name).config)
    assert (report.passed, report.failed, report.skipped) == (11, 0, 0)


@settings(max_examples=drawn(20))
@given(config=small_configs(), dtype=st.sampled_from(DTYPES))
def test_every_architecture_passes(check: Callable[..., CheckReport], config: ModelConfig, dtype: torch.dtype) -> None:
    assert failures(check(config, dtype=dtype)) == {}


def test_gradients_in_float16(make_config: Make, check: Callable[..., CheckReport]) -> None:
    """The gradient of a vector of length 1, made from a single tiny number, exceeds the range of float16."""
    sizes = dict.fromkeys(("n_key_heads", "d_key", "d_value", "kernel_size", "chunk_len"), 1)
    block = {"mixer": "gated_deltanet", "feed_forward": False, "hyper_streams": 2}
    fields = {"position": {"kind": "learned"}, "norm": {"placement": "post", "weight": False}, "head": {"kind": "none"}}
    fields |= {"vocab_size": 29, "d_model": 16, "n_heads": 1, "n_layers": 2, "max_len": 14, "tie_weights": False}
    config = make_config(gated_deltanet={**sizes, "n_value_heads": 2, "gate": False}, block=block, **fields)
    assert failures(check(config, dtype=torch.float16)) == {}


LATENT = {"kind": "latent", "kv_rank": 8, "d_nope": 6, "d_rope": 2, "d_value": 6}


@pytest.mark.parametrize(
    "fields",
    [
        {"attention": {"logit_softcap": 50.0}, "head": {"logit_softcap": 30.0}},
        {"attention": {"logit_softcap": 50.0, "qk_norm": "per_head"}, "norm": {"kind": "rmsnorm"}},
        {"attention": {"d_head": 1}},
        {"head": {"logit_scale": 1e4}},
        {"attention": LATENT, "position": {"kind": "rope"}},
        {"attention": {"window": 2, "window_pattern": "LG"}},
        {"head": {"dense": True}},  # tied, as in ModernBERT
        {"block": {"skip_multiplier": 1.5}, "position": {"kind": "none"}},
        {"block": {"skip_multiplier": 2.0, "parallel": True}, "position": {"kind": "learned"}},
    ],
    ids=[
        *("caps", "norms of heads", "one dimension a head", "large logits", "latent", "windows", "dense"),
        *("skip multiplier", "skip multiplier of parallel blocks"),
    ],
)
def test_no_unneeded_skips(make_config: Make, check: Callable[..., CheckReport], fields: dict[str, object]) -> None:
    report = check(make_config(**fields))
    assert failures(report) == {}
    assert report.skipped == 0
    gradients = next(check.measured for check in report.checks if check.name == "gradients-finite")
    learning, parameters = gradients.split(" nonzero")[0].split(" of ")
    assert learning == parameters


def test_degenerate_norm_of_narrow_values(make_config: Make, check: Callable[..., CheckReport]) -> None:
    """A norm over one value per token maps every value to the same output, up to its sign."""
    config = make_config(n_heads=1, attention={"d_head": 8, "d_value": 1, "sub_norm": True})
    assert failures(check(config)) == {}


def test_low_softcap(make_config: Make, check: Callable[..., CheckReport]) -> None:
    config = make_config(head={"logit_softcap": 1e-3})
    flat = "head.logit_softcap 0.001 saturates at initialization"
    blind = "with head.logit_softcap 0.001, logits differ by less than bfloat16 can represent"
    skipped = {check.name: check.measured for check in check(config).checks if check.status == "skip"}
    assert skipped == {"overfits-one-batch": flat}
    rounded = check(config, dtype=torch.bfloat16)
    assert failures(rounded) == {}
    assert {check.name: check.measured for check in rounded.checks if check.status == "skip"} == {
        "causality-perturbation": blind,
        "batch-invariance": blind,
        "cached-equals-uncached": blind,
        "overfits-one-batch": flat,
    }
