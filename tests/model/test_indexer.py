"""The indexer of sparse attention, compared with transformers' module, and the choice between equal scores."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import DeepseekV32Config
from transformers.models.deepseek_v32.modeling_deepseek_v32 import DeepseekV32Indexer
from transformers.models.glm_moe_dsa.modeling_glm_moe_dsa import GlmMoeDsaIndexer
from transformers.models.hy_v4.configuration_hy_v4 import HYV4Config
from transformers.models.hy_v4.modeling_hy_v4 import HYV4Indexer

from tinylm_cli.config.choices import Pairing
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.indexer import Indexer, best, restricted
from tinylm_cli.model.rope import Rotation

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]

T, Q, R, HEADS, WIDTH = 19, 8, 4, 16, 6


@pytest.mark.parametrize(("pairing", "theirs_class"), [("half", DeepseekV32Indexer), ("adjacent", GlmMoeDsaIndexer)])
@pytest.mark.parametrize("top_k", [1, 5, T])
def test_equals_transformers(
    make_config: Make, randomized: Randomize, top_k: int, pairing: Pairing, theirs_class: type[nn.Module]
) -> None:
    attention = {
        "kind": "latent", "q_rank": Q, "d_rope": R, "index_top_k": top_k, "index_n_heads": HEADS, "index_d_head": WIDTH,
        "index_pairing": pairing,
    }  # fmt: skip
    ours = Indexer(make_config(position={"kind": "rope"}, attention=attention))
    randomized(ours)
    config = DeepseekV32Config(
        hidden_size=16, q_lora_rank=Q, qk_rope_head_dim=R, index_topk=top_k, index_n_heads=HEADS, index_head_dim=WIDTH
    )
    theirs = theirs_class(config, layer_idx=0)
    theirs.load_state_dict(ours.state_dict())
    x, compressed, angles = torch.randn(2, T, 16), torch.randn(2, T, Q), torch.rand(T, R // 2)
    rotation = Rotation(angles.cos(), angles.sin(), "adjacent")
    both = torch.cat((angles, angles), dim=-1)[None]  # (1, T, R)
    causal = torch.ones(1, T, T, dtype=torch.bool).tril()
    indices = theirs(x, compressed, (both.cos(), both.sin()), causal, None)
    expected = torch.zeros(2, T, T, dtype=torch.bool).scatter(-1, indices.long(), value=True) & causal
    selected = ours.select(x, compressed, ours.keys(x, rotation), rotation, AttentionMask(is_causal=True))
    if top_k == T:
        assert selected is None
        return
    assert selected is not None
    values = restricted(AttentionMask(is_causal=True), selected).values
    assert values is not None
    assert torch.equal(values[:, 0], expected)


def test_rotates_the_last_dimensions(make_config: Make, randomized: Randomize) -> None:
    """As in Hy4, whose keys have a norm with the epsilon of the others."""
    attention = {
        "kind": "latent", "q_rank": Q, "d_rope": R, "index_top_k": 5, "index_n_heads": HEADS, "index_d_head": WIDTH,
        "index_pairing": "half", "index_rope_last": True, "index_norm_eps": 0.01,
    }  # fmt: skip
    ours = Indexer(make_config(position={"kind": "rope"}, attention=attention))
    randomized(ours)
    config = HYV4Config(
        hidden_size=16, q_lora_rank=Q, qk_rope_head_dim=R, index_topk=5, index_n_heads=HEADS, index_head_dim=WIDTH,
        rms_norm_eps=0.01,
    )  # fmt: skip
    theirs = HYV4Indexer(config, layer_idx=0)
    theirs.load_state_dict(ours.state_dict())
    x, compressed, angles = torch.randn(2, T, 16), torch.randn(2, T, Q), torch.rand(T, R // 2)
    both = torch.cat((angles, angles), dim=-1)[None]  # (1, T, R)
    causal = torch.ones(1, T, T, dtype=torch.bool).tril()
    indices = theirs(x, compressed, (both.cos(), both.sin()), causal, None)
    expected = torch.zeros(2, T, T, dtype=torch.bool).scatter(-1, indices.long(), value=True) & causal
    rotation = Rotation(angles.cos(), angles.sin(), "adjacent")
    selected = ours.select(x, compressed, ours.keys(x, rotation), rotation, AttentionMask(is_causal=True))
    assert selected is not None
    assert torch.equal(selected & causal, expected)


def test_first_of_equal_scores() -> None:
    scores = torch.tensor([[[0.0, 2.0, 0.0, 0.0, 1.0], [-1.0, -torch.inf, -1.0, -torch.inf, -torch.inf]]])
    expected = torch.tensor([[[1, 1, 0, 0, 1], [1, 1, 1, 0, 0]]], dtype=torch.bool)
    assert torch.equal(best(scores, 3), expected)
