"""The worked examples of time in docs/costs.md are what the formulas give."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tinylm_cli.analysis.cache import kv_cache_bytes
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.roofline import DecodingStep, compute_optimum, decoding_weights, serving_time, training_time
from tinylm_cli.analysis.table import tensor_table
from tinylm_cli.config.hardware import load_hardware, parse_accelerators
from tinylm_cli.config.loader import load_config
from tinylm_cli.config.source import Source
from tinylm_cli.render.blocks import View
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.views.time import compute_optimum_blocks, serving_time_blocks, training_time_blocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "costs.md"

CONFIG = load_config("llama-3-8b").config
PARAMS = total_params(tensor_table(CONFIG))
H100 = load_hardware("h100-sxm")


def _training() -> View:
    time = training_time(
        H100, n_gpus=1024, dtype="bfloat16", train_flops_per_token=6 * PARAMS, budget_tokens=15 * 10**12,
        usd_per_gpu_hour=2.5,
    )  # fmt: skip
    assert f"{PARAMS:,} parameters" in _words()
    mantissa, _, exponent = f"{time.train_flops:.2e}".partition("e+")
    assert f"{mantissa}·10{exponent.translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))} FLOPs" in _words()
    assert f"take {time.seconds:,.0f} seconds" in _words()
    return (
        *training_time_blocks(time),
        *compute_optimum_blocks(compute_optimum(PARAMS, time.budget_tokens), budget_is_given=True),
    )


def _serving() -> View:
    def cache(tokens: int) -> int:
        return kv_cache_bytes(CONFIG, batch_size=1, seq_len=tokens, dtype="bfloat16")

    step = DecodingStep(decoding_weights(CONFIG, "bfloat16"), 2 * PARAMS, cache(4096))
    for figure in (step.weights.dense_bytes, cache(1), cache(4096), step.flops_per_sequence):
        assert f"{figure:,}" in _words()
    time = serving_time(
        H100, dtype="bfloat16", batch_size=1, prompt_tokens=2048, prefill_flops=2048 * step.flops_per_sequence,
        prefill_cache_bytes=cache(2048), context_tokens=4096, step=step,
    )  # fmt: skip
    assert f"take {time.decode.memory_seconds * 1e3:.2f} ms for that" in _words()
    assert f"the FLOPs take {time.decode.compute_seconds * 1e6:.0f} µs" in _words()
    return serving_time_blocks(time)


@pytest.mark.parametrize(("name", "view"), [("training", _training), ("serving", _serving)])
def test_an_example_is_what_the_formulas_give(
    name: str, view: Callable[[], View], golden: Callable[[Path, str], None]
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    example = re.compile(rf"(?<=<!-- {name} -->\n```text\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
    assert len(example.findall(page)) == 1
    golden(PAGE, example.sub(to_text(view(), Terminal(width=80)), page))


def test_the_file_of_ones_own_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(workbench:.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert list(parse_accelerators(Source("mine.yaml", example))) == ["workbench"]


def _words() -> str:
    return " ".join(PAGE.read_text(encoding="utf-8").split())
