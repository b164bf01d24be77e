"""The table of serving by batch and length: each cell equals a single estimate, and fits if it is within GPU memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_configs import small_configs
from tinylm_cli.analysis.flops import decode_flops
from tinylm_cli.analysis.inference_memory import inference_memory
from tinylm_cli.analysis.roofline import decode_weights
from tinylm_cli.analysis.serving_table import default_batch_sizes, default_seq_lens, serving_table
from tinylm_cli.analysis.setups import QuantizationConfig, ServingSetup
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import AttentionKernel

H100 = load_hardware("h100-sxm")


@given(
    small_configs(),
    st.sets(st.integers(1, 9), min_size=1, max_size=3),
    st.sets(st.integers(1, 14), min_size=1, max_size=3),
    st.sampled_from(["flash", "math"]),
)
@settings(max_examples=30)
def test_memory_of_each_cell(
    config: ModelConfig, batches: set[int], lengths: set[int], kernel: AttentionKernel
) -> None:
    serving = ServingSetup(
        dtype="float32", cache_dtype="int8", quantization=QuantizationConfig("float8"), attention_kernel=kernel
    )
    grid = serving_table(config, serving._replace(batch_sizes=tuple(sorted(batches)), seq_lens=tuple(sorted(lengths))))
    assert [(cell.batch_size, cell.seq_len) for cell in grid.cells] == [
        (batch, length) for batch in sorted(batches) for length in sorted(lengths)
    ]
    for cell in grid.cells:
        alone = inference_memory(config, serving._replace(batch_size=cell.batch_size, seq_len=cell.seq_len))
        assert (cell.total_bytes, cell.cache_bytes) == (alone.total_bytes, alone.cache_bytes)
        assert cell.total_bytes == grid.weights_bytes + cell.cache_bytes + cell.working_bytes
        assert (cell.fits, cell.decode, grid.largest_batch_sizes) == (None, None, ())


@pytest.mark.parametrize(("name", "kind"), [("llama-3-8b", "none"), ("mixtral-8x7b", "int4"), ("gemma-2-2b", "float8")])
def test_fit_and_speed(name: str, kind: str) -> None:
    config, serving = load_config(name).config, ServingSetup(quantization=QuantizationConfig(kind))  # type: ignore[arg-type]
    batches, lengths = (1, 64, 1024), (512, config.max_len)
    grid = serving_table(config, serving._replace(batch_sizes=batches, seq_lens=lengths), H100)
    assert {cell.fits for cell in grid.cells} == {True, False}

    def takes(batch: int, length: int) -> int:
        return inference_memory(config, serving._replace(batch_size=batch, seq_len=length)).total_bytes

    for cell in grid.cells:
        assert cell.fits == (cell.total_bytes <= H100.capacity_bytes)
        most = grid.largest_batch_sizes[lengths.index(cell.seq_len)]
        longest = grid.longest_seq_lens[batches.index(cell.batch_size)]
        assert cell.fits == (cell.batch_size <= most) == (cell.seq_len <= longest)
        assert takes(most, cell.seq_len) <= H100.capacity_bytes < takes(most + 1, cell.seq_len)
        assert longest == config.max_len or takes(cell.batch_size, longest + 1) > H100.capacity_bytes
        assert cell.decode is not None
        weights = decode_weights(config, "bfloat16", serving.quantization).read_bytes(cell.batch_size)
        assert cell.decode.moved_bytes == weights + cell.cache_bytes
        assert cell.decode.flops == cell.batch_size * decode_flops(config, context_len=cell.seq_len)
        assert cell.decode.seconds == pytest.approx(
            max(cell.decode.flops / 989.4e12, cell.decode.moved_bytes / 3.35e12)
        )
        assert cell.decode_tokens_per_second == cell.batch_size / cell.decode.seconds


@pytest.mark.parametrize("tied", ["true", "false"])
@pytest.mark.parametrize("head", [True, False])
def test_decoding_reads_quantized_weights(tied: str, head: bool) -> None:
    config = load_config("tiny", [f"tie_weights={tied}"]).config
    found = decode_weights(config, "bfloat16", QuantizationConfig("float8", head=head)).dense_bytes
    maps = 4 * ((4 * 128 + 512) * (128 + 4) + 128 * (512 + 4))
    biases_and_norms = 2 * (4 * (4 * 128 + 512 + 128 + 2 * 2 * 128) + 2 * 128)
    assert found == maps + biases_and_norms + (256 * (128 + 4) if head else 256 * 128 * 2)


def test_chunked_prefill() -> None:
    config = load_config("llama-3-8b").config
    small, large = (
        inference_memory(config, ServingSetup(prefill_tokens=tokens, batch_size=64, seq_len=8192))
        for tokens in (512, 8192)
    )
    whole = inference_memory(config, ServingSetup(prefill_tokens=512, batch_size=64, seq_len=512))
    assert small.prefill_bytes == whole.prefill_bytes < large.prefill_bytes / 15
    assert small.cache_bytes == large.cache_bytes


def test_math_workspace() -> None:
    config = load_config("gemma-2-2b").config
    flash, math = (
        inference_memory(config, ServingSetup(attention_kernel=kernel, batch_size=3, seq_len=8192))
        for kernel in ("flash", "math")
    )
    repeated = 2 * 8 * 256 * 8192 * 2
    scores, masks = 8192 * 8 * 8192 * (2 + 4 + 4), 8192 * 8192 * (1 + 2)
    assert scores + repeated < math.prefill_bytes < scores + repeated + masks + flash.prefill_bytes
    step = 3 * (8 * 8192 * (2 + 4 + 4) + repeated)
    assert step < math.decode_bytes < step + flash.decode_bytes


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_default_grid(longest: int, length: int) -> None:
    lengths = default_seq_lens(longest, min(length, longest))
    assert list(lengths) == sorted(set(lengths))
    assert {longest, min(length, longest)} <= set(lengths)
    assert (lengths[0] >= 1, lengths[-1]) == (True, longest)
    assert default_batch_sizes(length) == tuple(sorted({1, 4, 16, 64, 256, length}))
