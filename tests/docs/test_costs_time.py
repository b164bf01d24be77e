"""The worked examples of time in docs/costs.md equal the formulas and the output of the command shown there."""

from __future__ import annotations

import re
from pathlib import Path

from tinylm_cli.analysis.flops import decode_flops, forward_flops, matmul_groups, train_flops
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.roofline import decode_weights, peak_flops
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.hardware import load_hardware, parse_accelerators
from tinylm_cli.config.source import Source
from tinylm_cli.interop.load import load_config
from tinylm_cli.render.units import flops

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
SCREEN = PAGE.partition("$ tinylm estimate qwen3-0.6b ")[2].partition("```")[0]

CONFIG = load_config("qwen3-0.6b").config
LENGTH, TOKENS, UTILIZATION = 4096, 12 * 10**9, 0.4
PEAK, BANDWIDTH = 989.4e12, 3.35e12


def test_training_by_hand() -> None:
    products = {p.name: p.flops for group in matmul_groups(CONFIG, seq_len=LENGTH) for p in group.matmuls}
    weights = {name: count // (2 * LENGTH) for name, count in products.items()}
    attention = sum(count for name, count in weights.items() if name.endswith("proj") and "attention" in name)
    feed_forward = sum(count for name, count in weights.items() if "feed_forward" in name)
    multiplied = CONFIG.n_layers * (attention + feed_forward) + weights["lm_head"]
    pairs = 2 * 16 * (128 + 128) * CONFIG.n_layers * (LENGTH + 1) // 2
    forward = forward_flops(CONFIG, batch_size=1, seq_len=LENGTH) // LENGTH
    trained = train_flops(CONFIG, batch_size=1, seq_len=LENGTH) // LENGTH
    assert (2 * multiplied + pairs, 3 * forward) == (forward, trained)
    for count in (attention, feed_forward, weights["lm_head"], multiplied, forward, trained):
        assert f"{count:,}" in WORDS
    six_n = 6 * total_params(tensor_table(CONFIG))
    assert f"6N gives {flops(six_n)}." in WORDS
    mantissa, _, exponent = f"{trained * TOKENS:.2e}".partition("e+")
    assert f"{mantissa}·10{exponent.translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))} FLOPs" in WORDS
    seconds = trained * TOKENS / (PEAK * UTILIZATION)
    assert f"in {seconds:,.0f} seconds, {seconds / 3600:.0f} GPU hours" in WORDS
    for pattern in (
        rf"tokens +12B +{re.escape(flops(trained))} per token",
        rf"{TOKENS / seconds:,.0f} tokens/s +at 40% of 989 TFLOP/s in bfloat16",
        rf"GPU hours +{seconds / 3600:.0f}\n",
        rf"cost +\${seconds / 3600 * 2.5:.0f} ",
    ):
        assert re.search(pattern, SCREEN), pattern


def test_serving_by_hand() -> None:
    weights = 2 * total_params(tensor_table(CONFIG))
    assert decode_weights(CONFIG, "bfloat16").dense_bytes == weights
    one, cache = (kv_cache_bytes(CONFIG, batch_size=1, seq_len=n, dtype="bfloat16") for n in (1, LENGTH))
    operations = decode_flops(CONFIG, context_len=LENGTH)
    for figure in (weights // 2, weights, one, operations):
        assert f"{figure:,}" in WORDS
    assert f"{weights:,} + {cache:,} bytes" in WORDS
    memory, compute = (weights + cache) / BANDWIDTH, operations / PEAK
    intensity = operations / (weights + cache)
    assert f"they take {memory * 1e6:.0f} µs, and the FLOPs {compute * 1e6:.2f} µs" in WORDS
    assert f"computes {intensity:.2f} FLOPs per byte, and the GPU can compute {PEAK / BANDWIDTH:.0f}." in WORDS
    assert re.search(rf"decode 1 × 1 at 4,096 +{memory * 1e6:.0f} µs .* {intensity:.2f}\n", SCREEN)


def test_accelerator() -> None:
    machine = load_hardware("h100-sxm")
    assert peak_flops(machine, "bfloat16") == PEAK
    assert machine.memory_bytes_per_second == BANDWIDTH


def test_hardware_file() -> None:
    (example,) = re.findall(r"```yaml\n(workbench:.*?)```", PAGE, re.DOTALL)
    assert list(parse_accelerators(Source("mine.yaml", example))) == ["workbench"]
