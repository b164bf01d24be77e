"""What is predicted of memory is measured: a few small models here, and the page that the script writes."""

from __future__ import annotations

import re

import pytest

from benchmarks.scaled import scaled_down
from benchmarks.truth import PAGE, PEAK_LIMIT, SAVED_LIMIT, Row, foreach_row, page, peak_row, saved_row
from tinylm_cli.config.loader import load_config
from tinylm_cli.config.presets import gallery

LINE = re.compile(
    r"^\| (?P<what>saved|peak) \| (?P<model>[^|]+) \| [^|]+ \| (?P<predicted>[\d,]+) \| (?P<measured>[\d,]+) \|"
    r" (exact|[+−]\d+\.\d\d%) \|$",
    re.MULTILINE,
)


@pytest.mark.parametrize(("batch_size", "seq_len"), [(4, 64), (1, 16)])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_peak_of_a_preset(batch_size: int, seq_len: int, dropout: float) -> None:
    """At the loss, and at the optimizer's step."""
    config = load_config("tiny", ["n_layers=2", f"dropout={dropout}"]).config
    row = peak_row("tiny", config, batch_size, seq_len, "float32")
    assert abs(row.error) < 0.005
    assert row.detail.endswith("loss" if batch_size > 1 else "optimizer step")


def test_the_peak_inside_a_layer_by_scores_written_out_and_by_recomputed_layers() -> None:
    config = load_config("tiny", ["n_layers=2"]).config
    scores = peak_row("tiny", config, 1, 512, "float32")
    again = peak_row("tiny", config.model_copy(update={"dropout": 0.0}), 2, 128, "float32", recompute="full")
    assert scores.holds
    assert again.holds
    assert again.detail.endswith("backward")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_peak_of_a_step_for_all_tensors_at_once(dtype: str) -> None:
    """AdamW by ``foreach`` holds the root of every second moment beside the gradients."""
    row = foreach_row("tiny", load_config("tiny", ["n_layers=2"]).config, 1, 16, dtype)
    assert abs(row.error) < 0.001


def test_the_peak_of_a_mixture_of_experts() -> None:
    """Gradients of slices of a stack are as large as the stack."""
    row = peak_row("mixtral-8x7b", scaled_down(load_config("mixtral-8x7b").config), 2, 32, "float32")
    assert abs(row.error) < PEAK_LIMIT


def test_the_page_shows_every_published_architecture_within_the_bounds() -> None:
    lines = list(LINE.finditer(PAGE.read_text(encoding="utf-8")))
    models = {line["model"].partition(",")[0] for line in lines}
    assert gallery().keys() | {"tiny", "small"} <= models
    assert {line["what"] for line in lines} == {"saved", "peak"}
    for line in lines:
        predicted, measured = (int(line[name].replace(",", "")) for name in ("predicted", "measured"))
        limit = SAVED_LIMIT if line["what"] == "saved" else PEAK_LIMIT
        assert abs(predicted / measured - 1) <= limit


def test_the_page_is_what_the_script_writes() -> None:
    tiny = load_config("tiny", ["n_layers=1"]).config
    found = [saved_row("tiny", tiny, 2, 33, "float32"), Row("peak", "other", "1 × 2", 98, 100)]
    text = page(found)
    assert (
        text.splitlines()[0] == PAGE.read_text(encoding="utf-8").splitlines()[0] == "# Memory: predicted and measured"
    )
    assert len(LINE.findall(text)) == 2
    assert "| exact |" in text
    assert "| −2.00% |" in text


def test_every_prediction_on_the_page_is_still_what_is_predicted() -> None:
    """The page is written again when the closed form changes."""
    text = PAGE.read_text(encoding="utf-8")
    row = saved_row("tiny, dropout 0", load_config("tiny", ["dropout=0.0"]).config, 4, 128, "float32")
    assert f"| {row.model} | {row.detail} | {row.predicted_bytes:,} | {row.measured_bytes:,} | exact |" in text
