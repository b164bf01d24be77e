"""Working memory of attention alone; tests/analysis/test_inference_working_memory.py tests whole layers."""

from __future__ import annotations

import pytest
import torch

from tests.live_memory import peak_bytes
from tinylm_cli.analysis.attention_kernels import AttentionBackend
from tinylm_cli.analysis.mixers.attention_working_memory import (
    _dynamic_mask,
    attention_decode_bytes,
    attention_prefill_bytes,
)
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model.attention_mask import AttentionMask
from tinylm_cli.model.dynamic_mask import DynamicMask

B, T, S = 3, 5, 7
D, H, G, K = 16, 4, 2, 6
QUERY, KEY = H * K, G * K
HELD = 2 * D + QUERY + 2 * KEY  # x and its norm; queries, keys, values
OUTPUTS = (HELD + 2 * QUERY, HELD + QUERY + D)  # the output by head and by token; its projection

C, Q, N, R, V = 5, 7, 3, 2, 9
LATENT_QUERY, VALUES = H * (N + R), H * V
LATENT = (
    "position.kind=rope", "attention.kind=latent", f"attention.kv_rank={C}", f"attention.q_rank={Q}",
    f"attention.d_nope={N}", f"attention.d_rope={R}", f"attention.d_value={V}",
)  # fmt: skip
# x and its norm; q, concatenated q and k; rotated q; compressed, and its norm and rotation; compressed q; k, v
LATENT_HELD = 2 * D + 3 * LATENT_QUERY + H * R + 2 * (C + R) + Q + H * N + VALUES


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_heads={H}", "position.kind=none", "max_len=65536")
    return load_config("tiny", [*sizes, *overrides]).config


def multi_head(*overrides: str) -> ModelConfig:
    return make(f"attention.n_kv_heads={G}", f"attention.d_head={K}", *overrides)


def prefill(config: ModelConfig, backend: AttentionBackend, element_bytes: int = 2) -> list[int]:
    return list(attention_prefill_bytes(config, InferencePass(B, T, S, element_bytes, backend)))


def of_tokens(*elements: int, element_bytes: int = 2) -> list[int]:
    """Return the bytes of these numbers of elements per token, for all tokens of the batch."""
    return [B * T * each * element_bytes for each in elements]


def test_prefill() -> None:
    assert prefill(multi_head(), "flash") == prefill(multi_head(), "fused") == of_tokens(*OUTPUTS)
    gated = of_tokens(*OUTPUTS, HELD + 3 * QUERY)  # the output; its gate before and after the sigmoid
    assert prefill(multi_head("attention.gate=true"), "flash") == gated


def test_gate_of_heads() -> None:
    """The output, the product, and one factor of each head."""
    gated = of_tokens(*OUTPUTS, HELD + 2 * QUERY + H)
    assert prefill(multi_head("attention.gate=true", "attention.gate_per_head=true"), "flash") == gated


def test_norm_and_rotation() -> None:
    """Queries rotated as the sum of two products, or normalized; keys alike, after the queries."""
    rotated = of_tokens(HELD + 2 * QUERY + KEY, *OUTPUTS)
    assert prefill(multi_head("position.kind=rope"), "flash") == rotated
    assert prefill(multi_head("position.kind=rope", "attention.qk_norm=full"), "flash") == rotated
    assert prefill(multi_head("attention.qk_norm=full"), "flash") == of_tokens(HELD + QUERY + KEY, *OUTPUTS)


@pytest.mark.parametrize(("window", "mask"), [(S - 1, 2), (S, 0)])
def test_mask(window: int, mask: int) -> None:
    """A fused kernel reads the mask as a bias, if the window hides a position."""
    found = prefill(multi_head(f"attention.window={window}"), "fused")
    assert found == [T * S * mask + each for each in of_tokens(*OUTPUTS)]
    assert prefill(multi_head(f"attention.window={window}"), "flash") == of_tokens(*OUTPUTS)
    assert prefill(multi_head(f"attention.window={window}", "position.kind=alibi"), "fused") == of_tokens(*OUTPUTS)


@pytest.mark.parametrize("element_bytes", [2, 4, 8])
def test_eager_prefill(element_bytes: int) -> None:
    """The mask and its complement; keys and values of every head; a score, in float32, and its softmax."""
    wide = max(element_bytes, 4)
    points = (*of_tokens(*OUTPUTS, element_bytes=element_bytes), B * T * (HELD * element_bytes))
    mask, copies = T * S * 2, B * S * 2 * QUERY * element_bytes
    scores = B * T * H * S * max(element_bytes + 2 * wide, 3 * element_bytes)
    expected = [mask + copies + each for each in (points[0], points[1], points[2] + scores)]
    assert prefill(multi_head(), "eager", element_bytes) == expected
    held = of_tokens(2 * D + 3 * QUERY, element_bytes=element_bytes)[0]
    assert prefill(multi_head(f"attention.n_kv_heads={H}"), "eager", element_bytes)[-1] == mask + held + scores


