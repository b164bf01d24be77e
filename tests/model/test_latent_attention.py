"""Multi-head latent attention, head by head; tests/model/test_indexer.py has its indexer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import AttentionMask, attention_masks
from tinylm_cli.model.indexer import restricted
from tinylm_cli.model.latent_attention import LatentAttention, LatentKVCache, SharedSelection
from tinylm_cli.model.rope import RotaryPosition, Rotation

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
CAUSAL = AttentionMask(is_causal=True)
HEADS, C, N, R, V = 4, 6, 3, 2, 5
T = 7

SETTINGS: list[dict[str, Any]] = [
    {},
    {"q_rank": 7, "latent_norm_eps": 1e-3},
    {"scale": 0.4, "logit_softcap": 1.5, "bias": True, "out_multiplier": 2.0},
    {"gate": True},
    {"gate": True, "gate_per_head": True},
    {"scale_latents": True, "k_rope_norm": True},
    {"scale_latents": True, "q_rank": 7},
    {"scale_latents": True, "q_rank": 7, "q_concat_raw": True, "gate": True},
    {"q_rank": 7, "q_concat_raw": True, "gate": True, "gate_per_head": True},
    {"window": 3},
    {"sinks": True},
    {"sinks": True, "window": 3, "logit_softcap": 1.5},
]


def config_of(make: Make, *, rope: bool = True, dropout: float = 0.0, **settings: Any) -> ModelConfig:
    latent = {"kind": "latent", "kv_rank": C, "d_nope": N, "d_rope": R, "d_value": V, **settings}
    position = {"position": {"kind": "rope" if rope else "none"}}
    return make(norm={"kind": "rmsnorm"}, attention=latent, dropout=dropout, **position)


def rotation_of(config: ModelConfig, start: int, count: int) -> Rotation | None:
    if config.position.kind != "rope":
        return None
    rotary = RotaryPosition(config)
    rotary.to_empty(device="cpu")
    rotary.fill()
    return rotary.rotation(start, count, dtype=torch.float32)


def by_hand(module: LatentAttention, config: ModelConfig, x: Tensor) -> Tensor:
    """Attend head by head, with keys and values expanded from the latents."""
    rotation, settings = rotation_of(config, 0, T), config.attention
    factors = [(16 / rank) ** 0.5 if settings.scale_latents else 1.0 for rank in (settings.q_rank or 16, C)]
    source = gate_source = x
    if settings.q_rank:
        source = factors[0] * module.q_a_norm(module.q_a_proj(x))
    if settings.q_concat_raw:
        source = gate_source = torch.cat((source, module.q_a_proj(x)), dim=-1)
    q = module.q_b_proj(source) if settings.q_rank else module.q_proj(x)
    compressed = module.kv_a_proj(x)
    latent, k_rope = factors[1] * module.kv_a_norm(compressed[..., :C]), compressed[..., C:]
    if module.k_rope_norm is not None:
        k_rope = module.k_rope_norm(k_rope)
    expanded = module.kv_b_proj(latent)
    distance = torch.arange(T)[:, None] - torch.arange(T)
    hidden = torch.zeros(T, T).masked_fill((distance < 0) | (distance >= (settings.window or T)), -torch.inf)
    outputs = []
    for head in range(HEADS):
        own = slice(head * (N + R), (head + 1) * (N + R))
        q_nope, q_rope = q[..., own].split((N, R), dim=-1)
        k_nope, value = expanded[..., head * (N + V) : (head + 1) * (N + V)].split((N, V), dim=-1)
        shared = k_rope
        if rotation is not None:
            q_rope, shared = (rotation.rotate(each[:, None])[:, 0] for each in (q_rope, k_rope))
        scores = (q_nope @ k_nope.transpose(1, 2) + q_rope @ shared.transpose(1, 2)) * (
            settings.scale or (N + R) ** -0.5
        )
        if settings.logit_softcap:
            scores = settings.logit_softcap * torch.tanh(scores / settings.logit_softcap)
        scores = scores + hidden
        if module.sinks is not None:
            scores = torch.cat((scores, module.sinks[head].expand(*scores.shape[:-1], 1)), dim=-1)
        outputs.append(scores.softmax(-1)[..., :T] @ value)
    attended = torch.stack(outputs, dim=2)  # (B, T, H, V)
    if settings.gate:
        assert module.gate_proj is not None
        attended = attended * module.gate_proj(gate_source).sigmoid().unflatten(-1, (HEADS, -1))
    out: Tensor = module.o_proj(attended.flatten(2)) * settings.out_multiplier
    return out


@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_formula(settings: dict[str, Any], rope: bool, make_config: Make, randomized: Randomize) -> None:
    """In one pass, and token by token from the cached latents."""
    config = config_of(make_config, rope=rope, **settings)
    module = LatentAttention(config)
    randomized(module)
    x = torch.randn(2, T, 16)
    expected = by_hand(module, config, x)
    (mask,) = attention_masks([config], start=0, length=T, device=x.device, dtype=x.dtype)
    torch.testing.assert_close(module(x, mask, rotation_of(config, 0, T)), expected)
    (cached,) = LatentKVCache.buffers(config, batch_size=2, capacity=T)
    assert cached.shape[-2] == min(settings.get("window", T), T)
    buffer = torch.zeros(cached.shape)
    for at in range(T):
        (state,) = LatentKVCache.of_layers([buffer], start=at, count=1)
        with torch.no_grad():
            found = module(x[:, at : at + 1], AttentionMask(), rotation_of(config, at, 1), state)
        torch.testing.assert_close(found, expected[:, at : at + 1], rtol=1e-5, atol=1e-5)


def test_dropout_on_weights(make_config: Make, randomized: Randomize) -> None:
    """In training only."""
    config = config_of(make_config, dropout=0.5)
    module = LatentAttention(config)
    randomized(module)
    x, rotation = torch.randn(2, T, 16), rotation_of(config, 0, T)
    torch.testing.assert_close(module.eval()(x, CAUSAL, rotation), by_hand(module, config, x))
    assert not torch.equal(module.train()(x, CAUSAL, rotation), module(x, CAUSAL, rotation))


def test_shared_selection(make_config: Make, randomized: Randomize) -> None:
    """A layer without an indexer attends to the positions that an earlier layer selects, in one pass and in steps."""
    indexed: dict[str, Any] = {"q_rank": 7, "index_top_k": 2, "index_n_heads": 16, "index_d_head": 4}
    config = config_of(make_config, **indexed)
    both = config.model_copy(update={"attention": config.attention.model_copy(update={"index_shared": True})})
    own, shared = LatentAttention(config), LatentAttention(both)
    randomized(own)
    shared.load_state_dict(
        {name: each for name, each in own.state_dict().items() if "indexer" not in name}, assign=True
    )
    x, other, rotation, held = (
        torch.randn(2, T, 16),
        torch.randn(2, T, 16),
        rotation_of(config, 0, T),
        SharedSelection(),
    )
    own(x, CAUSAL, rotation, shared=held)
    assert held.selected is not None
    assert held.selected.sum(-1).eq(2).all()
    expected = LatentAttention(config_of(make_config, q_rank=7))
    expected.load_state_dict(shared.state_dict(), assign=True)
    mask = restricted(CAUSAL, held.selected)
    torch.testing.assert_close(shared(other, CAUSAL, rotation, shared=held), expected(other, mask, rotation))
    assert len(LatentKVCache.buffers(both, batch_size=2, capacity=T)) == 1
