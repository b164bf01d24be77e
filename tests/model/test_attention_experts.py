"""Mixtures of attention heads: compared with their definition token by token; their costs, checks and reports."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.small_models import randomize
from tests.training_peak import measured_peak, step_setup
from tinylm_cli.analysis.flops import analyze_flops
from tinylm_cli.analysis.mixers.attention_working_memory import attention_decode_bytes
from tinylm_cli.analysis.parallel.sharding import stage_params, stage_table
from tinylm_cli.analysis.params import active_params
from tinylm_cli.analysis.roofline import decode_weights
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.module_tree import module_tree
from tinylm_cli.reports.plan import Layout

D, H, G, K, E, LAYERS = 64, 4, 2, 16, 5, 3
TOP_K = H // G


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_heads={H}", f"n_layers={LAYERS}", "vocab_size=50", "max_len=1024", "dropout=0")
    heads = (f"attention.n_kv_heads={G}", f"attention.d_head={K}", f"attention.n_experts={E}", "attention.bias=false")
    return load_config("tiny", [*sizes, "position.kind=none", "block.feed_forward=false", *heads, *overrides]).config


def by_token(module: SelfAttention, x: Tensor) -> Tensor:
    """Return the output (T, D) for one sequence (T, D): each token attends with the heads of each of its experts."""
    experts = module.experts
    keys, values = (proj(x).view(len(x), G, -1) for proj in (module.k_proj, module.v_proj) if proj is not None)
    outputs = []
    for t, vector in enumerate(x):
        best = experts.router(vector).topk(TOP_K)
        shares = best.values.softmax(0)
        total = torch.zeros_like(vector) if experts.bias is None else experts.bias.clone()
        for expert, share in zip(best.indices.tolist(), shares, strict=True):
            queries = experts.q_proj.weight[expert] @ vector
            if experts.q_proj.bias is not None:
                queries = queries + experts.q_proj.bias[expert]
            heads = []
            for group, query in enumerate(queries.view(G, K)):
                scores = (keys[: t + 1, group] @ query / math.sqrt(K)).softmax(0)
                heads.append(scores @ values[: t + 1, group])
            total = total + share * (experts.o_proj.weight[expert] @ torch.cat(heads))
        outputs.append(total)
    return torch.stack(outputs)


@pytest.mark.parametrize("fields", [(), ("attention.bias=true",), ("attention.out_bias=true", "attention.d_value=6")])
def test_by_definition(fields: tuple[str, ...]) -> None:
    module = SelfAttention(make(*fields)).to_empty(device="cpu")
    randomize(module)
    x = torch.randn(2, 7, D)
    with torch.no_grad():
        found = module(x, AttentionMask(is_causal=True))
        for each, sequence in zip(found, x, strict=True):
            torch.testing.assert_close(each, by_token(module, sequence), rtol=1e-4, atol=1e-5)


QUERIES, OUTPUTS = G * K * D, D * G * K  # of one expert
SHARED = 2 * G * K * D + E * D  # keys, values, the router


def test_params_and_flops() -> None:
    of_attention = sum(
        section.repeats * tensor.params
        for section in tensor_table(make("attention.out_bias=true"))
        for tensor in section.tensors
        if tensor.component == "attention"
    )
    assert of_attention == LAYERS * (E * (QUERIES + OUTPUTS) + SHARED + D)
    spared = LAYERS * (E - TOP_K) * (QUERIES + OUTPUTS)
    table = tensor_table(make())
    assert active_params(table) == sum(s.repeats * t.params for s in table for t in s.tensors) - spared
    found = {part.name: part.forward_flops for part in analyze_flops(make(), TrainingSetup(1, 10)).components}
    assert found["attention"] == LAYERS * 2 * 10 * (TOP_K * (QUERIES + OUTPUTS) + SHARED)


def test_weights_that_decoding_reads() -> None:
    """A step reads the weights of experts that a token selects; the feed-forward network selects its own experts."""
    config = make("block.feed_forward=true", "d_ff=32", "feed_forward.n_experts=8", "feed_forward.bias=false")
    weights = decode_weights(config, "float32")
    attention, experts = LAYERS * E * (QUERIES + OUTPUTS) * 4, LAYERS * 8 * 2 * D * 32 * 4
    assert (weights.attention_expert_bytes, weights.expert_bytes) == (attention, experts)
    assert weights.read_bytes(1) == weights.dense_bytes + attention * TOP_K // E + experts * 2 // 8
    unread = attention * (1 - TOP_K / E) ** 3 + experts * (1 - 2 / 8) ** 3
    assert weights.read_bytes(3) == pytest.approx(weights.dense_bytes + attention + experts - unread, abs=1)
    every = decode_weights(make("attention.n_experts=2"), "float32")
    assert every.read_bytes(1) == every.read_bytes(9) == every.dense_bytes + every.attention_expert_bytes


def test_parallelism() -> None:
    """Tensor parallelism shards the heads of every expert; expert parallelism shards none of attention."""
    config = make("block.feed_forward=true", "feed_forward.n_experts=8", "attention.bias=true")
    layout = Layout(tensor=2, data=4, expert=4)
    shapes = {tensor.name: tensor.shape for section in stage_table(config, layout, 0) for tensor in section.tensors}
    assert shapes["attention.experts.q_proj.weight"] == (E, G * K // 2, D)
    assert shapes["attention.experts.q_proj.bias"] == (E, G * K // 2)
    assert shapes["attention.experts.o_proj.weight"] == (E, D, G * K // 2)
    assert shapes["attention.experts.router.weight"] == (E, D)
    assert shapes["feed_forward.experts.up_proj.weight"][0] == 2
    assert stage_params(make(), Layout(), 0).routed == 0


@pytest.mark.parametrize("fields", [(), ("n_heads=8",), ("attention.d_head=4",), ("attention.n_experts=64",)])
def test_peak_of_a_training_step(fields: tuple[str, ...]) -> None:
    config = make(*fields, "attention.out_bias=true", "n_layers=2")
    setup = step_setup(2, 256, "none")
    measured = measured_peak(config, setup)
    assert 0.99 * measured <= training_memory(config, setup).peak_bytes <= 1.03 * measured


def test_working_memory() -> None:
    """Of one token: x and norm(x), q, k and v, and the output twice; the outputs of experts, also weighted."""
    _, points = attention_decode_bytes(make(), 9, 4, "fused")
    held = 2 * D + H * K + 2 * G * K + 2 * H * K
    assert (held + 2 * TOP_K * D) * 4 + 2 * TOP_K * (8 + 4) in points
    _, points = attention_decode_bytes(make("n_heads=2"), 9, 4, "fused")
    held = 2 * D + 2 * K + 2 * G * K + 2 * 2 * K
    assert (held + 3 * D) * 4 + 2 * (8 + 4) in points  # of one expert: before and after the bias, with its output


def test_shown_settings() -> None:
    tree = module_tree(TinyTransformerLM.from_config(make(), device="meta"))
    (blocks,) = (node for node in tree.children if node.name == "blocks")
    (block,) = blocks.children
    (attention,) = (node for node in block.children if node.name == "attention")
    assert attention.settings == {"n_heads": H, "n_kv_heads": G, "n_experts": E, "top_k": TOP_K}