@pytest.mark.parametrize("element_bytes", [2, 4, 8])
def test_math_prefill(element_bytes: int) -> None:
    """The mask, its bias and a temporary; keys scaled; from 16 bits, queries, keys and values in float32."""
    wide = max(element_bytes, 4)
    cast = wide if element_bytes == 2 else 0
    mask = T * S * (1 + 2 * wide)
    copies = B * S * QUERY * (2 * element_bytes + (cast + wide) + cast)  # repeated; the key scaled; the value
    outputs = of_tokens(*OUTPUTS, element_bytes=element_bytes)
    scores = B * T * (HELD * element_bytes + H * S * 2 * wide + QUERY * (cast + wide))  # before and after softmax
    assert prefill(multi_head(), "math", element_bytes) == [mask + copies + each for each in (*outputs, scores)]


@pytest.mark.parametrize("element_bytes", [2, 4, 8])
def test_latent_prefill(element_bytes: int) -> None:
    """In the math backend, queries, keys and values in float32, the first two scaled, and the scores, twice."""
    outputs = of_tokens(LATENT_HELD + 2 * VALUES, LATENT_HELD + VALUES + D, element_bytes=element_bytes)
    assert prefill(make(*LATENT), "flash", element_bytes) == outputs
    assert prefill(make(*LATENT), "fused", element_bytes) == outputs
    wide = max(element_bytes, 4)
    upcast = (2 * LATENT_QUERY + VALUES) * wide if element_bytes == 2 else 0
    attended = LATENT_HELD * element_bytes + upcast + 2 * LATENT_QUERY * wide + H * S * 2 * wide
    assert prefill(make(*LATENT), "math", element_bytes) == [T * S * (1 + 2 * wide) + B * T * attended]
    unrotated = of_tokens(*(each - H * R - R for each in (LATENT_HELD + 2 * VALUES, LATENT_HELD + VALUES + D)))
    assert prefill(make(*LATENT, "position.kind=none"), "fused") == unrotated
    direct = make(*LATENT, "attention.q_rank=null")  # without a compressed query
    expected = of_tokens(LATENT_HELD - Q + 2 * VALUES, LATENT_HELD - Q + VALUES + D, element_bytes=element_bytes)
    assert prefill(direct, "fused", element_bytes) == expected


ONE_TOKEN = tuple(2 * each for each in OUTPUTS)


@pytest.mark.parametrize(("seq_len", "splits"), [(1, 1), (128, 1), (129, 2), (16384, 128), (65536, 128)])
def test_split_decoding(seq_len: int, splits: int) -> None:
    """A fused kernel holds nothing of the cache; a flash kernel the output of each split of 128 positions."""
    assert attention_decode_bytes(multi_head(), seq_len, 2, "fused") == (0, ONE_TOKEN)
    assert attention_decode_bytes(multi_head(), seq_len, 2, "flash") == (splits * H * (K + 1) * 4, ONE_TOKEN)
    windowed = attention_decode_bytes(multi_head("attention.window=129"), seq_len, 2, "flash")
    assert windowed == (min(splits, 2) * H * (K + 1) * 4, ONE_TOKEN)


def test_alibi_decoding() -> None:
    """Distances times slopes, the bias in float32, and in bfloat16; a flash kernel computes them in place."""
    config = multi_head("position.kind=alibi")
    assert attention_decode_bytes(config, S, 2, "fused") == (S * H * (4 + 4 + 2), ONE_TOKEN)
    assert attention_decode_bytes(config, S, 2, "flash") == (H * (K + 1) * 4, ONE_TOKEN)


def test_eager_decoding() -> None:
    """Of each position, a key and a value of every head, and scores: each, in float32, and its softmax."""
    copied, scores = 2 * QUERY * 2, H * (2 + 4 + 4)
    attending = (*ONE_TOKEN, HELD * 2 + scores)
    expected = (S * (copied + scores), tuple(copied + each for each in attending))
    assert attention_decode_bytes(multi_head(), S, 2, "eager") == expected


