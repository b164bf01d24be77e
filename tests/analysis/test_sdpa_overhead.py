"""Attention tensors that tinylm's own model materializes beyond a flash kernel."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.sdpa_overhead import sdpa_overhead
from tinylm_cli.interop.load import load_config


@pytest.mark.parametrize(
    ("name", "changes", "seq_len", "saves", "reasons"),
    [
        ("gemma-2-2b", [], 1024, "scores", ("soft-caps",)),
        ("gpt-oss-20b", [], 1024, "scores", ("sinks",)),
        ("mistral-7b", [], 8192, "scores", ("windows", "grouped keys")),
        ("mistral-7b", ["attention.n_kv_heads=32"], 8192, "masks", ("windows",)),
        ("gemma-3-1b", [], 1024, "scores", ("windows", "grouped keys")),
        ("tiny", ["position.kind=alibi"], 8, "masks", ("ALiBi",)),
        ("tiny", ["attention.dynamic_mask_top_k=4"], 8, "masks", ("dynamic masks",)),
        ("llama-3-8b", ["attention.dynamic_mask_top_k=4"], 8, "scores", ("dynamic masks", "grouped keys")),
    ],
)
def test_materialized_beyond_flash(
    name: str, changes: list[str], seq_len: int, saves: str, reasons: tuple[str, ...]
) -> None:
    found = sdpa_overhead(load_config(name, changes).config, seq_len=seq_len)
    assert found is not None
    assert (found.saves, found.reasons) == (saves, reasons)


@pytest.mark.parametrize(("name", "seq_len"), [("llama-3-8b", 8192), ("mistral-7b", 4096), ("deepseek-v2-lite", 9)])
def test_nothing_beyond_flash(name: str, seq_len: int) -> None:
    assert sdpa_overhead(load_config(name).config, seq_len=seq_len) is None
