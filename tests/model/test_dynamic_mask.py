"""The dynamic mask of Doge's attention: against transformers, and its selection among equal biases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import DogeConfig, DynamicCache
from transformers.models.doge.modeling_doge import DogeAttention, DogeRotaryEmbedding

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention import LayerKVCache, SelfAttention
from tinylm_cli.model.attention_mask import AttentionMask, attention_masks, sliding_window_mask
from tinylm_cli.model.dynamic_mask import DynamicMask
from tinylm_cli.model.rope import RotaryPosition

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
T, READ = 11, 4


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("top_k", [1, 3, 30])
def test_equals_transformers(top_k: int, window: int | None, make_config: Make, randomized: Randomize) -> None:
    """A whole sequence, and a prompt followed by single tokens with a cache."""
    attention = {
        "n_kv_heads": 2, "qk_norm": "per_head", "dynamic_mask_top_k": top_k, "window": window,
    }  # fmt: skip
    config = make_config(position={"kind": "rope"}, norm={"kind": "rmsnorm"}, attention=attention)
    ours = SelfAttention(config)
    randomized(ours)
    theirs_config = DogeConfig(
        hidden_size=16, num_attention_heads=4, num_key_value_heads=2, attention_bias=True, rms_norm_eps=1e-5,
        num_hidden_layers=1, keep_window_size=top_k, sliding_window=window,
    )  # fmt: skip
    theirs_config._attn_implementation = "eager"
    theirs = DogeAttention(theirs_config, layer_idx=0)
    names = {"dynamic_mask.scale": "A", "dynamic_mask.proj.weight": "dt_proj.weight"}
    names["dynamic_mask.proj.bias"] = "dt_proj.bias"
    theirs.load_state_dict({names.get(name, name): tensor for name, tensor in ours.state_dict().items()})
    x, positions = torch.randn(2, T, 16), torch.arange(T)
    cos, sin = DogeRotaryEmbedding(theirs_config)(x, positions[None])
    hidden = ~sliding_window_mask(T, window, torch.device("cpu"))  # (T, T)
    theirs_mask = torch.zeros(T, T).masked_fill(hidden, torch.finfo(torch.float32).min)[None, None]
    rotary = RotaryPosition(config)
    rotary.to_empty(device="cpu")
    rotary.fill()
    buffers = [torch.empty(buffer.shape) for buffer in LayerKVCache.buffers(config, batch_size=2, capacity=T)]
    cache = DynamicCache(config=theirs_config)
    steps = [(0, T, None, None), *((at, n, buffers, cache) for at, n in ((0, READ), *((t, 1) for t in range(READ, T))))]
    for start, length, own, their_cache in steps:
        rows, end = slice(start, start + length), start + length
        first = 0 if window is None or length > 1 else max(0, end - window)  # that transformers keeps
        expected, _ = theirs(
            x[:, rows], (cos[:, rows], sin[:, rows]), theirs_mask[:, :, rows, first:end], cache=their_cache
        )
        (mask,) = attention_masks([config], start=start, length=length, device=x.device, dtype=x.dtype)
        rotation = rotary.rotation(start, length, dtype=x.dtype)
        with torch.no_grad():
            states = None if own is None else LayerKVCache.of_layers(own, start=start, count=length)[0]
            found = ours(x[:, rows], mask, rotation, states)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_earliest_of_equal_biases(make_config: Make) -> None:
    """Also in a ring buffer, in whose slots the positions 4, 5, 2 and 3 are."""
    dynamic = DynamicMask(make_config(attention={"dynamic_mask_top_k": 2}))
    dynamic.to_empty(device="cpu")
    for parameter in dynamic.parameters():
        nn.init.constant_(parameter, 0.5)
    values = torch.ones(1, 4, 4, 4)
    for positions, chosen in ((None, [0, 1]), (torch.tensor([4.0, 5.0, 2.0, 3.0]), [2, 3])):
        found = dynamic(values, AttentionMask(key_positions=positions), 1).values
        assert found is not None
        assert [row.isfinite().nonzero().flatten().tolist() for row in found[0, :, 0]] == 4 * [chosen]


def test_selects_by_the_sign_of_the_scale(make_config: Make) -> None:
    """Biases fall with the logits where the scale is negative."""
    dynamic = DynamicMask(make_config(n_heads=1, attention={"dynamic_mask_top_k": 1, "bias": False}))
    dynamic.to_empty(device="cpu")
    values = torch.arange(3.0)[None, None, :, None].expand(1, 1, 3, 16)
    nn.init.ones_(dynamic.proj.weight)
    for scale, best in ((0.5, 2), (-0.5, 0)):
        nn.init.constant_(dynamic.scale, scale)
        found = dynamic(values, AttentionMask(), 1).values
        assert found is not None
        assert found[0, 0, 0].isfinite().tolist() == [position == best for position in range(3)]
        assert float(found[0, 0, 0, best].detach()) == pytest.approx(
            float(torch.exp(scale * nn.functional.softplus(torch.tensor(16.0 * best))))
        )
