from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextAttention, Qwen3NextRotaryEmbedding

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import SelfAttention, SharedKV
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.rope import RotaryPosition

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
CAUSAL = AttentionMask(is_causal=True)


def by_hand(attention: SelfAttention, x: Tensor, scores_added: Tensor) -> Tensor:
    """Attend head by head and row by row; ``scores_added`` is (T, T)."""
    out = torch.zeros_like(x)
    assert attention.k_proj is not None
    assert attention.v_proj is not None
    q, k, v = attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)
    size = attention.d_head
    for head in range(x.shape[2] // size):
        part = slice(head * size, (head + 1) * size)
        for batch in range(x.shape[0]):
            scores = q[batch, :, part] @ k[batch, :, part].T / size**0.5 + scores_added
            weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
            out[batch, :, part] = weights @ v[batch, :, part]
    mapped: Tensor = attention.o_proj(out)
    return mapped


@pytest.fixture
def attention(make_config: Make, randomized: Randomize) -> SelfAttention:
    module = SelfAttention(make_config())
    randomized(module)
    return module


def test_it_is_causal_by_default(attention: SelfAttention) -> None:
    x = torch.randn(2, 6, 16)
    causal = torch.full((6, 6), -torch.inf).triu(1)
    torch.testing.assert_close(attention(x, CAUSAL), by_hand(attention, x, causal))


def test_custom_mask_replaces_causal_mask(attention: SelfAttention) -> None:
    x = torch.randn(2, 6, 16)
    added = torch.randn(6, 6)
    torch.testing.assert_close(attention(x, AttentionMask(added[None, None])), by_hand(attention, x, added))


def test_biases_are_optional(make_config: Make) -> None:
    names = dict(SelfAttention(make_config(attention={"bias": False})).named_parameters()).keys()
    assert names == {f"{part}_proj.weight" for part in "qkvo"}


def test_gate_equals_transformers(make_config: Make, randomized: Randomize) -> None:
    """Qwen3-Next fuses the gate into the query projection: of each head, the query, then its gate."""
    config = make_config(
        position={"kind": "rope", "rotary_fraction": 0.5},
        norm={"kind": "rmsnorm", "zero_centered": True},
        attention={"gate": True, "n_kv_heads": 2, "d_head": 8, "qk_norm": "per_head"},
    )
    ours = SelfAttention(config)
    randomized(ours)
    weights = ours.state_dict()
    for name in ("weight", "bias"):
        query, gate = (weights.pop(f"{proj}.{name}").unflatten(0, (4, 8)) for proj in ("q_proj", "gate_proj"))
        weights[f"q_proj.{name}"] = torch.cat((query, gate), dim=1).flatten(0, 1)
    theirs_config = Qwen3NextConfig(
        hidden_size=16,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        attention_bias=True,
        rms_norm_eps=1e-5,
        num_hidden_layers=1,
        layer_types=["full_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    )
    theirs_config._attn_implementation = "eager"
    theirs = Qwen3NextAttention(theirs_config, layer_idx=0)
    theirs.load_state_dict(weights)
    x, positions = torch.randn(2, 9, 16), torch.arange(9)
    angles = Qwen3NextRotaryEmbedding(theirs_config)(x, positions[None])
    expected, _ = theirs(x, angles, torch.full((9, 9), -torch.inf).triu(1)[None, None])
    rotary = RotaryPosition(config)
    rotary.to_empty(device="cpu")
    rotary.fill()
    rotation = rotary.rotation(0, 9, dtype=torch.float32)
    torch.testing.assert_close(ours(x, CAUSAL, rotation), expected, rtol=1e-5, atol=1e-5)


def test_dropout_on_weights(make_config: Make, randomized: Randomize) -> None:
    module = SelfAttention(make_config(dropout=0.5))
    randomized(module)
    x = torch.randn(1, 6, 16)
    assert torch.equal(module.eval()(x, CAUSAL), module(x, CAUSAL))
    assert not torch.equal(module.train()(x, CAUSAL), module(x, CAUSAL))


def test_norms_after_rope(make_config: Make, randomized: Randomize) -> None:
    """A rotation does not change a vector's length: the order matters only if the norm has weights."""
    x, rotated = torch.randn(2, 6, 16), {"kind": "rope"}
    outputs = []
    for weight in (False, True):
        for after in (False, True):
            attention = {"qk_norm": "per_head", "qk_norm_after_rope": after}
            config = make_config(attention=attention, position=rotated, norm={"kind": "rmsnorm", "weight": weight})
            position = RotaryPosition(config).to_empty(device="cpu")
            position.fill()
            module = SelfAttention(config)
            randomized(module)
            outputs.append(module(x, CAUSAL, position.rotation(0, 6, dtype=torch.float32)))
    torch.testing.assert_close(outputs[0], outputs[1])
    assert not torch.allclose(outputs[2], outputs[3], atol=1e-3)


def test_narrow_values_by_hand(make_config: Make, randomized: Randomize) -> None:
    """Keys of 5 dimensions and values of 3, which two query heads share; the norm is over the values of both heads."""
    sizes = {"n_kv_heads": 1, "d_head": 5, "d_value": 3, "sub_norm": True}
    module = SelfAttention(make_config(n_heads=2, attention=sizes, norm={"kind": "rmsnorm", "eps": 0.1}))
    randomized(module)
    x = torch.randn(1, 4, 16)
    assert module.k_proj is not None
    assert module.v_proj is not None
    assert module.sub_norm is not None
    q, k, v = module.q_proj(x)[0], module.k_proj(x)[0], module.v_proj(x)[0]
    assert (q.shape, k.shape, v.shape) == ((4, 10), (4, 5), (4, 3))
    causal = torch.full((4, 4), -torch.inf).triu(1)
    heads = [(q[:, part] @ k.T / 5**0.5 + causal).softmax(-1) @ v for part in (slice(5), slice(5, 10))]
    both = torch.cat(heads, dim=1)  # (T, 2 · 3)
    normed = both / (both.square().mean(-1, keepdim=True) + 0.1).sqrt() * module.sub_norm.weight
    torch.testing.assert_close(module(x, CAUSAL), module.o_proj(normed)[None])


@pytest.mark.parametrize("norm", ["none", "per_head", "full"])
def test_keys_and_values_of_another_layer(make_config: Make, randomized: Randomize, norm: str) -> None:
    """The layer equals one that computes the same keys and values from the input of the other."""
    fields = {"n_kv_heads": 2, "qk_norm": norm, "v_norm": True, "clip_qkv": 0.5}
    source = SelfAttention(make_config(attention=fields))
    kinds = {"own": {}, "reuse": {"attention": {"kv_from": "own"}}}
    config = make_config(attention=fields, n_layers=2, layers={"pattern": "own, reuse", "kinds": kinds})
    reader = SelfAttention(layer_pattern(config).kinds[1])
    randomized(source)
    randomized(reader)
    assert not any(name.startswith(("k_", "v_")) for name, _ in reader.named_parameters())
    shared, x, other = SharedKV(), torch.randn(2, 6, 16), torch.randn(2, 6, 16)
    source(other, CAUSAL, shared=shared)
    q = reader._heads([reader.q_proj(x)], None)[0]  # (B, H, T, K)
    groups = q.shape[1] // shared.keys.shape[1]
    keys, values = (each.repeat_interleave(groups, dim=1) for each in (shared.keys, shared.values))
    scores = q @ keys.mT / reader.d_head**0.5 + torch.full((6, 6), -torch.inf).triu(1)
    expected = reader.o_proj((scores.softmax(-1) @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(reader(x, CAUSAL, shared=shared), expected)