@pytest.mark.parametrize("element_bytes", [2, 4, 8])
def test_latent_decoding(element_bytes: int) -> None:
    """The query in the latent space: projected, concatenated, upcast, scaled; the cached vectors alike."""
    wide = max(element_bytes, 4)
    absorbed = H * (C + R) * (2 * element_bytes + 2 * wide)
    outputs = (LATENT_HELD + 2 * VALUES, LATENT_HELD + VALUES + D)
    points = tuple(absorbed + each * element_bytes for each in outputs)
    flash = (H * (C + 1) * 4, points)
    assert attention_decode_bytes(make(*LATENT), S, element_bytes, "flash") == flash
    fused = (S * (C + R) * element_bytes, points)
    assert attention_decode_bytes(make(*LATENT), S, element_bytes, "fused") == fused
    in_float32 = wide if element_bytes == 2 else 0
    # concatenated, scaled; key and value in float32; scores
    held = S * ((C + R) * (element_bytes + wide) + (C + R + C) * in_float32 + H * 2 * wide)
    upcast = (2 * LATENT_QUERY + VALUES) * in_float32
    attending = LATENT_HELD * element_bytes + upcast + 2 * LATENT_QUERY * wide + H * 2 * wide
    assert attention_decode_bytes(make(*LATENT), S, element_bytes, "math") == (held, (absorbed + attending,))


def test_temperature() -> None:
    """The query times its factor; in decoding with latents, also in the latent space."""
    setting = "attention.temperature_scale=0.1"
    assert prefill(multi_head(setting), "flash") == of_tokens(*(each + QUERY for each in OUTPUTS))
    config, scaled = make(*LATENT, setting), LATENT_HELD + LATENT_QUERY
    assert prefill(config, "fused") == of_tokens(scaled + 2 * VALUES, scaled + VALUES + D)
    absorbed = H * (C + R) * (3 * 2 + 2 * 4)
    points = tuple(absorbed + 2 * each for each in (scaled + 2 * VALUES, scaled + VALUES + D))
    assert attention_decode_bytes(config, S, 2, "fused") == (S * (C + R) * 2, points)


@pytest.mark.parametrize("element_bytes", [2, 4, 8])
def test_differential(element_bytes: int) -> None:
    """Values of a pair of heads, repeated for both; outputs of 2·K from each head, in float32 and in the dtype."""
    config, wide, values = multi_head("attention.differential=true"), max(element_bytes, 4), H * 2 * K
    cast = wide if element_bytes == 2 else 0
    points = of_tokens(*OUTPUTS, HELD + 5 * QUERY, element_bytes=element_bytes)
    paired = 3 * KEY * element_bytes
    assert prefill(config, "flash", element_bytes) == [B * S * paired + each for each in points]

    repeated = paired + (QUERY + values) * element_bytes
    outputs = values * (element_bytes + wide)
    scores = H * max(element_bytes + 2 * wide, 3 * element_bytes)
    attended = B * T * (HELD * element_bytes + S * scores + outputs)
    eager = [T * S * 2 + B * S * repeated + each for each in (*points, attended)]
    assert prefill(config, "eager", element_bytes) == eager
    held, attending = attention_decode_bytes(config, S, element_bytes, "eager")
    assert held == S * (repeated + scores)
    assert attending[-1] == repeated + HELD * element_bytes + scores + outputs

    upcast = repeated + QUERY * (cast + wide) + values * cast
    attended = B * T * (HELD * element_bytes + H * S * 2 * wide + QUERY * (cast + wide) + outputs)
    math = [T * S * (1 + 2 * wide) + B * S * upcast + each for each in (*points, attended)]
    assert prefill(config, "math", element_bytes) == math


INDEX_H, INDEX_K = 2, 3  # heads and dimensions of an indexer


def indexed(top_k: int) -> ModelConfig:
    sizes = (
        f"attention.index_n_heads={INDEX_H}",
        f"attention.index_d_head={INDEX_K}",
        f"attention.index_top_k={top_k}",
    )
    return make(*LATENT, *sizes)


def indexing(top_k: int, kv_len: int, element_bytes: int, backend: AttentionBackend) -> tuple[int, int, int]:
    """Return the bytes per token while queries are rotated, keys scored, and the best selected."""
    wide = max(element_bytes, 4)
    cast = wide if element_bytes == 2 else 0
    # x and its norm; the compressed query and its norm; q and its rotation; compressed, normalized, cached; the key
    held = (2 * D + 2 * Q + H * (N + R) + H * R + 3 * (C + R) + 2 * INDEX_K) * element_bytes
    rotating = held + 3 * INDEX_H * INDEX_K * element_bytes
    weights, best = INDEX_H * (element_bytes + cast + wide), min(top_k, kv_len)
    if backend == "flash":
        scoring = held + INDEX_H * INDEX_K * element_bytes + weights + kv_len * wide
        return rotating, scoring, held + kv_len * wide + best * 4
    # queries and keys in float32; a score of each head, and their sum
    scoring = (
        held + INDEX_H * INDEX_K * (element_bytes + cast) + weights + INDEX_K * cast + (INDEX_H + 1) * kv_len * wide
    )
    # scores and the best ones; three booleans, counts and one count in int32, or the positions of the best
    return rotating, scoring, held + (kv_len + best) * wide + max(kv_len * (3 + 4) + 4, best * 8)


