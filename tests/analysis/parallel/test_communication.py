"""Bytes that a GPU sends in a training step, by kind, compared with hand-computed values."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.parallel.communication import traffic
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import Recompute
from tinylm_cli.reports.plan import Layout, Traffic

Run = tuple[ModelConfig, TrainingSetup]
LENGTH = 2048
STREAM = LENGTH * 4096 * 2
"""Bytes of the vectors between two layers of Llama 3 8B and of Mixtral, in 16 bits."""


def job(name: str, *overrides: str, recompute: Recompute = "none") -> Run:
    return (load_config(name, overrides).config, TrainingSetup(1, LENGTH, recompute=recompute))


def sent(found: Run, stage: int = 0, **ways: Any) -> dict[str, Traffic]:
    return {one.name: one for one in traffic(*found, Layout(**ways), stage, None)}


@pytest.mark.parametrize(("recompute", "times"), [("none", 5), ("selective", 5), ("full", 7)])
@pytest.mark.parametrize(("stage", "ends"), [(0, 2), (1, 0), (3, 3)])
def test_tensor_parallelism(recompute: Recompute, times: int, stage: int, ends: int) -> None:
    """Korthikanti et al. 2022, section 4.2.2: gathered and scattered forward, both backward, and gathered once more
    for the weights' gradient; the embedding scatters, and the head gathers twice and scatters its gradient."""
    found = sent(job("llama-3-8b", recompute=recompute), stage, tensor=4, pipeline=4, micro_batches=3)["tensor"]
    assert found.sent_bytes == 3 * (8 * 2 * times + ends) * STREAM * 3 // 4
    assert (found.members, found.stride) == (4, 1)


@pytest.mark.parametrize(("shared", "streams"), [(0, 2), (1, 3)])
def test_tensor_parallel_experts(shared: int, streams: int) -> None:
    """Two copies of each vector, and another where a network reads all of them; without the sending one is enough."""
    mixtral = job("mixtral-8x7b", f"feed_forward.n_shared_experts={shared}")
    apart = sent(mixtral, tensor=2, data=4, expert=4)["tensor"].sent_bytes
    together = sent(mixtral, tensor=2, data=4)["tensor"].sent_bytes
    assert apart == (32 * 5 * (1 + streams) + 5) * STREAM // 2
    assert together == (32 * 5 * 2 + 5) * STREAM // 2


@pytest.mark.parametrize(("shared", "streams"), [(0, 0), (1, 1)])
def test_tensor_parallel_latent_experts(shared: int, streams: int) -> None:
    """Routed experts gather vectors of 1,024 elements, a quarter of d_model; shared experts gather whole ones."""
    mixtral = job("mixtral-8x7b", f"feed_forward.n_shared_experts={shared}", "feed_forward.d_latent=1024")
    apart = sent(mixtral, tensor=2, data=4, expert=4)["tensor"].sent_bytes
    together = sent(mixtral, tensor=2, data=4)["tensor"].sent_bytes
    assert apart == (32 * 5 * 4 * (1 + streams) + 32 * 5 * 2 + 5 * 4) * STREAM // 4 // 2
    assert together == (32 * 5 * 4 * (1 + streams) + 32 * 5 + 5 * 4) * STREAM // 4 // 2


def test_latent_experts_of_other_gpus() -> None:
    """A quarter of what experts of width d_model receive and return."""
    whole, latent = (
        sent(job("mixtral-8x7b", *fields), data=8, expert=8, tensor=4)["expert"].sent_bytes
        for fields in ((), ("feed_forward.d_latent=1024",))
    )
    assert whole == 4 * latent > 0


