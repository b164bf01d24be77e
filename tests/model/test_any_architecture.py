"""What holds for every model that a config can describe, tried on drawn ones."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.random_configs import drawn, small_configs
from tests.small_models import randomize
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.proof import closed_form, prove
from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.forward_trace import trace_forward
from tinylm_cli.model.generation import decode
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.loop import layer_order
from tinylm_cli.model.sampling import SamplingParams
from tinylm_cli.model.state_dict import parameter_shapes, unique_params, unique_state_dict

GREEDY = SamplingParams(temperature=0.0)


def random_model(config: ModelConfig) -> TinyTransformerLM:
    """Return a model whose norms, biases, sinks and corrections are as random as the rest."""
    model = TinyTransformerLM.from_config(config).eval()
    randomize(model)
    return model


def ids(config: ModelConfig, length: int) -> Tensor:
    return torch.randint(29, config.tokens_shape(2, length), generator=torch.Generator().manual_seed(1))


def near(found: Tensor, expected: Tensor) -> bool:
    """Whether logits differ by rounding: those that a soft-cap keeps below 1 were about as large as that before it."""
    return float((found - expected).detach().abs().max()) <= 1e-5 * max(float(expected.detach().abs().max()), 1.0)


def _mixes_without_attention(config: ModelConfig) -> bool:
    kinds = layer_pattern(config).kinds
    return any(each.block.mixer not in ("attention", "none") or each.feed_forward.channel_mixing for each in kinds)


@given(small_configs())
@settings(max_examples=drawn(60))
def test_closed_form(config: ModelConfig) -> None:
    model = TinyTransformerLM.from_config(config, device="meta")
    assert prove(config, parameter_shapes(model), unique_params(model)).holds
    assert list(closed_form(config)) == list(parameter_shapes(model))
    assert stored_shapes(config) == {name: tuple(tensor.shape) for name, tensor in unique_state_dict(model).items()}


@given(small_configs())
@settings(max_examples=drawn(40))
def test_forward_on_meta(config: ModelConfig) -> None:
    """Each part of a block has a description; on the meta device, the output has its shape."""
    stages, output = trace_forward(TinyTransformerLM.from_config(config, device="meta"), ids(config, 5).to("meta"))
    runs = [stage.name for stage in stages if stage.name.count(".") == 1 and stage.name.startswith("blocks.")]
    assert len(runs) == len(layer_order(config))
    shapes = {
        "lm": (*config.tokens_shape(2, 5), 29),
        "token_classification": (2, 5, config.head.n_labels),
        "sequence_classification": (2, config.head.n_labels),
        "none": (2, 5, 16),
    }
    assert output.shape == shapes[config.head.kind]


@given(small_configs())
@settings(max_examples=drawn(40))
def test_cache_changes_no_logits(config: ModelConfig) -> None:
    """From one token and from more than the window; past the length rotation was made for, and past max_len.

    In float64, since a norm of few elements near 0 amplifies the rounding errors of float32 by a hundred.
    """
    model = random_model(config).double()
    if not config.has_lm_head:
        with pytest.raises(ValueError, match="does not predict next tokens"):
            decode(model, ids(config, 1), 1, sampling=GREEDY)
        return
    for read, steps in ((1, 15), (5, 3)):
        start = ids(config, read)
        cached = decode(model, start, steps, sampling=GREEDY)
        uncached = decode(model, start, steps, sampling=GREEDY, use_cache=False)
        for ours, theirs in zip(cached, uncached, strict=True):
            assert near(ours.logits, theirs.logits)
            best = theirs.logits.amax(-1)
            assert near(theirs.logits.gather(-1, ours.tokens[..., None])[..., 0], best)
            if not torch.equal(ours.tokens, theirs.tokens):  # the best two are equal but for rounding
                break


@given(small_configs())
@settings(max_examples=drawn(60))
def test_later_tokens_have_no_effect(config: ModelConfig) -> None:
    model = random_model(config)
    tokens = ids(config, 8)
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 29
    with torch.no_grad():
        outputs = [model.logits(model.hidden(each)) for each in (changed, tokens)]  # at every position
        assert near(outputs[0][:, :5], outputs[1][:, :5])
        if config.head.kind == "sequence_classification":
            assert torch.equal(model(tokens), outputs[1][:, -1])


@given(small_configs())
@settings(max_examples=drawn(60))
def test_causal_mask_equals_default(config: ModelConfig) -> None:
    model = random_model(config)
    windows = {kind.attention.window for kind in layer_pattern(config).kinds}
    if _mixes_without_attention(config) or windows != {None}:
        return
    square = torch.ones(7, 7, dtype=torch.bool).tril()
    added = torch.zeros(7, 7).masked_fill(~square, -torch.inf)
    with torch.no_grad():
        expected = model(ids(config, 7))
        for mask in (square, added):
            assert near(model(ids(config, 7), mask), expected)


@given(small_configs())
@settings(max_examples=drawn(40))
def test_fully_masked_query(config: ModelConfig) -> None:
    mask = torch.ones(4, 4, dtype=torch.bool).tril()
    mask[0] = False
    if _mixes_without_attention(config):
        with pytest.raises(ValueError, match="a mask applies to attention only"):
            random_model(config)(ids(config, 4), mask)
        return
    with torch.no_grad():
        assert random_model(config)(ids(config, 4), mask).isfinite().all()


@given(small_configs())
def test_cache_bytes(config: ModelConfig) -> None:
    for capacity in (1, 3, 5, 14):
        cache = KVCache(config, batch_size=3, capacity=capacity, device=torch.device("meta"), dtype=torch.bfloat16)
        assert cache.nbytes == kv_cache_bytes(config, batch_size=3, seq_len=capacity, dtype="bfloat16")


@given(small_configs())
@settings(max_examples=drawn(30))
def test_copies_and_casts(config: ModelConfig) -> None:
    model = random_model(config)
    with torch.no_grad():
        expected = model(ids(config, 6))
        assert torch.equal(copy.deepcopy(model)(ids(config, 6)), expected)
        assert near(copy.deepcopy(model).double()(ids(config, 6)).float(), expected)


@given(small_configs())
@settings(max_examples=drawn(30))
def test_assign_on_meta(config: ModelConfig) -> None:
    model = random_model(config)
    other = TinyTransformerLM.from_config(config, device="meta").eval()
    other.load_state_dict(model.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(other(ids(config, 6)), model(ids(config, 6)))


@given(small_configs())
@settings(max_examples=drawn(40))
def test_every_parameter_has_a_gradient(config: ModelConfig) -> None:
    model = random_model(config)
    outputs = model.multi_token_logits(ids(config, 8)) if config.head.n_mtp_layers else (model(ids(config, 8)),)
    torch.autograd.backward(torch.stack(tuple(outputs)).square().sum())
    for name, parameter in model.named_parameters():
        if ".indexer." in name:  # selecting has no gradient
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
