"""Serving over batch and length, on the screen."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.kv_cache import cache_shape
from tinylm_cli.analysis.serving_table import serving_table
from tinylm_cli.analysis.setups import ServingSetup
from tinylm_cli.config.hardware import Accelerator, load_hardware
from tinylm_cli.interop.load import load_config
from tinylm_cli.render.terminal import Terminal
from tinylm_cli.render.text import to_text
from tinylm_cli.render.views.serving import cache_text, serving_grid_blocks

H100 = load_hardware("h100-sxm")


def screen(name: str, width: int = 80, on: Accelerator | None = H100, lengths: tuple[int, ...] = (512, 8192)) -> str:
    config = load_config(name).config
    grid = serving_table(config, ServingSetup()._replace(batch_sizes=(1, 4096), seq_lens=lengths), on)
    where = (on.capacity_bytes, on.name) if on is not None else (None, None)
    return to_text(serving_grid_blocks(grid, cache_shape(config, "bfloat16"), *where), Terminal(width))


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ["llama-3-8b", "gemma-2-2b", "deepseek-v2-lite"])
def test_every_length_is_shown_at_every_width(name: str, width: int) -> None:
    shown = screen(name, width, lengths=(1, 10, 100, 1000, 8000, 8192))
    assert all(len(line) <= width for line in shown.splitlines())
    for length in ("1 ", "10", "100", "1,000", "8,000", "8,192"):
        assert length in shown


def test_marks_cells_that_do_not_fit() -> None:
    shown = screen("llama-3-8b")
    assert "15.1 GiB  " in shown
    assert "GiB ✗" in shown
    assert "✗ exceeds the 78.6 GiB of h100-sxm" in shown
    assert "largest 952" in " ".join(shown.split())
    assert "✗" not in screen("llama-3-8b", on=None)
    assert "✗" not in screen("tiny", lengths=(64,))


def test_description_of_each_cache() -> None:
    for name, words in (
        ("gpt2", "keys and values of 12 heads."),
        (
            "llama-3-8b",
            "keys and values of 8 heads for 32 query heads; 32 KV heads would take 512.0 KiB, 4 times as much.",
        ),
        ("gemma-2-2b", "Layers 0, 2, …, 24 cache only the last 4,096 tokens."),
        ("mistral-7b", "All layers cache only the last 4,096 tokens."),
        ("deepseek-v2-lite", "a latent vector of 512 and a rotary key of 64; 16 KV heads would take"),
    ):
        assert words in " ".join(screen(name, on=None, lengths=(512,)).split())


def test_description_of_shared_caches() -> None:
    """Layers without a cache of their own have no window in which they would cache tokens."""
    text = cache_text(cache_shape(load_config("gemma-4-e2b").config, "bfloat16"))
    assert "Layers 0..3, 5..8, 10..13 cache only the last 512 tokens." in text
    assert text.endswith("20 layers attend to keys and values of earlier layers.")
    assert "15.." not in text


def test_description_of_states() -> None:
    for overrides, words in (
        (["block.mixer=short_conv"], "4 layers keep a state: 2.00 KiB per sequence of any length."),
        (["block.mixer=short_conv", "n_layers=1"], "1 layer keeps a state: 512 B per sequence of any length."),
        (["block.mixer=none"], "No layer keeps anything of earlier tokens."),
    ):
        assert cache_text(cache_shape(load_config("tiny", overrides).config, "bfloat16")) == words


def test_description_of_pages() -> None:
    words = (
        "36 layers keep a state instead: 73.7 MiB per sequence of any length. A page of vLLM, 2.06 MiB, holds one"
        " layer's state, or its cache of 1,056 tokens: 74.2 MiB of states per sequence, and 24.8 MiB per 1,056 tokens."
    )
    assert cache_text(cache_shape(load_config("qwen3-next-80b-a3b").config, "bfloat16")).endswith(words)


def test_marks_the_bottleneck() -> None:
    mixed = " ".join(screen("tiny", lengths=(1, 1024)).split())
    assert "c is compute-bound, all others memory-bound." in mixed
    assert "M c" in mixed
    assert "all batches are memory-bound." in screen("llama-3-8b")