@pytest.mark.parametrize(("recompute", "passes"), [("none", 2), ("full", 3)])
def test_expert_parallelism(recompute: Recompute, passes: int) -> None:
    """Each of 2,048 / 4 · 2 copies leaves but those that stay at home, there and back, in each pass."""
    found = sent(job("mixtral-8x7b", recompute=recompute), data=8, expert=8, tensor=4)["expert"]
    assert found.sent_bytes == 32 * passes * 2 * 2 * (STREAM // 4) * 7 // 8
    assert (found.members, found.stride) == (8, 4)


def test_expert_gradients() -> None:
    """Experts are 32 · 8 · 3 · 4,096 · 14,336 of Mixtral's parameters, and a quarter of them is here."""
    found = sent(job("mixtral-8x7b"), data=16, expert=4, tensor=2)
    experts = 32 * 8 * 3 * 4096 * 14336 // 4 // 2
    assert found["expert data"].sent_bytes == experts * 2 * 2 * 3 // 4
    assert (found["expert data"].members, found["expert data"].stride) == (4, 8)
    norms = 65 * 4096 + 32 * 8 * 4096  # and routers
    dense = (46_702_792_704 - 4 * 2 * experts - norms) // 2 + norms
    assert found["data"].sent_bytes == dense * 2 * 2 * 15 // 16
    assert (found["data"].members, found["data"].stride) == (16, 2)


def test_tied_embedding() -> None:
    """Gemma 2 2B: 2 · ½ of 256,000 · 2,304 gradients of 2 bytes, for each codebook."""
    for stage, there in ((0, True), (1, False), (12, True)):
        found = sent(job("gemma-2-2b"), stage, pipeline=13, data=2, micro_batches=2)
        assert ("embedding" in found) is there
    for n_codebooks in (1, 3):
        found = sent(job("gemma-2-2b", f"embedding.n_codebooks={n_codebooks}"), pipeline=13)
        assert found["embedding"].sent_bytes == n_codebooks * 256_000 * 2304 * 2
    assert "embedding" not in sent(job("gemma-2-2b"), data=2)
    assert "embedding" not in sent(job("llama-3-8b"), pipeline=2)


@pytest.mark.parametrize(("kind", "positions"), [("learned", 1024), ("sinusoidal", 0)])
def test_embedding_of_prediction_modules(kind: str, positions: int) -> None:
    """Multi-token prediction modules read the token embedding, and with it its learned positions."""
    config = load_config("tiny", ["tie_weights=false", "head.n_mtp_layers=1", f"position.kind={kind}"]).config
    found = sent((config, TrainingSetup(dtype="bfloat16")), pipeline=2)
    assert found["embedding"].sent_bytes == (256 + positions) * 128 * 2


@pytest.mark.parametrize(
    ("stage", "virtual", "times"), [(0, 1, 1), (1, 1, 2), (3, 1, 1), (0, 2, 3), (1, 2, 4), (3, 2, 3)]
)
def test_pipeline(stage: int, virtual: int, times: int) -> None:
    found = sent(job("llama-3-8b"), stage, pipeline=4, tensor=2, micro_batches=8, virtual=virtual)["pipeline"]
    assert found.sent_bytes == 8 * times * STREAM // 2


def test_pipeline_sends_every_residual_stream() -> None:
    one, four = (
        sent(job("llama-3-8b", *changes), 1, pipeline=4)["pipeline"] for changes in ((), ("block.hyper_streams=4",))
    )
    assert four.sent_bytes == 4 * one.sent_bytes


@pytest.mark.parametrize(("recompute", "passes"), [("none", 3), ("full", 4)])
def test_context_parallelism(recompute: Recompute, passes: int) -> None:
    """8 heads of 128 keys and values over 2, of a quarter of the sequence, to three others; 512 + 64 where latent."""
    found = sent(job("llama-3-8b", recompute=recompute), context=4, tensor=2)["context"]
    assert found.sent_bytes == 32 * passes * 3 * (LENGTH // 4) * (8 * 256 // 2) * 2
    latent = sent(job("deepseek-v2-lite"), context=4, tensor=2)["context"]
    assert latent.sent_bytes == 27 * 3 * 3 * (LENGTH // 4) * (512 + 64) * 2


@pytest.mark.parametrize("name", ["llama-3-8b", "mixtral-8x7b"])
def test_larger_batch(name: str) -> None:
    """Activations of three sequences are three times as large; gradients of weights are not."""
    config, setup = job(name)
    expert = 2 if config.feed_forward.n_experts else 1
    ways = {"data": 2, "tensor": 2, "pipeline": 2, "context": 2, "expert": expert, "micro_batches": 2}
    one, three = (sent((config, setup._replace(batch_size=n)), **ways) for n in (1, 3))
    assert one.keys() == three.keys() >= {"data", "tensor", "pipeline", "context"}
    assert ("expert" in one) is (expert == 2)
    for kind, found in one.items():
        assert three[kind].sent_bytes == found.sent_bytes * (1 if kind.endswith("data") else 3) > 0, kind


def test_one_link() -> None:
    """GPT-2 over two MI300X: 12 layers of ten streams, and five at the ends, halved, over 64 GB/s and not 448."""
    (found,) = traffic(load_config("gpt2").config, TrainingSetup(1, 1024), Layout(tensor=2), 0, load_hardware("mi300x"))
    assert found.sent_bytes == (12 * 10 + 5) * (1024 * 768 * 2) // 2
    assert found.seconds == pytest.approx(found.sent_bytes / 64e9)
