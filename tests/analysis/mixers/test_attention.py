"""The costs of sparse attention with an indexer, by hand, with the sizes of DeepSeek V3.2; norms and dynamic masks."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.flops import analyze_flops, decode_flops, forward_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes, read_cache_bytes
from tinylm_cli.analysis.mixers.attention_working_memory import attention_prefill_bytes
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.analysis.parallel.communication import traffic
from tinylm_cli.analysis.parallel.sharding import stage_table
from tinylm_cli.analysis.params import component_params, total_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor import Component
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import Recompute
from tinylm_cli.reports.plan import Layout

D, H, Q, C, R, N, V = 7168, 128, 1536, 512, 64, 128, 128
HEADS, WIDTH, TOP_K = 64, 128, 2048
LAYERS = 3
PARTS: tuple[Component, ...] = ("attention", "norm")
INDEXER = HEADS * WIDTH * Q + WIDTH * D + 2 * WIDTH + HEADS * D


def make(*overrides: str, indexed: bool = True) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_heads={H}", f"n_layers={LAYERS}", "max_len=163840", "vocab_size=100")
    latent = ("position.kind=rope", "attention.kind=latent", f"attention.q_rank={Q}")
    indexer = (f"attention.index_top_k={TOP_K}",) if indexed else ()
    return load_config("tiny", [*sizes, *latent, *indexer, *overrides]).config


def test_params() -> None:
    with_indexer, without = (tensor_table(make(indexed=indexed)) for indexed in (True, False))
    added = {part: component_params(with_indexer, part) - component_params(without, part) for part in PARTS}
    assert added == {"attention": LAYERS * (INDEXER - 2 * WIDTH), "norm": LAYERS * 2 * WIDTH}


@pytest.mark.parametrize("length", [1000, 5000])
def test_forward_flops(length: int) -> None:
    """Attention counts the selected pairs, the indexer all of them."""
    report = analyze_flops(make(), TrainingSetup(1, length))
    found = {part.name: part.forward_flops for part in report.components}
    attended = sum(min(t, TOP_K) for t in range(1, length + 1))
    scored = length * (length + 1) // 2
    assert found["attention_scores"] == LAYERS * 2 * (H * attended * (N + R + V) + HEADS * scored * (WIDTH + 1))
    full = analyze_flops(make(), TrainingSetup(1, length), attention="full")
    found = {part.name: part.forward_flops for part in full.components}
    assert found["attention_scores"] == LAYERS * 2 * length**2 * (H * (N + R + V) + HEADS * (WIDTH + 1))


@pytest.mark.parametrize(("context_len", "attended"), [(1000, 1000), (100_000, TOP_K)])
def test_decode_flops(context_len: int, attended: int) -> None:
    """A token attends to the selected latents; the indexer scores all positions."""
    added = 2 * (HEADS * WIDTH * Q + WIDTH * D + HEADS * D + HEADS * context_len * (WIDTH + 1))
    dense = decode_flops(make(indexed=False), context_len=context_len)
    spared = 2 * H * (context_len - attended) * (2 * C + R)
    assert decode_flops(make(), context_len=context_len) == dense + LAYERS * (added - spared)


def test_shared_selection() -> None:
    """A layer that shares the selection of the one before has no indexer, no keys of it, and scores nothing for it."""
    length = 5000
    kinds = "{own: {}, shared: {attention: {index_shared: true}}}"
    config = make("n_layers=2", "layers.pattern=own, shared", f"layers.kinds={kinds}")
    assert component_params(tensor_table(config), "attention") == 2 * dense_params() + INDEXER - 2 * WIDTH
    report = analyze_flops(config, TrainingSetup(1, length))
    found = {part.name: part.forward_flops for part in report.components}
    attended = sum(min(t, TOP_K) for t in range(1, length + 1))
    scored = length * (length + 1) // 2
    assert found["attention_scores"] == 2 * (2 * H * attended * (N + R + V) + HEADS * scored * (WIDTH + 1))
    assert kv_cache_bytes(config, batch_size=1, seq_len=length, dtype="bfloat16") == length * 2 * (2 * (C + R) + WIDTH)
    read = read_cache_bytes(config, seq_len=length, dtype="bfloat16")
    assert read == 2 * (2 * TOP_K * (C + R) + length * WIDTH)
    layers = cache_shape(config, "bfloat16").layers
    assert [each.d_index for each in layers] == [WIDTH, None]


def dense_params() -> int:
    return component_params(tensor_table(make(indexed=False)), "attention") // LAYERS


@pytest.mark.parametrize(("dtype", "per_token"), [("bfloat16", 2 * (C + R + WIDTH)), ("int8", C + R + WIDTH + 2 * 4)])
def test_cache(dtype: str, per_token: int) -> None:
    assert kv_cache_bytes(make(), batch_size=2, seq_len=9000, dtype=dtype) == 2 * 9000 * LAYERS * per_token
    (layers,) = cache_shape(make(), dtype).layers
    assert (layers.kv_rank, layers.d_rope, layers.d_index) == (C, R, WIDTH)
    assert cache_shape(make(indexed=False), dtype).layers[0].d_index is None


def test_tensor_parallel() -> None:
    """Every GPU selects positions with the whole indexer."""
    table = stage_table(make(), Layout(tensor=4), 0)
    shapes = {tensor.name: tensor.shape for section in table for tensor in section.tensors}
    assert shapes["attention.indexer.wq_b.weight"] == (HEADS * WIDTH, Q)
    assert shapes["attention.indexer.wk.weight"] == (WIDTH, D)
    assert shapes["attention.indexer.weights_proj.weight"] == (HEADS, D)
    assert shapes["attention.q_b_proj.weight"] == (H * (N + R) // 4, Q)


@pytest.mark.parametrize(("context_len", "selected"), [(1000, 1000), (100_000, TOP_K)])
def test_read_cache_bytes(context_len: int, selected: int) -> None:
    """A step reads every index key, and the latents and rotary keys of the selected positions."""
    read = LAYERS * 2 * (selected * (C + R) + context_len * WIDTH)
    assert read_cache_bytes(make(), seq_len=context_len, dtype="bfloat16") == read
    dense = make(indexed=False)
    assert read_cache_bytes(dense, seq_len=context_len, dtype="bfloat16") == LAYERS * 2 * context_len * (C + R)


def test_flash_kernels_of_an_indexer() -> None:
    """One score of each position for a token, summed over the heads, and the positions of the selected ones."""
    config = make()
    added = [
        max(attention_prefill_bytes(config, InferencePass(1, 512, kv_len, 2, "flash"))) for kv_len in (200_000, 210_000)
    ]
    assert added[1] - added[0] == 512 * 10_000 * 4


@pytest.mark.parametrize(("kind", "query", "key"), [("per_head", 6, 6), ("full", 8 * 6, 2 * 6)])
def test_norms_of_queries_and_keys(kind: str, query: int, key: int) -> None:
    sizes = ("n_heads=8", "attention.d_head=6", "attention.n_kv_heads=2", f"attention.qk_norm={kind}")
    config = load_config("tiny", [*sizes, "norm.kind=rmsnorm"]).config
    shapes = {tensor.name: tensor.shape for section in tensor_table(config) for tensor in section.tensors}
    assert shapes["attention.q_norm.weight"] == (query,)
    assert shapes["attention.k_norm.weight"] == (key,)


def dynamic(*changes: str) -> ModelConfig:
    """Return a model with a dynamic mask, and 4 KV heads of 12 dimensions."""
    sizes = ("n_heads=8", "attention.d_head=12", "attention.n_kv_heads=4", "attention.bias=false", "n_layers=3")
    return load_config("tiny", [*sizes, "attention.dynamic_mask_top_k=16", *changes]).config


def test_params_of_a_dynamic_mask() -> None:
    """Of each KV head a scale and a row for the values of all KV heads, and a bias of the projections."""
    plain, biased = dynamic(), dynamic("attention.bias=true", "attention.out_bias=false")
    for config, per_head in ((plain, 1 + 4 * 12), (biased, 2 + 4 * 12)):
        without = config.model_copy(
            update={"attention": config.attention.model_copy(update={"dynamic_mask_top_k": None})}
        )
        assert total_params(tensor_table(config)) - total_params(tensor_table(without)) == 3 * 4 * per_head


@pytest.mark.parametrize(("window", "cached"), [("null", 100), ("40", 40)])
def test_steps_project_cached_values_again(window: str, cached: int) -> None:
    """As often as there are cached positions; the cache itself holds keys and values only."""
    config = dynamic(f"attention.window={window}")
    without = dynamic(f"attention.window={window}", "attention.dynamic_mask_top_k=null")
    projection = 2 * 4 * (4 * 12)
    added = decode_flops(config, context_len=100) - decode_flops(without, context_len=100)
    assert added == 3 * cached * projection
    added = forward_flops(config, batch_size=2, seq_len=100) - forward_flops(without, batch_size=2, seq_len=100)
    assert added == 3 * 2 * 100 * projection
    assert kv_cache_bytes(config, batch_size=1, seq_len=100, dtype="bfloat16") == 3 * cached * 2 * 4 * 12 * 2


@pytest.mark.parametrize(("recompute", "passes"), [("none", 2), ("full", 3)])
def test_parallel_dynamic_mask(recompute: Recompute, passes: int) -> None:
    """The projection reads the values of a GPU's heads, and its outputs are summed; so are their gradients."""
    config, without = dynamic(), dynamic("attention.dynamic_mask_top_k=null")
    shapes = {tensor.name: tensor.shape for part in stage_table(config, Layout(tensor=2), 0) for tensor in part.tensors}
    assert shapes["attention.dynamic_mask.proj.weight"] == (4, 2 * 12)
    assert shapes["attention.dynamic_mask.scale"] == (4,)
    setup = TrainingSetup(2, 64, dtype="bfloat16", recompute=recompute)
    for layout, added in (
        (Layout(tensor=2), 3 * passes * 2 * (2 * 64 * 4 * 2) // 2),
        (Layout(context=2), 3 * (passes + 1) * (2 * 64 // 2) * 4 * 2),
    ):
        found, expected = (traffic(model, setup, layout, 0, None) for model in (config, without))
        assert [each.sent_bytes for each in found if each.name != "data"] == [
            each.sent_bytes + added for each in expected if each.name != "data"
        ]
