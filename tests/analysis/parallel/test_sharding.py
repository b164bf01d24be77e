from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinylm_cli.analysis.layer_kinds import group_layers
from tinylm_cli.analysis.parallel.sharding import missing_layers, stage_groups, stage_layers, stage_table
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout


@pytest.mark.parametrize("name", ["gpt2", "llama-3-8b", "gemma-2-2b", "mixtral-8x7b", "qwen3-30b-a3b", "olmo-2-7b"])
@pytest.mark.parametrize("pipeline", [1, 2, 4])
def test_stages_hold_every_tensor(name: str, pipeline: int) -> None:
    config = load_config(name, ["n_layers=12"]).config
    layout = Layout(pipeline=pipeline)
    held = sum(total_params(stage_table(config, layout, stage)) for stage in range(pipeline))
    again = config.vocab_size * config.d_model if config.tie_weights and pipeline > 1 else 0
    assert held == total_params(tensor_table(config)) + again
    assert [layer for s in range(pipeline) for layer in stage_layers(config, layout, s)] == list(range(12))


def test_tensor_parallelism() -> None:
    """Llama 3 8B over 8: all but 65 norms of 4,096 is divided."""
    config = load_config("llama-3-8b").config
    norms = 65 * 4096
    assert total_params(stage_table(config, Layout(tensor=8), 0)) == (8_030_261_248 - norms) // 8 + norms


def test_biases_after_all_reduce_are_replicated() -> None:
    config = load_config("gpt2").config
    whole = 1024 * 768 + 12 * (4 * 768 + 2 * 768) + 2 * 768  # positions, norms, biases of o_proj and down_proj
    padded = -(-50257 // 4) * 768
    divided = 124_439_808 - whole - 50257 * 768
    assert total_params(stage_table(config, Layout(tensor=4), 0)) == divided // 4 + whole + padded


def test_expert_parallelism() -> None:
    config = load_config("mixtral-8x7b").config
    experts = 32 * 8 * 3 * 4096 * 14336
    assert total_params(stage_table(config, Layout(data=4, expert=4), 0)) == 46_702_792_704 - experts + experts // 4


def test_projections_to_latent_experts_are_replicated() -> None:
    """Each GPU projects its part of the sequence; expert parallelism distributes the experts, not the projections."""
    fields = ["feed_forward.d_latent=1024", "feed_forward.n_shared_experts=1"]
    table = stage_table(load_config("mixtral-8x7b", fields).config, Layout(data=8, expert=8, tensor=2), 0)
    shapes = {t.name: t.shape for section in table for t in section.tensors}
    assert shapes["feed_forward.latent_in_proj.weight"] == (1024, 4096)
    assert shapes["feed_forward.latent_out_proj.weight"] == (4096, 1024)
    assert shapes["feed_forward.experts.up_proj.weight"] == (1, 14336 // 2, 1024)
    assert shapes["feed_forward.experts.down_proj.weight"] == (1, 1024, 14336 // 2)
    assert shapes["feed_forward.shared_experts.up_proj.weight"] == (14336 // 2, 4096)


def test_latent_down_projections_are_replicated() -> None:
    config = load_config("deepseek-v2-lite").config
    shapes = {t.name: t.shape for section in stage_table(config, Layout(tensor=2), 0) for t in section.tensors}
    assert shapes["attention.kv_a_proj.weight"] == (512 + 64, 2048)
    assert shapes["attention.kv_b_proj.weight"] == (8 * (128 + 128), 512)
    assert shapes["attention.q_proj.weight"] == (8 * 192, 2048)
    assert shapes["attention.o_proj.weight"] == (2048, 8 * 128)
    assert shapes["feed_forward.experts.down_proj.weight"] == (64, 2048, 704)
    assert shapes["feed_forward.router.weight"] == (64, 2048)


@given(
    per_chunk=st.integers(1, 12),
    missing=st.integers(0, 2),
    pattern=st.text("LG", min_size=1, max_size=9).filter(lambda pattern: "L" in pattern),
    dense_share=st.one_of(st.none(), st.floats(0, 1)),
    seq_len=st.sampled_from([8, 16]),
    pipeline=st.integers(1, 40),
    virtual=st.integers(1, 3),
)
def test_stage_groups(
    per_chunk: int, missing: int, pattern: str, dense_share: float | None, seq_len: int, pipeline: int, virtual: int
) -> None:
    """Stages with the same layers, the first and the last apart, found stage by stage."""
    layout = Layout(pipeline=pipeline, virtual=virtual)
    n_layers = max(per_chunk * pipeline * virtual - missing, 1)
    n_dense = int((dense_share or 0) * (n_layers - 1))
    experts = ["feed_forward.n_experts=4", f"feed_forward.n_dense_layers={n_dense}"]
    windows = ["attention.window=8", f"attention.window_pattern={pattern}"]
    config = load_config(
        "tiny", [f"n_layers={n_layers}", *windows, *(experts if dense_share is not None else ())]
    ).config
    assume(missing_layers(config, layout) <= 2)
    assume(pipeline <= n_layers)
    alike: dict[object, list[int]] = {}
    for stage in range(pipeline):
        groups = group_layers(config, seq_len, stage_layers(config, layout, stage))
        counts = [(group.number, len(group.layers)) for group in groups]
        alike.setdefault((stage == 0, stage == pipeline - 1, *counts), []).append(stage)
    found = stage_groups(config, layout, seq_len)
    assert found == tuple((stages[0], len(stages)) for stages in alike.values())


def test_sharded_sub_norms() -> None:
    """Tensor parallelism divides the heads and the hidden units that they normalize, of d_value dimensions each."""
    changes = ["attention.sub_norm=true", "feed_forward.sub_norm=true", "attention.d_value=48", "norm.kind=rmsnorm"]
    config = load_config("tiny", changes).config
    shapes = {t.name: t.shape for section in stage_table(config, Layout(tensor=2), 0) for t in section.tensors}
    assert shapes["attention.sub_norm.weight"] == (4 * 48 // 2,)
    assert shapes["attention.v_proj.weight"] == (4 * 48 // 2, 128)
    assert shapes["attention.o_proj.weight"] == (128, 4 * 48 // 2)
    assert shapes["feed_forward.sub_norm.weight"] == (512 // 2,)


def test_norms_of_embeddings_are_replicated() -> None:
    """A mixer's names do not decide about other parts: Mamba-2 divides a module ``norm`` of its own."""
    changes = ["embedding.norm=true", "embedding.d_per_layer=8", "norm.kind=rmsnorm", "block.mixer=mamba2"]
    changes += ["mamba2.n_heads=4", "mamba2.d_head=16", "mamba2.n_groups=2"]
    config = load_config("tiny", changes).config
    shapes = {t.name: t.shape for section in stage_table(config, Layout(tensor=2), 0) for t in section.tensors}
    assert shapes["embedding.norm.weight"] == (128,)
    assert shapes["embedding.per_layer.norm.weight"] == (8,)
    assert shapes["per_layer_input.norm.weight"] == (128,)
    assert shapes["mamba2.norm.weight"] == (4 * 16 // 2,)
