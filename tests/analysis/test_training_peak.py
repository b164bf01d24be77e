"""The phases of a training step: gradients and working memory, worked out by hand for a model of one layer."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.memory import PhaseMemory

B, T, VOCAB, D, H, G, K, F = 3, 5, 23, 16, 4, 2, 6, 40
TOKENS = B * T
STREAM = TOKENS * D
SIZES = (
    f"vocab_size={VOCAB}", f"d_model={D}", f"n_heads={H}", "n_layers=1", f"d_ff={F}", "max_len=32", "dropout=0",
    "position.kind=none", "attention.bias=false", "feed_forward.bias=false", "norm.bias=false",
)  # fmt: skip
GQA = ("attention.kind=gqa", f"attention.n_kv_heads={G}", f"attention.d_head={K}")
BF16, FP32 = 2, 4


def phases(*overrides: str, **fields: Any) -> list[PhaseMemory]:
    config = load_config("tiny", [*SIZES, *overrides]).config
    setup = TrainingSetup(batch_size=B, seq_len=T, **fields)
    return list(training_timeline(ForwardPass(config, setup), tensor_table(config), step_bytes=7))


def test_phases() -> None:
    """In bfloat16: float32 gradients of the logits, then of the head, the hidden layer, attention and the embedding."""
    found = phases(*GQA, "tie_weights=false")
    assert [each.name for each in found] == [
        "loss", "head gradient", "backward", "backward", "embedding gradient", "optimizer step",
    ]  # fmt: skip
    logits, head = TOKENS * VOCAB, D + D * VOCAB
    feed_forward, attention = 2 * D * F, D * K * (2 * H + 2 * G)
    everything = D * VOCAB + 2 * D + attention + feed_forward + head
    gradients = [0, head, head + D * F, head + feed_forward, everything, everything]
    assert [each.gradients_bytes for each in found] == [BF16 * each for each in gradients]
    loss, head_gradient, hidden, _, embedding, step = [each.working_bytes for each in found]
    assert (loss, head_gradient) == (2 * logits * FP32, (logits + STREAM) * BF16)
    assert hidden == (STREAM + TOKENS * F) * BF16
    assert (embedding, step) == (STREAM * BF16, 7)
    # freed with the feed-forward part: its input before and after the norm, two statistics, the hidden layer twice
    freed = (2 * STREAM + 2 * TOKENS * F) * BF16 + 2 * TOKENS * FP32
    assert found[2].activations_bytes - found[3].activations_bytes == freed
    scores = phases(*GQA, "tie_weights=false", attention_kernel="math")
    attention_output = TOKENS * H * K * BF16  # no kernel reads it again
    assert scores[2].activations_bytes - scores[3].activations_bytes == freed + attention_output
    gated = phases(*GQA, "feed_forward.gated=true", "feed_forward.activation=silu")
    assert gated[2].working_bytes == (STREAM + 2 * TOKENS * F) * BF16


def test_squared_relu() -> None:
    """Gradients of the square and of the ReLU, and a product; a gated unit has freed others by then."""
    found = phases(*GQA, "feed_forward.activation=relu2")
    assert found[2].working_bytes == (STREAM + 3 * TOKENS * F) * BF16
    gated = phases(*GQA, "feed_forward.activation=relu2", "feed_forward.gated=true")
    assert gated[2].working_bytes == (STREAM + 2 * TOKENS * F) * BF16


@pytest.mark.parametrize("gated", ["true", "false"])
def test_sub_norms(gated: str) -> None:
    """The norms' outputs and statistics are saved; gradients of gate and up follow after both ends of the norm."""
    plain = phases(*GQA, f"feed_forward.gated={gated}")
    found = phases(*GQA, f"feed_forward.gated={gated}", "feed_forward.sub_norm=true", "attention.sub_norm=true")
    saved = TOKENS * (H * K + F) * BF16 + 2 * 2 * TOKENS * FP32
    assert found[2].activations_bytes - plain[2].activations_bytes == saved
    assert found[2].working_bytes == (STREAM + TOKENS * F) * BF16
    assert found[3].activations_bytes == plain[3].activations_bytes  # all freed before core attention


def test_tied_embedding() -> None:
    """The table has a gradient from the head on, and two more at the end: of the lookup, and of the sum."""
    found = phases(*GQA, "tie_weights=true")
    assert found[1].gradients_bytes == (D + VOCAB * D) * BF16
    assert found[-2].working_bytes == (2 * VOCAB * D + STREAM) * BF16


