"""A model of one layer with a hand-computed training step."""

from __future__ import annotations

from typing import Any

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
