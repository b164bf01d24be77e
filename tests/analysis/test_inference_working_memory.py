"""Working memory of a pass: live tensors at each point, compared with hand-computed sums for one small model."""

from __future__ import annotations

import pytest
import torch

from tests.live_memory import peak_bytes
from tinylm_cli.analysis.attention_kernels import AttentionBackend
from tinylm_cli.analysis.inference_working_memory import BackendOf, decode_working_bytes, forward_working_bytes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM

B, T, S = 2, 3, 5
D, H, G, K, F = 16, 4, 2, 6, 40
QUERY, KEY = H * K, G * K
HELD = 2 * D + QUERY + 2 * KEY  # x and its norm, query, key, value
OUTPUTS = (HELD + 2 * QUERY, HELD + QUERY + D)  # the mixture, transposed or projected
STREAM = 4 * D
BF16, FP32 = 2, 4

GQA = ("attention.kind=gqa", f"attention.n_kv_heads={G}", f"attention.d_head={K}")
C, Q, N, R, V = 5, 7, 3, 2, 9
LATENT = (
    "position.kind=rope", "attention.kind=latent", f"attention.kv_rank={C}", f"attention.q_rank={Q}",
    f"attention.d_nope={N}", f"attention.d_rope={R}", f"attention.d_value={V}",
)  # fmt: skip


def make(*overrides: str) -> ModelConfig:
    sizes = (f"d_model={D}", f"n_heads={H}", "n_layers=2", f"d_ff={F}", "max_len=65536", "position.kind=none")
    return load_config("tiny", [*sizes, *overrides]).config


def everywhere(backend: AttentionBackend) -> BackendOf:
    return lambda kind: backend  # noqa: ARG005


def forward(
    *overrides: str, element_bytes: int = BF16, backend: AttentionBackend | None = None, kv_len: int | None = S
) -> tuple[int, ...]:
    backend_of = None if backend is None else everywhere(backend)
    return forward_working_bytes(
        make(*overrides), batch_size=B, seq_len=T, element_bytes=element_bytes, backend_of=backend_of, kv_len=kv_len
    )


def of_rows(*elements: int, element_bytes: int = BF16) -> tuple[int, ...]:
    """Return the bytes of these numbers of elements per token, for all tokens of the batch."""
    return tuple(B * T * each * element_bytes for each in elements)


EMBEDDING, FEED_FORWARD = 2 * D, STREAM + 2 * F + D


def test_layer() -> None:
    assert forward(*GQA) == of_rows(EMBEDDING, *OUTPUTS, FEED_FORWARD)
    assert forward(*GQA, kv_len=None) == forward(*GQA)
    rest = of_rows(EMBEDDING, HELD + QUERY + KEY, *OUTPUTS, FEED_FORWARD)
    assert forward(*GQA, "attention.qk_norm=per_head") == rest
    rope = (*GQA, "position.kind=rope", "attention.qk_norm=per_head")
    assert forward(*rope, "attention.qk_norm_after_rope=true") == forward(*rope)


@pytest.mark.parametrize(
    ("overrides", "tensors"),
    [
        ((), 2),
        (("feed_forward.activation=quick_gelu",), 3),
        (("feed_forward.activation=relu2",), 3),
        (("feed_forward.activation=xielu",), 5),
        (("feed_forward.activation=silu", "feed_forward.gated=true"), 4),
        (("feed_forward.activation=xielu", "feed_forward.gated=true"), 6),
        (("feed_forward.activation=silu", "feed_forward.gated=true", "feed_forward.clamp=7"), 6),
    ],
)
def test_feed_forward(overrides: tuple[str, ...], tensors: int) -> None:
    assert forward(*overrides)[-1:] == of_rows(STREAM + tensors * F + D)


LOCAL = ("attention.window=99", "attention.window_pattern=LG")


