"""A transformer block shared by several layers: its output, and the gradients of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.adapter import Adapter
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.shared_block import SharedBlock

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
CAUSAL = AttentionMask(None, is_causal=True)
FIELDS = {"block": {"mixer": "shared_block_mamba"}, "mamba": {"d_inner": 12, "d_state": 3}}


def test_formula(make_config: Make, randomized: Randomize) -> None:
    """``x + mamba(norm(x + projection(feed_forward(norm(attention(norm([x, embedded])))))))``, from parts."""
    config = make_config(**FIELDS)
    shared, block = SharedBlock(config), TransformerBlock(config)
    randomized(shared)
    randomized(block)
    x, embedded = torch.randn(2, 2, 5, 16).unbind()
    assert [name for name, _ in block.named_children()] == ["ln_1", "mamba", "shared_projection"]
    assert shared.attention.q_proj.weight.shape[1] == 32
    assert shared.ln_2 is not None
    assert shared.feed_forward is not None
    assert block.ln_1 is not None
    assert block.shared_projection is not None
    attended = shared.attention(shared.ln_1(torch.cat((x, embedded), dim=-1)), CAUSAL)
    added = block.shared_projection(shared.feed_forward(shared.ln_2(attended)))
    expected = x + block.mixers[0](block.ln_1(x + added))
    torch.testing.assert_close(block(x, CAUSAL, shared_block=(shared, embedded)), expected)


def test_only_attention(make_config: Make, randomized: Randomize) -> None:
    config = make_config(block={"mixer": "shared_block_mamba", "feed_forward": False})
    shared = SharedBlock(config)
    randomized(shared)
    assert {name for name, _ in shared.named_children()} == {"ln_1", "attention"}
    x, embedded = torch.randn(2, 2, 5, 16).unbind()
    both = shared.ln_1(torch.cat((x, embedded), dim=-1))
    torch.testing.assert_close(shared(x, embedded, CAUSAL), shared.attention(both, CAUSAL))


def test_layers_share_by_name(make_config: Make, randomized: Randomize) -> None:
    """A change of the weights of one block changes the layers that use it, and no others."""
    kinds = {
        "alone": {"block": {"mixer": "mamba", "feed_forward": False}},
        "first": FIELDS,
        "second": {"block": {"mixer": "shared_block_mamba", "shared_block": "b"}},
    }
    layers = {"first": "alone, second, first, second", "kinds": kinds}
    model = TinyTransformerLM.from_config(make_config(n_layers=4, layers=layers)).eval()
    randomized(model)
    outputs: list[torch.Tensor] = []
    for layer in model.blocks:
        layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    tokens = torch.arange(6)[None]
    of_second, of_first = (
        cast("SharedBlock", block) for block in model.shared_blocks
    )  # in order of their first layers
    changed = []
    with torch.no_grad():
        model(tokens)
        for block in (of_first, of_second):
            before, outputs[:] = outputs.copy(), []
            block.ln_1.weight.add_(1.0)
            model(tokens)
            changed.append([not torch.equal(old, new) for old, new in zip(before, outputs, strict=True)])
    assert changed == [[False, False, True, True], [False, True, True, True]]


def test_adapters(make_config: Make, randomized: Randomize) -> None:
    """The adapters of a layer are added to the projections of the shared block, as if its weights were sums."""
    config = make_config(
        **FIELDS, attention={"adapter_rank": 3, "d_value": 6}, feed_forward={"gated": True, "adapter_rank": 2}
    )
    shared, block = SharedBlock(config), TransformerBlock(config)
    randomized(shared)
    randomized(block)
    x, embedded = torch.randn(2, 2, 5, 16).unbind()
    found = block(x, CAUSAL, shared_block=(shared, embedded))
    adapters = block.adapters
    assert adapters is not None
    assert shared.feed_forward is not None
    projections = {name: shared.attention.get_submodule(name) for name in ("q_proj", "k_proj", "v_proj")}
    with torch.no_grad():
        for name, projection in projections.items():
            adapter = cast("Adapter", adapters.get_submodule(name))
            cast("nn.Linear", projection).weight.add_(adapter.lora_B.weight @ adapter.lora_A.weight)
        adapter = cast("Adapter", adapters.feed_forward)
        of_gate, of_up = (adapter.lora_B.weight @ adapter.lora_A.weight).chunk(2)
        cast("nn.Linear", shared.feed_forward.gate_proj).weight.add_(of_gate)
        shared.feed_forward.up_proj.weight.add_(of_up)
    block.adapters = None
    torch.testing.assert_close(block(x, CAUSAL, shared_block=(shared, embedded)), found)