SCORES, MIXED = B * H * T * T, TOKENS * H * K
SINKS = ("attention.sinks=true",)


@pytest.mark.parametrize(
    ("overrides", "fields", "gradients"),
    [
        # the dropped weights have no gradient left: one of the weights, in float32, and of the output
        (("dropout=0.1",), {"attention_kernel": "math"}, SCORES * FP32 + MIXED * FP32),
        ((), {"attention_kernel": "math"}, 2 * SCORES * FP32 + MIXED * FP32),
        # the weights are cast to the model's dtype
        (SINKS, {"attention_kernel": "sdpa"}, SCORES * (FP32 + BF16) + MIXED * FP32),
        (SINKS, {"attention_kernel": "sdpa", "dtype": "float32"}, 2 * SCORES * FP32 + MIXED * FP32),
        # queries and the output, keys and values; on CUDA in float32 the queries once more, and keys of every head
        ((), {"attention_kernel": "flash", "device": "cpu"}, TOKENS * 2 * (H + G) * K * BF16),
        (
            (),
            {"attention_kernel": "flash", "device": "cuda"},
            TOKENS * (2 * (H + G) * K * BF16 + H * (K + 1) * FP32 + 2 * H * K * BF16),
        ),
        (
            ("attention.kind=multi_head", "attention.n_kv_heads=null"),
            {"attention_kernel": "flash", "device": "cuda"},
            TOKENS * (4 * H * K * BF16 + H * (K + 1) * FP32),
        ),
    ],
)
def test_attention_gradients(overrides: tuple[str, ...], fields: dict[str, Any], gradients: int) -> None:
    element_bytes = FP32 if fields.get("dtype") == "float32" else BF16
    found = phases(*GQA, *overrides, **fields)[3]
    assert found.working_bytes == STREAM * element_bytes + gradients


def test_latent_attention_gradients() -> None:
    """Every head has keys of its own, of d_nope and d_rope dimensions, and narrower values."""
    sizes = {"kv_rank": 5, "d_nope": 4, "d_rope": 2, "d_value": 9}
    latent = ("attention.kind=latent", "position.kind=rope", *(f"attention.{key}={n}" for key, n in sizes.items()))
    found = phases(*latent, attention_kernel="flash", device="cpu")[3]
    assert found.working_bytes == (STREAM + TOKENS * 2 * H * (6 + 9)) * BF16


def test_expert_gradients() -> None:
    """Two gradients of routed tokens; then they beside the weights' gradients; then those of one stack."""
    n_experts, top_k, d_expert = 6, 3, 11
    fields = {"n_experts": n_experts, "top_k": top_k, "d_expert": d_expert, "n_shared_experts": 2}
    experts = tuple(f"feed_forward.{key}={n}" for key, n in fields.items())
    first, second, third, attention = (each for each in phases(*GQA, *experts) if each.name == "backward")
    matrix = D * d_expert
    weights = 2 * (n_experts + 2) * matrix  # up and down
    assert second.gradients_bytes - first.gradients_bytes == weights * BF16
    assert third.gradients_bytes == second.gradients_bytes
    assert attention.gradients_bytes - first.gradients_bytes == (weights + n_experts * D) * BF16, "and of the router"
    assert first.working_bytes == second.working_bytes == (1 + 2 * top_k) * STREAM * BF16
    assert third.working_bytes == (2 * STREAM + n_experts * matrix) * BF16
    assert first.activations_bytes > second.activations_bytes == third.activations_bytes


def test_deferred_experts() -> None:
    """The gradient of the output of experts waits while that of the next layer is computed."""
    kinds = ("n_layers=2", "layers.kinds={a: {}, b: {feed_forward: {n_experts: null}}}", "layers.pattern='a, b'")
    experts = (*kinds, "feed_forward.n_experts=4", "feed_forward.n_shared_experts=1")
    plain = phases(*GQA, *experts)
    deferred = phases(*GQA, *experts, "layers.kinds.a.feed_forward.shortcut=true")
    waiting = [later.working_bytes - each.working_bytes for later, each in zip(deferred, plain, strict=True)]
    of_next = 2  # its network and its mixer
    backward = [number for number, each in enumerate(plain) if each.name == "backward"]
    assert [number for number, more in enumerate(waiting) if more] == backward[:of_next]
    assert {more for more in waiting if more} == {STREAM * BF16}
    assert [each.activations_bytes for each in deferred] == [each.activations_bytes for each in plain]