@pytest.mark.parametrize("top_k", [S - 3, S - 1, S, S + 1])
@pytest.mark.parametrize("element_bytes", [2, 4, 8])
def test_indexer_prefill(top_k: int, element_bytes: int) -> None:
    """A flash kernel reads positions; otherwise each sequence has a mask, unless all positions are selected."""
    wide = max(element_bytes, 4)
    masks: dict[AttentionBackend, tuple[int, int]] = {"fused": (0, 1 + element_bytes), "math": (1 + 2 * wide, 1)}
    for backend, (shared, own) in masks.items():
        rows = [T * S + B * T * each for each in indexing(top_k, S, element_bytes, backend)]
        mask = T * S * (B * (shared + own) if top_k < S else shared)
        attended = [mask + each for each in _without_mask(backend, element_bytes)]
        assert prefill(indexed(top_k), backend, element_bytes) == [*rows, *attended]
    rows = [B * T * each for each in indexing(top_k, S, element_bytes, "flash")]
    positions = B * T * min(top_k, S) * 4
    attended = [positions + each for each in _without_mask("flash", element_bytes)]
    assert prefill(indexed(top_k), "flash", element_bytes) == [*rows, *attended]


def _without_mask(backend: AttentionBackend, element_bytes: int) -> list[int]:
    mask = T * S * (1 + 2 * max(element_bytes, 4)) if backend == "math" else 0
    return [each - mask for each in prefill(make(*LATENT), backend, element_bytes)]


@pytest.mark.parametrize(
    ("top_k", "seq_len", "peak"), [(4, 5000, "indexer"), (4999, 5000, "attention"), (5000, 5000, "either")]
)
@pytest.mark.parametrize("element_bytes", [2, 4, 8])
def test_indexer_decoding(top_k: int, seq_len: int, peak: str, element_bytes: int) -> None:
    """The selected latents are gathered, if there are others; the indexer reads every key, in float32."""
    wide = max(element_bytes, 4)
    in_float32 = wide if element_bytes == 2 else 0
    keys = INDEX_K * in_float32
    config, attended = indexed(top_k), min(top_k, seq_len)
    latents: dict[AttentionBackend, int] = {  # of each position; in the math backend, with scores
        "fused": (C + R) * element_bytes,
        "math": (C + R) * (element_bytes + wide) + (C + R + C) * in_float32 + H * 2 * wide,
    }
    for backend, per_position in latents.items():
        attending = attended * per_position
        if top_k < seq_len:  # selected, as booleans and bytes; positions, whether they are valid, latents
            attending += seq_len * 2 + top_k * (8 + 1 + (C + R) * element_bytes)
        scoring = max(indexing(top_k, seq_len, element_bytes, backend)) + seq_len * keys
        if peak != "either":
            assert (attending > scoring) == (peak == "attention"), "or this would test something else"
        held, points = attention_decode_bytes(config, seq_len, element_bytes, backend)
        assert held == max(attending, scoring)
        assert points == attention_decode_bytes(make(*LATENT), seq_len, element_bytes, backend)[1]
    splits = -(-attended // 128) * H * (C + 1) * 4
    held, _ = attention_decode_bytes(config, seq_len, element_bytes, "flash")
    assert held == max(splits, *indexing(top_k, seq_len, element_bytes, "flash"))


@pytest.mark.parametrize(("dtype", "element_bytes"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize(("n_kv_heads", "top_k"), [(8, 20), (8, 95), (2, 20), (2, 100)])
@pytest.mark.parametrize("seq_len", [100, 1])
def test_measured_dynamic_mask(
    seq_len: int, n_kv_heads: int, top_k: int, dtype: torch.dtype, element_bytes: int
) -> None:
    """The peak is at the copied values, at the selection, or at the mask of all heads."""
    sizes = ("n_heads=8", f"attention.n_kv_heads={n_kv_heads}", "attention.d_head=8", "max_len=200")
    config, kv_len = make(*sizes, f"attention.dynamic_mask_top_k={top_k}"), 100
    module = DynamicMask(config).to_empty(device="cpu").to(dtype)
    for parameter in module.parameters():
        torch.nn.init.ones_(parameter)
    values, mask = torch.zeros(1, n_kv_heads, kv_len, 8, dtype=dtype), AttentionMask(is_causal=seq_len > 1)
    with torch.no_grad():
        measured = peak_bytes(lambda: module(values, mask, seq_len))
    _, points = _dynamic_mask(config, seq_len, kv_len, element_bytes, "fused")
    assert max(points) == measured
