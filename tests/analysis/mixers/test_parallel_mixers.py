"""The costs of attention and Mamba-2 in parallel are the sums of their costs."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.flops import decode_flops, forward_flops
from tinylm_cli.analysis.kv_cache import cache_shape, kv_cache_bytes
from tinylm_cli.analysis.parallel.layouts import layout_mismatches
from tinylm_cli.analysis.params import component_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout


def make(mixer: str, *overrides: str) -> ModelConfig:
    sizes = ("position.kind=none", "block.feed_forward=false", "mamba2.n_groups=2")
    return load_config("small", [*sizes[: 2 if mixer == "attention" else 3], f"block.mixer={mixer}", *overrides]).config


def test_sums() -> None:
    both, attention, mamba2 = (make(mixer) for mixer in ("attention_mamba2", "attention", "mamba2"))
    for component in ("attention", "mamba2"):
        alone = make(component)
        assert component_params(tensor_table(both), component) == component_params(tensor_table(alone), component)
    head = 2 * both.vocab_size * both.d_model
    forward = [forward_flops(each, batch_size=1, seq_len=100) for each in (both, attention, mamba2)]
    assert forward[0] == forward[1] + forward[2] - 100 * head
    decode = [decode_flops(each, context_len=100) for each in (both, attention, mamba2)]
    assert decode[0] == decode[1] + decode[2] - head
    for seq_len in (1, 100):
        parts = [kv_cache_bytes(each, batch_size=3, seq_len=seq_len, dtype="int8") for each in (attention, mamba2)]
        assert kv_cache_bytes(both, batch_size=3, seq_len=seq_len, dtype="int8") == sum(parts)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float8"])
def test_cache_has_tokens_and_a_state(dtype: str) -> None:
    both = cache_shape(make("attention_mamba2"), dtype)
    assert both.token_bytes == cache_shape(make("attention"), dtype).token_bytes
    assert both.state_bytes == cache_shape(make("mamba2"), dtype).state_bytes
    assert both.multi_head_ratio == 1


def test_layouts() -> None:
    """Tensor parallelism divides the heads of both; context parallelism is rejected: the recurrence is sequential."""
    setup = TrainingSetup(n_gpus=4)
    (mismatch,) = layout_mismatches(make("attention_mamba2"), setup, Layout(tensor=4))
    assert mismatch.config_field == "mamba2.n_groups"
    (mismatch,) = layout_mismatches(make("attention_mamba2"), setup, Layout(context=4))
    assert mismatch.config_field == "block.mixer"