@pytest.mark.parametrize(
    ("windows", "tables"), [((), 1), (LOCAL, 1), ((*LOCAL, "position.local_theta=100", "position.theta=1e6"), 2)]
)
def test_rotary_tables(windows: tuple[str, ...], tables: int) -> None:
    """Cosines and sines of three pairs; in float32, three pairs of tables while they are made."""
    table = T * 2 * (K // 2)
    rotated = of_rows(HELD + 2 * QUERY + KEY, *OUTPUTS, FEED_FORWARD)
    embedding = of_rows(EMBEDDING)[0] + tables * table * BF16 + 3 * table * FP32
    expected = (embedding, *(tables * table * BF16 + each for each in rotated))
    assert forward(*GQA, "position.kind=rope", *windows) == expected


@pytest.mark.parametrize(("backend", "own"), [("flash", 0), ("eager", 0), ("math", 0), ("fused", BF16)])
@pytest.mark.parametrize("window", [S - 1, S])
def test_window(backend: AttentionBackend, own: int, window: int) -> None:
    """One mask for all layers, three of its size while it is made; fused kernels convert it in each layer.

    The eager and the math backend build as large a causal mask without a window. One of every key needs no mask.
    """
    plain = forward(*GQA, backend=backend)
    windowed = forward(*GQA, f"attention.window={window}", backend=backend)
    pairs = T * S if window < S and backend != "flash" else 0
    attending = [pairs + pairs * own] * (len(plain) - 2)
    assert [more - less for less, more in zip(plain, windowed, strict=True)] == [3 * pairs, *attending, pairs]


@pytest.mark.parametrize("element_bytes", [BF16, FP32])
@pytest.mark.parametrize(("windows", "kinds"), [((), 1), (("attention.window=4", "attention.window_pattern=LG"), 2)])
def test_alibi(windows: tuple[str, ...], kinds: int, element_bytes: int) -> None:
    """A bias for every head and kind of layer; the last one in float32, its masked copy, and three tables of a head."""
    bias = H * T * S
    plain = forward(*GQA, element_bytes=element_bytes)
    found = forward(*GQA, "position.kind=alibi", *windows, element_bytes=element_bytes)
    held = kinds * bias * element_bytes
    cast = bias * BF16 if element_bytes == BF16 else 0
    making = (kinds - 1) * bias * element_bytes + (2 * bias + 3 * T * S) * FP32 + cast
    embedding, *layers = plain
    assert found == (embedding + making, *(held + each for each in layers * kinds))
    assert forward(*GQA, "position.kind=alibi", backend="flash") == forward(*GQA, backend="flash")


LATENT_HELD = 2 * D + 3 * H * (N + R) + H * R + 2 * (C + R) + Q + H * (N + V)


@pytest.mark.parametrize("element_bytes", [BF16, FP32])
def test_latent_attention(element_bytes: int) -> None:
    table = T * 2 * (R // 2)
    shared, mask = table * element_bytes, T * S * (1 + 2 * FP32)
    query, values = H * (N + R), H * V
    upcast = (2 * query + values) * FP32 if element_bytes == BF16 else 0
    written = LATENT_HELD * element_bytes + upcast + 2 * query * FP32 + H * S * 2 * FP32
    embedding, feed_forward = of_rows(EMBEDDING, FEED_FORWARD, element_bytes=element_bytes)
    expected = (embedding + shared + 3 * table * FP32, shared + mask + B * T * written, shared + feed_forward)
    assert forward(*LATENT, element_bytes=element_bytes) == expected
    fused = of_rows(LATENT_HELD + 2 * values, LATENT_HELD + values + D, element_bytes=element_bytes)
    backends: tuple[AttentionBackend, ...] = ("flash", "fused")
    for backend in backends:
        _, *points, _ = forward(*LATENT, element_bytes=element_bytes, backend=backend)
        assert points == [shared + each for each in fused]


EXPERTS = (
    "feed_forward.n_experts=6", "feed_forward.top_k=3", "feed_forward.d_expert=11", "feed_forward.n_shared_experts=2",
)  # fmt: skip


@pytest.mark.parametrize("element_bytes", [BF16, FP32])
def test_experts(element_bytes: int) -> None:
    """Scores of six experts; two hidden tensors of one expert, which all tokens may select; outputs; shared experts."""
    indices = 3 * (4 * 8 + FP32 + element_bytes)
    points = (
        6 * (element_bytes + 4 * FP32),
        indices + ((2 * 3 + 1) * D + 2 * 11) * element_bytes,
        indices + 3 * 3 * D * element_bytes,
        (2 * D + 2 * 2 * 11) * element_bytes,
    )
    expected = [B * T * (STREAM * element_bytes + each) for each in points]
    assert list(forward(*EXPERTS, element_bytes=element_bytes)[-4:]) == expected
    dense = B * T * (STREAM + 2 * F + D) * element_bytes
    mixed = forward(*EXPERTS, "feed_forward.n_dense_layers=1", element_bytes=element_bytes)
    assert mixed == (*forward(element_bytes=element_bytes), *forward(*EXPERTS, element_bytes=element_bytes)[1:])
    assert dense in mixed


@pytest.mark.parametrize("element_bytes", [BF16, FP32])
def test_latent_experts(element_bytes: int) -> None:
    """Dispatched vectors of 5 elements and the projected tokens; then the projection of their sum."""
    latent, indices = 5, 3 * (4 * 8 + FP32 + element_bytes)
    points = (
        indices + (latent + D) * element_bytes,
        6 * (element_bytes + 4 * FP32),
        indices + ((2 * 3 + 1) * latent + 2 * 11 + latent) * element_bytes,
        indices + (3 * 3 * latent + latent) * element_bytes,
        (2 * D + 2 * 2 * 11) * element_bytes,
    )
    expected = [B * T * (STREAM * element_bytes + each) for each in points]
    found = forward(*EXPERTS, f"feed_forward.d_latent={latent}", element_bytes=element_bytes)
    assert list(found[-5:]) == expected


def decode(*overrides: str, seq_len: int, backend: AttentionBackend) -> tuple[int, ...]:
    return decode_working_bytes(make(*overrides), seq_len=seq_len, element_bytes=BF16, backend_of=everywhere(backend))


ONE_TOKEN = tuple(BF16 * each for each in (*OUTPUTS, FEED_FORWARD))


@pytest.mark.parametrize(("seq_len", "splits"), [(1, 1), (128, 1), (129, 2), (16384, 128), (16385, 128), (65536, 128)])
def test_decoding_splits(seq_len: int, splits: int) -> None:
    """A float32 output and log-sum-exp of every head and split."""
    held = splits * H * (K + 1) * FP32
    assert decode(*GQA, seq_len=seq_len, backend="flash") == tuple(held + each for each in ONE_TOKEN)
    windowed = decode(*GQA, "attention.window=129", seq_len=seq_len, backend="flash")
    assert windowed == tuple(min(splits, 2) * H * (K + 1) * FP32 + each for each in ONE_TOKEN)
    mixed = decode(*GQA, "attention.window=129", "attention.window_pattern=LG", seq_len=seq_len, backend="flash")
    everywhere_full = decode(*GQA, seq_len=seq_len, backend="flash")
    assert mixed == ((*windowed, *everywhere_full) if seq_len > 129 else everywhere_full)


def test_decoding() -> None:
    """Fused kernels read the cache in place; others copy it. ALiBi adds a bias of every head."""
    assert decode(*GQA, seq_len=S, backend="fused") == ONE_TOKEN
    bias = S * H * (2 * FP32 + BF16)
    assert decode(*GQA, "position.kind=alibi", seq_len=S, backend="fused") == tuple(bias + each for each in ONE_TOKEN)
    alibi = decode(*GQA, "position.kind=alibi", seq_len=S, backend="flash")
    assert alibi == decode(*GQA, seq_len=S, backend="flash")
    copied, scores = 2 * QUERY * BF16, H * (BF16 + 2 * FP32)
    first, second, feed_forward = ONE_TOKEN
    attending = (first, second, HELD * BF16 + scores)
    held = S * (copied + scores)
    expected = (*(held + copied + each for each in attending), held + feed_forward)
    assert decode(*GQA, seq_len=S, backend="eager") == expected


def test_shortcuts() -> None:
    """While the next layer runs, the output of the experts waits; zero-computation experts add scores."""
    kinds = ("layers.kinds={a: {}, b: {feed_forward: {n_experts: null}}}", "layers.pattern='a, b'")
    experts = ("feed_forward.n_experts=4", "feed_forward.n_shared_experts=1", *kinds)
    deferred = "layers.kinds.a.feed_forward.shortcut=true"
    waiting = D * BF16
    assert forward(*GQA, *experts, deferred)[1:] == tuple(
        each + B * T * waiting for each in forward(*GQA, *experts)[1:]
    )
    plain, later = (
        decode_working_bytes(make(*GQA, *experts, *more), seq_len=S, element_bytes=BF16) for more in ((), (deferred,))
    )
    assert later == tuple(each + waiting for each in plain)
    more = forward(*GQA, "feed_forward.n_experts=600", "feed_forward.n_zero_experts=5")
    fewer = forward(*GQA, "feed_forward.n_experts=600")
    assert [a - b for a, b in zip(more, fewer, strict=True) if a != b] == [B * T * 5 * (BF16 + 4 * FP32)]


@pytest.mark.parametrize(("dtype", "element_bytes"), [(torch.float32, FP32), (torch.bfloat16, BF16)])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize(
    "streams",
    [
        (),
        ("embedding.d_per_layer=8",),
        *((f"block.hyper_streams={n}",) for n in (2, 4, 24)),
        *((f"block.altup_streams={n}", *more) for n in (2, 4, 24) for more in ((), ("embedding.d_per_layer=8",))),
        ("block.altup_streams=24", "d_model=16"),
    ],
    ids=" ".join,
)
def test_measured_streams(streams: tuple[str, ...], norm: str, dtype: torch.dtype, element_bytes: int) -> None:
    """With a narrow feed-forward network, the peak is at a norm, in attention, or where streams are added."""
    config = make("d_model=64", "n_heads=1", "d_ff=8", "dropout=0.0", "max_len=256", f"norm.kind={norm}", *streams)
    model = TinyTransformerLM.from_config(config, dtype=dtype).eval()
    tokens = torch.zeros(2, 100, dtype=torch.long)
    with torch.no_grad():
        measured = peak_bytes(lambda: model.hidden(tokens))
    predicted = forward_working_bytes(config, batch_size=2, seq_len=100, element_bytes=element_bytes)
    assert 0.985 * measured <= max(predicted) <= 1.08 * measured
