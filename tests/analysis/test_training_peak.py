"""The phases of a training step: gradients and working memory, compared with hand-computed values for one layer."""

from __future__ import annotations

from tests.analysis.one_layer import BF16, FP32, GQA, STREAM, TOKENS, VOCAB, D, F, G, H, K, phases


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


def test_tied_embedding() -> None:
    """The table has a gradient from the head on, and two more at the end: of the lookup, and of the sum."""
    found = phases(*GQA, "tie_weights=true")
    assert found[1].gradients_bytes == (D + VOCAB * D) * BF16
    assert found[-2].working_bytes == (2 * VOCAB * D + STREAM) * BF16


def test_deferred_experts() -> None:
    """The gradient of the output of experts is held during the backward pass of the next layer."""
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
