"""The memory view: every part, the phase of the peak, and the width of the terminal."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.inference_memory import inference_memory
from tinylm_cli.analysis.setups import QuantizationConfig, ServingSetup, TrainingSetup
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.cli.wording import as_options
from tinylm_cli.interop.load import load_config
from tinylm_cli.render.blocks import View
from tinylm_cli.render.markdown import to_markdown
from tinylm_cli.render.styled_lines import cell_len
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.views.memory import activations_blocks, inference_memory_blocks, training_memory_blocks


def screens(name: str) -> View:
    config = load_config(name).config
    training = training_memory(config, TrainingSetup(batch_size=2, seq_len=1024, recompute="selective"))
    running = inference_memory(
        config, ServingSetup(quantization=QuantizationConfig("int4"), batch_size=2, seq_len=1024)
    )
    return (
        *training_memory_blocks(training, as_options),
        *activations_blocks(training.activations),
        *inference_memory_blocks(running),
    )


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", ["tiny", "deepseek-v2-lite", "gemma-3-1b"])
def test_nothing_is_wider_than_the_terminal(name: str, width: int) -> None:
    text = to_text(screens(name), Terminal(width))
    assert all(cell_len(line) <= width for line in text.splitlines())


def test_messages() -> None:
    text = to_text(screens("tiny"), Terminal(100))
    for words in (
        "Training memory",
        "2 sequences of 1,024 tokens in bfloat16",
        "The peak is at the loss gradient, when all activations are in memory.",
        "one layer",
        "optimizer state",
        "786,432 weights are quantized to int4 in groups of 128; matmuls are in bfloat16.",
    ):
        assert words in text
    assert "| weights |" in to_markdown(screens("tiny"))
