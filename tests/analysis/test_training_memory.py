"""Training memory: bytes per parameter, optimizer states, and the phase of the peak."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.optimizer_state import optimizer_bytes
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import AttentionKernel
from tinylm_cli.reports.memory import TrainingMemory

LLAMA_PARAMS, LLAMA_TENSORS = 8_030_261_248, 1 + 32 * 9 + 2


def ask(name: str, **asked: Any) -> TrainingMemory:
    usual: dict[str, Any] = {"batch_size": 1, "seq_len": 512, "dtype": "bfloat16"}
    return training_memory(load_config(name, asked.pop("changes", [])).config, TrainingSetup(**usual | asked))


def test_sixteen_bytes_per_parameter() -> None:
    found = ask("llama-3-8b")
    counters = 4 * LLAMA_TENSORS
    held = found.weights_bytes + found.master_bytes + found.gradients_bytes + found.optimizer_bytes
    frequencies = 4 * 64
    assert held == 16 * LLAMA_PARAMS + counters + frequencies
    assert ask("llama-3-8b", grad_dtype="float32").gradients_bytes == 4 * LLAMA_PARAMS
    pure = ask("llama-3-8b", master_weights=False)
    assert pure.master_bytes == 0
    assert pure.optimizer_bytes == 4 * LLAMA_PARAMS + counters


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [
        # one matrix of 1000 × 256, and a layer of 4 of 256 × 256, 2 of 1024 × 256, and 9 vectors
        ("adamw", 2 * 4 * (256_000 + 789_760 + 512) + 4 * (1 + 16 + 2)),
        ("sgd", 0),
        ("sgd_momentum", 4 * (256_000 + 789_760 + 512)),
        ("adafactor", 4 * (1256 + 4 * 512 + 2 * 1280 + 3328 + 512) + 4 * 19),
        ("muon", 4 * (786_432 + 2 * (256_000 + 3328 + 512)) + 4 * (1 + 10 + 2)),
        ("adamw_8bit", 2 * (1_042_432 + 4 * (125 + 4 * 32 + 2 * 128)) + 8 * (3328 + 512) + 2048),
    ],
)
def test_state_of_each_optimizer(optimizer: Any, state: int) -> None:
    table = tensor_table(load_config("small", ["n_layers=1"]).config)
    assert optimizer_bytes(table, optimizer, 4) == state


def test_peak_moves_to_the_loss_with_more_tokens() -> None:
    few, many = ask("small", seq_len=8, device="cpu"), ask("small", batch_size=64, seq_len=1024)
    assert (few.peak_phase, many.peak_phase) == ("optimizer step", "loss")
    for found in (few, many):
        assert sum(part.part_bytes for part in found.parts) == found.peak_bytes
        assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert many.logits_bytes == 64 * 1024 * 1000 * (2 + 4 + 4 + 2)


def test_foreach_step_holds_one_more_moment() -> None:
    """By foreach, as torch does on CUDA unless told otherwise; at a peak elsewhere it may hide."""
    found = ask("llama-3-8b", seq_len=8)
    step = next(moment for moment in found.timeline if moment.name == "optimizer step")
    held = found.weights_bytes + found.master_bytes + found.optimizer_bytes + step.gradients_bytes
    assert found.foreach_peak_bytes == pytest.approx(held + 4 * LLAMA_PARAMS, rel=1e-6)
    assert found.foreach_peak_bytes > found.peak_bytes
    hidden = ask("llama-3-8b", seq_len=8, optimizer="sgd_momentum")
    assert hidden.foreach_peak_bytes == hidden.peak_bytes


def test_recomputing_lowers_the_peak() -> None:
    peaks = [ask("llama-3-8b", seq_len=8192, recompute=kind).peak_bytes for kind in ("none", "selective", "full")]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[2] < 0.8 * peaks[0]


def test_sequence_beyond_max_len() -> None:
    with pytest.raises(AnalysisError, match="seq_len 2,048 is outside"):
        ask("tiny", seq_len=2048)


def test_attention_output_is_freed() -> None:
    """The output projection's backward pass frees the attention output, which only a flash kernel reads once more."""
    config = load_config("gpt2", ["n_layers=1", "dropout=0.0"]).config

    def freed(kernel: AttentionKernel) -> int:
        setup = TrainingSetup(batch_size=2, seq_len=64, attention_kernel=kernel)
        phases = [phase for phase in training_memory(config, setup).timeline if phase.name == "backward"]
        feed_forward, attention = phases
        return feed_forward.activations_bytes - attention.activations_bytes

    assert freed("math") - freed("flash") == 2 * 64 * 768 * 2
