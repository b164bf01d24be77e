"""Working memory of attention alone; tests/analysis/test_inference_working_memory.py works out whole layers."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.attention_kernels import AttentionBackend
from tinylm_cli.analysis.mixers.attention_working_memory import attention_decode_bytes, attention_prefill_bytes
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config

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
    """Return the bytes of so many elements for every token of the batch."""
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
