"""The measured peak of a training step on the CPU, to compare with the estimate."""

from __future__ import annotations

from functools import partial

from benchmarks.torch_memory import OPTIMIZERS, TrainingSteps, random_batch
from tests.live_memory import peak_bytes
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.reports.choices import Recompute


def step_setup(batch_size: int, seq_len: int, recompute: Recompute) -> TrainingSetup:
    """Return the setup of :func:`measured_peak`: float32 on the CPU, with AdamW."""
    return TrainingSetup(
        batch_size=batch_size,
        seq_len=seq_len,
        dtype="float32",
        master_weights=False,
        attention_kernel="sdpa",
        recompute=recompute,
        device="cpu",
    )


def measured_peak(config: ModelConfig, setup: TrainingSetup) -> int:
    """Return the bytes of a training step at its peak: weights, optimizer states, batch, and the peak of the step."""
    assert setup.seq_len is not None
    model = TinyTransformerLM.from_config(config)
    batch = random_batch(config, setup.batch_size, setup.seq_len)
    steps = TrainingSteps(model, OPTIMIZERS["adamw"], recompute=setup.recompute == "full")
    steps.run_step(*batch)  # when the states of the optimizer exist
    states = (each for optimizer in steps.optimizers for state in optimizer.state.values() for each in state.values())
    held = {each.untyped_storage()._cdata: each for each in (*model.parameters(), *model.buffers(), *batch, *states)}
    resident: int = sum(each.untyped_storage().nbytes() for each in held.values())
    return resident + peak_bytes(partial(steps.run_step, *batch))
