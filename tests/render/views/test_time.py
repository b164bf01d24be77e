"""How long training and serving take, on the screen."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.chinchilla import compute_optimum
from tinylm_cli.analysis.roofline import DecodeStep, ReadWeights, serving_time, training_time
from tinylm_cli.analysis.setups import ServingSetup, TrainingSetup
from tinylm_cli.cli.wording import as_options
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.render.blocks import View
from tinylm_cli.render.markdown import to_markdown
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.views.time import compute_optimum_blocks, serving_time_blocks, training_time_blocks

H100 = load_hardware("h100")


def serving(*, cache_bytes: int = 0, batch_size: int = 1) -> View:
    step = DecodeStep(ReadWeights(16 * 10**9), 16 * 10**9, cache_bytes)
    return serving_time_blocks(
        serving_time(
            H100, ServingSetup(batch_size), step, prompt_tokens=100, prefill_flops=100 * 16 * 10**9,
            prefill_cache_bytes=0, context_tokens=200,
        )
    )  # fmt: skip


def training(**changes: Any) -> View:
    setup = TrainingSetup(n_gpus=8, train_tokens=20 * 10**9)._replace(**changes)
    return training_time_blocks(
        training_time(H100, setup, train_flops_per_token=6 * 10**9), planned=False, recomputes=False
    )


def words(view: View) -> str:
    return " ".join(to_text(view, Terminal(width=120)).split())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_fits_the_width(width: int) -> None:
    optimum = compute_optimum_blocks(compute_optimum(10**9, 10**12), as_options, tokens_are_given=True)
    for view in (training(usd_per_gpu_hour=2.0), serving(batch_size=64), optimum):
        shown = to_text(view, Terminal(width=width))
        assert all(len(line) <= width for line in shown.splitlines())
        assert "…" not in shown
        assert to_markdown(view)


def test_price_is_shown_if_given() -> None:
    assert "cost" not in words(training())
    hours = 120e18 / (989.4e12 * 0.4) / 3600
    assert f"cost ${2 * hours:,.0f} at $2.00 per GPU hour" in words(training(usd_per_gpu_hour=2.0))


def test_assumed_utilization_is_shown() -> None:
    assert "at 25% of 989 TFLOP/s in bfloat16" in words(training(utilization=0.25))


def test_bottleneck_of_decoding_is_shown() -> None:
    assert "Decoding is compute-bound from a batch of 296, if it fits." in words(serving())
    assert "At 200 tokens of context every batch is memory-bound" in words(serving(cache_bytes=10**8))


def test_speed_of_one_sequence() -> None:
    assert "Each sequence" not in words(serving())
    assert "Each sequence decodes at most 209 tokens/s." in words(serving(batch_size=8))


@pytest.mark.parametrize(
    ("tokens", "verdict"),
    [
        (20 * 10**9, "20B tokens are about compute-optimal, 20 per active parameter (Hoffmann et al. 2022)."),
        (10**9, "1B tokens are 5% of the compute-optimal 20B, 20 per active parameter"),
        (10**12, "1T tokens are 50 times the compute-optimal 20B"),
        (10**13, "10T tokens are 500 times the compute-optimal 20B"),
    ],
)
def test_tokens_compared_with_the_optimum(tokens: int, verdict: str) -> None:
    assert verdict in words(compute_optimum_blocks(compute_optimum(10**9, tokens), as_options, tokens_are_given=True))


def test_default_tokens_are_not_compared() -> None:
    shown = words(compute_optimum_blocks(compute_optimum(10**9, 20 * 10**9), as_options, tokens_are_given=False))
    assert shown.startswith("20B tokens are compute-optimal, 20 per active parameter (Hoffmann et al. 2022); a heavily")
    assert "about" not in shown
