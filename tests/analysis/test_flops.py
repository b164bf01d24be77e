from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.random_configs import small_configs
from tinylm_cli.analysis.flops import (
    analyze_flops,
    decode_flops,
    forward_flops,
    prefill_flops,
    train_flops,
)
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.layer_kinds import layer_pattern, mtp_layer, without_mtp
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config


def test_tiny_by_hand() -> None:
    """Four layers of 12 D² weights, the head, and T(T + 1)/2 pairs of 2 × 2 × D operations each."""
    tokens, width, vocab, layers = 8, 128, 256, 4
    weights = layers * 12 * width**2 + vocab * width
    pairs = tokens * (tokens + 1) // 2
    expected = 2 * tokens * weights + layers * 2 * 2 * pairs * width
    assert forward_flops(load_config("tiny").config, batch_size=1, seq_len=tokens) == expected


@given(config=small_configs(), length=st.integers(1, 14), batch=st.integers(1, 5))
def test_parts_sum_to_total(config: ModelConfig, length: int, batch: int) -> None:
    report = analyze_flops(config, TrainingSetup(batch, length, recompute="full"))
    assert sum(part.forward_flops for part in report.components) == report.forward_flops
    assert sum(part.forward_flops for part in report.layers) == report.forward_flops
    both = report.forward_flops + report.mtp_flops
    assert (report.mtp_flops > 0) == (config.head.n_mtp_layers > 0)
    assert report.train_flops == both + report.backward_flops + report.recompute_flops
    assert report.backward_flops == 2 * both
    assert report.forward_flops == batch * forward_flops(config, batch_size=1, seq_len=length)
    again = [train_flops(config, batch_size=batch, seq_len=length, recompute=r) for r in ("none", "selective", "full")]
    assert again == sorted(again)
    head = sum(part.forward_flops for part in report.components if part.name in ("lm_head", "score"))
    d_all = config.n_layers * (config.embedding.d_per_layer or 0)
    projection = 2 * batch * length * config.d_model * d_all  # the inputs of all layers, before the first one
    of_modules = config.head.n_mtp_layers * (head + 2 * batch * length * 2 * config.d_model**2)  # heads and projections
    streams = config.block.hyper_streams or 0
    last_read = 2 * batch * length * streams * config.d_model * streams  # of the streams, after the last layer
    others = (config.block.altup_streams or 1) - 1  # streams of AltUp that are projected before and after the layers
    outside = head + projection + of_modules + last_read + 2 * others * 2 * batch * length * config.d_model**2
    assert again[2] - again[0] == both - outside, "the layers are computed again"
    unweighted = ("attention_scores", "mamba_scan", "mamba2_scan", "delta_rule", "linear_attention")
    scores = sum(part.forward_flops for part in report.components if part.name in unweighted)
    assert again[1] - again[0] == scores + config.head.n_mtp_layers * scores_of_last_layer(config, batch, length)


def scores_of_last_layer(config: ModelConfig, batch_size: int, seq_len: int) -> int:
    """Return what selective recomputation adds to a model that has one layer of the last kind."""
    one = without_mtp(mtp_layer(config)).model_copy(update={"n_layers": 1})
    none, selective = (
        train_flops(one, batch_size=batch_size, seq_len=seq_len, recompute=recompute)
        for recompute in ("none", "selective")
    )
    return selective - none


@given(config=small_configs(), length=st.integers(1, 14))
def test_causal_is_at_most_full(config: ModelConfig, length: int) -> None:
    causal = forward_flops(config, batch_size=1, seq_len=length)
    assert causal <= forward_flops(config, batch_size=1, seq_len=length, attention="full")
    assert prefill_flops(config, batch_size=1, seq_len=length) <= causal


@given(config=small_configs().filter(lambda config: config.attention.kind == "multi_head"))
def test_decoding_sums_to_a_causal_pass(config: ModelConfig) -> None:
    """Except where the parallel form computes other sums than the steps: in chunks."""
    in_chunks = {"mamba2", "gated_deltanet", "kimi_delta_attention", "lightning_attention", "mlstm"}
    kinds = layer_pattern(config).kinds
    assume(all(in_chunks.isdisjoint(kind.block.mixers) for kind in kinds))
    assume(all(kind.attention.dynamic_mask_top_k is None for kind in kinds))  # steps project cached values again
    decoded = sum(decode_flops(config, context_len=length) for length in range(1, config.max_len + 1))
    assert decoded == forward_flops(config, batch_size=1, seq_len=config.max_len)


def test_many_layers() -> None:
    config = load_config("gemma-2-2b", ["n_layers=10000"]).config
    report = analyze_flops(config, TrainingSetup(1, 8192))
    assert [part.count for part in report.layers] == [5000, 5000, 1]


@pytest.mark.parametrize("length", [0, 1025, -1])
def test_seq_len_out_of_range(length: int) -> None:
    config = load_config("tiny").config
    asked: tuple[Callable[[], int], ...] = (
        lambda: forward_flops(config, batch_size=1, seq_len=length),
        lambda: train_flops(config, batch_size=1, seq_len=length),
        lambda: decode_flops(config, context_len=length),
    )
    for refused in asked:
        with pytest.raises(AnalysisError, match=rf"{length:,} is outside 1..1,024"):
            refused()


def test_dense_layer_before_the_head() -> None:
    """A prompt needs it for its last token only, as the LM head; a step and the forward pass for every token."""
    plain, dense = load_config("tiny").config, load_config("tiny", ["head.dense=true"]).config
    one_token = 2 * 128**2
    assert (
        forward_flops(dense, batch_size=3, seq_len=8) - forward_flops(plain, batch_size=3, seq_len=8) == 24 * one_token
    )
    assert (
        prefill_flops(dense, batch_size=3, seq_len=8) - prefill_flops(plain, batch_size=3, seq_len=8) == 3 * one_token
    )
    assert decode_flops(dense, context_len=8) - decode_flops(plain, context_len=8) == one_token
    assert analyze_flops(dense, TrainingSetup(1, 8)).layers[-1].name == "lm_head"


def test_zero_computation_experts() -> None:
    """They have columns in the router, and no weights; all figures are those of tokens that select none of them."""
    experts = ["feed_forward.n_experts=8", "feed_forward.top_k=3"]
    plain = load_config("tiny", experts).config
    more = load_config("tiny", [*experts, "feed_forward.n_zero_experts=5"]).config
    columns = 4 * 5 * 128  # of all layers
    assert total_params(tensor_table(more)) - total_params(tensor_table(plain)) == columns
    for count in (forward_flops, prefill_flops):
        assert count(more, batch_size=1, seq_len=6) - count(plain, batch_size=1, seq_len=6) == 2 * 6 * columns
    assert decode_flops(more, context_len=6) - decode_flops(plain, context_len=6) == 2 * columns


def test_shortcuts_have_no_flops() -> None:
    experts = ["feed_forward.n_experts=8", "feed_forward.n_shared_experts=1", "layers.pattern='a, b'"]
    kinds = ("{a: {}, b: {}}", "{a: {feed_forward: {shortcut: true}}, b: {}}")
    first, second = (load_config("tiny", [*experts, f"layers.kinds={each}"]).config for each in kinds)
    assert forward_flops(first, batch_size=1, seq_len=6) == forward_flops(second, batch_size=1, seq_len=6)
    assert total_params(tensor_table(first)) == total_params(tensor_table(second))
