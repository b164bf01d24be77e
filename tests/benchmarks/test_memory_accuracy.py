"""Predicted and measured memory of a few small models, and the page that the script writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch

from benchmarks import memory_accuracy
from benchmarks.memory_accuracy import PAGE, PEAK_LIMIT, Row, largest_error, measured_before, page, peak_row
from benchmarks.scaled import architectures, scaled_down
from benchmarks.torch_memory import OPTIMIZERS
from tinylm_cli.config.presets import presets
from tinylm_cli.interop.load import load_config

LINE = re.compile(
    r"^\| (?P<what>saved|peak) \| (?P<model>[^|]+) \| [^|]+ \| (?P<predicted>[\d,]+) \| (?P<measured>[\d,]+) \|"
    r" (exact|[+−]\d+\.\d\d%) \|$",
    re.MULTILINE,
)


@pytest.mark.parametrize(("batch_size", "seq_len"), [(4, 64), (1, 16)])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_peak_of_a_preset(batch_size: int, seq_len: int, dropout: float) -> None:
    """At the loss, and at the optimizer's step."""
    config = load_config("tiny", ["n_layers=2", f"dropout={dropout}"]).config
    row = peak_row("tiny", config, batch_size, seq_len, "float32")
    assert abs(row.error) < 0.005
    assert row.detail.endswith("loss" if batch_size > 1 else "optimizer step")


def test_peak_inside_a_layer() -> None:
    config = load_config("tiny", ["n_layers=2"]).config
    scores = peak_row("tiny", config, 1, 512, "float32")
    again = peak_row("tiny", config.model_copy(update={"dropout": 0.0}), 2, 128, "float32", recompute="full")
    assert scores.holds
    assert again.holds
    assert again.detail.endswith("backward")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_peak_of_foreach_adamw(dtype: str) -> None:
    """AdamW with ``foreach`` holds the square root of every second moment in addition to the gradients."""
    row = peak_row("tiny", load_config("tiny", ["n_layers=2"]).config, 1, 16, dtype, foreach=True)
    assert abs(row.error) < 0.001


def test_peak_of_experts() -> None:
    """Gradients of slices of a stack are as large as the stack."""
    row = peak_row("mixtral-8x7b", scaled_down(load_config("mixtral-8x7b").config), 2, 32, "float32")
    assert abs(row.error) < PEAK_LIMIT


def test_page_is_within_the_bounds() -> None:
    lines = list(LINE.finditer(PAGE.read_text(encoding="utf-8")))
    models = {line["model"].partition(",")[0] for line in lines}
    assert architectures().keys() | {"tiny", "small"} <= models
    assert {line["what"] for line in lines} == {"saved", "peak"}
    for line in lines:
        predicted, measured = (int(line[name].replace(",", "")) for name in ("predicted", "measured"))
        assert abs(predicted / measured - 1) <= largest_error(line["what"], line["model"])


def test_only_recurrences_may_be_less_accurate() -> None:
    found = {name: largest_error("peak", f"{name}, scaled down") for name in ("llama-3-8b", "lfm2-1.2b", "mamba2-2.7b")}
    assert found == {"llama-3-8b": 0.05, "lfm2-1.2b": 0.05, "mamba2-2.7b": 0.15}
    assert {largest_error("saved", name) for name in found} == {0.02}


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Row]]:
    """Return every row that the script would write, measured as nothing."""

    def found(*, on_cuda: bool = False) -> list[Row]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: on_cuda)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
        monkeypatch.setattr(memory_accuracy, "built", lambda *_, **__: nullcontext())
        for measure in ("saved_bytes", "peak_bytes", "cuda_peak_bytes"):
            monkeypatch.setattr(memory_accuracy, measure, lambda *_, **__: 1)
        return list(memory_accuracy.rows())

    return found


@pytest.mark.skipif("muon" not in OPTIMIZERS, reason="this torch has no Muon")
def test_page_agrees_with_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every prediction and every word; what was measured is taken from it, and the machine it was measured on."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(memory_accuracy, "built", lambda *_, **__: pytest.fail("a row is not in the page"))
    text = PAGE.read_text(encoding="utf-8")
    found = list(memory_accuracy.rows(known=measured_before(text)))
    machine = re.compile(r"torch\n\S+, Python \S+, on a CPU[^.]*\.")
    assert len(machine.findall(text)) == 1
    assert machine.sub("", page(found)) == machine.sub("", text)
    assert any(row.error < 0 for row in found), "so that a sign is shown"


def test_gpu_rows(predict: Callable[..., list[Row]]) -> None:
    found = predict(on_cuda=True)
    rows = [row for row in found if ", cuda" in row.detail]
    assert {row.model for row in rows} == set(presets())
    text = page([row._replace(measured_bytes=row.predicted_bytes) for row in found])
    assert "on a CPU and on a GPU." in text
    assert "Not measured: CUDA beyond the presets" in text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_peak_on_a_gpu(name: str) -> None:
    assert peak_row(name, load_config(name).config, 4, 1024, "bfloat16", device="cuda").holds
