"""Working memory of attention alone; tests/analysis/test_inference_working_memory.py works out whole layers."""

from __future__ import annotations

from tinylm_cli.analysis.mixers.attention_working_memory import attention_decode_bytes, attention_prefill_bytes
from tinylm_cli.analysis.mixers.mixer import InferencePass
from tinylm_cli.interop.load import load_config

D, H, K = 128, 4, 32  # the preset tiny
HELD = 2 * D + 3 * H * K  # x and its norm; queries, keys, values


def test_prefill() -> None:
    """The output of attention by head and by token, then its projection; scores if they are materialized."""
    config = load_config("tiny").config
    outputs = [(HELD + 2 * H * K) * 2, (HELD + H * K + D) * 2]
    flash = list(attention_prefill_bytes(config, InferencePass(3, 5, 7, 2, "flash")))
    assert flash == [3 * 5 * each for each in outputs]
    eager = list(attention_prefill_bytes(config, InferencePass(3, 5, 7, 2, "eager")))
    mask, scores = 2 * 5 * 7, H * 7 * (2 + 2 * 4)  # the mask and its complement; a score, upcast, softmax
    assert eager == [mask + 3 * 5 * each for each in (*outputs, HELD * 2 + scores)]


def test_decode() -> None:
    """A fused kernel holds nothing of the cache; a flash kernel the output of each split of 128 positions."""
    config = load_config("tiny").config
    row = ((HELD + 2 * H * K) * 2, (HELD + H * K + D) * 2)
    assert attention_decode_bytes(config, 300, 2, "fused") == (0, row)
    assert attention_decode_bytes(config, 300, 2, "flash") == (3 * H * (K + 1) * 4, row)
