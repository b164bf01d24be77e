"""Multi-token prediction modules: logits, tensors and training costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.analysis.test_flops_counted import _backward_is_twice_forward, flop_counter
from tests.random_configs import has_zero_experts, mtp_configs
from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.flops import decode_flops, forward_flops, train_flops
from tinylm_cli.analysis.params import active_params, total_params
from tinylm_cli.analysis.proof import closed_form
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.layer_kinds import layer_pattern, without_mtp
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.yaml_writer import to_yaml
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checkpoint import load_model, save_model
from tinylm_cli.model.state_dict import parameter_shapes, unique_params
from tinylm_cli.reports.choices import Recompute

MakeConfig = Callable[..., ModelConfig]
FIELDS = {"head": {"n_mtp_layers": 2}, "dropout": 0.0}


@pytest.fixture
def model(make_config: MakeConfig) -> TinyTransformerLM:
    return TinyTransformerLM.from_config(make_config(**FIELDS)).eval()


def tokens(model: TinyTransformerLM, length: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(model.config.vocab_size, model.config.tokens_shape(2, length), generator=generator)


@settings(max_examples=40, deadline=None)
@given(config=mtp_configs())
def test_tensors(config: ModelConfig) -> None:
    """The table has the very names and shapes of the module, in its order."""
    model = TinyTransformerLM.from_config(config, device="meta")
    assert list(closed_form(config).items()) == list(parameter_shapes(model).items())
    assert total_params(tensor_table(config)) == unique_params(model)


@settings(max_examples=20, deadline=None)
@given(config=mtp_configs())
def test_flops(config: ModelConfig) -> None:
    """Training FLOPs equal torch's count; modules do not change the FLOPs of inference."""
    model = TinyTransformerLM.from_config(config)
    ids = torch.zeros(config.tokens_shape(3, 7), dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), flop_counter() as counter:
        logits = torch.stack(tuple(model.multi_token_logits(ids)))  # (M + 1, B, T, V)
    trained = train_flops(config, batch_size=3, seq_len=7, attention="full")
    measured = 3 * counter.get_total_flops()
    assert measured == trained or (has_zero_experts(config) and measured < trained)
    if all(_backward_is_twice_forward(kind, 7) for kind in layer_pattern(config).kinds):
        with sdpa_kernel(SDPBackend.MATH), flop_counter() as backward:
            torch.autograd.backward(logits.sum())
        assert backward.get_total_flops() == 2 * counter.get_total_flops()
    plain = without_mtp(config)
    assert forward_flops(config, batch_size=3, seq_len=7) == forward_flops(plain, batch_size=3, seq_len=7)
    assert decode_flops(config, context_len=9) == decode_flops(plain, context_len=9)
    assert active_params(tensor_table(config)) == active_params(tensor_table(plain))


@settings(max_examples=30, deadline=None)
@given(config=mtp_configs(), length=st.integers(1, 6))
def test_logits_of_any_model(config: ModelConfig, length: int) -> None:
    """The first logits equal the model's; logits of module k do not depend on tokens after t + k."""
    model = TinyTransformerLM.from_config(config, dtype=torch.float64).eval()
    ids = tokens(model, length)
    with torch.no_grad():
        logits = tuple(model.multi_token_logits(ids))
        assert len(logits) == config.head.n_mtp_layers + 1
        assert torch.equal(logits[0], model(ids))
        changed = ids.clone()
        changed[:, -1] = (changed[:, -1] + 1) % config.vocab_size
        for ahead, (one, other) in enumerate(zip(logits, model.multi_token_logits(changed), strict=True)):
            assert one.shape == (*ids.shape, config.vocab_size)
            torch.testing.assert_close(one[:, : max(length - 1 - ahead, 0)], other[:, : max(length - 1 - ahead, 0)])


def test_by_hand(model: TinyTransformerLM) -> None:
    """The equations of the paper, position by position."""
    ids = tokens(model)
    run = model._layers(ids, keeps_embedded=True)
    assert run.embedded is not None
    hidden = run.hidden
    logits = list(model.multi_token_logits(ids))
    for ahead, module in enumerate(model.mtp_modules, start=1):
        rows = []
        for position in range(ids.shape[1]):
            later = position + ahead
            read = torch.zeros_like(hidden[:, 0])
            if later < ids.shape[1]:
                read = module.enorm(run.embedded[:, later])
            both = torch.cat((read, module.hnorm(hidden[:, position])), dim=1)
            rows.append(both @ module.eh_proj.weight.T)
        hidden = module.block(torch.stack(rows, dim=1), run.mask, run.rotation)
        torch.testing.assert_close(model.lm_head(module.ln_f(hidden)), logits[ahead])


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize(
    ("batch_size", "seq_len", "fields"),
    [
        (2, 32, {"vocab_size": 3000}),
        (2, 32, {"vocab_size": 3000, "tie_weights": False}),
        (4, 64, {"d_ff": 1024, "norm": {"kind": "rmsnorm"}}),
        (1, 16, {}),
    ],
)
def test_peak_of_a_training_step(
    make_config: MakeConfig, batch_size: int, seq_len: int, fields: dict[str, object], recompute: Recompute
) -> None:
    """With one module and with several, at the loss, at the head, in a layer and at the optimizer's step."""
    for n_mtp_layers in (1, 3):
        sizes = {"d_model": 64, "n_layers": 2, "d_ff": 128, "max_len": 64, "head": {"n_mtp_layers": n_mtp_layers}}
        config = make_config(**{**FIELDS, **sizes, **fields})
        setup = step_setup(batch_size, seq_len, recompute)
        measured = measured_peak(config, setup)
        assert training_memory(config, setup).peak_bytes == pytest.approx(measured, rel=0.005)


def test_forward_without_modules(model: TinyTransformerLM, make_config: MakeConfig) -> None:
    """The model itself does not change: same weights by name, same logits, same generated tokens."""
    plain = TinyTransformerLM.from_config(make_config(**{**FIELDS, "head": {}})).eval()
    ids = tokens(model)
    assert torch.equal(model(ids), plain(ids))
    assert torch.equal(model.generate(ids, 4, temperature=0.0), plain.generate(ids, 4, temperature=0.0))
    (only,) = plain.multi_token_logits(ids)
    assert torch.equal(only, plain(ids))


def test_shared_tensors(model: TinyTransformerLM) -> None:
    """Embedding and LM head belong to the model; the modules differ from each other."""
    names = [name for name, _ in model.named_parameters() if name.startswith("mtp.0.")]
    assert not any("embedding" in name or "lm_head" in name for name in names)
    first, second = (dict(module.named_parameters()) for module in model.mtp_modules)
    assert not torch.equal(first["eh_proj.weight"], second["eh_proj.weight"])
    assert len(first) == len(second) == len(names)


def test_saved_and_loaded(model: TinyTransformerLM, tmp_path: Path) -> None:
    save_model(model, tmp_path / "saved", config_text=to_yaml(model.config))
    loaded = load_model(model.config, tmp_path / "saved")
    again = dict(loaded.named_parameters())
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.named_parameters())
    ids = tokens(model)
    for one, other in zip(model.multi_token_logits(ids), loaded.multi_token_logits(ids), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("wrong", [[[99]], [[-1]]])
def test_wrong_tokens(model: TinyTransformerLM, wrong: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        model.multi_token_logits(torch.tensor(wrong))
