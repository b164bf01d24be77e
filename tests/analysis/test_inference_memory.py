"""Inference memory: quantized weights, the cache, and the batches and lengths that fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_configs import small_configs
from tinylm_cli.analysis.inference_memory import inference_memory, largest_batch, longest_context
from tinylm_cli.analysis.inference_working_memory import SLACK
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.setups import QuantizationConfig, ServingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config


def servings() -> st.SearchStrategy[ServingSetup]:
    """Draw how a model is run."""
    kinds = st.sampled_from(["none", "int8", "float8", "int4"])
    return st.builds(
        ServingSetup,
        dtype=st.sampled_from(["float32", "bfloat16"]),
        cache_dtype=st.sampled_from([None, "float16", "float8", "int8"]),
        quantization=st.builds(QuantizationConfig, kinds, st.sampled_from([3, 128]), st.booleans()),
        attention_kernel=st.sampled_from(["flash", "sdpa", "math"]),
        device=st.sampled_from(["cuda", "cpu"]),
        prefill_tokens=st.integers(1, 20),
    )


@given(small_configs(), st.integers(1, 5), st.integers(1, 14))
@settings(max_examples=60)
def test_parts_sum_to_total(config: ModelConfig, batch_size: int, seq_len: int) -> None:
    found = inference_memory(
        config, ServingSetup(quantization=QuantizationConfig("int8"), batch_size=batch_size, seq_len=seq_len)
    )
    assert found.total_bytes == sum(part.part_bytes for part in found.parts)
    cache = kv_cache_bytes(config, batch_size=batch_size, seq_len=seq_len, dtype="bfloat16")
    cache = cache if config.has_lm_head else 0  # nothing is decoded
    assert found.total_bytes == found.weights_bytes + cache + max(found.prefill_bytes, found.decode_bytes)


@pytest.mark.parametrize("name", ["deepseek-v2-lite", "gemma-2-2b", "gpt-oss-20b", "mistral-7b", "llama-3-8b"])
def test_flash_workspace_grows_linearly(name: str) -> None:
    """Neither scores nor masks: twice the tokens take twice the bytes at most, and decoding next to none."""
    config = load_config(name, ["max_len=163840"]).config
    whole_prompt = ServingSetup(prefill_tokens=163840)
    half, whole = (inference_memory(config, whole_prompt._replace(seq_len=n)) for n in (81920, 163840))
    assert half.prefill_bytes < whole.prefill_bytes <= 2 * half.prefill_bytes
    assert whole.decode_bytes < 2**24
    written = inference_memory(config, whole_prompt._replace(attention_kernel="math", seq_len=163840))
    assert written.prefill_bytes > config.n_heads * 163840**2 * 4
    assert written.cache_bytes == whole.cache_bytes


def test_latent_attention_at_long_context() -> None:
    """Weights of 15.7 billion parameters, 576 numbers a token and layer, and one pass over 163,840 tokens."""
    config = load_config("deepseek-v2-lite").config
    found = inference_memory(config, ServingSetup(prefill_tokens=163840, batch_size=1, seq_len=163840))
    assert found.cache_bytes == 27 * 163840 * 576 * 2
    stream = 4 * 2048  # the residual stream before and after attention, attention's output, the norm
    dense = 4 * 10944 + 2048  # of the first layer: gate, activated gate, up, their product; the output
    rotation = 2 * 32
    assert found.prefill_bytes == 163840 * 2 * (stream + dense + rotation) + SLACK
    assert found.total_bytes < 51 * 2**30


@given(small_configs(), st.integers(0, 2_000_000), servings())
@settings(max_examples=60)
def test_largest_batch_is_maximal(config: ModelConfig, available: int, serving: ServingSetup) -> None:
    def takes(**asked: Any) -> int:
        return inference_memory(config, serving._replace(**asked)).total_bytes

    batch = largest_batch(config, serving._replace(seq_len=5), available_bytes=available)
    assert batch == 0 or takes(batch_size=batch, seq_len=5) <= available
    assert takes(batch_size=batch + 1, seq_len=5) > available
    length = longest_context(config, serving._replace(batch_size=2), available_bytes=available)
    assert length == 0 or takes(batch_size=2, seq_len=length) <= available
    assert length == config.max_len or takes(batch_size=2, seq_len=length + 1) > available


@given(small_configs().filter(lambda config: config.has_lm_head), st.integers(2, 40))
def test_working_memory_of_a_batch(config: ModelConfig, batch_size: int) -> None:
    """A decoding step reads all sequences at once; prompts are read one after the other."""
    one, batch = (inference_memory(config, ServingSetup(batch_size=n, seq_len=5)) for n in (1, batch_size))
    assert batch.decode_bytes - SLACK == batch_size * (one.decode_bytes - SLACK) > 0
    assert batch.prefill_bytes == one.prefill_bytes


@pytest.mark.parametrize(("batch_size", "seq_len", "group_size"), [(1, 1025, 128), (0, 9, 128), (1, 9, 0)])
def test_invalid_arguments(batch_size: int, seq_len: int, group_size: int) -> None:
    serving = ServingSetup(quantization=QuantizationConfig("int4", group_size))
    with pytest.raises(AnalysisError):
        inference_memory(load_config("tiny").config, serving._replace(batch_size=batch_size, seq_len=seq_len))
