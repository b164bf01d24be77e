"""The backward pass of a layer: gradients and working memory, compared with hand-computed values."""

from __future__ import annotations

from typing import Any

import pytest

from tests.analysis.one_layer import BF16, FP32, GQA, STREAM, TOKENS, B, D, F, G, H, K, T, phases

SCORES, MIXED = B * H * T * T, TOKENS * H * K
SINKS = ("attention.sinks=true",)


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


def test_gradients_at_hyper_connections() -> None:
    """At the second one, the network has gradients; at the first one, everything in the layer after it."""
    n, n_phases = 3, 4
    found = [each for each in phases(*GQA, f"block.hyper_streams={n}") if each.name == "backward"]
    assert len(found) == n_phases
    network, second, first, attention = found
    hyper = 2 * n * n * D + 2 * n + 2  # 2n weights from n · D elements, with their scales and offsets
    assert (
        second.gradients_bytes == network.gradients_bytes + (D * F + D) * BF16
    )  # up_proj and the norm, after down_proj
    assert first.gradients_bytes - second.gradients_bytes == (2 * (H + G) * K * D + D + hyper) * BF16
    assert first.gradients_bytes > attention.gradients_bytes > network.gradients_bytes


def test_latent_attention_gradients() -> None:
    """Every head has keys of its own, of d_nope and d_rope dimensions, and narrower values."""
    sizes = {"kv_rank": 5, "d_nope": 4, "d_rope": 2, "d_value": 9}
    latent = ("attention.kind=latent", "position.kind=rope", *(f"attention.{key}={n}" for key, n in sizes.items()))
    found = phases(*latent, attention_kernel="flash", device="cpu")[3]
    assert found.working_bytes == (STREAM + TOKENS * 2 * H * (6 + 9)) * BF16


def test_expert_gradients() -> None:
    """Two gradients of routed tokens; then also the gradients of weights; then the gradients of one stack."""
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


def test_gradients_of_latent_experts() -> None:
    """Routed tokens of 5 elements; the projection back has its gradient first, the other one last."""
    n_experts, top_k, d_expert, d_latent = 6, 3, 11, 5
    fields = {"n_experts": n_experts, "top_k": top_k, "d_expert": d_expert, "d_latent": d_latent}
    experts = tuple(f"feed_forward.{key}={n}" for key, n in fields.items())
    first, second, third, last, attention = (each for each in phases(*GQA, *experts) if each.name == "backward")
    matrix, projection = d_latent * d_expert, D * d_latent
    latent = STREAM // D * d_latent
    assert second.gradients_bytes - first.gradients_bytes == 2 * n_experts * matrix * BF16  # up and down
    assert third.gradients_bytes == second.gradients_bytes
    assert last.gradients_bytes - third.gradients_bytes == projection * BF16
    assert attention.gradients_bytes - last.gradients_bytes == n_experts * D * BF16, "of the router"
    assert first.working_bytes == second.working_bytes == (STREAM + 2 * top_k * latent) * BF16
    assert third.working_bytes == (STREAM + latent + n_experts * matrix) * BF16
    assert last.working_bytes == (2 * STREAM + latent) * BF16
